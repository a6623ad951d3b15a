//! Who writes and who asks: the authority revokes licences and restores them, the police ask about them at every replica.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drivegate::gateway::proto::authority_service_client::AuthorityServiceClient;
use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use drivegate::gateway::proto::{
    Acknowledgement, ApplyChangesRequest, ChangeOutcome, Decision, DocumentKind, EnforcementQuestion,
    FeedPosition, GroundKind, LicenceChange, Source, StateLetterSet, VerifyRequest, VerifyResponse,
    licence_change, verify_request,
};
use drivegate::identity::client::ClientTls;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::record::{Answer, Change, History, Level, Licence};
use crate::asks::claim;

/// Test drivers whose licences are in order.
pub(super) const DRIVERS: [(&str, &str); 8] = [
    ("000000199001010114", "测试甲"),
    ("000000199001010317", "测试甲"),
    ("000000199001010325", "测试乙"),
    ("000000199001010413", "测试甲"),
    ("000000199001010616", "测试甲"),
    ("000000199001010712", "测试甲"),
    ("000000199001012611", "测试甲"),
    ("00000019900101262X", "测试乙"),
];
/// A question is given up after this long; longer than a gateway is stopped, so that what it had begun still arrives.
const PATIENCE: Duration = Duration::from_secs(12);
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

/// One replica, as its callers see it.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) index: usize,
    pub(super) address: SocketAddr,
    pub(super) terminal: ClientTls,
    pub(super) authority: ClientTls,
}

/// What all of them share.
pub(super) struct Stage {
    pub(super) history: Mutex<History>,
    /// Outcomes other than answers: when, and which code.
    pub(super) errors: Mutex<Vec<(Duration, Code)>>,
    pub(super) ended: AtomicBool,
}

impl Stage {
    pub(super) fn new() -> Arc<Self> {
        let history = History { changes: vec![Vec::new(); DRIVERS.len()], ..History::default() };
        Arc::new(Self {
            history: Mutex::new(history),
            errors: Mutex::default(),
            ended: AtomicBool::new(false),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// The machine's clock that counts suspension.
pub(super) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
}

/// Notes when this process was not let run, so that what it had not looked at is not laid at a gateway's door.
pub(super) async fn watch_myself(stage: Arc<Stage>) {
    const TICK: Duration = Duration::from_millis(10);
    while !stage.is_over() {
        let before = now();
        tokio::time::sleep(TICK).await;
        let overslept = now().saturating_sub(before + TICK);
        if overslept > TICK {
            stage.history.lock().unwrap().overslept.push((now(), overslept));
        }
    }
}

fn question(driver: usize) -> VerifyRequest {
    let (number, name) = DRIVERS[driver];
    VerifyRequest {
        subject: Some(verify_request::Subject::Claim(claim(number, name, GroundKind::LegalDuty))),
        question: Some(verify_request::Question::Enforcement(EnforcementQuestion::default())),
        case_reference: "CASE-1".to_owned(),
        operator_id: "terminal-1".to_owned(),
        ..VerifyRequest::default()
    }
}

/// Asks one replica about one driver after the other until the play is over.
pub(super) async fn ask_on(stage: Arc<Stage>, replica: Replica, seed: u64, pause: Duration) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut open = None;
    while !stage.is_over() {
        let Some(mut desk) = open.take() else {
            let connected =
                replica.terminal.connect(replica.address, "localhost", Duration::from_secs(5)).await;
            open = connected.ok().map(VerificationServiceClient::new);
            tokio::time::sleep(pause).await;
            continue;
        };
        let (driver, asked) = (random.random_range(0..DRIVERS.len()), now());
        match tokio::time::timeout(PATIENCE, desk.verify(question(driver))).await {
            Ok(Ok(answer)) => {
                match heard(driver, replica.index, asked, answer.get_ref()) {
                    Some(answer) => stage.history.lock().unwrap().answers.push(answer),
                    None => stage.errors.lock().unwrap().push((now(), Code::Unknown)),
                }
                open = Some(desk);
            }
            Ok(Err(status)) => {
                stage.errors.lock().unwrap().push((now(), status.code()));
                // A refusal names its reason in details; a connection that broke has none.
                open = (!status.details().is_empty()).then_some(desk);
            }
            Err(_elapsed) => stage.errors.lock().unwrap().push((now(), Code::DeadlineExceeded)),
        }
        tokio::time::sleep(pause.mul_f64(random.random_range(0.5..1.5))).await;
    }
}

/// Notes an answer; `None`: it decides nothing.
fn heard(driver: usize, replica: usize, asked: Duration, answer: &VerifyResponse) -> Option<Answer> {
    let (arrived, clock) = (now(), jiff::Timestamp::now());
    let says = match answer.decision() {
        Decision::Qualified => Licence::Good,
        Decision::NotQualified => Licence::Revoked,
        _ => return None,
    };
    let provenance = answer.provenance.as_ref().expect("every answer says where it comes from");
    let observed_at = provenance.observed_at.expect("and as of when");
    let observed_at = jiff::Timestamp::new(observed_at.seconds, observed_at.nanos).expect("a moment");
    let ago = clock.duration_since(observed_at);
    let observed =
        if ago.is_negative() { arrived + ago.unsigned_abs() } else { arrived - ago.unsigned_abs() };
    let from = match provenance.source() {
        Source::InProcess => Level::InProcess,
        Source::Redis => Level::Redis,
        Source::Registry => Level::Registry,
        Source::Unspecified => panic!("a confirmed subject's answer names its source"),
    };
    let position = place(provenance.position.as_ref().expect("a confirmed subject's answer has a position"));
    Some(Answer { driver, replica, asked, arrived, says, position, observed, from })
}

fn place(position: &FeedPosition) -> (u32, u32, u64) {
    (position.epoch, position.partition, position.seq)
}

/// Revokes licences and restores them, each change until it is acknowledged, at whichever replica takes it.
pub(super) async fn write_on(stage: Arc<Stage>, replicas: Vec<Replica>, mine: Vec<usize>, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut turn = random.random_range(0..replicas.len());
    let mut open = None;
    while !stage.is_over() {
        let driver = mine[random.random_range(0..mine.len())];
        let (change, number) = next_change(&stage, driver);
        let acknowledged = loop {
            if open.is_none() {
                turn += 1;
                open = Stream::open(&replicas[turn % replicas.len()]).await.ok();
            }
            let Some(stream) = &mut open else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            match tokio::time::timeout(ACKNOWLEDGED_WITHIN, stream.told(change.clone())).await {
                Ok(Ok(acknowledged)) => break acknowledged,
                _ => open = None,
            }
            if stage.is_over() {
                return;
            }
        };
        let (at, outcome) = (now(), acknowledged.outcome());
        let stands = if outcome == ChangeOutcome::Duplicate { acknowledged.stands() } else { outcome };
        assert_eq!(stands, ChangeOutcome::Applied, "{acknowledged:?}");
        {
            let noted = &mut stage.history.lock().unwrap().changes[driver][number];
            (noted.acknowledged, noted.position) = (Some(at), acknowledged.position.as_ref().map(place));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..250))).await;
    }
}

/// Notes the next change of a driver as sent; returns it, and its place among the driver's.
fn next_change(stage: &Stage, driver: usize) -> (LicenceChange, usize) {
    let moment = jiff::Timestamp::now();
    let moment = prost_types::Timestamp { seconds: moment.as_second(), nanos: moment.subsec_nanosecond() };
    let mut history = stage.history.lock().unwrap();
    let changes = &mut history.changes[driver];
    // 吊销, and its reversal.
    let (number, letter) = (changes.len(), "F".to_owned());
    let (makes, kind) = if number % 2 == 0 {
        let set = StateLetterSet { letter, original_end: None };
        (Licence::Revoked, licence_change::Kind::StateSet(set))
    } else {
        (Licence::Good, licence_change::Kind::StateLifted(letter))
    };
    changes.push(Change { makes, sent: now(), acknowledged: None, position: None });
    let change = LicenceChange {
        source: "main".to_owned(),
        change_id: format!("c-{driver}-{number}"),
        sequence: number as u64 + 1,
        document_kind: DocumentKind::ResidentId.into(),
        licence_number: DRIVERS[driver].0.to_owned(),
        recorded_at: Some(moment),
        effective: Some(licence_change::Effective::EffectiveAt(moment)),
        kind: Some(kind),
    };
    (change, number)
}

/// A stream of the authority's.
struct Stream {
    changes: mpsc::Sender<ApplyChangesRequest>,
    answers: tonic::Streaming<drivegate::gateway::proto::ApplyChangesResponse>,
}

impl Stream {
    async fn open(replica: &Replica) -> Result<Self, Status> {
        let connecting = replica.authority.connect(replica.address, "localhost", Duration::from_secs(1));
        let channel = connecting.await.map_err(|error| Status::unavailable(error.to_string()))?;
        let (changes, outgoing) = mpsc::channel(1);
        let mut authority = AuthorityServiceClient::new(channel);
        let opening = authority.apply_changes(ReceiverStream::new(outgoing));
        let opened = tokio::time::timeout(ACKNOWLEDGED_WITHIN, opening).await;
        let opened = opened.map_err(|_elapsed| Status::deadline_exceeded("no stream"))??;
        Ok(Self { changes, answers: opened.into_inner() })
    }

    async fn told(&mut self, change: LicenceChange) -> Result<Acknowledgement, Status> {
        let gone = |_| Status::unavailable("the stream is over");
        self.changes.send(ApplyChangesRequest { changes: vec![change] }).await.map_err(gone)?;
        let answer = self.answers.message().await?;
        let mut told = answer.map(|answer| answer.acknowledgements).unwrap_or_default();
        told.pop().ok_or_else(|| Status::unavailable("the stream is over"))
    }
}
