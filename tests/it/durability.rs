//! No record, no disclosure: what was answered is in the journal, whatever happens to the process.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drivegate::app::SystemClock;
use drivegate::audit::{Journal, JournalOptions, LogTree, NoObserver, StoredLog, TreeOptions};
use drivegate::gateway::proto::Evidence;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tlog_tiles::tlog::{Hash, check_record, record_hash};
use tokio::task::JoinSet;

use super::asks::{NAME, NUMBER, insurance_claim};
use super::harness::{Deployment, Partner, block_on};

/// How often the process is killed in one run; `scripts/kill-test` says more.
const KILLS: u64 = 4;
/// Callers at once.
const CALLERS: usize = 16;

/// Goal: an answer a partner holds is in the log even if the process died in the same millisecond, and can be proved. Method:
/// callers ask as fast as they can, the process is killed with SIGKILL at a random moment, and the next one goes on in the same
/// folder. In the end the log is checked, signed, and every answer that arrived is proved to be in it.
#[test]
fn every_answer_that_left_is_in_the_journal_after_a_kill() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = number("DRIVEGATE_KILLS").unwrap_or(KILLS);
    let seed = number("DRIVEGATE_SEED").unwrap_or_else(rand::random);
    eprintln!("DRIVEGATE_SEED={seed} repeats these moments");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let deployment = Deployment::new();
    without_limits(&deployment);
    let mut answered: HashMap<String, BTreeSet<u64>> = HashMap::new();
    let mut rounds_answered = 0;
    for round in 0..kills {
        let gateway = deployment.serve();
        let moment = Duration::from_micros(random.random_range(1_000..600_000));
        let held = block_on(async {
            let partner = gateway.partner("insurer-demo").await;
            let asking = tokio::spawn(ask_until_the_end(partner));
            tokio::time::sleep(moment).await;
            gateway.kill();
            asking.await.expect("the callers end")
        });
        rounds_answered += u64::from(!held.is_empty());
        for evidence in held {
            let is_new = answered.entry(evidence.log_origin).or_default().insert(evidence.entry_index);
            assert!(is_new, "round {round}: two answers have entry {}", evidence.entry_index);
        }
    }
    assert!(
        rounds_answered > kills / 4,
        "hardly anything was answered before the kills: {rounds_answered} of {kills}"
    );
    let folder = deployment.folder();
    for (origin, indices) in answered {
        sign(&folder.join("data/log"), &origin);
        prove(&folder.join("data/log"), &origin, &indices);
    }
    deployment.run(&["audit", "fsck", folder.to_str().expect("text")]);
}

/// Takes the limits out of the insurer's way.
pub(crate) fn without_limits(deployment: &Deployment) {
    deployment.contract("insurer-demo", |document| {
        let allowance = document["allowance"].as_table_mut().expect("a table");
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

/// Opens the log as the next process would, and signs what it finds.
fn sign(folder: &Path, origin: &str) {
    let (name, _) = origin.rsplit_once('-').expect("a name and random digits");
    let options = JournalOptions::new(folder, name);
    let journal =
        Journal::open(options, Arc::new(SystemClock), Arc::new(NoObserver)).expect("the log is recovered");
    assert_eq!(&**journal.origin(), origin, "the log goes on");
    let tree =
        LogTree::open(&journal, TreeOptions::default(), Arc::new(SystemClock)).expect("the tree opens");
    journal.close();
    tree.close();
}

/// Proves every answer's entry against the signed tree head, with a verifier that is not ours.
fn prove(folder: &Path, origin: &str, indices: &BTreeSet<u64>) {
    let log = StoredLog::open(folder, origin).expect("the log can be read");
    let head = log.checkpoint().expect("it was signed");
    for index in indices {
        let entry = log.entry(*index).expect("it can be read");
        let entry = entry.unwrap_or_else(|| panic!("answer {index} of {origin} is not in the journal"));
        let hashes = log.inclusion(*index, head.size).expect("it is proved").into_iter().map(Hash).collect();
        let leaf = record_hash(&entry);
        check_record(&hashes, head.size, Hash(head.root), *index, leaf)
            .unwrap_or_else(|fault| panic!("the proof of {index} does not hold: {fault:?}"));
    }
}

/// Asks with many callers until the connection breaks; returns where each answer stands.
async fn ask_until_the_end(partner: Partner) -> Vec<Evidence> {
    let ended = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (mut partner, ended) = (partner.clone(), Arc::clone(&ended));
        callers.spawn(async move {
            let mut held = Vec::new();
            let question = insurance_claim(NUMBER, NAME);
            while !ended.load(Ordering::Relaxed) {
                let answer =
                    tokio::time::timeout(Duration::from_secs(5), partner.verify(question.clone())).await;
                match answer {
                    Ok(Ok(answer)) => held.extend(answer.into_inner().evidence),
                    _ => ended.store(true, Ordering::Relaxed),
                }
            }
            held
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

/// A gateway that cannot keep its log does not begin to serve.
#[test]
fn a_log_that_cannot_be_written_at_start_is_told_and_nothing_is_served() {
    let deployment = Deployment::new();
    let folder = deployment.folder().join("data/log");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::write(&folder, b"a file where the folder should be").expect("it can be written");
    let config = deployment.folder().join("config.toml");
    let words = [
        "serve",
        "--config",
        config.to_str().expect("text"),
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    let done = deployment.try_run(&words);
    assert!(!done.status.success(), "serve must not run without its log");
    assert!(!String::from_utf8_lossy(&done.stdout).contains("\"ready\""));
}
