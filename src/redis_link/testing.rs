//! A real Redis for tests, one server or a Cluster of six: the machine's `redis-server` on free ports of the loopback, ended by its own
//! process id. A missing one is a failure that says how to get it.
//!
//! Names nothing of this crate, so that the integration tests can take it in as a module of their own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const START_TRIES: u32 = 1_000;
const TRY_EVERY: Duration = Duration::from_millis(20);

/// A `redis-server` of one's own.
pub(crate) struct Server {
    process: Option<Child>,
    pub(crate) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut server = Self::reserve(arguments);
        server.revive();
        server
    }

    /// Returns a server that is not there yet.
    pub(crate) fn reserve(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { process: None, port: free_port(), folder, arguments }
    }

    /// Starts the server, or starts it again on the same port.
    pub(crate) fn revive(&mut self) {
        self.kill();
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
        if !self.arguments.iter().any(|argument| argument == "--port") {
            command.args(["--port", &port]);
        }
        command.args(&self.arguments).arg("--dir").arg(self.folder.path());
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(started.unwrap_or_else(|error| {
            panic!("cannot run redis-server ({error}): get it with `apt-get install redis-server`")
        }));
        let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        assert!(comes_true(listens), "redis-server does not listen");
    }

    /// Returns its address as configuration names it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("it can be signalled");
    }

    /// Ends the process as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Opens a connection of the test's own.
    pub(crate) fn console(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a url");
        client.get_connection().expect("redis-server lets the test in")
    }

    /// Says whether the process takes connections and answers.
    pub(crate) fn is_up(&self) -> bool {
        let client = redis::Client::open(self.url()).expect("a url");
        client.get_connection_with_timeout(Duration::from_millis(200)).is_ok()
    }

    /// Runs a command.
    pub(crate) fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.query(&mut self.console()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Returns the keys that match a pattern.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        self.run(&["KEYS", pattern])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three masters, and a replica of each.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
    /// Where each also speaks TLS, if it does.
    tls_ports: Vec<u16>,
}

/// After this long without an answer the others hold a master for dead.
const NODE_TIMEOUT_MS: &str = "1000";
const NODES: usize = 6;

impl Cluster {
    /// Starts six servers and makes a Cluster of them.
    pub(crate) fn start() -> Self {
        Self::with((0..NODES).map(|_| Server::start(&member(&free_port().to_string()))).collect(), Vec::new())
    }

    /// Starts one whose nodes speak TLS among each other, and with everybody but the tests' own consoles. `arguments`: certificates.
    pub(crate) fn start_over_tls(arguments: &[&str]) -> Self {
        let tls_ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let node = |port: &u16| {
            let (port, bus) = (port.to_string(), free_port().to_string());
            let tls = ["--tls-port", &port, "--tls-cluster", "yes", "--tls-replication", "yes"];
            Server::start(&[&member(&bus)[..], &tls, arguments].concat())
        };
        let nodes = tls_ports.iter().map(node).collect();
        Self::with(nodes, tls_ports)
    }

    fn with(nodes: Vec<Server>, tls_ports: Vec<u16>) -> Self {
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli is installed with redis-server");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let cluster = Self { nodes, tls_ports };
        assert!(comes_true(|| cluster.is_well()), "the Cluster does not come together");
        cluster
    }

    /// Says whether every node knows every slot's master, and every replica follows its own.
    fn is_well(&self) -> bool {
        self.nodes.iter().all(|node| {
            let about: String = node.run(&["CLUSTER", "INFO"]);
            let replication: String = node.run(&["INFO", "replication"]);
            about.contains("cluster_state:ok")
                && about.contains("cluster_slots_ok:16384")
                && about.contains("cluster_known_nodes:6")
                && (replication.contains("master_link_status:up")
                    || replication.contains("connected_slaves:1"))
        })
    }

    /// Returns its nodes' addresses as configuration names them.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// Returns its nodes' addresses over TLS.
    pub(crate) fn tls_urls(&self) -> Vec<String> {
        self.tls_ports.iter().map(|port| format!("rediss://127.0.0.1:{port}")).collect()
    }

    /// Returns the place among the nodes of the one that is master of a slot now, as a node that is up says.
    pub(crate) fn master_of(&self, slot: u16, asked: usize) -> usize {
        let ranges: Vec<Vec<redis::Value>> = self.nodes[asked].run(&["CLUSTER", "SLOTS"]);
        let number = |value: &redis::Value| redis::from_redis_value::<u16>(value.clone()).expect("a number");
        let master = ranges.iter().find(|range| (number(&range[0])..=number(&range[1])).contains(&slot));
        let master = master.expect("somebody has the slot")[2].clone();
        let master: Vec<redis::Value> = redis::from_redis_value(master).expect("host, port, id");
        let port = number(&master[1]);
        self.nodes.iter().position(|node| node.port == port).expect("it is one of ours")
    }

    /// Returns the keys that match a pattern, on whichever node.
    pub(crate) fn keys(&self, pattern: &str) -> Vec<String> {
        let up = self.nodes.iter().filter(|node| node.is_up());
        let mut keys: Vec<String> = up.flat_map(|node| node.keys(pattern)).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// Returns what a node is started with; `bus`: the port it speaks with the others on.
fn member(bus: &str) -> [&str; 12] {
    [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        bus,
        "--cluster-node-timeout",
        NODE_TIMEOUT_MS,
        "--cluster-require-full-coverage",
        "no",
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
    ]
}

/// Waits for something; says whether it came.
fn comes_true(holds: impl Fn() -> bool) -> bool {
    (0..START_TRIES).any(|_| {
        let holds = holds();
        if !holds {
            std::thread::sleep(TRY_EVERY);
        }
        holds
    })
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
