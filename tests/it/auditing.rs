//! What an auditor does with a log, while its gateway serves: checks it, counts it, reads it, proves it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::asks::{NAME, NUMBER, insurance_claim, rental};
use super::durability::without_limits;
use super::harness::{Deployment, Gateway, block_on};

/// Callers at once.
const CALLERS: usize = 8;
/// How often the log is checked while it grows.
const CHECKS: usize = 6;

/// Goal: a growing log is never called damaged. Method: it is checked again and again while callers ask as fast as they can.
#[test]
fn a_log_that_grows_is_sound_whenever_one_looks() {
    let deployment = Deployment::new();
    without_limits(&deployment);
    let gateway = deployment.serve();
    let sizes = block_on(async {
        let partner = gateway.partner("insurer-demo").await;
        let ended = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (mut partner, ended) = (partner.clone(), Arc::clone(&ended));
                tokio::spawn(async move {
                    let mut answers = 0;
                    while !ended.load(Ordering::Relaxed) {
                        partner.verify(insurance_claim(NUMBER, NAME)).await.expect("an answer");
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        let sizes = tokio::task::block_in_place(|| {
            (0..CHECKS).map(|_| checked_size(&deployment)).collect::<Vec<_>>()
        });
        ended.store(true, Ordering::Relaxed);
        let mut answers = 0;
        for caller in callers {
            answers += caller.await.expect("it ends");
        }
        assert_eq!(checked_size(&deployment), answers, "one entry for every answer");
        sizes
    });
    assert!(
        sizes.is_sorted() && sizes.first() < sizes.last(),
        "the log grew while it was checked: {sizes:?}"
    );
    assert!(gateway.stop());
}

fn checked_size(deployment: &Deployment) -> u64 {
    let report = json_of(deployment, &["fsck"]);
    assert_eq!(report["findings"], serde_json::json!([]));
    report["size"].as_u64().expect("a size")
}

/// Runs a command of `audit` on the deployment, which must succeed, and reads what it printed.
fn json_of(deployment: &Deployment, words: &[&str]) -> Value {
    let folder = deployment.folder();
    let words = [&["audit"], words, &[folder.to_str().expect("text"), "--json"]].concat();
    serde_json::from_slice(&deployment.run(&words).stdout).expect("JSON")
}

/// Eight rentals and three claims are answered, and one purpose is refused.
fn some_answers(gateway: &Gateway<'_>) {
    block_on(async {
        let mut desk = gateway.partner("rental-demo").await;
        let question = rental(NUMBER, NAME);
        for _ in 0..8 {
            desk.verify(question.clone()).await.expect("an answer");
        }
        desk.verify(insurance_claim(NUMBER, NAME)).await.expect_err("not its purpose");
        let mut insurer = gateway.partner("insurer-demo").await;
        let question = insurance_claim(NUMBER, NAME);
        for _ in 0..3 {
            insurer.verify(question.clone()).await.expect("an answer");
        }
    });
}

#[test]
fn a_log_is_counted_read_and_proved_and_a_bill_held_against_it() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    some_answers(&gateway);
    assert!(gateway.stop());

    let stats = json_of(&deployment, &["stats"]);
    let lines = stats["lines"].as_array().expect("lines");
    let line = |partner: &str, key: &str| -> u64 {
        lines.iter().filter(|line| line["partner"] == partner).filter_map(|line| line[key].as_u64()).sum()
    };
    assert_eq!((line("rental-demo", "answers"), line("insurer-demo", "answers")), (8, 3), "{stats}");
    assert_eq!(line("rental-demo", "refused"), 1, "{stats}");
    let charged = line("rental-demo", "charged");
    assert_eq!(charged, 8);

    for (billed, code) in [(charged - 1, 0), (charged, 0), (charged + 1, 2)] {
        let bill = deployment.everything().join("bill.csv");
        fs::write(
            &bill,
            format!("partner,purpose,count\nrental-demo,rental,{billed}\ninsurer-demo,insurance-claim,3\n"),
        )
        .expect("it can be written");
        let folder = deployment.folder();
        let words =
            ["audit", "stats", folder.to_str().expect("text"), "--bill", bill.to_str().expect("text")];
        let done = deployment.try_run(&words);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(code), "{billed} billed:\n{said}");
        assert_eq!(said.contains("1 too many"), code == 2, "{said}");
    }

    let folder = deployment.folder();
    let folder = folder.to_str().expect("text");
    let exported = deployment.run(&["audit", "export", folder, "--partner", "rental-demo"]).stdout;
    let text = String::from_utf8(exported).expect("text");
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(entries.iter().filter(|entry| entry["kind"] == "answer").count(), 8);
    assert_eq!(
        entries.iter().filter(|entry| entry["reason"] == "PURPOSE_NOT_PERMITTED").count(),
        1,
        "{text}"
    );
    for identifier in [NUMBER, NAME, "CASE-2026-1", "clerk-17"] {
        assert!(!text.contains(identifier), "{identifier} has left with an export");
    }

    let size = json_of(&deployment, &["fsck"])["size"].as_u64().expect("a size").to_string();
    let proof = json_of(&deployment, &["prove", "3", &size]);
    assert_eq!(proof["verified"], true);
    let refused = deployment.try_run(&["audit", "prove", "3", "1000000", folder]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("fsck"), "it says what to do next");
}

#[test]
fn a_damaged_log_is_told_by_its_first_bad_index_and_exit_code() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    some_answers(&gateway);
    assert!(gateway.stop());
    let origin = json_of(&deployment, &["fsck"])["origin"].as_str().expect("a name").to_owned();
    let segment = deployment.folder().join("data/log").join(&origin).join("00000000000000000000.seg");
    let mut bytes = fs::read(&segment).expect("it can be read");
    // Somewhere in the first entry.
    bytes[128 + 8 + 60] ^= 1;
    fs::write(&segment, bytes).expect("it can be written");
    let folder = deployment.folder();
    let done = deployment.try_run(&["audit", "fsck", folder.to_str().expect("text")]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("the first bad index is 0"), "{said}");

    let nowhere = deployment.everything().join("nowhere");
    let done = deployment.try_run(&["audit", "fsck", nowhere.to_str().expect("text")]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("name a deployment folder"));
}
