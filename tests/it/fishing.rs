//! Who fishes runs into bounds: so many different people, so many misses; a restart gives neither back, and replicas hold them together.

use std::time::{Duration, Instant};

use drivegate::gateway::proto::verify_request::Question;
use drivegate::gateway::proto::{ClaimLevel, DescribeContractRequest, GetLimitsRequest, VerifyRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, Partner, block_on};
use super::testing;

/// Another test driver of the same name.
const SECOND: &str = "000000199001010616";
const PROTECTED: &str = "000000199001012937";
/// Numbers nobody has.
const NOBODY_S: [&str; 2] = ["000000199001012929", "000000197001010019"];
const PATIENCE: Duration = Duration::from_secs(20);
/// Gateways tell each other once a second.
const TOLD_WITHIN: Duration = Duration::from_secs(4);

fn bound(deployment: &Deployment, terms: &[(&str, i64)]) {
    deployment.contract("rental-demo", |document| {
        let claims = document["claims"].as_table_mut().expect("a table");
        for (key, value) in terms {
            claims.insert((*key).to_owned(), (*value).into());
        }
    });
}

/// The question about a number, the same however often it is asked.
fn about(number: &str) -> VerifyRequest {
    static QUESTION: std::sync::OnceLock<VerifyRequest> = std::sync::OnceLock::new();
    let mut question = QUESTION.get_or_init(|| rental(NUMBER, NAME)).clone();
    if let Some(drivegate::gateway::proto::verify_request::Subject::Claim(claim)) = &mut question.subject {
        number.clone_into(&mut claim.licence_number);
    }
    question
}

async fn ask(partner: &mut Partner, number: &str) -> Result<bool, Status> {
    partner.verify(about(number)).await.map(|answer| !answer.into_inner().subject_ref.is_empty())
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn claims(partner: &mut Partner) -> ClaimLevel {
    let limits = partner.get_limits(GetLimitsRequest {}).await.expect("it may look").into_inner();
    limits.claims.expect("what is left for claims")
}

async fn eventually(partner: &mut Partner, holds: impl Fn(&ClaimLevel) -> bool) {
    let began = Instant::now();
    loop {
        let level = claims(partner).await;
        if holds(&level) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it did not come true: {level:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Holds a refusal to one wording, whoever it is about.
fn told(status: &Status) -> (Code, String, String, String) {
    let quota = status.get_details_quota_failure().expect("QuotaFailure").violations;
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("RetryInfo");
    assert!(retry > Duration::ZERO && retry <= Duration::from_hours(24), "{retry:?}");
    (status.code(), reason(status), status.message().to_owned(), quota[0].description.clone())
}

/// Goal: a partner learns of as many different people as its contract says, and the refusal of one more does not tell whether there is such
/// a person; nor does a restart give it more, or take away whom it knows. Method: a budget of three, a kill in between.
#[test]
fn a_budget_of_different_numbers_holds_over_a_restart_and_its_refusal_tells_nothing() {
    let deployment = Deployment::new();
    bound(&deployment, &[("subjects_max", 3), ("window_hours", 24)]);
    let expected = (
        Code::ResourceExhausted,
        "SUBJECT_BUDGET_EXCEEDED".to_owned(),
        "3 different licence numbers in 24 h",
    );
    let check = |gateway: &Gateway<'_>| {
        block_on(async {
            let mut partner = gateway.partner("rental-demo").await;
            for number in [NUMBER, PROTECTED, NOBODY_S[0], NUMBER] {
                assert_eq!(ask(&mut partner, number).await.expect("known"), number == NUMBER);
            }
            assert_eq!(claims(&mut partner).await.subjects_left, 0);
            let mut refusals = Vec::new();
            for number in [SECOND, NOBODY_S[1]] {
                refusals.push(told(&ask(&mut partner, number).await.expect_err("one more")));
            }
            assert_eq!(refusals[0], refusals[1]);
            let (code, reason, _, quota) = refusals.remove(0);
            assert_eq!((code, reason, quota.as_str()), expected);
            let described =
                partner.describe_contract(DescribeContractRequest {}).await.expect("its contract");
            let terms = described.into_inner().contract.and_then(|contract| contract.claims).expect("terms");
            assert_eq!((terms.subjects_max, terms.window.expect("a window").seconds), (3, 86_400));
        });
    };
    let gateway = deployment.serve();
    check(&gateway);
    drop(gateway);
    check(&deployment.serve());
}

/// Goal: who guesses is stopped until an operator says otherwise, whatever restarts meanwhile, and it is seen.
#[test]
fn too_many_misses_suspend_claims_until_an_operator_lets_go() {
    let deployment = Deployment::new();
    bound(
        &deployment,
        &[("slow_unconfirmed", 3), ("slow_percent", 1), ("suspend_unconfirmed", 3), ("suspend_percent", 1)],
    );
    let folder = deployment.folder();
    let folder = folder.to_str().expect("text");
    let listed = || {
        let listed = deployment.run(&["partner", "list", "--json", "--dir", folder]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let partners = listed["partners"].as_array().expect("a list").clone();
        let desk = partners.into_iter().find(|partner| partner["id"] == "rental-demo").expect("it is listed");
        (desk["standing"].clone(), desk["claim_suspensions"].as_array().expect("a list").clone())
    };
    let gateway = deployment.serve();
    block_on(async {
        let mut partner = gateway.partner("rental-demo").await;
        for number in [PROTECTED, NOBODY_S[0], NOBODY_S[1]] {
            assert!(!ask(&mut partner, number).await.expect("answered"));
        }
        let refused = ask(&mut partner, NUMBER).await.expect_err("the third was one too many");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "CLAIMS_SUSPENDED"));
        assert!(claims(&mut partner).await.suspended, "other calls are answered");
        let began = Instant::now();
        while listed().1.is_empty() {
            assert!(began.elapsed() < PATIENCE, "it is not put on record");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let (standing, suspensions) = listed();
    assert_eq!(standing, "active");
    let why = suspensions[0]["reason"].as_str().expect("a reason");
    assert!(why.contains("3 unconfirmed claims, 3 different numbers"), "{why}");
    let shown = |page: &str| gateway.page("/metrics").1.lines().any(|line| line.starts_with(page));
    let alarmed = "drivegate_claims_alarmed{state=\"suspended\"} 1";
    let began = Instant::now();
    while !shown(alarmed) {
        assert!(began.elapsed() < PATIENCE, "it is no metric");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(gateway);

    let gateway = deployment.serve();
    block_on(async {
        let mut partner = gateway.partner("rental-demo").await;
        let refused = ask(&mut partner, NUMBER).await.expect_err("a restart lets nobody go");
        assert_eq!(reason(&refused), "CLAIMS_SUSPENDED");
        deployment.run(&[
            "partner",
            "resume-claims",
            "rental-demo",
            "--dir",
            folder,
            "--reason",
            "an import",
        ]);
        eventually(&mut partner, |level| !level.suspended).await;
        assert!(ask(&mut partner, NUMBER).await.expect("it may claim again"));
        for number in [PROTECTED, NOBODY_S[0]] {
            assert!(!ask(&mut partner, number).await.expect("counted anew"));
        }
        assert!(!claims(&mut partner).await.suspended);
    });
    assert_eq!(listed().1.len(), 0);
}

/// Goal: replicas are no way around the bounds. Method: two gateways on one PostgreSQL, asked in turn; then questions that differ in tenure.
#[test]
fn replicas_hold_one_budget_and_one_tripwire() {
    let server = testing::Server::start();
    let url = server.database();
    let first = Deployment::on_postgres(&url, None);
    let folder = first.folder();
    let folder = folder.to_str().expect("text");
    first.run(&["registry", "generate", "--count", "5", "--with-test-drivers", "--into", folder]);
    let second = Deployment::on_postgres(&url, Some(&first.folder().join("data/registry.keys")));
    for deployment in [&first, &second] {
        let terms = [("slow_unconfirmed", 3), ("suspend_unconfirmed", 3), ("suspend_percent", 50)];
        bound(deployment, &[&[("subjects_max", 4), ("slow_percent", 50)][..], &terms].concat());
    }
    let gateways = [first.serve(), second.serve()];
    block_on(async {
        let mut one = gateways[0].partner("rental-demo").await;
        let mut two = gateways[1].partner("rental-demo").await;
        assert!(ask(&mut one, NUMBER).await.expect("within the budget"));
        assert!(!ask(&mut one, PROTECTED).await.expect("within the budget"));
        assert!(ask(&mut two, SECOND).await.expect("within the budget"));
        assert!(!ask(&mut two, NOBODY_S[0]).await.expect("within the budget"));
        for partner in [&mut one, &mut two] {
            eventually(partner, |level| level.subjects_left == 0).await;
            let refused = ask(partner, NOBODY_S[1]).await.expect_err("the fifth number");
            assert_eq!(reason(&refused), "SUBJECT_BUDGET_EXCEEDED");
            for number in [NUMBER, SECOND] {
                assert!(ask(partner, number).await.expect("known at the other one, too"));
            }
        }
        assert!(!ask(&mut one, PROTECTED).await.expect("the third miss of both"));
        for partner in [&mut one, &mut two] {
            eventually(partner, |level| level.suspended).await;
            let refused = ask(partner, NUMBER).await.expect_err("suspended everywhere");
            assert_eq!(reason(&refused), "CLAIMS_SUSPENDED");
        }
        first.run(&["partner", "resume-claims", "rental-demo", "--dir", folder]);
        for partner in [&mut one, &mut two] {
            eventually(partner, |level| !level.suspended).await;
            assert!(ask(partner, NUMBER).await.expect("let go everywhere"));
        }
        one.verify(with_tenure(6)).await.expect("the second question, and the other gateway is told of both");
        tokio::time::sleep(TOLD_WITHIN).await;
        two.verify(with_tenure(24)).await.expect("the third");
        tokio::time::sleep(TOLD_WITHIN).await;
        for partner in [&mut one, &mut two] {
            let refused = partner.verify(with_tenure(36)).await.expect_err("the fourth, whoever is asked");
            assert_eq!(reason(&refused), "QUESTION_VARIATION_EXCEEDED");
            partner.verify(with_tenure(24)).await.expect("asked before, here or there");
        }
    });
}

/// The question about one driver with another tenure.
fn with_tenure(months: u32) -> VerifyRequest {
    let mut question = about(NUMBER);
    if let Some(Question::Rental(rental)) = &mut question.question {
        rental.min_tenure_months = months;
    }
    question
}
