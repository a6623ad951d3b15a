//! What is refused, and two answers that must not differ.

use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use tonic::Status;

use super::asking;
use super::play::{Clients, ask};
use super::stage::{Face, Stage};
use super::table::{Outcome, Played};
use crate::app::SystemClock;
use crate::cli::verify::refusal::Refusal;
use crate::cli::verify::words::Word as _;
use crate::domain::catalogue::TestDriver;
use crate::domain::time::Clock as _;
use crate::gateway::proto::{self, ErrorReason};
use crate::identity::client::ClientError;

/// Requests sent at most until a rate must have been exceeded; no partner with a demo contract may send as many at once.
const FLOOD_MAX: u32 = 2_000;
/// The row of a driver against whom nothing speaks.
const ORDINARY: u8 = 1;
/// The row of the wrong name, and the twin of the number that does not exist.
const UNCONFIRMED: u8 = 29;
const NO_SUCH_NUMBER: &str = "no-such-number";

/// Plays every refusal.
///
/// # Errors
/// When a partner cannot connect or the operator's commands fail.
pub async fn play(
    stage: &Stage,
    clients: &mut Clients,
    drivers: &[TestDriver],
    now: Timestamp,
) -> miette::Result<Vec<Played>> {
    let ordinary = Asking { drivers, row: ORDINARY, twin: "", label: "rental", now };
    let mut played = vec![
        not_let_in(stage, Face::Nobody, "no certificate").await?,
        not_let_in(stage, Face::Stranger, "a certificate of another authority").await?,
        not_let_in(stage, Face::Revoked, "a revoked certificate").await?,
        suspended(stage, clients, drivers, now).await?,
    ];
    let mut recruiter = clients.of(stage, "recruiter-demo").await?;
    let answer = ask(&mut recruiter, ordinary.request()).await;
    let asked = "a purpose outside the contract: rental";
    played.push(refused("recruiter-demo", asked, answer, ErrorReason::PurposeNotPermitted));
    played.push(over_asked(stage, clients, ordinary.request()).await?);
    played.extend(unconfirmed(stage, clients, drivers, now).await?);
    // Last: it spends the recruiter's rate.
    played.push(flooded(&mut recruiter).await);
    Ok(played)
}

/// A question of the catalogue.
#[derive(Clone, Copy)]
struct Asking<'c> {
    drivers: &'c [TestDriver],
    row: u8,
    twin: &'c str,
    label: &'c str,
    now: Timestamp,
}

impl Asking<'_> {
    /// Builds the request; an empty one, which is refused as malformed, when the catalogue lacks the row.
    fn request(self) -> proto::VerifyRequest {
        let driver = self.drivers.iter().find(|driver| driver.row == self.row && driver.twin == self.twin);
        let question = driver
            .and_then(|driver| driver.expectations.iter().find(|expected| expected.label == self.label))
            .map(|expected| &expected.question);
        match (driver, question) {
            (Some(driver), Some(question)) => asking::ask(driver, question, None, self.now),
            _ => proto::VerifyRequest::default(),
        }
    }
}

/// Somebody who must not even get a connection.
async fn not_let_in(stage: &Stage, face: Face, asked: &str) -> miette::Result<Played> {
    let tls = stage.tls(face)?;
    let from = SystemClock.since_boot();
    let opened = stage.target().open(&tls).await;
    let took = SystemClock.since_boot().saturating_sub(from);
    let (outcome, verdict) = match opened {
        Ok(_connection) => {
            (Outcome::Fact("connected".to_owned()), Err("expected to be refused by TLS".to_owned()))
        }
        Err(ClientError::CertificateRefused { alert }) => {
            (Outcome::NoConnection(format!("TLS alert {alert:?}")), Ok(()))
        }
        Err(error) => (Outcome::NoConnection(error.to_string()), Err("expected a TLS alert".to_owned())),
    };
    Ok(Played { who: "somebody".to_owned(), asked: asked.to_owned(), outcome, took, verdict })
}

/// A suspension must bite on a connection that is open already.
async fn suspended(
    stage: &Stage,
    clients: &mut Clients,
    drivers: &[TestDriver],
    now: Timestamp,
) -> miette::Result<Played> {
    let asking = Asking { drivers, row: ORDINARY, twin: "", label: "transport", now };
    let mut client = clients.of(stage, "transport-demo").await?;
    let (before, _took) = ask(&mut client, asking.request()).await;
    stage.suspend("transport-demo")?;
    let answer = ask(&mut client, asking.request()).await;
    stage.resume("transport-demo")?;
    let asked = "suspended, on an open connection";
    let mut played = refused("transport-demo", asked, answer, ErrorReason::PartnerSuspended);
    if before.is_err() {
        played.verdict = Err("expected an answer before the suspension".to_owned());
    }
    Ok(played)
}

async fn over_asked(
    stage: &Stage,
    clients: &mut Clients,
    mut request: proto::VerifyRequest,
) -> miette::Result<Played> {
    request.fields = vec![proto::Field::MaskedName.into(), proto::Field::TenureBand.into()];
    let mut client = clients.of(stage, "rental-demo").await?;
    let answer = ask(&mut client, request).await;
    let asked = "a field over-asked: tenure band";
    let mut played = refused("rental-demo", asked, answer, ErrorReason::FieldNotPermitted);
    if let Outcome::Refusal(refusal) = &played.outcome {
        let named = refusal
            .metadata
            .get("fields")
            .is_some_and(|fields| fields.to_ascii_uppercase().contains("TENURE"));
        if played.verdict.is_ok() && !named {
            played.verdict = Err("expected the field to be named".to_owned());
        }
    }
    Ok(played)
}

/// A wrong name against a right number, and a number that does not exist: the two answers must not differ.
async fn unconfirmed(
    stage: &Stage,
    clients: &mut Clients,
    drivers: &[TestDriver],
    now: Timestamp,
) -> miette::Result<Vec<Played>> {
    let mut client = clients.of(stage, "rental-demo").await?;
    let mut played = Vec::new();
    let mut given = Vec::new();
    for (twin, asked) in
        [("", "a wrong name against a right number"), (NO_SUCH_NUMBER, "a number that does not exist")]
    {
        let request = Asking { drivers, row: UNCONFIRMED, twin, label: "rental", now }.request();
        let (answer, took) = ask(&mut client, request).await;
        let (outcome, verdict) = match answer {
            Ok(answer) => {
                let verdict = is_unconfirmed(&answer);
                given.push(answer.clone());
                (Outcome::Answer(Box::new(answer)), verdict)
            }
            Err(status) => (Outcome::Refusal(Refusal::of(&status)), Err("expected an answer".to_owned())),
        };
        played.push(Played {
            who: "rental-demo".to_owned(),
            asked: asked.to_owned(),
            outcome,
            took,
            verdict,
        });
    }
    let verdict = match given.as_slice() {
        [first, second] => same_but_for_the_entry(first, second),
        _ => Err("expected two answers".to_owned()),
    };
    let fact = match &verdict {
        Ok(()) => "identical but for time and entry number",
        Err(_) => "the two answers differ",
    };
    played.push(Played {
        who: "rental-demo".to_owned(),
        asked: "the two answers, byte for byte".to_owned(),
        outcome: Outcome::Fact(fact.to_owned()),
        took: Duration::ZERO,
        verdict,
    });
    Ok(played)
}

fn is_unconfirmed(answer: &proto::VerifyResponse) -> Result<(), String> {
    let reasons: Vec<proto::Reason> = answer.criteria.iter().map(proto::Criterion::reason).collect();
    if answer.decision() != proto::Decision::Indeterminate || reasons != [proto::Reason::SubjectNotConfirmed]
    {
        return Err("expected INDETERMINATE for that one reason".to_owned());
    }
    let released = answer.disclosure.as_ref().is_some_and(|disclosure| *disclosure != Default::default());
    if released || !answer.subject_ref.is_empty() {
        return Err("expected nothing to be disclosed".to_owned());
    }
    Ok(())
}

/// Compares two answers without what must differ: when they were given and where they stand in the log.
fn same_but_for_the_entry(
    first: &proto::VerifyResponse,
    second: &proto::VerifyResponse,
) -> Result<(), String> {
    let bytes = |answer: &proto::VerifyResponse| {
        let mut answer = answer.clone();
        if let Some(provenance) = &mut answer.provenance {
            provenance.observed_at = None;
            provenance.known_at = None;
        }
        if let Some(evidence) = &mut answer.evidence {
            evidence.entry_index = 0;
        }
        answer.encode_to_vec()
    };
    if bytes(first) == bytes(second) { Ok(()) } else { Err("expected identical answers".to_owned()) }
}

/// Asks until the rate is exceeded: each request spends it, whatever it asks.
async fn flooded(client: &mut super::play::Client) -> Played {
    let from = SystemClock.since_boot();
    let mut sent = 0;
    let refusal = loop {
        sent += 1;
        match client.describe_contract(proto::DescribeContractRequest {}).await {
            Ok(_) if sent < FLOOD_MAX => {}
            Ok(_) => break None,
            Err(status) => break Some(status),
        }
    };
    let took = SystemClock.since_boot().saturating_sub(from);
    let asked = format!("{sent} requests at once");
    match refusal {
        None => Played {
            who: "recruiter-demo".to_owned(),
            asked,
            outcome: Outcome::Fact("all were answered".to_owned()),
            took,
            verdict: Err("expected RATE_EXCEEDED".to_owned()),
        },
        Some(status) => {
            let answer = (Err(status), took);
            let mut played = refused("recruiter-demo", &asked, answer, ErrorReason::RateExceeded);
            if let Outcome::Refusal(refusal) = &played.outcome
                && played.verdict.is_ok()
                && refusal.retry_after.is_none_or(|delay| delay.is_zero())
            {
                played.verdict = Err("expected the time to come back".to_owned());
            }
            played
        }
    }
}

/// Judges what must have been refused for a reason.
pub(super) fn refused(
    who: &str,
    asked: &str,
    (answer, took): (Result<proto::VerifyResponse, Status>, Duration),
    reason: ErrorReason,
) -> Played {
    let (outcome, is_expected) = match answer {
        Ok(answer) => (Outcome::Answer(Box::new(answer)), false),
        Err(status) => {
            let refusal = Refusal::of(&status);
            let is_expected = refusal.reason.as_deref() == Some(reason.short());
            (Outcome::Refusal(refusal), is_expected)
        }
    };
    let verdict = if is_expected { Ok(()) } else { Err(format!("expected {}", reason.short())) };
    Played { who: who.to_owned(), asked: asked.to_owned(), outcome, took, verdict }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;
    use crate::domain::question::Question;

    fn unconfirmed_answer(entry_index: u64, source: proto::Source) -> proto::VerifyResponse {
        let at = u32::try_from(entry_index).unwrap();
        proto::VerifyResponse {
            decision: proto::Decision::Indeterminate.into(),
            criteria: vec![proto::Criterion {
                kind: proto::CriterionKind::Subject.into(),
                outcome: proto::Outcome::Unknown.into(),
                reason: proto::Reason::SubjectNotConfirmed.into(),
            }],
            provenance: Some(proto::Provenance {
                observed_at: Some(prost_types::Timestamp { seconds: at.into(), nanos: 0 }),
                source: source.into(),
                ..Default::default()
            }),
            evidence: Some(proto::Evidence { log_origin: "demo".to_owned(), entry_index }),
            ..Default::default()
        }
    }

    #[test]
    fn only_time_and_entry_may_differ() {
        let first = unconfirmed_answer(7, proto::Source::Registry);
        assert_eq!(is_unconfirmed(&first), Ok(()));
        assert_eq!(same_but_for_the_entry(&first, &unconfirmed_answer(8, proto::Source::Registry)), Ok(()));
        assert!(same_but_for_the_entry(&first, &unconfirmed_answer(8, proto::Source::Redis)).is_err());
        let told = proto::VerifyResponse { subject_ref: "x".to_owned(), ..first };
        assert!(is_unconfirmed(&told).is_err());
    }

    #[test]
    fn a_refusal_for_another_reason_is_a_mismatch() {
        let status = || {
            let details = ErrorDetails::with_error_info("PURPOSE_NOT_PERMITTED", "drivegate.v1", []);
            Status::with_error_details(tonic::Code::PermissionDenied, "", details)
        };
        let judge = |answer, reason| refused("a", "b", (answer, Duration::ZERO), reason).verdict;
        assert_eq!(judge(Err(status()), ErrorReason::PurposeNotPermitted), Ok(()));
        assert!(judge(Err(status()), ErrorReason::FieldNotPermitted).is_err());
        assert!(judge(Ok(proto::VerifyResponse::default()), ErrorReason::PurposeNotPermitted).is_err());
    }

    #[test]
    fn the_catalogue_holds_everybody_the_refusals_need() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let drivers = crate::domain::catalogue::test_drivers(crate::domain::time::civil_day(now));
        for (row, twin, label) in [
            (ORDINARY, "", "rental"),
            (ORDINARY, "", "transport"),
            (UNCONFIRMED, "", "rental"),
            (UNCONFIRMED, NO_SUCH_NUMBER, "rental"),
        ] {
            let request = Asking { drivers: &drivers, row, twin, label, now }.request();
            assert!(request.subject.is_some(), "{row} {twin} {label}");
        }
        let wrong =
            drivers.iter().find(|driver| driver.row == UNCONFIRMED && driver.twin.is_empty()).unwrap();
        assert_ne!(wrong.name, wrong.claimed_name);
        assert!(wrong.expectations.iter().any(|one| matches!(one.question, Question::Rental { .. })));
    }
}
