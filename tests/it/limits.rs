//! Limits over the wire, under concurrency: the foreign clients ask one after another, here many ask at once.

use std::time::Duration;

use tonic::Code;
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, block_on};

fn allow(deployment: &Deployment, terms: &[(&str, i64)]) {
    deployment.contract("rental-demo", |document| {
        let allowance = document["allowance"].as_table_mut().expect("a table");
        for (key, value) in terms {
            allowance.insert((*key).to_owned(), (*value).into());
        }
    });
}

/// Fifty at once against a quota of ten: exactly ten are answered, and the rest hear which window is spent.
#[test]
fn a_quota_holds_exactly_when_many_ask_at_once() {
    let deployment = Deployment::new();
    allow(
        &deployment,
        &[("rate_per_second", 10_000), ("burst", 10_000), ("in_flight_max", 100), ("quota_per_hour", 10)],
    );
    let gateway = deployment.serve();
    let outcomes = block_on(async {
        let partner = gateway.partner("rental-demo").await;
        let question = rental(NUMBER, NAME);
        let asked = (0..50).map(|_| {
            let (mut partner, question) = (partner.clone(), question.clone());
            tokio::spawn(async move { partner.verify(question).await })
        });
        let mut outcomes = Vec::new();
        for call in asked.collect::<Vec<_>>() {
            outcomes.push(call.await.expect("the call ends"));
        }
        outcomes
    });
    let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(answered, 10, "{outcomes:?}");
    for status in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(status.get_details_error_info().expect("ErrorInfo").reason, "QUOTA_EXCEEDED");
        assert!(!status.get_details_quota_failure().expect("QuotaFailure").violations.is_empty());
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("RetryInfo");
        assert!(retry > Duration::ZERO && retry <= Duration::from_secs(3601), "{retry:?}");
    }
}

/// The rate is spent by whoever comes, and the refusal carries the draft's fields.
#[test]
fn a_spent_rate_is_told_in_details_and_metadata() {
    let deployment = Deployment::new();
    allow(&deployment, &[("rate_per_second", 1), ("burst", 2)]);
    let gateway = deployment.serve();
    let status = block_on(async {
        let mut partner = gateway.partner("rental-demo").await;
        for _ in 0..2 {
            partner.verify(rental(NUMBER, NAME)).await.expect("within the burst");
        }
        partner.verify(rental(NUMBER, NAME)).await.expect_err("the burst is spent")
    });
    assert_eq!(status.code(), Code::ResourceExhausted);
    let info = status.get_details_error_info().expect("ErrorInfo");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("RATE_EXCEEDED", "drivegate.v1"));
    assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    assert!(
        status.metadata().contains_key("ratelimit") && status.metadata().contains_key("ratelimit-policy")
    );
}
