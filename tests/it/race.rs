//! One use means one use: whatever races, and whatever dies, no token is answered to two requests.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drivegate::gateway::proto::presentation_service_client::PresentationServiceClient;
use drivegate::gateway::proto::verification_service_client::VerificationServiceClient;
use drivegate::gateway::proto::verify_request::Subject;
use drivegate::gateway::proto::{
    Audience, DocumentKind, Holder, IssueQrRequest, PartnerKind, Purpose, VerifyRequest, audience,
};
use drivegate::identity::client::ClientTls;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, block_on};
use super::testing;

/// Tokens raced for in one run; `scripts/race` says more.
const TOKENS: u64 = 240;
const REPLICAS: usize = 3;
/// Requests that want the same token.
const CLIENTS: u64 = 8;
/// Tokens raced for at once.
const RACES_AT_ONCE: usize = 12;
/// How often one request is sent before it is given up.
const ATTEMPTS_MAX: usize = 200;

/// The replicas as clients see them: where each one listens now, if it does.
struct Replicas {
    addresses: [Mutex<Option<SocketAddr>>; REPLICAS],
    wallets: Vec<ClientTls>,
    desks: Vec<ClientTls>,
    /// By place and client. One to a gateway that died is opened anew by its next caller.
    open: Mutex<HashMap<(SocketAddr, u64), Channel>>,
}

/// The wallet's place among the clients.
const WALLET: u64 = CLIENTS;

/// Goal: of many requests that show one QR code, at most one is ever answered, whichever replica they reach and whichever of
/// them is killed in the middle; and nearly every token is answered, for its request may be sent again. Method: three gateways
/// on one PostgreSQL, eight requests for each token, a replica killed with SIGKILL at random moments and started again.
#[test]
fn no_token_is_answered_to_two_requests_whatever_dies() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let tokens = number("DRIVEGATE_TOKENS").unwrap_or(TOKENS);
    let seed = number("DRIVEGATE_SEED").unwrap_or_else(rand::random);
    eprintln!("DRIVEGATE_SEED={seed} repeats these moments; {tokens} tokens");
    let server = testing::Server::start();
    let deployments = deployments(&server.database());
    let pki = |index: usize, partner: &str| {
        let pki = deployments[index].folder().join("pki");
        let (chain, key) = (pki.join(format!("{partner}.pem")), pki.join(format!("{partner}.key")));
        ClientTls::from_files(&pki.join("ca.pem"), Some((&chain, &key))).expect("the files are usable")
    };
    let replicas = Arc::new(Replicas {
        addresses: std::array::from_fn(|_| Mutex::new(None)),
        wallets: (0..REPLICAS).map(|index| pki(index, "wallet-demo")).collect(),
        desks: (0..REPLICAS).map(|index| pki(index, "rental-demo")).collect(),
        open: Mutex::default(),
    });
    let (ended, kills) = (AtomicBool::new(false), AtomicU64::new(0));
    let answered = std::thread::scope(|scope| {
        for (index, deployment) in deployments.iter().enumerate() {
            let (replicas, ended, kills) = (&replicas, &ended, &kills);
            let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_add(index as u64));
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let gateway = deployment.serve();
                    *replicas.addresses[index].lock().unwrap() = Some(gateway.address());
                    let lives = Duration::from_millis(random.random_range(300..3_000));
                    let dies = std::time::Instant::now() + lives;
                    while std::time::Instant::now() < dies && !ended.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    *replicas.addresses[index].lock().unwrap() = None;
                    gateway.kill();
                    kills.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let answered = block_on(race_for_all(&replicas, tokens));
        ended.store(true, Ordering::Relaxed);
        answered
    });
    let of = |count: usize| answered.iter().filter(|answers| **answers == count).count();
    let (none, double) = (of(0), answered.iter().filter(|answers| **answers > 1).count());
    eprintln!(
        "{tokens} tokens, {} requests, {} kills: {} answered once, {none} never, {double} twice",
        tokens * CLIENTS,
        kills.load(Ordering::Relaxed),
        of(1),
    );
    assert_eq!(double, 0, "answered to two requests");
    assert!(
        answered.len() as u64 == tokens && none as u64 * 10 <= tokens,
        "{none} of {tokens} were never answered"
    );
}

fn deployments(url: &str) -> Vec<Deployment> {
    let first = Deployment::on_postgres(url, None);
    let folder = first.folder();
    let folder = folder.to_str().expect("text");
    first.run(&["registry", "generate", "--count", "50", "--with-test-drivers", "--into", folder]);
    let mut deployments = vec![first];
    for _ in 1..REPLICAS {
        let more = Deployment::on_postgres(url, Some(&deployments[0].folder().join("data/registry.keys")));
        deployments.push(more);
    }
    for deployment in &deployments {
        share_presentation_keys(&deployment.folder());
        for partner in ["rental-demo", "wallet-demo"] {
            deployment.contract(partner, |contract| {
                let allowance = contract["allowance"].as_table_mut().expect("a table");
                for key in [
                    "rate_per_second",
                    "burst",
                    "in_flight_max",
                    "quota_per_minute",
                    "quota_per_hour",
                    "quota_per_day",
                ] {
                    allowance.insert(key.to_owned(), 1_000_000.into());
                }
            });
        }
    }
    deployments
}

/// Gives every replica the same keys: each opens what another one sealed.
fn share_presentation_keys(folder: &Path) {
    for (name, fill) in [("qr.key", 1), ("share-codes.key", 2)] {
        let path = folder.join("data").join(name);
        let file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
        file.expect("the key can be made").write_all(&[fill; 32]).expect("and written");
    }
}

/// Races for every token; returns how many requests were answered for each.
async fn race_for_all(replicas: &Arc<Replicas>, tokens: u64) -> Vec<usize> {
    let races = (0..tokens).map(|number| {
        let replicas = Arc::clone(replicas);
        async move {
            let token = replicas.issue(number).await;
            let requests = (0..CLIENTS).map(|client| replicas.scan(number, client, &token));
            join_all(requests).await.into_iter().filter(|answered| *answered).count()
        }
    });
    stream::iter(races).buffer_unordered(RACES_AT_ONCE).collect().await
}

impl Replicas {
    /// Returns a client's connection to the replica whose turn it is, if it lives.
    async fn connection(&self, turn: u64, client: u64) -> Option<Channel> {
        let index = usize::try_from(turn % REPLICAS as u64).expect("it is small");
        let address = (*self.addresses[index].lock().unwrap())?;
        if let Some(open) = self.open.lock().unwrap().get(&(address, client)) {
            return Some(open.clone());
        }
        let face = if client == WALLET { &self.wallets[index] } else { &self.desks[index] };
        let opened = face.connect(address, "localhost", Duration::from_secs(2)).await.ok()?;
        self.open.lock().unwrap().insert((address, client), opened.clone());
        Some(opened)
    }

    async fn issue(&self, number: u64) -> String {
        for attempt in 0.. {
            if let Some(channel) = self.connection(number + attempt, WALLET).await {
                let mut wallet = PresentationServiceClient::new(channel);
                let request = IssueQrRequest {
                    holder: Some(Holder {
                        document_kind: DocumentKind::ResidentId.into(),
                        licence_number: NUMBER.to_owned(),
                    }),
                    purpose: Purpose::Rental.into(),
                    audience: Some(Audience { whom: Some(audience::Whom::Kind(PartnerKind::Rental.into())) }),
                    ..Default::default()
                };
                if let Ok(Ok(issued)) =
                    tokio::time::timeout(Duration::from_secs(2), wallet.issue_qr(request)).await
                {
                    return issued.into_inner().token;
                }
            }
            assert!(attempt < 1_000, "no replica issues");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!("the loop has no end of its own")
    }

    /// Sends one request until it is answered or refused for good; says whether it was answered.
    async fn scan(&self, number: u64, client: u64, token: &str) -> bool {
        let request = VerifyRequest {
            subject: Some(Subject::Presentation(token.to_owned())),
            request_id: format!("race-{number}-{client}"),
            ..rental(NUMBER, NAME)
        };
        for attempt in 0..ATTEMPTS_MAX as u64 {
            if let Some(channel) = self.connection(number + client + attempt, client).await {
                let mut desk = VerificationServiceClient::new(channel);
                let answer = tokio::time::timeout(Duration::from_secs(3), desk.verify(request.clone())).await;
                match answer {
                    Ok(Ok(_answer)) => return true,
                    Ok(Err(status)) if is_final(&status) => return false,
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// Says whether sending the request again would not help: the token is somebody else's.
fn is_final(status: &Status) -> bool {
    assert_ne!(status.code(), Code::InvalidArgument, "the token is good: {status:?}");
    status.code() == Code::FailedPrecondition
}
