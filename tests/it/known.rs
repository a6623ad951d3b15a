//! What was known then stays reproducible, although the authority hands in late what it had recorded before.
//!
//! Goal: an answer's pair of `known_at` and position gives that answer again. Method: ask, hand in a detention the authority
//! recorded an hour ago, ask again in three ways.

use std::fs;

use drivegate::gateway::proto::{Decision, FeedPosition, VerifyRequest, VerifyResponse};
use tonic::Code;

use crate::asks::{self, NAME, NUMBER};
use crate::harness::{Deployment, Partner, block_on};

/// Hands in a change of the first test driver while the gateway runs: 扣留 20 days ago, recorded an hour ago.
fn hand_in_a_late_detention(deployment: &Deployment) {
    let moment = |hours| {
        let moment = asks::hours(hours);
        jiff::Timestamp::from_second(moment.seconds).expect("a moment").to_string()
    };
    let line = format!(
        r#"{{"number":"{NUMBER}","change":{{"effective":"{}","recorded_at":"{}","kind":"state-set","letter":"U"}}}}"#,
        moment(-480),
        moment(-1),
    );
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("late.ndjson");
    fs::write(&file, line).expect("it can be written");
    let folder = deployment.folder();
    let text = |path: &std::path::Path| path.to_str().expect("a temporary path is text").to_owned();
    deployment.run(&["registry", "import", &text(&file), "--dir", &text(&folder)]);
}

async fn ask(partner: &mut Partner, request: VerifyRequest) -> (Decision, VerifyResponse) {
    let answer = partner.verify(request).await.expect("an answer").into_inner();
    (answer.decision(), answer)
}

#[test]
fn an_answer_is_given_again_by_its_moment_and_position() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        let mut insurer = gateway.partner("insurer-demo").await;
        let question = asks::insurance_claim(NUMBER, NAME);
        let (then, first) = ask(&mut insurer, question.clone()).await;
        assert_eq!(then, Decision::Qualified);
        let known = first.provenance.expect("an answer says what was known");

        hand_in_a_late_detention(&deployment);
        let (now, later) = ask(&mut insurer, question.clone()).await;
        assert_eq!(now, Decision::NotQualified);
        let provenance = later.provenance.expect("an answer says what was known");
        assert!(provenance.position.unwrap().seq > known.position.unwrap().seq);

        // The clock alone does not tell: the authority had recorded it by then.
        let by_clock = VerifyRequest { known_at: known.known_at, ..question.clone() };
        assert_eq!(ask(&mut insurer, by_clock.clone()).await.0, Decision::NotQualified);

        let again = VerifyRequest { known_position: known.position, ..by_clock };
        let (decision, again) = ask(&mut insurer, again).await;
        assert_eq!((decision, again.criteria), (Decision::Qualified, first.criteria));
        let provenance = again.provenance.expect("an answer says what was known");
        assert_eq!((provenance.known_at, provenance.position), (known.known_at, known.position));
        assert_eq!(provenance.changed_since, None, "nothing known then changed it");
    });
}

#[test]
fn only_claims_are_asked_as_known_at_a_position() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        let mut rental = gateway.partner("rental-demo").await;
        let known_position = Some(FeedPosition { epoch: 1, partition: 0, seq: 1 });
        let request = VerifyRequest { known_position, ..asks::rental(NUMBER, NAME) };
        let refused = rental.verify(request).await.expect_err("a rental is about the present");
        assert_eq!(refused.code(), Code::InvalidArgument);
    });
}
