//! What the driver shows: a QR code to a rental desk, a share code to a recruiter; a consent withdrawn; who looked.

use std::time::Duration;

use jiff::Timestamp;
use miette::{IntoDiagnostic as _, miette};
use tonic::Status;
use tonic::transport::Channel;

use super::asking;
use super::play::{Clients, ask};
use super::refusals::refused;
use super::stage::{Face, Stage};
use super::table::{Outcome, Played};
use crate::app::SystemClock;
use crate::cli::verify::refusal::Refusal;
use crate::cli::verify::words::short;
use crate::domain::catalogue::TestDriver;
use crate::domain::time::Clock as _;
use crate::gateway::proto::presentation_service_client::PresentationServiceClient;
use crate::gateway::proto::{self, ErrorReason, audience, verify_request};

/// Whose back end issues, and shows the driver who looked.
const WALLET: &str = "wallet-demo";
const DESK: &str = "rental-demo";
const RECRUITER: &str = "recruiter-demo";
/// The row of the driver, against whom nothing speaks.
const ORDINARY: u8 = 1;
/// How long the last look-up may take to be listed.
const LISTED_WITHIN: Duration = Duration::from_secs(3);
/// How often the list is asked for until then.
const LIST_EVERY: Duration = Duration::from_millis(50);

type Wallet = PresentationServiceClient<Channel>;

/// Plays the driver's part, and returns who looked, newest first.
///
/// # Errors
/// When a partner cannot connect, or the catalogue lacks the driver.
pub async fn play(
    stage: &Stage,
    clients: &mut Clients,
    drivers: &[TestDriver],
    now: Timestamp,
) -> miette::Result<(Vec<Played>, Vec<proto::Access>)> {
    let driver = drivers.iter().find(|driver| driver.row == ORDINARY && driver.twin.is_empty());
    let driver = driver.ok_or_else(|| miette!("the catalogue holds none of the demo's drivers"))?;
    let tls = stage.tls(Face::Partner(WALLET))?;
    let mut wallet = Wallet::new(stage.target().channel(&tls).await.into_diagnostic()?);
    let mut played = Vec::new();
    by_qr(stage, clients, &mut wallet, driver, now, &mut played).await?;
    by_share_code(stage, clients, &mut wallet, driver, now, &mut played).await?;
    withdrawn(stage, clients, &mut wallet, driver, now, &mut played).await?;
    let accesses = who_looked(&mut wallet, driver, &mut played).await;
    Ok((played, accesses))
}

/// The checkout scans a QR code; a second scan is refused.
async fn by_qr(
    stage: &Stage,
    clients: &mut Clients,
    wallet: &mut Wallet,
    driver: &TestDriver,
    now: Timestamp,
    played: &mut Vec<Played>,
) -> miette::Result<()> {
    let request = proto::IssueQrRequest {
        holder: Some(holder(driver)),
        purpose: proto::Purpose::Rental.into(),
        audience: Some(everybody(proto::PartnerKind::Rental)),
        ..Default::default()
    };
    let (issued, took) = timed(wallet.issue_qr(request)).await;
    let told = issued.as_ref().map(|qr| {
        let size = qr.token.chars().count();
        format!(
            "{}… of {size} characters, {}",
            qr.token.chars().take(8).collect::<String>(),
            short::<proto::Display>(qr.display)
        )
    });
    played.push(fact(WALLET, "a QR code for a rental desk", told, took));
    let Ok(qr) = issued else { return Ok(()) };
    let mut desk = clients.of(stage, DESK).await?;
    for (asked, request_id) in [("scans it: C1, 3 days", "demo-scan-1"), ("a second scan", "demo-scan-2")] {
        let request = shown(question(driver, "rental", now)?, &qr.token, request_id);
        let answer = ask(&mut desk, request).await;
        played.push(match request_id {
            "demo-scan-1" => answered(DESK, asked, answer, proto::AuthorisedBy::Qr),
            _ => refused(DESK, asked, answer, ErrorReason::PresentationAlreadyUsed),
        });
    }
    Ok(())
}

/// The recruiter types in what the driver sent.
async fn by_share_code(
    stage: &Stage,
    clients: &mut Clients,
    wallet: &mut Wallet,
    driver: &TestDriver,
    now: Timestamp,
    played: &mut Vec<Played>,
) -> miette::Result<()> {
    let request = proto::IssueShareCodeRequest {
        holder: Some(holder(driver)),
        purpose: proto::Purpose::Recruitment.into(),
        audience: Some(everybody(proto::PartnerKind::Recruiter)),
        ..Default::default()
    };
    let (issued, took) = timed(wallet.issue_share_code(request)).await;
    let told = issued.as_ref().map(|code| format!("{} for {} use", code.code, code.uses));
    played.push(fact(WALLET, "a share code for a recruiter", told, took));
    let Ok(code) = issued else { return Ok(()) };
    let mut recruiter = clients.of(stage, RECRUITER).await?;
    // As people type: small letters, blanks.
    let typed = code.code.to_lowercase().replace('-', " ");
    let request = shown(question(driver, "recruit", now)?, &typed, "demo-code-1");
    let answer = ask(&mut recruiter, request).await;
    played.push(answered(RECRUITER, "asks with the share code", answer, proto::AuthorisedBy::ShareCode));
    Ok(())
}

/// The driver withdraws the consent the recruiter claimed: the next request is refused.
async fn withdrawn(
    stage: &Stage,
    clients: &mut Clients,
    wallet: &mut Wallet,
    driver: &TestDriver,
    now: Timestamp,
    played: &mut Vec<Played>,
) -> miette::Result<()> {
    let mut recruiter = clients.of(stage, RECRUITER).await?;
    let claim = question(driver, "recruit", now)?;
    let answer = ask(&mut recruiter, claim.clone()).await;
    played.push(answered(RECRUITER, "claims a consent", answer, proto::AuthorisedBy::Asserted));
    let list = proto::ListConsentsRequest { holder: Some(holder(driver)), ..Default::default() };
    let (withdrawn, took) = timed(async {
        let consents = wallet.list_consents(list).await?.into_inner().consents;
        let of_recruiter = |consent: &&proto::Consent| {
            consent.partner.as_ref().is_some_and(|partner| partner.partner_id == RECRUITER)
        };
        let consent = consents.iter().find(of_recruiter).ok_or_else(|| Status::not_found("no consent"))?;
        let consent_id = consent.consent_id.clone();
        wallet
            .withdraw_consent(proto::WithdrawConsentRequest { holder: Some(holder(driver)), consent_id })
            .await
    })
    .await;
    let told = withdrawn.as_ref().map(|_since| format!("withdrawn from {RECRUITER}"));
    played.push(fact(WALLET, "the driver withdraws it", told, took));
    let answer = ask(&mut recruiter, claim).await;
    played.push(refused(RECRUITER, "asks again", answer, ErrorReason::ConsentWithdrawn));
    Ok(())
}

/// The driver lists who looked: everything above must be there.
async fn who_looked(
    wallet: &mut Wallet,
    driver: &TestDriver,
    played: &mut Vec<Played>,
) -> Vec<proto::Access> {
    let from = SystemClock.since_boot();
    let list = || proto::ListAccessesRequest { holder: Some(holder(driver)), ..Default::default() };
    loop {
        let listed = wallet.list_accesses(list()).await.map(tonic::Response::into_inner);
        let took = SystemClock.since_boot().saturating_sub(from);
        let is_whole = listed.as_ref().is_ok_and(|list| holds_the_play(&list.accesses));
        if is_whole || took > LISTED_WITHIN || listed.is_err() {
            let told = listed.as_ref().map(|list| format!("{} look-ups", list.accesses.len()));
            let mut one = fact(WALLET, "the driver lists who looked", told, took);
            if one.held() && !is_whole {
                one.verdict = Err("expected every look-up of this play".to_owned());
            }
            played.push(one);
            return listed.map(|list| list.accesses).unwrap_or_default();
        }
        tokio::time::sleep(LIST_EVERY).await;
    }
}

fn holds_the_play(accesses: &[proto::Access]) -> bool {
    let newest = accesses.first().map(proto::Access::outcome);
    let by = |how| accesses.iter().any(|access| access.authorised_by() == how);
    newest == Some(proto::AccessOutcome::ConsentWithdrawn)
        && by(proto::AuthorisedBy::Qr)
        && by(proto::AuthorisedBy::ShareCode)
}

fn holder(driver: &TestDriver) -> proto::Holder {
    proto::Holder { document_kind: driver.document.code().into(), licence_number: driver.number.to_owned() }
}

fn everybody(kind: proto::PartnerKind) -> proto::Audience {
    proto::Audience { whom: Some(audience::Whom::Kind(kind.into())) }
}

fn question(driver: &TestDriver, label: &str, now: Timestamp) -> miette::Result<proto::VerifyRequest> {
    let expectation = driver.expectations.iter().find(|expectation| expectation.label == label);
    let expectation =
        expectation.ok_or_else(|| miette!("the catalogue lacks the demo's question: {label}"))?;
    Ok(asking::ask(driver, &expectation.question, None, now))
}

/// The same question, about whoever showed this.
fn shown(request: proto::VerifyRequest, presentation: &str, request_id: &str) -> proto::VerifyRequest {
    let subject = Some(verify_request::Subject::Presentation(presentation.to_owned()));
    proto::VerifyRequest { subject, request_id: request_id.to_owned(), ..request }
}

async fn timed<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> (Result<T, Status>, Duration) {
    let from = SystemClock.since_boot();
    let answer = call.await.map(tonic::Response::into_inner);
    (answer, SystemClock.since_boot().saturating_sub(from))
}

/// Judges what must have been answered, and how it must have been authorised.
fn answered(
    who: &str,
    asked: &str,
    (answer, took): (Result<proto::VerifyResponse, Status>, Duration),
    by: proto::AuthorisedBy,
) -> Played {
    let (outcome, verdict) = match answer {
        Ok(answer) => {
            let is_so = answer.decision() == proto::Decision::Qualified && answer.authorised_by() == by;
            let verdict =
                if is_so { Ok(()) } else { Err(format!("expected QUALIFIED, authorised by {by:?}")) };
            (Outcome::Answer(Box::new(answer)), verdict)
        }
        Err(status) => (Outcome::Refusal(Refusal::of(&status)), Err("expected an answer".to_owned())),
    };
    Played { who: who.to_owned(), asked: asked.to_owned(), outcome, took, verdict }
}

fn fact(who: &str, asked: &str, told: Result<String, &Status>, took: Duration) -> Played {
    let (outcome, verdict) = match told {
        Ok(told) => (Outcome::Fact(told), Ok(())),
        Err(status) => (Outcome::Refusal(Refusal::of(status)), Err("expected an answer".to_owned())),
    };
    Played { who: who.to_owned(), asked: asked.to_owned(), outcome, took, verdict }
}
