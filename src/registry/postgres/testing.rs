//! A real PostgreSQL for tests: made by `initdb` in a temporary folder, with `fsync` on, reached over loopback and a socket in its
//! folder, ended by its own process id. A missing PostgreSQL is a failure that says how to get it.
//!
//! Names nothing of this crate, so that the integration tests can take it in as a module of their own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const HOW_TO_GET_IT: &str =
    "PostgreSQL is missing: `tests/run prepare` installs it (Debian package postgresql)";
/// The server refuses to run as root; the Debian package brings a user for it.
const SERVER_USER: &str = "postgres";
const USER: &str = "drivegate";
const START_TRIES: u32 = 600;
const TRY_EVERY: Duration = Duration::from_millis(50);

/// A server of its own. Dropping it ends it and removes its folder; so does the end of the process.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    /// `None` while stopped.
    running: Option<Child>,
    /// Holds the watchdog's standard input: it cleans up when the pipe closes, however this process ends.
    watchdog: Option<Child>,
}

/// The process's shared server, each test with a database of its own.
pub(crate) fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

impl Server {
    /// Makes and starts a server.
    pub(crate) fn start() -> Self {
        let folder = server_folder();
        let data = folder.join("data");
        run(as_server_user(program("initdb"))
            .args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"])
            .arg("--pgdata")
            .arg(&data));
        Self::run_in(folder, &[])
    }

    /// Makes a streaming copy of this server and starts it, with these settings beside those of the primary.
    pub(crate) fn standby(&self, settings: &[&str]) -> Self {
        let folder = server_folder();
        let mut copying = as_server_user(program("pg_basebackup"));
        copying
            .args(["--wal-method", "stream", "--checkpoint", "fast", "--write-recovery-conf", "--no-sync"])
            .arg("--pgdata")
            .arg(folder.join("data"))
            .args(["--host", "127.0.0.1", "--username", USER, "--port", &self.port.to_string()]);
        run(&mut copying);
        Self::run_in(folder, settings)
    }

    fn run_in(folder: PathBuf, settings: &[&str]) -> Self {
        let mut server = Self { watchdog: Some(watchdog(&folder)), folder, port: free_port(), running: None };
        server.start_again_with(settings);
        server
    }

    /// Starts a stopped server again, on the same port.
    pub(crate) fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    fn start_again_with(&mut self, settings: &[&str]) {
        let mut command = as_server_user(program("postgres"));
        command.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        command.args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        for setting in ["fsync=on", "max_connections=300", "wal_level=replica", "max_wal_senders=8"]
            .iter()
            .chain(settings)
        {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.join("log"));
        let log = log.expect("a log file");
        self.running = Some(
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("postgres starts"),
        );
        for _ in 0..START_TRIES {
            let asked = Command::new(program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-U", USER, "-d", "postgres", "-p", &self.port.to_string()])
                .status();
            if asked.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(TRY_EVERY);
        }
        panic!("the server on port {} did not start: {}", self.port, self.log());
    }

    /// Takes the place of another server, which is stopped: whoever knows its address now reaches this one.
    pub(crate) fn take_place_of(&mut self, other: &Self) {
        self.stop();
        self.port = other.port;
        self.start_again();
    }

    /// Stops the server as an operator does: sessions are cut off, what was committed is on disk.
    pub(crate) fn stop(&mut self) {
        self.end("-INT");
    }

    /// Kills the server as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.end("-QUIT");
    }

    /// Freezes the server (`true`) or lets it go on: it takes connections and says nothing.
    pub(crate) fn freeze(&self, frozen: bool) {
        // The postmaster's children are frozen with it, by their parent's id.
        let Some(running) = &self.running else { return };
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let parent = running.id().to_string();
        let children = Command::new("ps").args(["--ppid", &parent, "-o", "pid="]).output().expect("ps");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let pids = children.split_whitespace().chain([parent.as_str()]);
        Command::new("kill").arg(signal).args(pids).status().expect("kill");
    }

    /// Makes the primary of a standby.
    pub(crate) fn promote(&self) {
        run(as_server_user(program("pg_ctl"))
            .arg("promote")
            .arg("-w")
            .arg("-D")
            .arg(self.folder.join("data")));
    }

    /// Runs statements as the server's owner, in a database.
    pub(crate) fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(program("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                USER,
                "-d",
                database,
            ])
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql starts");
        psql.stdin.take().expect("a pipe").write_all(statements.as_bytes()).expect("psql reads");
        let out = psql.wait_with_output().expect("psql ends");
        assert!(out.status.success(), "{statements}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Makes a database and returns the URL it is reached by.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Returns the URL of a database on this server.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    fn end(&mut self, signal: &str) {
        let Some(mut running) = self.running.take() else { return };
        Command::new("kill").args([signal, &running.id().to_string()]).status().expect("kill");
        running.wait().expect("the server ends");
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let path = self.folder.join("log");
        let _read = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("-QUIT");
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            let _ended = watchdog.wait();
        }
    }
}

/// Ends the server and removes its folder when this process ends in any way: its end of the pipe closes then.
fn watchdog(folder: &Path) -> Child {
    const SCRIPT: &str = r#"cat >/dev/null; read -r pid 2>/dev/null <"$1/data/postmaster.pid" && kill -QUIT "$pid"
        i=0; while [ -e "$1/data/postmaster.pid" ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done; rm -rf "$1""#;
    Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

/// Makes a folder that belongs to the server's user.
fn server_folder() -> PathBuf {
    let template = std::env::temp_dir().join("drivegate-postgres-XXXXXXXX");
    let out = as_server_user("mktemp".into()).arg("-d").arg(template).output().expect("mktemp");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    PathBuf::from(String::from_utf8_lossy(&out.stdout).trim())
}

/// Prepares a program to run as somebody the server accepts: root becomes the package's user, in the same process.
fn as_server_user(program: PathBuf) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--init-groups", "--"]).arg(program);
    command.current_dir(std::env::temp_dir());
    command
}

/// Finds a program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    let newest = |path: &PathBuf| {
        let version = path.ancestors().nth(2).and_then(Path::file_name);
        version.and_then(|version| version.to_str()?.parse::<u32>().ok())
    };
    programs.max_by_key(newest).expect(HOW_TO_GET_IT)
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn run(command: &mut Command) {
    let out = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}
