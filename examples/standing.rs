//! How long a suspension, and a change of the authority, take to bite on every replica: `scripts/bench-standing` starts them and runs this.
//!
//! ```text
//! standing ROUNDS ADDRESS=FOLDER ADDRESS=FOLDER …
//! ```
//!
//! A partner keeps a connection to each replica and asks over all of them without a pause. Each round the operator suspends it at one
//! replica, in turn, and resumes it at the next; then the authority revokes a licence at one replica and restores it at the next, while the police
//! ask about it everywhere. Measured: from the acknowledgement until the last replica's refusal (or answer, or other decision) has
//! arrived. A line of JSON for each kind of change.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own: its clock and output are real"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use drivegate::admin::client::AdminClient;
use drivegate::admin::report::StandingOrder;
use drivegate::gateway::proto::authority_service_client::AuthorityServiceClient;
use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use drivegate::gateway::proto::{
    ApplyChangesRequest, ApplyChangesResponse, ChangeOutcome, Claim, Decision, DocumentKind,
    EnforcementQuestion, GetLimitsRequest, Ground, GroundKind, LicenceChange, StateLetterSet, VerifyRequest,
    licence_change, verify_request,
};
use drivegate::identity::client::ClientTls;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Partner = VerificationServiceClient<Channel>;

const PARTNER: &str = "rental-demo";
const POLICE: &str = "enforcement-demo";
const AUTHORITY: &str = "authority-demo";
/// A test driver whose licence is in order.
const DRIVER: (&str, &str) = ("000000199001010114", "测试甲");
/// Between two rounds: replicas are asked at a moment that has nothing to do with their polls.
const PAUSE: Duration = Duration::from_millis(73);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Fault> {
    let mut words = std::env::args().skip(1);
    let rounds: usize = words.next().ok_or("how many rounds?")?.parse()?;
    let mut replicas: Vec<(SocketAddr, PathBuf)> = Vec::new();
    for word in words {
        let (address, folder) = word.split_once('=').ok_or("a replica is ADDRESS=FOLDER")?;
        replicas.push((address.parse()?, folder.into()));
    }
    let [suspended, resumed] = standing(&replicas, rounds).await?;
    tell("suspended", replicas.len(), suspended);
    tell("resumed", replicas.len(), resumed);
    let [revoked, restored] = changes(&replicas, rounds).await?;
    tell("revoked", replicas.len(), revoked);
    tell("restored", replicas.len(), restored);
    Ok(())
}

type Replicas = [(SocketAddr, PathBuf)];
type Took = [Vec<Duration>; 2];

fn tell(what: &str, replicas: usize, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{{\"what\": \"{what}\", \"replicas\": {replicas}, \"rounds\": {}, \"p50_ms\": {:.1}, \"p99_ms\": {:.1}, \"max_ms\": {:.1}}}",
        took.len(),
        at(50),
        at(99),
        at(100),
    );
}

/// Suspends and resumes the partner.
async fn standing(replicas: &Replicas, rounds: usize) -> Result<Took, Fault> {
    let mut partners = Vec::new();
    for (address, folder) in replicas {
        partners.push(VerificationServiceClient::new(connect(*address, folder, PARTNER).await?));
    }
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..2 * rounds {
        tokio::time::sleep(PAUSE).await;
        let suspends = round % 2 == 0;
        let socket = replicas[round % replicas.len()].1.join("data/admin.sock");
        let mut everywhere = JoinSet::new();
        for partner in &partners {
            everywhere.spawn(until(partner.clone(), suspends));
        }
        let acknowledged = tokio::task::spawn_blocking(move || say(&socket, suspends)).await??;
        took[usize::from(!suspends)].push(last_of(everywhere, acknowledged).await?);
    }
    Ok(took)
}

/// Revokes a licence and restores it.
async fn changes(replicas: &Replicas, rounds: usize) -> Result<Took, Fault> {
    let (mut police, mut authority) = (Vec::new(), Vec::new());
    for (address, folder) in replicas {
        police.push(VerificationServiceClient::new(connect(*address, folder, POLICE).await?));
        authority.push(Changes::open(connect(*address, folder, AUTHORITY).await?).await?);
    }
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..2 * rounds {
        tokio::time::sleep(PAUSE).await;
        let revokes = round % 2 == 0;
        let mut everywhere = JoinSet::new();
        for terminal in &police {
            everywhere.spawn(until_decided(terminal.clone(), revokes));
        }
        let place = round % replicas.len();
        let acknowledged = authority[place].apply(change(round, revokes)).await?;
        took[usize::from(!revokes)].push(last_of(everywhere, acknowledged).await?);
    }
    Ok(took)
}

/// Returns how long after the acknowledgement the last of them heard.
async fn last_of(
    mut everywhere: JoinSet<Result<Instant, Fault>>,
    acknowledged: Instant,
) -> Result<Duration, Fault> {
    let mut last = acknowledged;
    while let Some(heard) = everywhere.join_next().await {
        last = last.max(heard??);
    }
    Ok(last - acknowledged)
}

async fn connect(address: SocketAddr, folder: &std::path::Path, name: &str) -> Result<Channel, Fault> {
    let pki = folder.join("pki");
    let (chain, key) = (pki.join(format!("{name}.pem")), pki.join(format!("{name}.key")));
    let tls = ClientTls::from_files(&pki.join("ca.pem"), Some((&chain, &key)))?;
    Ok(tls.connect(address, "localhost", Duration::from_secs(5)).await?)
}

/// A stream of the authority's changes, one at a time.
struct Changes {
    changes: mpsc::Sender<ApplyChangesRequest>,
    answers: tonic::Streaming<ApplyChangesResponse>,
}

impl Changes {
    async fn open(channel: Channel) -> Result<Self, Fault> {
        let (changes, outgoing) = mpsc::channel(1);
        let opened =
            AuthorityServiceClient::new(channel).apply_changes(ReceiverStream::new(outgoing)).await?;
        Ok(Self { changes, answers: opened.into_inner() })
    }

    /// Hands a change in; returns when it was acknowledged.
    async fn apply(&mut self, change: LicenceChange) -> Result<Instant, Fault> {
        self.changes.send(ApplyChangesRequest { changes: vec![change] }).await?;
        let told = self.answers.message().await?.ok_or("the stream is over")?;
        let at = Instant::now();
        let outcome = told.acknowledgements.first().map(drivegate::gateway::proto::Acknowledgement::outcome);
        if outcome == Some(ChangeOutcome::Applied) { Ok(at) } else { Err(format!("{outcome:?}").into()) }
    }
}

/// 吊销, or its reversal.
fn change(round: usize, revokes: bool) -> LicenceChange {
    let letter = "F".to_owned();
    let now = Some(std::time::SystemTime::now().into());
    LicenceChange {
        source: "main".to_owned(),
        change_id: format!("measured-{round}"),
        sequence: round as u64 + 1,
        document_kind: DocumentKind::ResidentId.into(),
        licence_number: DRIVER.0.to_owned(),
        recorded_at: now,
        effective: now.map(licence_change::Effective::EffectiveAt),
        kind: Some(if revokes {
            licence_change::Kind::StateSet(StateLetterSet { letter, original_end: None })
        } else {
            licence_change::Kind::StateLifted(letter)
        }),
    }
}

/// Asks about the driver until the decision is the one that is waited for; returns when it arrived.
async fn until_decided(
    mut terminal: VerificationServiceClient<Channel>,
    revoked: bool,
) -> Result<Instant, Fault> {
    let wanted = if revoked { Decision::NotQualified } else { Decision::Qualified };
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let request = VerifyRequest {
            subject: Some(verify_request::Subject::Claim(Claim {
                document_kind: DocumentKind::ResidentId.into(),
                licence_number: DRIVER.0.to_owned(),
                full_name: DRIVER.1.to_owned(),
                ground: Some(Ground { kind: GroundKind::LegalDuty.into(), ..Ground::default() }),
                ..Claim::default()
            })),
            question: Some(verify_request::Question::Enforcement(EnforcementQuestion::default())),
            case_reference: "CASE-1".to_owned(),
            operator_id: "terminal-1".to_owned(),
            ..VerifyRequest::default()
        };
        if terminal.verify(request).await?.get_ref().decision() == wanted {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err("it did not come true".into())
}

/// Says it at one replica; returns when it was acknowledged.
fn say(socket: &std::path::Path, suspends: bool) -> Result<Instant, Fault> {
    let operator = AdminClient::connect(socket)?;
    let order = StandingOrder::because("measured");
    if suspends { operator.suspend(PARTNER, &order) } else { operator.resume(PARTNER, &order) }?;
    Ok(Instant::now())
}

/// Asks until the answer is a refusal for being suspended, or is none any more; returns when it arrived. A rate that is spent is refused
/// after the standing was read, and so counts as let in.
async fn until(mut partner: Partner, suspended: bool) -> Result<Instant, Fault> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let refusal = partner.get_limits(GetLimitsRequest {}).await.err();
        let reason = refusal.as_ref().and_then(|refusal| refusal.get_details_error_info());
        let is_suspended = reason.is_some_and(|info| info.reason == "PARTNER_SUSPENDED");
        if is_suspended == suspended {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err("it did not come true".into())
}
