//! What an auditor sees of a gateway: the signed log while it grows, and after the replica is gone.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use drivegate::audit::{LogVerifier, StoredLog};
use drivegate::evidence::ports::SignedCheckpoint;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{BINARY, Deployment, block_on};

/// A checkpoint comes within half a second; the machine may be busy.
const WITHIN: Duration = Duration::from_secs(10);

/// Gets a resource: status and body.
fn get(address: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let mut wire = TcpStream::connect(address).expect("the auditor's listener accepts");
    wire.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket can time out");
    write!(wire, "GET {path} HTTP/1.1\r\nHost: auditor\r\nConnection: close\r\n\r\n").expect("it leaves");
    let mut said = Vec::new();
    wire.read_to_end(&mut said).expect("an answer");
    let end = said.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let status = String::from_utf8_lossy(&said[9..12]).parse().expect("a status");
    (status, said[end + 4..].to_vec())
}

/// The one log of a deployment: its name and key.
fn log_of(folder: &Path) -> (PathBuf, LogVerifier) {
    let mut folders = fs::read_dir(folder).expect("the log folder").flatten().map(|entry| entry.path());
    let of_origin = folders.find(|path| path.is_dir()).expect("an origin");
    let verifier = LogVerifier::of_folder(&of_origin).expect("a key").expect("a key");
    (of_origin, verifier)
}

fn checkpoint_of(address: SocketAddr, verifier: &LogVerifier, size: u64) -> SignedCheckpoint {
    let end = Instant::now() + WITHIN;
    loop {
        let (status, note) = get(address, &format!("/{}/checkpoint", verifier.name()));
        let checkpoint = (status == 200).then(|| verifier.checkpoint(&note).expect("signed by the log"));
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.size >= size) {
            return checkpoint;
        }
        assert!(Instant::now() < end, "no checkpoint of {size} entries within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Goal: what is answered is signed and published within a second, the shutdown signs the rest, and the log of a replica that
/// is gone can still be read. Method: the gateway and then `log serve` over its folder; both are asked over HTTP.
#[test]
fn an_auditor_reads_the_signed_log_of_a_gateway_and_of_one_that_is_gone() {
    let deployment = Deployment::new();
    let auditor = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).expect("a free port");
    deployment.configure(|config| {
        let listen = config.entry("listen").or_insert_with(|| toml::Table::new().into());
        listen.as_table_mut().expect("a table").insert("auditor".to_owned(), auditor.to_string().into());
    });
    let gateway = deployment.serve();
    block_on(async {
        let mut partner = gateway.partner("rental-demo").await;
        for _ in 0..3 {
            partner.verify(rental(NUMBER, NAME)).await.expect("an answer");
        }
    });
    let folder = deployment.folder().join("data/log");
    let (_, verifier) = log_of(&folder);
    let origin = verifier.name().to_owned();
    let checkpoint = checkpoint_of(auditor, &verifier, 3);
    let (status, hashes) = get(auditor, &format!("/{origin}/tile/0/000.p/{}", checkpoint.size));
    assert_eq!((status, hashes.len() as u64), (200, 32 * checkpoint.size));
    let (status, entries) = get(auditor, &format!("/{origin}/tile/entries/000.p/{}", checkpoint.size));
    assert_eq!(status, 200);
    assert_eq!(get(auditor, &format!("/{origin}/tile/entries/000")).0, 404, "behind the checkpoint");
    assert_eq!(get(auditor, "/").1, format!("{origin}\n").into_bytes());
    assert!(gateway.page("/metrics").1.contains("drivegate_tree_stopped 0"));
    assert!(gateway.page("/health").1.contains(r#""part":"tree""#));
    assert!(gateway.stop());

    let last = StoredLog::open(&folder, &origin).expect("whole and signed").checkpoint().expect("signed");
    let mut replica = LogServer::start(&folder);
    let served = checkpoint_of(replica.address, &verifier, last.size);
    assert_eq!(served, *last);
    let (_, again) = get(replica.address, &format!("/{origin}/tile/entries/000.p/{}", checkpoint.size));
    assert_eq!(again, entries);
    replica.stop();
}

fn ask_thrice(deployment: &Deployment) {
    let gateway = deployment.serve();
    block_on(async {
        let mut partner = gateway.partner("rental-demo").await;
        for _ in 0..3 {
            partner.verify(rental(NUMBER, NAME)).await.expect("an answer");
        }
    });
    assert!(gateway.stop());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { fs::copy(from, to).map(drop).expect("a copy") }
    }
}

/// Goal: a log rolled back to an older copy is found by whoever watched it. Method: the log folder is copied between two runs of
/// the gateway; `drivegate witness --once` follows the newer one, then the copy, each over `log serve`; then the newer one again.
#[test]
fn a_witness_finds_a_log_that_was_rolled_back() {
    let deployment = Deployment::new();
    ask_thrice(&deployment);
    let (now, before) = (deployment.folder().join("data/log"), deployment.everything().join("before"));
    copy(&now, &before);
    ask_thrice(&deployment);
    let (_, verifier) = log_of(&now);
    let look = |folder: &Path| {
        let mut served = LogServer::start(folder);
        let file = deployment.everything().join("witness.toml");
        let key = fs::read_to_string(folder.join(verifier.name()).join("verifier")).expect("the key's line");
        let text = format!(
            "name = \"witness.example/w1\"\n[[logs]]\nverifier = \"{}\"\nurl = \"http://{}\"\n",
            key.trim(),
            served.address
        );
        fs::write(&file, text).expect("it can be written");
        let done = deployment.try_run(&["witness", "--once", "--config", file.to_str().expect("text")]);
        served.stop();
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert!(look(&now).0, "seen for the first time");
    let (is_sound, said) = look(&before);
    assert!(!is_sound && said.contains(verifier.name()), "{said}");
    assert!(look(&now).0, "the true one goes on");
}

/// Goal: what the law keeps is not pruned by a slip of the hand.
#[test]
fn young_entries_are_not_pruned() {
    let deployment = Deployment::new();
    ask_thrice(&deployment);
    let folder = deployment.folder().join("data/log");
    let prune = |before: &str| {
        deployment.try_run(&[
            "log",
            "prune",
            "--yes",
            "--dir",
            folder.to_str().expect("text"),
            "--before",
            before,
        ])
    };
    let refused = prune("2999-01-01");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("36 months"));
    let done = prune("2020-01-01");
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("nothing before"));
    let (of_origin, verifier) = log_of(&folder);
    assert!(of_origin.join("00000000000000000000.seg").exists());
    assert!(StoredLog::open(&folder, verifier.name()).is_ok());
}

/// `drivegate log serve`. Killed by its process id when dropped.
struct LogServer {
    child: Child,
    address: SocketAddr,
}

impl LogServer {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(BINARY)
            .args(["log", "serve", "--listen", "127.0.0.1:0", "--dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("the ready line");
        let address = ready["auditor"].as_str().and_then(|at| at.parse().ok()).expect("an address");
        Self { child, address }
    }

    fn stop(&mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it is running");
        assert!(self.child.wait().expect("it ended").success());
    }
}

impl Drop for LogServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
