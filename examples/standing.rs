//! How long a suspension takes to bite on every replica: `scripts/bench-standing` starts them and runs this.
//!
//! ```text
//! standing ROUNDS ADDRESS=FOLDER ADDRESS=FOLDER …
//! ```
//!
//! A partner keeps a connection to each replica and asks over all of them without a pause. Each round the operator suspends it at one
//! replica, in turn, and resumes it at the next. Measured: from the operator's acknowledgement until the last replica's refusal (or
//! answer) has arrived. A line of JSON for each kind of change.
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
use drivegate::gateway::proto::GetLimitsRequest;
use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use drivegate::identity::client::ClientTls;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Partner = VerificationServiceClient<Channel>;

const PARTNER: &str = "rental-demo";
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
    let mut partners = Vec::new();
    for (address, folder) in &replicas {
        partners.push(connect(*address, &folder.join("pki")).await?);
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
        let mut last = acknowledged;
        while let Some(heard) = everywhere.join_next().await {
            last = last.max(heard??);
        }
        took[usize::from(!suspends)].push(last - acknowledged);
    }
    for (what, mut took) in ["suspended", "resumed"].into_iter().zip(took) {
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
        println!(
            "{{\"what\": \"{what}\", \"replicas\": {}, \"rounds\": {rounds}, \"p50_ms\": {:.1}, \"p99_ms\": {:.1}, \"max_ms\": {:.1}}}",
            replicas.len(),
            at(50),
            at(99),
            at(100),
        );
    }
    Ok(())
}

async fn connect(address: SocketAddr, pki: &std::path::Path) -> Result<Partner, Fault> {
    let (chain, key) = (pki.join(format!("{PARTNER}.pem")), pki.join(format!("{PARTNER}.key")));
    let tls = ClientTls::from_files(&pki.join("ca.pem"), Some((&chain, &key)))?;
    Ok(VerificationServiceClient::new(tls.connect(address, "localhost", Duration::from_secs(5)).await?))
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
