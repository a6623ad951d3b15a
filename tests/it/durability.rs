//! No record, no disclosure: what was answered is in the journal, whatever happens to the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drivegate::audit::{JournalReader, StoredEntry};
use drivegate::gateway::proto::Evidence;
use tokio::task::JoinSet;

use super::asks::{NAME, NUMBER, insurance_claim};
use super::harness::{Deployment, Partner, block_on};

/// How often the process is killed in one run.
const KILLS: u64 = 4;
/// Callers at once.
const CALLERS: usize = 16;

/// Goal: an answer a partner holds is in the log even if the process died in the same millisecond. Method: callers ask
/// as fast as they can, the process is killed with SIGKILL in the middle, and every answer that arrived is looked for
/// in the files. Then the next process goes on in the same folder.
#[test]
fn every_answer_that_left_is_in_the_journal_after_a_kill() {
    let deployment = Deployment::new();
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
    let mut answered: HashMap<String, Vec<u64>> = HashMap::new();
    for round in 0..KILLS {
        let gateway = deployment.serve();
        let held = block_on(async {
            let partner = gateway.partner("insurer-demo").await;
            let asking = tokio::spawn(ask_until_the_end(partner));
            tokio::time::sleep(Duration::from_millis(150 + 97 * round)).await;
            gateway.kill();
            asking.await.expect("the callers end")
        });
        assert!(!held.is_empty(), "round {round}: nothing was answered before the kill");
        for evidence in held {
            answered.entry(evidence.log_origin).or_default().push(evidence.entry_index);
        }
    }
    let folder = deployment.folder().join("data/log");
    for (origin, indices) in answered {
        let entries = entries_of(&folder, &origin);
        for index in indices {
            assert!(entries.contains_key(&index), "answer {index} of {origin} is not in the journal");
        }
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

/// Reads a whole log.
fn entries_of(folder: &std::path::Path, origin: &str) -> HashMap<u64, StoredEntry> {
    let reader = JournalReader::open_origin(folder, origin).expect("the log can be read");
    reader.map(|entry| entry.expect("no gap, no damage")).map(|entry| (entry.index, entry)).collect()
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
