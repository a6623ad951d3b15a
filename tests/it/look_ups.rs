//! Who was looked up is found soon after the answer, and again after the index was lost.

use std::time::{Duration, Instant};

use drivegate::audit::keys::LogSecret;
use drivegate::evidence::ports::{Found, LookUpIndex as _};
use drivegate::gateway::proto::Evidence;
use drivegate::registry::EmbeddedLookUps;
use drivegate::registry::store::wait;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, block_on};
use super::testing;

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks about one driver, so many times, each with a request id of its own; returns where the answers stand.
fn ask(gateway: &Gateway<'_>, count: usize) -> Vec<Evidence> {
    block_on(async {
        let mut partner = gateway.partner("rental-demo").await;
        let mut evidence = Vec::new();
        for _ in 0..count {
            let answer = partner.verify(rental(NUMBER, NAME)).await.expect("an answer");
            evidence.extend(answer.into_inner().evidence);
        }
        evidence
    })
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Finds the entries of the case of [`rental`], with the log's own secret, in the index of a gateway that is gone.
fn entries_of_the_case(deployment: &Deployment) -> Vec<Found> {
    let data = deployment.folder().join("data");
    let secret = LogSecret::read_from(&data.join("log/secret")).expect("the log has a secret");
    let reference = rental(NUMBER, NAME).case_reference;
    let case = secret.case_digest(&"rental-demo".parse().expect("a partner"), &reference);
    let index = EmbeddedLookUps::open(&data).expect("nobody else has it open");
    wait(index.by_case(case.0, None, 100)).expect("it can be read")
}

fn stand(found: &[Found], evidence: &[Evidence]) -> bool {
    let mut places: Vec<_> = found.iter().map(|found| (&*found.place.origin, found.place.index)).collect();
    let mut expected: Vec<_> =
        evidence.iter().map(|evidence| (evidence.log_origin.as_str(), evidence.entry_index)).collect();
    places.sort_unstable();
    expected.sort_unstable();
    places == expected
}

/// Goal: the index knows every answer; it survives a kill, and is made again when it is lost.
/// Method: a gateway answers and is killed once its metrics say that everything is indexed; then the index is removed.
#[test]
fn every_answer_is_indexed_and_the_index_is_made_again_from_the_logs() {
    let deployment = Deployment::new();
    let folder = deployment.folder();
    let dir = folder.to_str().expect("text");
    let gateway = deployment.serve();
    let mut evidence = ask(&gateway, 6);
    eventually("six look-ups are counted", || {
        let (_, page) = gateway.page("/metrics");
        page.lines().any(|line| line == "drivegate_index_look_ups_total 6")
            && page.lines().any(|line| line == "drivegate_index_behind 0")
    });
    let refused = deployment.try_run(&["audit", "reindex", dir]);
    assert!(!refused.status.success(), "the gateway has the index open");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop the gateway first"));
    gateway.kill();

    // What the kill took back of the index, the next start feeds; and it goes on.
    let gateway = deployment.serve();
    evidence.extend(ask(&gateway, 2));
    assert!(gateway.stop());
    assert!(stand(&entries_of_the_case(&deployment), &evidence));

    std::fs::remove_file(folder.join("data/look-ups.redb")).expect("it was there");
    let made = deployment.run(&["audit", "reindex", dir, "--json"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
    assert_eq!(made["logs"][0]["look_ups"].as_u64(), Some(8), "{made}");
    assert!(stand(&entries_of_the_case(&deployment), &evidence));
    // Made twice, it says the same.
    deployment.run(&["audit", "reindex", dir]);
    assert!(stand(&entries_of_the_case(&deployment), &evidence));
}

/// Goal: replicas on one PostgreSQL feed one index, and a log whose replica is gone is indexed again by hand.
#[test]
fn replicas_feed_one_index_and_retired_logs_are_fed_by_hand() {
    let server = testing::Server::start();
    let url = server.database();
    let database = url.rsplit('/').next().expect("its name").to_owned();
    let count = |condition: &str| server.sql(&database, &format!("SELECT count(*) FROM look_up {condition}"));
    let first = Deployment::on_postgres(&url, None);
    let (dir, keys) = (first.folder(), first.folder().join("data/registry.keys"));
    let dir = dir.to_str().expect("text");
    first.run(&["registry", "generate", "--count", "5", "--with-test-drivers", "--into", dir]);
    let second = Deployment::on_postgres(&url, Some(&keys));
    let gateway = first.serve();
    let retired = second.serve();
    ask(&gateway, 3);
    let theirs = ask(&retired, 2);
    eventually("five look-ups are in the index", || count("") == "5");
    assert!(retired.stop());

    let origin = &theirs[0].log_origin;
    server.sql(
        &database,
        &format!("DELETE FROM look_up USING look_up_log l WHERE log = l.id AND origin = '{origin}'"),
    );
    assert_eq!(count(""), "3");
    let logs = second.folder().join("data/log");
    first.run(&["audit", "reindex", dir, "--logs", logs.to_str().expect("text")]);
    assert_eq!(count(""), "5");
    // Its own log, while the gateway feeds it: what was signed at once, the rest by the gateway.
    first.run(&["audit", "reindex", dir]);
    eventually("the gateway feeds what was not signed", || count("") == "5");
    assert!(gateway.stop());
}
