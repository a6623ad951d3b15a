//! No record, no disclosure: while the log cannot be written, nothing is answered, everybody is told, and it passes by itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use drivegate::gateway::proto::VerifyRequest;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, insurance_claim, rental};
use super::deadline::connector;
use super::harness::{Deployment, Gateway, Partner, block_on};

/// How long the gateway may take to notice what happened to its log: it looks every second.
const NOTICED: Duration = Duration::from_secs(4);
/// Room left for everything but the next piece of a segment, which is 1 MiB.
const ROOM_LEFT: u64 = 256 * 1024;

/// A file system of its own, so small that it is soon full. Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mib: u32) -> Self {
        fs::create_dir_all(at).expect("the folder can be made");
        let options = format!("size={mib}m,mode=700");
        let words = ["-t", "tmpfs", "-o", &options, "drivegate-test"];
        let done = Command::new("mount").args(words).arg(at).output().expect("mount can be run");
        assert!(
            done.status.success(),
            "this test fills a tmpfs of its own and must be allowed to mount one (root, CAP_SYS_ADMIN): {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Self(at.to_path_buf())
    }

    /// Fills the disk, but for a little.
    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("it can be made");
        let piece = [0xA5; 16 * 1024];
        let mut bytes = 0;
        while let Ok(count) = file.write(&piece) {
            bytes += count as u64;
        }
        file.set_len(bytes.saturating_sub(ROOM_LEFT)).expect("it can be cut");
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it can be removed");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there keeps it until its end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Goal: a disk that is really full, seen over the wire. Method: the log lies on a small tmpfs that is filled while the
/// gateway is stopped, so that the next answer needs room there is none for; later there is room again.
#[test]
fn a_full_disk_closes_the_log_tells_everybody_and_passes_by_itself() {
    let deployment = Deployment::new();
    let disk = SmallDisk::mount(&deployment.folder().join("data/log"), 4);
    let question = rental(NUMBER, NAME);
    let gateway = deployment.serve();
    let before = block_on(async { answered(&mut gateway.partner("rental-demo").await, &question).await });
    let before = before.expect("answers can be put on record").expect("it says where");
    assert!(gateway.stop());

    disk.fill();
    let gateway = deployment.serve();
    assert_eq!(gateway.page("/readyz").0, 200, "nothing was written yet");
    block_on(async {
        let mut early = Frames::open(&deployment, &gateway).await;
        let mut desk = gateway.partner("rental-demo").await;
        for _ in 0..3 {
            assert_no_evidence(&refused(&mut desk, &question).await);
        }
        let code = early.goaway().await;
        assert_eq!(code, 0, "NO_ERROR: go, and come back or go elsewhere");
        assert_eq!(gateway.page("/readyz").0, 503);
        assert_eq!(gateway.page("/livez").0, 200, "a restart would not help");
        assert!(in_state(&gateway, "disk-full"), "{}", gateway.page("/metrics").1);

        // Who comes now is let in: refusals disclose nothing and are told, answers are not given.
        let mut late = gateway.partner("rental-demo").await;
        let other_purpose = refused(&mut late, &insurance_claim(NUMBER, NAME)).await;
        assert_eq!(reason(&other_purpose), (Code::PermissionDenied, "PURPOSE_NOT_PERMITTED".to_owned()));
        assert_no_evidence(&refused(&mut late, &question).await);
        assert_eq!(serving(&gateway).await, ServingStatus::NotServing);
        let mut later = Frames::open(&deployment, &gateway).await;
        assert!(later.is_left_alone().await, "only who was there when it closed is asked to go");

        disk.make_room();
        let after = eventually_answered(&gateway, &question).await;
        assert_eq!(after.0, before.0, "the same log");
        assert!(after.1 > before.1);
        let until = Instant::now() + NOTICED;
        while gateway.page("/readyz").0 != 200 || !in_state(&gateway, "open") {
            assert!(Instant::now() < until, "it is not well again: {}", gateway.page("/readyz").1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(serving(&gateway).await, ServingStatus::Serving);
    });
    assert!(gateway.stop());
    let checked = deployment.run(&["audit", "fsck", deployment.folder().to_str().expect("text"), "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(report["findings"], serde_json::json!([]));
    let said = fs::read_to_string(deployment.everything().join("said.stderr")).expect("it said something");
    let loud = said.lines().filter(|line| line.contains("journal cannot write")).count();
    assert_eq!(loud, 1, "the cause is said aloud once, not with every attempt:\n{said}");
}

async fn answered(desk: &mut Partner, question: &VerifyRequest) -> Result<Option<(String, u64)>, Status> {
    let answer = desk.verify(question.clone()).await?.into_inner();
    Ok(answer.evidence.map(|evidence| (evidence.log_origin, evidence.entry_index)))
}

async fn refused(desk: &mut Partner, question: &VerifyRequest) -> Status {
    answered(desk, question).await.expect_err("nothing may be answered")
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

fn assert_no_evidence(status: &Status) {
    assert_eq!(reason(status), (Code::Unavailable, "EVIDENCE_UNAVAILABLE".to_owned()), "{status:?}");
}

async fn eventually_answered(gateway: &Gateway<'_>, question: &VerifyRequest) -> (String, u64) {
    let until = Instant::now() + NOTICED;
    let mut desk = gateway.partner("rental-demo").await;
    loop {
        match answered(&mut desk, question).await {
            Ok(evidence) => return evidence.expect("it says where"),
            Err(status) => assert_no_evidence(&status),
        }
        assert!(Instant::now() < until, "the log does not go on by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn in_state(gateway: &Gateway<'_>, state: &str) -> bool {
    let wanted = format!("drivegate_journal_state{{state=\"{state}\"}} 1");
    gateway.page("/metrics").1.lines().any(|line| line == wanted)
}

async fn serving(gateway: &Gateway<'_>) -> ServingStatus {
    let tls = gateway.tls("rental-demo");
    let channel = tls.connect(gateway.address(), "localhost", Duration::from_secs(5)).await;
    let request = HealthCheckRequest { service: "drivegate.v1.VerificationService".to_owned() };
    let answer = HealthClient::new(channel.expect("the partner is let in")).check(request).await;
    answer.expect("health is told").into_inner().status()
}

/// A connection whose frames are read one by one: client libraries hide a GOAWAY.
struct Frames(TlsStream<TcpStream>);

impl Frames {
    async fn open(deployment: &Deployment, gateway: &Gateway<'_>) -> Self {
        let stream = TcpStream::connect(gateway.address()).await.expect("the gateway accepts");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = connector(deployment).connect(name, stream).await.expect("the handshake succeeds");
        // RFC 9113 §3.4: the preface, and settings that change nothing.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it leaves");
        let mut frames = Self(stream);
        assert_eq!(frames.next().await.expect("settings").0, 4, "SETTINGS come first");
        frames
    }

    /// Reads a frame: its type and what it holds.
    async fn next(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await?;
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.read_exact(&mut payload).await?;
        Ok((head[3], payload))
    }

    /// Waits for a GOAWAY; returns its error code (RFC 9113 §6.8).
    async fn goaway(&mut self) -> u32 {
        let told = tokio::time::timeout(NOTICED, async {
            loop {
                if let (7, payload) = self.next().await.expect("a frame before the end") {
                    return u32::from_be_bytes(payload[4..8].try_into().expect("four bytes"));
                }
            }
        });
        told.await.expect("GOAWAY while the log is closed")
    }

    /// Says whether nothing but small talk comes for longer than the gateway's look takes.
    async fn is_left_alone(&mut self) -> bool {
        let told = tokio::time::timeout(Duration::from_millis(2500), async {
            loop {
                match self.next().await {
                    Ok((7, _)) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        });
        told.await.is_err()
    }
}
