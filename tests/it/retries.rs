//! A retry is given the same answer, and never a second bill: across retries, restarts and replicas.

use std::time::Duration;

use drivegate::gateway::proto::{VerifyRequest, VerifyResponse};
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, Redis, block_on};
use super::testing;

const ID: &str = "retry-0192f0c1";

fn asked(name: &str, id: &str) -> VerifyRequest {
    VerifyRequest { request_id: id.to_owned(), ..rental(NUMBER, name) }
}

async fn ask(gateway: &Gateway<'_>, request: &VerifyRequest) -> Result<VerifyResponse, Status> {
    gateway.partner("rental-demo").await.verify(request.clone()).await.map(tonic::Response::into_inner)
}

/// The answer without what giving it again changes.
fn said(answer: &VerifyResponse) -> VerifyResponse {
    VerifyResponse { charged: false, replayed: false, ..answer.clone() }
}

fn index_of(answer: &VerifyResponse) -> u64 {
    answer.evidence.as_ref().expect("on record").entry_index
}

fn reason_of(refused: &Status) -> (Code, String) {
    let reason = refused.get_error_details().error_info().map(|info| info.reason.clone());
    (refused.code(), reason.unwrap_or_default())
}

/// What `audit stats` counts for the rental desk: answers on record, and those to be charged.
fn counted(deployment: &Deployment) -> (u64, u64) {
    let folder = deployment.folder();
    let said = deployment.run(&["audit", "stats", folder.to_str().expect("text"), "--json"]);
    let stats: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let line = stats["lines"].as_array().expect("lines").iter().find(|line| line["partner"] == "rental-demo");
    let line = line.expect("the desk's line");
    (line["answers"].as_u64().expect("a count"), line["charged"].as_u64().expect("a count"))
}

/// Goal: the answer comes again, whatever it says, and is on record and charged once. Method: one confirmed and one unconfirmed
/// question, each three times over connections of their own; then with another operator.
#[test]
fn a_retry_is_given_the_same_answer() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        for (name, id) in [(NAME, "retry-confirmed"), ("另一个人", "retry-unconfirmed")] {
            let request = asked(name, id);
            let first = ask(&gateway, &request).await.expect("an answer");
            assert!(first.charged && !first.replayed);
            for _ in 0..2 {
                let again = ask(&gateway, &request).await.expect("the answer");
                assert!(again.replayed && !again.charged);
                assert_eq!(said(&again), said(&first));
            }
            let other = VerifyRequest { operator_id: "clerk-18".to_owned(), ..request };
            let refused = ask(&gateway, &other).await.expect_err("another request");
            assert_eq!(reason_of(&refused), (Code::Aborted, "IDEMPOTENCY_CONFLICT".to_owned()));
        }
    });
    let (_, metrics) = gateway.page("/metrics");
    for line in [
        r#"drivegate_retries_total{result="first"} 2"#,
        r#"drivegate_retries_total{result="replayed"} 4"#,
        r#"drivegate_retries_total{result="other-content"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    assert!(gateway.stop());
    assert_eq!(counted(&deployment), (2, 2));
}

/// Goal: an answer too old to leave is given to no retry. Method: a floor beyond the freshness bound holds every unconfirmed answer back;
/// its retry is answered anew, on record once more, charged once.
#[test]
fn an_answer_that_was_held_back_is_answered_anew() {
    let deployment = Deployment::new();
    deployment.configure(|config| {
        for (table, key, value) in [("cache", "freshness_ms", 500), ("bounds", "unconfirmed_floor_ms", 1_500)]
        {
            let table = config.entry(table).or_insert_with(|| toml::Table::new().into());
            table.as_table_mut().expect("a table").insert(key.to_owned(), value.into());
        }
    });
    let gateway = deployment.serve();
    let request = asked("另一个人", ID);
    for _ in 0..2 {
        let held_back = block_on(ask(&gateway, &request)).expect_err("it is too old");
        assert_eq!(reason_of(&held_back), (Code::Unavailable, "FRESHNESS_UNAVAILABLE".to_owned()));
    }
    let (_, metrics) = gateway.page("/metrics");
    for line in
        [r#"drivegate_retries_total{result="first"} 1"#, r#"drivegate_retries_total{result="renewed"} 1"#]
    {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    assert!(gateway.stop());
    assert_eq!(counted(&deployment), (2, 1));
}

/// Goal: a process that died is no reason to pay twice. Method: an answer, SIGKILL, a new process in the same folder; the same request is
/// answered anew and uncharged, another one under its id is refused, and what was asked longer ago than answers are kept is spent.
#[test]
fn after_a_kill_a_retry_is_answered_anew_and_not_charged() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    // Made once: its moments come from the clock, and a second later it would be another question.
    let request = asked(NAME, ID);
    let first = block_on(ask(&gateway, &request)).expect("an answer");
    assert!(first.charged);
    gateway.kill();

    let gateway = deployment.serve();
    let anew = block_on(async {
        let other_case = VerifyRequest { case_reference: "CASE-2026-2".to_owned(), ..request.clone() };
        let refused = ask(&gateway, &other_case).await.expect_err("another request");
        assert_eq!(reason_of(&refused), (Code::Aborted, "IDEMPOTENCY_CONFLICT".to_owned()));
        let anew = ask(&gateway, &request).await.expect("an answer");
        assert!(!anew.charged && !anew.replayed);
        assert!(index_of(&anew) > index_of(&first));
        let again = ask(&gateway, &request).await.expect("the answer");
        assert!(again.replayed && index_of(&again) == index_of(&anew));
        anew
    });
    assert!(gateway.stop());
    assert_eq!(counted(&deployment), (2, 1));

    // An operator who keeps answers for a second only.
    deployment.configure(|config| {
        let mut retries = toml::Table::new();
        retries.insert("answers_kept_s".to_owned(), 1.into());
        config.insert("retries".to_owned(), retries.into());
    });
    std::thread::sleep(Duration::from_secs(1));
    let gateway = deployment.serve();
    let refused = block_on(ask(&gateway, &request)).expect_err("it is spent");
    assert_eq!(reason_of(&refused), (Code::FailedPrecondition, "REQUEST_ID_SPENT".to_owned()));
    let details = refused.get_error_details();
    let metadata = &details.error_info().expect("why").metadata;
    let evidence = anew.evidence.expect("on record");
    assert_eq!(metadata.get("log_origin"), Some(&evidence.log_origin));
    assert_eq!(metadata.get("entry_index"), Some(&evidence.entry_index.to_string()));
}

/// Goal: a retry that a balancer leads to another replica is given the answer. Method: two gateways on one PostgreSQL and one Redis; what
/// Redis holds names nobody; then Redis dies, and retries are answered, each a second entry.
#[test]
fn a_retry_at_another_replica_is_given_the_same_answer() {
    let server = testing::Server::start();
    let url = server.database();
    let first = Deployment::on_postgres(&url, None);
    let folder = first.folder();
    first.run(&[
        "registry",
        "generate",
        "--count",
        "50",
        "--with-test-drivers",
        "--into",
        folder.to_str().expect("text"),
    ]);
    let second = Deployment::on_postgres(&url, Some(&folder.join("data/registry.keys")));
    let redis = Redis::start(&first.everything().join("redis"));
    for replica in [&first, &second] {
        replica.configure(|config| {
            let mut shared = toml::Table::new();
            shared.insert("url".to_owned(), redis.url().into());
            shared.insert("timeout_ms".to_owned(), 1_000.into());
            let cache = config["cache"].as_table_mut().expect("a table");
            cache.insert("redis".to_owned(), shared.into());
        });
    }
    let one = first.serve();
    let [key, copy] = [&first, &second].map(|replica| replica.folder().join("data/redis.key"));
    std::fs::copy(key, copy).expect("replicas that share a Redis share its key");
    let other = second.serve();
    block_on(async {
        // Until both are connected, a retry may be answered anew.
        let mut shared = None;
        for number in 0..200 {
            let request = asked(NAME, &format!("retry-shared-{number}"));
            let here = ask(&one, &request).await.expect("an answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let there = ask(&other, &request).await.expect("an answer");
            if there.replayed {
                shared = Some((here, there));
                break;
            }
        }
        let (here, there) = shared.expect("replicas share answers");
        assert_eq!(said(&there), said(&here));
        assert!(redis.command("KEYS dg:r:*").contains("dg:r:"));
        assert!(!redis.command("KEYS *").contains("retry-shared"), "it names nobody");
    });
    drop(redis);
    block_on(async {
        let request = asked(NAME, "retry-without-redis");
        for gateway in [&one, &other] {
            let answer = ask(gateway, &request).await.expect("an answer");
            assert!(!answer.replayed, "each replica is on its own");
            assert!(ask(gateway, &request).await.expect("the answer").replayed);
        }
    });
}
