//! Given: the real binary, in a deployment of its own in a temporary folder, on free ports, with real Redis if asked for.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use drivegate::identity::client::ClientTls;
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

/// The binary under test, built with this test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_drivegate");
/// How long a server may take to say that it is ready.
const START: Duration = Duration::from_secs(30);
/// How long it may take to stop after it was asked to.
const STOP: Duration = Duration::from_secs(15);
/// The client of a partner.
pub(crate) type Partner = VerificationServiceClient<Channel>;

/// A sandbox deployment on disk, as `init` and `registry generate` make it.
pub(crate) struct Deployment {
    home: TempDir,
    /// What the server printed so far, over all its starts.
    said: PathBuf,
}

impl Deployment {
    /// Writes a deployment with the fixed test drivers and a few synthetic ones.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let said = home.path().join("said");
        let deployment = Self { home, said };
        let folder = deployment.folder();
        deployment.run(&["init", text(&folder)]);
        deployment.run(&[
            "registry",
            "generate",
            "--count",
            "50",
            "--seed",
            "7",
            "--with-test-drivers",
            "--into",
            text(&folder),
        ]);
        deployment
    }

    /// Writes a deployment whose registry is a PostgreSQL database; another replica's brings the registry's keys.
    pub(crate) fn on_postgres(url: &str, keys: Option<&Path>) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let said = home.path().join("said");
        let deployment = Self { home, said };
        let folder = deployment.folder();
        deployment.run(&["init", text(&folder), "--postgres", url]);
        if let Some(keys) = keys {
            fs::copy(keys, folder.join("data/registry.keys")).expect("the keys can be copied");
        }
        deployment
    }

    /// The deployment's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join("gateway")
    }

    /// Everything the deployment may have written to: its folder and what its processes printed.
    pub(crate) fn everything(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command of the binary, which must succeed.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let done = self.try_run(words);
        assert!(
            done.status.success(),
            "drivegate {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&done.stderr)
        );
        done
    }

    /// Runs a command of the binary, whatever comes of it.
    pub(crate) fn try_run(&self, words: &[&str]) -> Output {
        let done =
            Command::new(BINARY).args(words).current_dir(self.home.path()).output().expect("the binary runs");
        let mut said =
            File::options().create(true).append(true).open(self.said.with_extension("commands")).unwrap();
        said.write_all(&done.stdout)
            .and_then(|()| said.write_all(&done.stderr))
            .expect("what it said is kept");
        done
    }

    /// Changes `config.toml`.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut toml::Table)) {
        edit(&self.folder().join("config.toml"), change);
    }

    /// Changes a partner's contract.
    pub(crate) fn contract(&self, partner: &str, change: impl FnOnce(&mut toml::Table)) {
        edit(&self.folder().join("partners").join(format!("{partner}.toml")), change);
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) fn serve(&self) -> Gateway<'_> {
        self.serve_with(&[])
    }

    /// Starts the gateway with environment variables of its own.
    pub(crate) fn serve_with(&self, environment: &[(&str, &str)]) -> Gateway<'_> {
        let errors =
            File::options().create(true).append(true).open(self.said.with_extension("stderr")).unwrap();
        let config = self.folder().join("config.toml");
        let mut child = Command::new(BINARY)
            .args(["serve", "--config", text(&config), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        let (sender, ready) = std::sync::mpsc::channel();
        let printed = child.stdout.take().expect("its output is piped");
        let copy =
            File::options().create(true).append(true).open(self.said.with_extension("stdout")).unwrap();
        std::thread::spawn(move || relay(printed, copy, &sender));
        let ready = ready.recv_timeout(START);
        let mut gateway = Gateway { deployment: self, child, partners: None, admin: None };
        let Ok((partners, admin)) = ready else {
            let _ = gateway.child.kill();
            let errors = fs::read_to_string(self.said.with_extension("stderr")).unwrap_or_default();
            panic!("the gateway was not ready within {START:?}:\n{errors}");
        };
        (gateway.partners, gateway.admin) = (Some(partners), Some(admin));
        gateway
    }
}

/// Copies what a server prints and passes on the addresses of its ready line.
fn relay(
    printed: impl std::io::Read,
    mut copy: File,
    ready: &std::sync::mpsc::Sender<(SocketAddr, SocketAddr)>,
) {
    for line in BufReader::new(printed).lines().map_while(Result::ok) {
        let _ = writeln!(copy, "{line}");
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        let address = |key: &str| event.get(key).and_then(Value::as_str).and_then(|at| at.parse().ok());
        if event.get("event").and_then(Value::as_str) == Some("ready")
            && let (Some(partners), Some(admin)) = (address("partners"), address("admin"))
        {
            let _ = ready.send((partners, admin));
        }
    }
}

/// A running gateway. Killed by its process id when dropped.
pub(crate) struct Gateway<'a> {
    deployment: &'a Deployment,
    child: Child,
    partners: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Gateway<'_> {
    /// Where partners connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.partners.expect("it is ready")
    }

    /// The process, for signals.
    pub(crate) fn process(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Says whether the process has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state can be read").is_none()
    }

    /// What a partner presents and trusts.
    pub(crate) fn tls(&self, partner: &str) -> ClientTls {
        let pki = self.deployment.folder().join("pki");
        let (chain, key) = (pki.join(format!("{partner}.pem")), pki.join(format!("{partner}.key")));
        ClientTls::from_files(&pki.join("ca.pem"), Some((&chain, &key)))
            .expect("the partner's files are usable")
    }

    /// Opens a connection of a partner's own.
    pub(crate) async fn partner(&self, partner: &str) -> Partner {
        let tls = self.tls(partner);
        let channel = tls.connect(self.address(), "localhost", Duration::from_secs(5)).await;
        VerificationServiceClient::new(channel.expect("the partner is let in"))
    }

    /// Reads a page of the admin listener: status and body.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let mut wire =
            TcpStream::connect(self.admin.expect("it is ready")).expect("the admin listener accepts");
        wire.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket can time out");
        write!(wire, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            .expect("the request leaves");
        let mut said = String::new();
        wire.read_to_string(&mut said).expect("the page is text");
        let status = said.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        (status, said.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// Asks the gateway to stop; returns whether it said that all was well.
    pub(crate) fn stop(self) -> bool {
        rustix::process::kill_process(self.process(), rustix::process::Signal::TERM).expect("it is running");
        self.ended()
    }

    /// Waits for a gateway that was asked to stop; returns whether it said that all was well.
    pub(crate) fn ended(mut self) -> bool {
        let end = Instant::now() + STOP;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("its state can be read") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the gateway did not stop within {STOP:?}");
    }

    /// Ends the process without a warning, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is running");
        self.child.wait().expect("it ended");
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The machine's `redis-server` on a free port. Killed by its process id when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Redis {
    /// Starts a server whose dump goes to a folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|probe| probe.local_addr())
            .expect("a free port")
            .port();
        fs::create_dir_all(folder).expect("the folder can be made");
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir", text(folder)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `tests/run prepare` does it (Debian package redis-server)");
        let redis = Self { child, port, folder: folder.to_path_buf() };
        let end = Instant::now() + START;
        while !redis.command("PING").starts_with("+PONG") {
            assert!(Instant::now() < end, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    /// Its address as configuration names it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Sends one inline command; returns the beginning of the reply, or nothing.
    pub(crate) fn command(&self, line: &str) -> String {
        let Ok(mut wire) = TcpStream::connect(("127.0.0.1", self.port)) else { return String::new() };
        let _ = wire.set_read_timeout(Some(Duration::from_secs(5)));
        let mut reply = [0; 4096];
        let read = wire.write_all(format!("{line}\r\n").as_bytes()).and_then(|()| wire.read(&mut reply));
        String::from_utf8_lossy(&reply[..read.unwrap_or(0)]).into_owned()
    }

    /// Writes everything it holds to disk; returns the file.
    pub(crate) fn dump(&self) -> PathBuf {
        assert!(self.command("SAVE").starts_with("+OK"), "redis-server can write its dump");
        self.folder.join("dump.rdb")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a test's asynchronous part.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Rewrites a TOML file.
fn edit(path: &Path, change: impl FnOnce(&mut toml::Table)) {
    let mut document: toml::Table =
        fs::read_to_string(path).expect("the file can be read").parse().expect("it is TOML");
    change(&mut document);
    let fresh = path.with_extension("new");
    fs::write(&fresh, document.to_string()).expect("the file can be written");
    fs::set_permissions(&fresh, fs::metadata(path).expect("it exists").permissions())
        .expect("with its rights");
    fs::rename(&fresh, path).expect("in one step");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}
