//! The authority's changes, through the real binary: delivered once, whatever dies in between, and never a "valid" while
//! something is stuck.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drivegate::gateway::proto::authority_service_client::AuthorityServiceClient;
use drivegate::gateway::proto::{
    Acknowledgement, ApplyChangesRequest, ApplyChangesResponse, ChangeOutcome, CivilDate, Decision,
    DocumentKind, EnforcementQuestion, GroundKind, LicenceChange, QuarantineReason, Reason, RejectReason,
    StateLetterSet, VerifyRequest, licence_change, verify_request,
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, claim};
use super::harness::{BINARY, Deployment, Gateway, block_on};

/// Synthetic drivers of the harness's deployment.
const DRIVERS: usize = 50;
/// Changes of each in the large files.
const CHANGES_EACH: usize = 100;
/// An acknowledgement takes a commit; the machine may be busy.
const SOON: Duration = Duration::from_secs(10);

/// The deployment's synthetic drivers, document and number, as `registry generate` with the same seed writes them.
fn drivers(deployment: &Deployment) -> Vec<(Value, Value)> {
    let made = deployment.run(&["registry", "generate", "--count", "50", "--seed", "7", "--out", "-"]);
    let text = String::from_utf8(made.stdout).expect("NDJSON is text");
    // The first and the last line mark the file's begin and end.
    let drivers = text.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        line["number"].is_string().then(|| (line["document"].clone(), line["number"].clone()))
    });
    let drivers: Vec<_> = drivers.collect();
    assert_eq!(drivers.len(), DRIVERS);
    drivers
}

/// A line about the driver of a resident number.
fn filed(number: &str, sequence: usize, change: &Value) -> String {
    let id = format!("c-{}-{sequence}-{}", &number[14..], change["kind"]);
    json!({ "id": id, "sequence": sequence, "number": number, "change": change }).to_string()
}

/// A change recorded now: nothing on record was recorded later.
fn recorded_now(mut change: Value) -> Value {
    let now = jiff::Timestamp::now();
    change["recorded_at"] = now.to_string().into();
    change["effective"] = now.to_string().into();
    change
}

/// A large file: points of every driver, in order, the drivers interleaved.
fn large_file(deployment: &Deployment, name: &str) -> PathBuf {
    let drivers = drivers(deployment);
    let mut text = String::new();
    for sequence in 1..=CHANGES_EACH {
        for (index, (document, number)) in drivers.iter().enumerate() {
            let line = json!({
                "id": format!("d{index}-{sequence}"),
                "sequence": sequence,
                "document": document,
                "number": number,
                "change": recorded_now(json!({ "kind": "points-set", "points": sequence % 9 })),
            });
            text.push_str(&line.to_string());
            text.push('\n');
        }
    }
    let path = deployment.everything().join(name);
    fs::write(&path, text).expect("the file can be written");
    path
}

/// `drivegate authority apply FILE --json` against an address; what it said, and its exit status.
fn apply(deployment: &Deployment, server: SocketAddr, file: &std::path::Path, more: &[&str]) -> (Value, i32) {
    let (server, folder) = (server.to_string(), deployment.folder());
    let mut words = vec![
        "authority",
        "apply",
        file.to_str().expect("text"),
        "--json",
        "--as",
        "authority-demo",
        "--server",
        &server,
        "--dir",
        folder.to_str().expect("text"),
    ];
    words.extend(more);
    told(&deployment.try_run(&words))
}

fn told(done: &Output) -> (Value, i32) {
    let said = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
    (said, done.status.code().expect("it ended by itself"))
}

fn stats(deployment: &Deployment) -> Value {
    let folder = deployment.folder();
    let done = deployment.run(&["registry", "stats", "--json", "--dir", folder.to_str().expect("text")]);
    serde_json::from_slice(&done.stdout).expect("JSON")
}

fn changes_on_record(deployment: &Deployment) -> u64 {
    stats(deployment)["changes"].as_u64().expect("a count")
}

/// A stream of the authority's own.
struct Stream {
    changes: mpsc::Sender<ApplyChangesRequest>,
    answers: Streaming<ApplyChangesResponse>,
}

impl Stream {
    async fn open(gateway: &Gateway<'_>, partner: &str) -> Result<Self, Status> {
        let tls = gateway.tls(partner);
        let channel: Channel =
            tls.connect(gateway.address(), "localhost", Duration::from_secs(5)).await.expect("it is let in");
        let (changes, outgoing) = mpsc::channel(8);
        let opened =
            AuthorityServiceClient::new(channel).apply_changes(ReceiverStream::new(outgoing)).await?;
        Ok(Self { changes, answers: opened.into_inner() })
    }

    async fn send(&self, changes: Vec<LicenceChange>) {
        self.changes.send(ApplyChangesRequest { changes }).await.expect("the stream is open");
    }

    async fn next(&mut self) -> Result<Vec<Acknowledgement>, Status> {
        let answer = tokio::time::timeout(SOON, self.answers.message()).await.expect("an answer in time")?;
        Ok(answer.expect("the stream goes on").acknowledgements)
    }

    async fn told(&mut self, change: LicenceChange) -> Acknowledgement {
        self.send(vec![change]).await;
        let mut told = self.next().await.expect("an acknowledgement");
        assert_eq!(told.len(), 1);
        told.remove(0)
    }

    async fn end(mut self) -> Result<(), Status> {
        drop(self.changes);
        while tokio::time::timeout(SOON, self.answers.message()).await.expect("an end in time")?.is_some() {}
        Ok(())
    }
}

fn letter(sequence: u64, kind: licence_change::Kind) -> LicenceChange {
    let now = jiff::Timestamp::now();
    let moment = prost_types::Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond() };
    LicenceChange {
        source: "main".to_owned(),
        change_id: format!("c-{sequence}"),
        sequence,
        document_kind: DocumentKind::ResidentId.into(),
        licence_number: NUMBER.to_owned(),
        recorded_at: Some(moment),
        effective: Some(licence_change::Effective::EffectiveAt(moment)),
        kind: Some(kind),
    }
}

fn set(letter: &str) -> licence_change::Kind {
    licence_change::Kind::StateSet(StateLetterSet { letter: letter.to_owned(), original_end: None })
}

fn lifted(letter: &str) -> licence_change::Kind {
    licence_change::Kind::StateLifted(letter.to_owned())
}

fn reason_of(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// What the police are told about the driver of [`NUMBER`]: always the same question, so that it may be asked often.
async fn decision(gateway: &Gateway<'_>) -> (Decision, Vec<Reason>) {
    let mut terminal = gateway.partner("enforcement-demo").await;
    let question = VerifyRequest {
        subject: Some(verify_request::Subject::Claim(claim(NUMBER, NAME, GroundKind::LegalDuty))),
        question: Some(verify_request::Question::Enforcement(EnforcementQuestion::default())),
        case_reference: "CASE-1".to_owned(),
        operator_id: "terminal-1".to_owned(),
        ..VerifyRequest::default()
    };
    let answer = terminal.verify(question).await.expect("an answer").into_inner();
    let reasons = answer.criteria.iter().map(|criterion| criterion.reason());
    (answer.decision(), reasons.filter(|reason| *reason != Reason::Unspecified).collect())
}

#[test]
fn a_file_goes_in_once_however_often_it_is_applied() {
    let deployment = Deployment::new();
    let before = changes_on_record(&deployment);
    let file = large_file(&deployment, "changes.ndjson");
    let count = (DRIVERS * CHANGES_EACH) as u64;
    let gateway = deployment.serve();
    let (first, status) = apply(&deployment, gateway.address(), &file, &[]);
    assert_eq!((status, &first["applied"], &first["lines"]), (0, &json!(count), &json!(count)), "{first}");
    let (again, status) = apply(&deployment, gateway.address(), &file, &[]);
    assert_eq!((status, &again["duplicates"], &again["applied"]), (0, &json!(count), &json!(0)), "{again}");
    assert!(gateway.stop());
    assert_eq!(changes_on_record(&deployment), before + count);
    assert!(!deployment.everything().join("changes.ndjson.rejects.ndjson").exists(), "nothing was refused");
}

/// Goal: nothing is lost and nothing doubled when the gateway dies. Method: the process is killed in the middle of a file,
/// several times; the same command is run until it succeeds; the registry then holds exactly the file.
#[test]
fn a_gateway_killed_in_the_middle_loses_and_doubles_nothing() {
    let deployment = Deployment::new();
    let before = changes_on_record(&deployment);
    let file = large_file(&deployment, "changes.ndjson");
    let mut interrupted = 0;
    for round in 0..3_u64 {
        let gateway = deployment.serve();
        let mut client = client_of(&deployment, gateway.address(), &file, &["--retries", "0"]);
        std::thread::sleep(Duration::from_millis(120 + 90 * round));
        gateway.kill();
        interrupted += usize::from(!client.wait().expect("it ends").success());
    }
    assert!(interrupted > 0, "the kills came too late to interrupt anything");
    let gateway = deployment.serve();
    let (said, status) = apply(&deployment, gateway.address(), &file, &[]);
    assert_eq!(status, 0, "{said}");
    assert!(gateway.stop());
    assert_eq!(changes_on_record(&deployment), before + (DRIVERS * CHANGES_EACH) as u64);
}

fn client_of(
    deployment: &Deployment,
    server: SocketAddr,
    file: &std::path::Path,
    more: &[&str],
) -> std::process::Child {
    Command::new(BINARY)
        .args(["authority", "apply", file.to_str().expect("text"), "--json", "--as", "authority-demo"])
        .args(["--server", &server.to_string(), "--dir", deployment.folder().to_str().expect("text")])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

/// A wire that breaks: forwards to the gateway, and cuts each of its first connections after so many bytes.
fn breaking_wire(to: SocketAddr, cuts: Arc<AtomicUsize>, bytes_until_cut: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(to) else { continue };
            let cuts_this =
                cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            let limit = if cuts_this { bytes_until_cut } else { usize::MAX };
            let (up, down) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
            std::thread::spawn(move || forward(near, far, limit));
            std::thread::spawn(move || forward(down, up, usize::MAX));
        }
    });
    address
}

fn forward(mut from: TcpStream, mut to: TcpStream, limit: usize) {
    let mut bytes = [0; 4096];
    let mut passed = 0;
    while let Ok(count) = from.read(&mut bytes) {
        passed += count;
        if count == 0 || passed > limit || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_wire_that_breaks_is_taken_up_again_by_the_same_command() {
    let deployment = Deployment::new();
    let before = changes_on_record(&deployment);
    let file = large_file(&deployment, "changes.ndjson");
    let gateway = deployment.serve();
    let cuts = Arc::new(AtomicUsize::new(4));
    let wire = breaking_wire(gateway.address(), Arc::clone(&cuts), 100_000);
    let (said, status) = apply(&deployment, wire, &file, &["--server-name", "localhost"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(cuts.load(Ordering::SeqCst), 0, "every cut was made");
    let count = (DRIVERS * CHANGES_EACH) as u64;
    assert_eq!(said["applied"].as_u64().unwrap() + said["duplicates"].as_u64().unwrap(), count, "{said}");
    assert!(gateway.stop());
    assert_eq!(changes_on_record(&deployment), before + count);
}

/// Goal: a stuck revocation never leaves a "valid". Method: a revocation comes before what it waits for; a desk asks all along.
#[test]
fn answers_are_in_dispute_while_a_change_waits_and_right_afterwards() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        assert_eq!(decision(&gateway).await.0, Decision::Qualified);
        let mut stream = Stream::open(&gateway, "authority-demo").await.expect("it may");
        let early = letter(2, set("F"));
        assert_eq!(stream.told(early.clone()).await.outcome(), ChangeOutcome::Held);
        assert_eq!(decision(&gateway).await, (Decision::Indeterminate, vec![Reason::RecordInDispute]));
        tokio::time::sleep(Duration::from_secs(7)).await;
        let again = stream.told(early).await;
        assert_eq!((again.outcome(), again.stands()), (ChangeOutcome::Duplicate, ChangeOutcome::Quarantined));
        assert_eq!(again.quarantine_reason(), QuarantineReason::SequenceGap);
        assert_eq!(decision(&gateway).await.0, Decision::Indeterminate);
        let first = stream.told(LicenceChange { recorded_at: earlier(), ..letter(1, set("H")) }).await;
        assert_eq!(first.outcome(), ChangeOutcome::Applied);
        assert!(first.position.is_some());
        let (decided, reasons) = decision(&gateway).await;
        assert_eq!(decided, Decision::NotQualified, "{reasons:?}");
        stream.end().await.expect("it ends well");
    });
    assert!(gateway.stop());
}

/// A minute ago: before the change that waits.
fn earlier() -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: jiff::Timestamp::now().as_second() - 60, nanos: 0 })
}

#[test]
fn the_operator_sees_what_is_stuck_and_settles_it() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let folder = deployment.folder();
    let quarantine = |words: &[&str]| {
        let mut all = vec!["registry", "quarantine"];
        all.extend(words);
        all.extend(["--json", "--dir", folder.to_str().expect("text")]);
        told(&deployment.try_run(&all))
    };
    block_on(async {
        let mut stream = Stream::open(&gateway, "authority-demo").await.expect("it may");
        assert_eq!(stream.told(letter(1, set("F"))).await.outcome(), ChangeOutcome::Applied);
        let class = licence_change::Kind::ClassAdded(1);
        let stuck = stream.told(letter(2, class)).await;
        assert_eq!(stuck.quarantine_reason(), QuarantineReason::LicenceEnded);
        assert_eq!(stream.told(letter(3, lifted("F"))).await.outcome(), ChangeOutcome::Held);
        assert_eq!(decision(&gateway).await.0, Decision::Indeterminate);
    });
    let (listed, _) = quarantine(&["list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!((&listed[0]["change_id"], &listed[0]["reason"]), (&json!("c-2"), &json!("licence-ended")));
    assert!(!listed.to_string().contains(NUMBER), "nobody's number is shown");
    let first = listed[0]["handle"].as_str().expect("a handle");
    let second = listed[1]["handle"].as_str().expect("a handle");
    assert_eq!(quarantine(&["discard", second]).1, 1, "not before the first");
    assert_eq!(quarantine(&["replay", first]).1, 1, "it still cannot be");
    let (discarded, status) = quarantine(&["discard", first]);
    assert_eq!((status, &discarded["applied"]), (0, &json!(1)), "{discarded}");
    assert_eq!(quarantine(&["list"]).0, json!([]));
    assert_eq!(quarantine(&["discard", first]).1, 1, "it is gone");
    assert_eq!(quarantine(&["discard", "../partners"]).1, 2, "no handle");
    block_on(async { assert_eq!(decision(&gateway).await.0, Decision::Qualified) });
    eventually(&gateway, r#"drivegate_intake_waiting{state="quarantined"}"#, 0.0);
    eventually(&gateway, r#"drivegate_intake_changes_total{outcome="quarantined"}"#, 1.0);
    eventually(&gateway, r#"drivegate_intake_changes_total{outcome="released"}"#, 1.0);
    assert!(gateway.stop());
}

/// Waits until a sample of the metrics has a value.
fn eventually(gateway: &Gateway<'_>, sample: &str, value: f64) {
    let end = Instant::now() + SOON;
    loop {
        let (_, text) = gateway.page("/metrics");
        let found =
            text.lines().find_map(|line| line.strip_prefix(sample)).and_then(|rest| rest.trim().parse().ok());
        if found == Some(value) {
            return;
        }
        assert!(Instant::now() < end, "{sample} is {found:?}, not {value}\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn only_an_authority_may_and_only_while_it_may() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let folder = deployment.folder();
    block_on(async {
        for partner in ["rental-demo", "insurer-demo", "enforcement-demo", "wallet-demo"] {
            let refused = Stream::open(&gateway, partner).await.err().expect("it may not");
            assert_eq!(
                (refused.code(), reason_of(&refused).as_str()),
                (Code::PermissionDenied, "METHOD_NOT_PERMITTED")
            );
        }
        let mut open = Stream::open(&gateway, "authority-demo").await.expect("it may");
        assert_eq!(open.told(letter(1, set("H"))).await.outcome(), ChangeOutcome::Applied);
        let suspend =
            ["partner", "suspend", "authority-demo", "--reason", "test", "--dir", folder.to_str().unwrap()];
        deployment.run(&suspend);
        let suspended = Instant::now();
        let cut_off = open.next().await.expect_err("an idle stream is cut off too");
        assert!(suspended.elapsed() < Duration::from_secs(2), "{:?}", suspended.elapsed());
        assert_eq!(
            (cut_off.code(), reason_of(&cut_off).as_str()),
            (Code::PermissionDenied, "PARTNER_SUSPENDED")
        );
        let refused = Stream::open(&gateway, "authority-demo").await.err().expect("it may not");
        assert_eq!(reason_of(&refused), "PARTNER_SUSPENDED");
    });
    let file = deployment.everything().join("one.ndjson");
    let change = recorded_now(json!({ "kind": "points-cleared" }));
    fs::write(&file, filed(NUMBER, 2, &change)).expect("the file can be written");
    assert_eq!(apply(&deployment, gateway.address(), &file, &[]).1, 3, "refused");
    assert!(gateway.stop());
}

#[test]
fn a_stop_ends_streams_in_an_orderly_way() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let process = gateway.process();
    block_on(async {
        let mut stream = Stream::open(&gateway, "authority-demo").await.expect("it may");
        assert_eq!(stream.told(letter(1, set("H"))).await.outcome(), ChangeOutcome::Applied);
        kill_process(process, Signal::TERM).expect("it is running");
        let ended = stream.next().await.expect_err("it drains");
        assert_eq!((ended.code(), reason_of(&ended).as_str()), (Code::Unavailable, "DRAINING"));
    });
    assert!(gateway.ended(), "an open stream does not keep it from stopping well");
}

#[test]
fn one_faulty_change_never_stops_the_others() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        let mut stream = Stream::open(&gateway, "authority-demo").await.expect("it may");
        let nobody = "000000199001019995";
        let batch = vec![
            letter(1, set("H")),
            LicenceChange { change_id: String::new(), ..letter(2, set("H")) },
            LicenceChange { kind: None, ..letter(2, set("H")) },
            LicenceChange {
                licence_number: nobody.to_owned(),
                change_id: "n-1".to_owned(),
                ..letter(1, set("H"))
            },
            LicenceChange {
                effective: Some(licence_change::Effective::EffectiveDay(CivilDate {
                    year: 0,
                    month: 13,
                    day: 99,
                })),
                licence_number: nobody.to_owned(),
                change_id: "n-2".to_owned(),
                ..letter(2, set("H"))
            },
        ];
        stream.send(batch).await;
        let told = stream.next().await.expect("acknowledgements");
        let outcomes: Vec<_> = told.iter().map(Acknowledgement::outcome).collect();
        use ChangeOutcome as O;
        assert_eq!(outcomes, [O::Applied, O::Rejected, O::Quarantined, O::Quarantined, O::Rejected]);
        assert_eq!(told.iter().map(|told| told.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(told[1].reject_reason(), RejectReason::Malformed);
        assert_eq!(told[1].faults[0].field, "change_id");
        assert_eq!(
            (told[2].quarantine_reason(), told[2].faults[0].field.as_str()),
            (QuarantineReason::NotUnderstood, "kind")
        );
        assert_eq!(told[3].quarantine_reason(), QuarantineReason::UnknownSubject);
        assert_eq!(told[4].reject_reason(), RejectReason::NotUnderstood);
        assert_eq!(
            decision(&gateway).await.0,
            Decision::Indeterminate,
            "what was not understood may be a revocation"
        );
        assert_eq!(stream.told(letter(2, lifted("H"))).await.outcome(), O::Applied, "sent again, corrected");
        assert_eq!(decision(&gateway).await.0, Decision::Qualified);
        stream.send(Vec::new()).await;
        let ended = stream.next().await.expect_err("a message without changes");
        assert_eq!((ended.code(), reason_of(&ended).as_str()), (Code::InvalidArgument, "REQUEST_MALFORMED"));
    });
    assert!(gateway.stop());
}

#[test]
fn a_file_with_bad_lines_says_which_and_why_and_the_rest_goes_in() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    let change = |kind: &str| recorded_now(json!({ "kind": kind }));
    let lines = [
        filed(NUMBER, 1, &change("points-cleared")),
        "not json".to_owned(),
        filed(NUMBER, 2, &change("no-such-kind")),
        filed(NUMBER, 2, &change("points-cleared")),
        filed(NUMBER, 3, &change("dispute-settled")),
        filed("000000199001019995", 1, &change("points-cleared")),
    ];
    let file = deployment.everything().join("some.ndjson");
    fs::write(&file, lines.join("\n")).expect("the file can be written");
    let (said, status) = apply(&deployment, gateway.address(), &file, &[]);
    assert_eq!(
        (status, &said["applied"], &said["unreadable"], &said["quarantined"]),
        (2, &json!(2), &json!(3), &json!(1))
    );
    let named = fs::read_to_string(said["rejects"].as_str().expect("a path")).expect("it is there");
    let named: BTreeMap<u64, String> = named
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| (line["line"].as_u64().unwrap(), line["reason"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(named.keys().copied().collect::<Vec<_>>(), [2, 3, 5, 6]);
    assert!(named[&6].contains("unknown-subject"), "{named:?}");
    assert!(!format!("{named:?}").contains("000000199001019995"), "never the value");
    let nowhere = deployment.everything().join("nowhere.ndjson");
    assert_eq!(apply(&deployment, gateway.address(), &nowhere, &[]).1, 1, "no such file");
    assert!(gateway.stop());
}
