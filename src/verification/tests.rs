//! The order of a question's life: what is asked of whom before what, and who learns what.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::ToSpan as _;
use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};

use super::ports::EntryAt;
use super::testing::*;
use super::{About, NoAnswer, Request, Shown, ShownRefusal};
use crate::domain::claim::Ground;
use crate::domain::decision::{Decision, Reason};
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::elicence::Display;
use crate::domain::licence::{ChangeKind, Stops};
use crate::domain::partner::{Contract, PartnerKind, Standing};
use crate::domain::policy::{AuthoriseRefusal, AuthorisedBy};
use crate::domain::presentation::{Audience, PartnerMark, Presentation};
use crate::domain::question::{Purpose, Question};

const PARTY: Ground = Ground::Contract { subject_is_party: true };

fn refusal(outcome: Result<super::Answer, NoAnswer>) -> Option<ShownRefusal> {
    match outcome {
        Err(NoAnswer::NotShown(refusal)) => Some(refusal),
        Err(other) => panic!("another refusal: {other:?}"),
        Ok(_) => None,
    }
}

fn place_in(outcome: Result<super::Answer, NoAnswer>) -> EntryAt {
    match outcome {
        Err(NoAnswer::RequestIdSpent(place)) => place,
        other => panic!("not spent: {other:?}"),
    }
}

fn named(id: &str) -> Request {
    Request { request_id: Some(id.to_owned()), ..scanned() }
}

/// Everything that can go wrong before a use is spent, and what was asked of whom until then.
#[tokio::test]
async fn a_qr_code_is_answered_in_this_order_and_spent_once() {
    let world = World::new();
    world.show(for_rental());
    let answer = world.ask(&rental_desk(), &scanned()).await.unwrap();
    assert_eq!(world.happened(), ["open", "quota", "question", "redeem", "look up", "record", "settle"]);
    assert_eq!((answer.ruling.decision, answer.authorised_by), (Decision::Qualified, AuthorisedBy::Qr));
    assert!(answer.charged && answer.confirmed.is_some() && answer.disclosure.masked_name.is_some());
    let written = Written {
        by: AuthorisedBy::Qr,
        text: Some(QR.to_owned()),
        confirmed: true,
        decision: Decision::Qualified,
        charged: true,
        consent_withdrawn: false,
    };
    assert_eq!(world.last_written(), written);
    let twice = world.ask(&rental_desk(), &named("request-2")).await;
    assert_eq!(refusal(twice), Some(ShownRefusal::AlreadyUsed));
    assert_eq!(world.happened(), ["open", "quota", "question", "redeem"], "nobody is looked up");
    assert_eq!((world.written.lock().unwrap().len(), world.charged()), (1, 1));
}

#[tokio::test]
async fn what_is_not_ours_touches_no_store_and_a_red_licence_answers_no() {
    let world = World::new();
    world.show(presentation(&driver(15, ""), Audience::Kind(PartnerKind::Rental), Some(Purpose::Rental)));
    for (text, expected) in [("DG1:CUT", ShownRefusal::Malformed), ("DG1:TWO", ShownRefusal::NotGenuine)] {
        let request = request(About::Shown(Shown::parse(text).unwrap()), rental());
        assert_eq!(refusal(world.ask(&rental_desk(), &request).await), Some(expected));
        assert_eq!(world.happened(), ["open"]);
    }
    let answer = world.ask(&rental_desk(), &scanned()).await.unwrap();
    assert_eq!(answer.ruling.decision, Decision::NotQualified);
}

/// Whoever else learns that it is for somebody else, whatever else is true of it.
#[tokio::test]
async fn a_qr_code_says_nothing_to_whom_it_is_not_for() {
    let insurer = contract("insurer-demo", PartnerKind::Insurer, Purpose::InsurancePurchase);
    let asked = request(
        About::Shown(Shown::parse(QR).unwrap()),
        Question::InsurancePurchase {
            vehicle: crate::domain::vehicle::Vehicle::of_class(crate::domain::licence::VehicleClass::C1),
        },
    );
    let world = World::new();
    world.show(for_rental());
    world.ask(&rental_desk(), &scanned()).await.unwrap();
    world.revoked.store(true, Ordering::SeqCst);
    world.happened();
    for seconds in [0, 3_600] {
        world.advance(seconds);
        assert_eq!(refusal(world.ask(&insurer, &asked).await), Some(ShownRefusal::NotForYou));
        assert_eq!(world.happened(), ["open"], "neither looked up nor redeemed");
    }
    // One partner: another of its kind is somebody else, too.
    let world = World::new();
    let one = Audience::Partner(PartnerMark::of(&"rental-demo".parse().unwrap()));
    world.show(Presentation { audience: one, ..for_rental() });
    let other = contract("rental-other", PartnerKind::Rental, Purpose::Rental);
    assert_eq!(refusal(world.ask(&other, &scanned()).await), Some(ShownRefusal::NotForYou));
    assert!(world.ask(&rental_desk(), &scanned()).await.is_ok());
}

#[tokio::test]
async fn another_purpose_a_field_not_agreed_to_and_a_lost_standing_spend_nothing() {
    let world = World::new();
    world.show(presentation(&driver(1, ""), Audience::Kind(PartnerKind::Rental), Some(Purpose::Recruitment)));
    assert_eq!(refusal(world.ask(&rental_desk(), &scanned()).await), Some(ShownRefusal::PurposeMismatch));
    world.show(Presentation { fields: Some(FieldSet::EMPTY), ..for_rental() });
    let named_field = Request { fields: FieldSet::of(&[Field::MaskedName]), ..scanned() };
    let refused = world.ask(&rental_desk(), &named_field).await;
    let names = FieldSet::of(&[Field::MaskedName]);
    assert!(
        matches!(refused, Err(NoAnswer::NotAuthorised(AuthoriseRefusal::FieldNotPermitted(fields))) if fields == names)
    );
    let states = Request { fields: FieldSet::of(&[Field::States]), ..scanned() };
    let refused = world.ask(&rental_desk(), &states).await;
    assert!(matches!(refused, Err(NoAnswer::NotAuthorised(AuthoriseRefusal::FieldNotPermitted(_)))));
    let unnamed = Request { request_id: None, ..scanned() };
    let refused = world.ask(&rental_desk(), &unnamed).await;
    let field = "request_id";
    assert!(
        matches!(refused, Err(NoAnswer::NotAuthorised(AuthoriseRefusal::Invalid { field: named, .. })) if named == field)
    );
    assert!(!world.happened().contains(&"redeem"));
    // Not agreed to and not asked for by name: left out.
    let answer = world.ask(&rental_desk(), &scanned()).await.unwrap();
    assert_eq!(answer.disclosure.masked_name, None);

    let world = World::new();
    world.show(for_rental());
    world.suspended_at_look_up.store(true, Ordering::SeqCst);
    let lost = world.ask(&rental_desk(), &scanned()).await;
    assert!(matches!(lost, Err(NoAnswer::StandingLost(Standing::Suspended))));
    assert!(world.written.lock().unwrap().is_empty(), "nothing is told, nothing is on record");
}

#[tokio::test]
async fn time_is_told_to_its_audience_and_the_same_request_may_finish_for_ten_minutes() {
    let world = World::new();
    world.show(for_rental());
    // The entry cannot be written: the use is spent, nothing is told.
    world.evidence_closed.store(true, Ordering::SeqCst);
    assert!(matches!(world.ask(&rental_desk(), &scanned()).await, Err(NoAnswer::NoEvidence)));
    assert_eq!(world.charged(), 0);
    world.evidence_closed.store(false, Ordering::SeqCst);
    world.advance(60 + 30 + 599);
    let late = world.ask(&rental_desk(), &named("request-2")).await;
    assert_eq!(refusal(late), Some(ShownRefusal::Expired));
    let answer = world.ask(&rental_desk(), &scanned()).await.unwrap();
    assert!(answer.charged, "the first answer");
    world.happened();
    world.advance(1);
    assert_eq!(refusal(world.ask(&rental_desk(), &scanned()).await), Some(ShownRefusal::Expired));
    assert_eq!(world.happened(), ["open"], "after that no store is asked");
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    for (seconds, spent) in [(-31, false), (-30, true), (0, true), (89, true), (90, false)] {
        let world = World::new();
        world.show(for_rental());
        world.advance(seconds);
        let outcome = refusal(world.ask(&rental_desk(), &scanned()).await);
        assert_eq!(outcome, (!spent).then_some(ShownRefusal::Expired), "{seconds}");
    }
}

#[tokio::test]
async fn the_same_request_is_answered_again_for_ten_minutes_uncharged_and_then_told_where_its_answer_stands()
{
    let world = World::new();
    world.send(Presentation { uses_max: 2, expires_at: now() + 24.hours(), ..for_rental() });
    let first = world.ask(&rental_desk(), &typed()).await.unwrap();
    assert_eq!((first.authorised_by, first.charged), (AuthorisedBy::ShareCode, true));
    world.advance(600);
    let again = world.ask(&rental_desk(), &typed()).await.unwrap();
    assert!(!again.charged && !world.last_written().charged, "two entries of one redemption, billed once");
    world.advance(1);
    assert_eq!(place_in(world.ask(&rental_desk(), &typed()).await), first.entry);
    let other = Request { case_reference: "RA-2".to_owned(), ..typed() };
    assert!(matches!(world.ask(&rental_desk(), &other).await, Err(NoAnswer::OtherContent)));
    let second = Request { request_id: Some("request-2".to_owned()), ..typed() };
    assert!(world.ask(&rental_desk(), &second).await.unwrap().charged, "the second use");
    assert_eq!(world.charged(), 2);
}

#[tokio::test]
async fn an_answer_whose_place_could_not_be_noted_leaves_and_is_answered_anew_once_billed() {
    let world = World::new();
    world.show(for_rental());
    world.settles.store(false, Ordering::SeqCst);
    assert!(world.ask(&rental_desk(), &scanned()).await.unwrap().charged);
    assert!(!world.ask(&rental_desk(), &scanned()).await.unwrap().charged, "by the request id");
    assert_eq!(
        refusal(world.ask(&rental_desk(), &named("request-2")).await),
        Some(ShownRefusal::AlreadyUsed)
    );
}

#[tokio::test]
async fn a_revoked_presentation_and_a_store_that_is_away_are_two_things() {
    let world = World::new();
    world.show(for_rental());
    world.revoked.store(true, Ordering::SeqCst);
    assert_eq!(refusal(world.ask(&rental_desk(), &scanned()).await), Some(ShownRefusal::Revoked));
    world.store_away.store(true, Ordering::SeqCst);
    assert!(matches!(world.ask(&rental_desk(), &scanned()).await, Err(NoAnswer::StoreUnavailable)));
    world.send(for_rental());
    assert!(matches!(world.ask(&rental_desk(), &typed()).await, Err(NoAnswer::StoreUnavailable)));
    let happened = world.happened();
    assert!(!happened.contains(&"missed") && !happened.contains(&"look up"), "{happened:?}");
}

/// Protected, erased and vanished: one answer, as for claims.
#[tokio::test]
async fn a_record_that_answers_nobody_gives_the_unconfirmed_answer_at_the_floor() {
    let shown = driver(1, "");
    let gone = |world: &World| world.remove(&shown);
    let erased = |world: &World| world.put(&shown, 1, &[ChangeKind::Erased], Stops::default());
    let protected = |world: &World| world.put(&shown, 1, &[ChangeKind::ProtectionSet], Stops::default());
    for change in [&gone as &dyn Fn(&World), &erased, &protected] {
        let world = World::new();
        world.show(for_rental());
        change(&world);
        let began = boot();
        let answer = world.ask(&rental_desk(), &scanned()).await.unwrap();
        assert!(boot() - began >= FLOOR);
        assert!(answer.confirmed.is_none() && answer.disclosure.masked_name.is_none());
        assert_eq!(answer.ruling.criteria[0].reason, Some(Reason::SubjectNotConfirmed));
        assert_eq!((answer.authorised_by, world.last_written().confirmed), (AuthorisedBy::Qr, false));
    }
}

pub(super) fn boot() -> Duration {
    let boot = clock_gettime(ClockId::Boottime);
    Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).unwrap())
}

/// Unknown, for another kind, for another partner; used, revoked, expired: to whom it is not for it is all the same.
#[tokio::test]
async fn a_share_code_is_not_accepted_and_nothing_tells_why() {
    let other = Audience::Partner(PartnerMark::of(&"rental-other".parse().unwrap()));
    for audience in [None, Some(other), Some(Audience::Kind(PartnerKind::Insurer)), Some(Audience::Untold)] {
        for (later, revoked) in [(0, false), (0, true), (3_600, false)] {
            let world = World::new();
            if let Some(audience) = audience.clone() {
                world.send(Presentation { audience, ..for_rental() });
            }
            world.advance(later);
            world.revoked.store(revoked, Ordering::SeqCst);
            let began = boot();
            let outcome = refusal(world.ask(&rental_desk(), &typed()).await);
            assert!(boot() - began >= FLOOR, "{audience:?}");
            assert_eq!(outcome, Some(ShownRefusal::ShareCodeNotAccepted), "{audience:?}");
            assert_eq!(world.happened(), ["may try", "find code", "missed"], "{audience:?}");
        }
    }
}

#[tokio::test]
async fn whom_a_share_code_is_for_learns_what_is_wrong_with_it_and_no_miss_is_counted() {
    let used = |world: &World| world.send(Presentation { uses_max: 0, ..for_rental() });
    let expired = |world: &World| {
        world.send(for_rental());
        world.advance(3_600);
    };
    let revoked = |world: &World| {
        world.send(for_rental());
        world.revoked.store(true, Ordering::SeqCst);
    };
    let for_another = |world: &World| {
        world.send(Presentation { purpose: Some(Purpose::Recruitment), ..for_rental() });
    };
    for (make, expected) in [
        (&used as &dyn Fn(&World), ShownRefusal::AlreadyUsed),
        (&expired, ShownRefusal::Expired),
        (&revoked, ShownRefusal::Revoked),
        (&for_another, ShownRefusal::PurposeMismatch),
    ] {
        let world = World::new();
        make(&world);
        assert_eq!(refusal(world.ask(&rental_desk(), &typed()).await), Some(expected));
        assert!(!world.happened().contains(&"missed"), "{expected:?}");
    }
}

#[tokio::test]
async fn who_guessed_too_often_is_refused_before_a_code_is_looked_up() {
    let world = World::new();
    world.send(for_rental());
    world.guesses_spent.store(true, Ordering::SeqCst);
    let refused = world.ask(&rental_desk(), &typed()).await;
    let minutes = Duration::from_mins(7);
    assert!(matches!(refused, Err(NoAnswer::GuessesExceeded { retry_after }) if retry_after == minutes));
    assert_eq!(world.happened(), ["may try"]);
}

#[tokio::test]
async fn the_police_may_ask_by_a_qr_code_that_was_issued_for_nothing_else() {
    let police = contract("police-demo", PartnerKind::Enforcement, Purpose::Enforcement);
    let ask = || request(About::Shown(Shown::parse(QR).unwrap()), Question::Enforcement { vehicle: None });
    let world = World::new();
    world.show(presentation(&driver(1, ""), Audience::Untold, None));
    assert!(world.ask(&police, &ask()).await.unwrap().disclosure.states.is_some());
    assert_eq!(refusal(world.ask(&rental_desk(), &scanned()).await), Some(ShownRefusal::NotForYou));
    world.show(for_rental());
    assert_eq!(refusal(world.ask(&police, &ask()).await), Some(ShownRefusal::NotForYou));
}

fn wallet() -> Contract {
    contract("wallet-demo", PartnerKind::Wallet, Purpose::PeerScan)
}

fn scan(scanner: &crate::domain::catalogue::TestDriver) -> Request {
    let question = Question::PeerScan { scanner: holder(scanner) };
    request(About::Shown(Shown::parse(QR).unwrap()), question)
}

#[tokio::test]
async fn a_peer_sees_the_screen_of_a_live_qr_code() {
    let world = World::new();
    world.show(presentation(&driver(15, ""), Audience::Untold, None));
    let answer = world.ask(&wallet(), &scan(&driver(1, ""))).await.unwrap();
    assert_eq!(
        world.happened(),
        ["open", "quota", "question", "look up", "redeem", "look up", "record", "settle"],
        "the scanner is looked at before anything is spent"
    );
    assert_eq!(answer.ruling.decision, Decision::NotQualified);
    let criteria: Vec<_> = answer.ruling.criteria.iter().map(|criterion| criterion.reason).collect();
    assert_eq!(criteria, [Some(Reason::LicenceNotInForce)], "the colour, not the state");
    assert_eq!(answer.disclosure.display.map(|shown| shown.display), Some(Display::Red));
    assert!(answer.disclosure.class_groups.is_some_and(|groups| groups.car));
    assert!(answer.disclosure.masked_name.is_some() && answer.disclosure.states.is_none());
}

#[tokio::test]
async fn who_has_no_e_licence_to_show_scans_nobody() {
    let drivers = crate::domain::catalogue::test_drivers(DAY);
    let mut refused = 0;
    for scanner in drivers.iter().filter(|driver| !driver.e_licence.is_empty()) {
        let world = World::new();
        world.show(presentation(&driver(1, ""), Audience::Untold, None));
        let outcome = world.ask(&wallet(), &scan(scanner)).await;
        let today = scanner.e_licence.iter().find(|one| one.asked_at.is_none());
        match today.map(|one| one.expected) {
            Some(Ok(_)) => assert!(outcome.is_ok(), "row {} {}", scanner.row, scanner.twin),
            Some(Err(_)) => {
                assert!(matches!(outcome, Err(NoAnswer::ScannerNotAccepted)), "row {}", scanner.row);
                assert!(!world.happened().contains(&"redeem"));
                refused += 1;
            }
            None => {}
        }
    }
    assert!(refused >= 5, "{refused}");
    let world = World::new();
    world.show(presentation(&driver(1, ""), Audience::Untold, None));
    world.remove(&driver(2, ""));
    let nobody = world.ask(&wallet(), &scan(&driver(2, ""))).await;
    assert!(matches!(nobody, Err(NoAnswer::ScannerNotAccepted)));
}

#[tokio::test]
async fn a_peer_scan_is_never_a_claim_and_a_contract_may_ask_for_presentations_alone() {
    let world = World::new();
    let question = Question::PeerScan { scanner: holder(&driver(1, "")) };
    let claim = Request { question, ..claimed(&driver(1, ""), driver(1, "").name, Ground::LegalDuty) };
    for (contract, claim) in [
        (wallet(), claim),
        (
            Contract { presentations_only: true, ..rental_desk() },
            claimed(&driver(1, ""), "测试乙", Ground::LegalDuty),
        ),
    ] {
        let refused = world.ask(&contract, &claim).await;
        assert!(matches!(refused, Err(NoAnswer::NotAuthorised(AuthoriseRefusal::PresentationRequired))));
        assert!(world.happened().is_empty());
    }
    let strict = Contract { presentations_only: true, ..rental_desk() };
    world.show(for_rental());
    assert!(world.ask(&strict, &scanned()).await.is_ok());
}

#[tokio::test]
async fn a_claim_is_answered_in_this_order_and_a_consent_is_kept_beside_the_record() {
    let world = World::new();
    let claim = claimed(&driver(1, ""), driver(1, "").name, PARTY);
    let answer = world.ask(&rental_desk(), &claim).await.unwrap();
    assert_eq!(world.happened(), ["quota", "question", "look up", "record"], "a contract is no consent");
    assert!(answer.charged && answer.authorised_by == AuthorisedBy::Asserted);

    let on_consent = Request {
        request_id: None,
        ..claimed(&driver(1, ""), driver(1, "").name, consent(now() - 1.hour()))
    };
    world.ask(&rental_desk(), &on_consent).await.unwrap();
    assert_eq!(world.happened(), ["quota", "question", "look up", "record", "consent", "consent kept"]);
    assert_eq!(*world.consents.lock().unwrap(), [FieldSet::of(&[Field::MaskedName])]);
    world.consents_known.store(true, Ordering::SeqCst);
    world.ask(&rental_desk(), &on_consent).await.unwrap();
    assert_eq!(world.happened(), ["quota", "question", "look up", "record", "consent"], "known: at once");
    let wrong_name = claimed(&driver(1, ""), "测试乙", consent(now() - 1.hour()));
    assert!(world.ask(&rental_desk(), &wrong_name).await.unwrap().confirmed.is_none());
    assert!(!world.happened().contains(&"consent"), "nobody's consent");
}

#[tokio::test]
async fn a_consent_that_cannot_be_kept_discloses_nothing() {
    let world = World::new();
    world.store_away.store(true, Ordering::SeqCst);
    let claim = claimed(&driver(1, ""), driver(1, "").name, consent(now() - 1.hour()));
    assert!(matches!(world.ask(&rental_desk(), &claim).await, Err(NoAnswer::StoreUnavailable)));
    assert_eq!(world.charged(), 0);
}

fn stopped() -> std::sync::Arc<World> {
    let world = World::new();
    let mut stops = Stops::default();
    stops.withdraw("rental-demo".parse().unwrap(), Purpose::Rental, now() - 1.hour()).unwrap();
    world.put(&driver(1, ""), 1, &[], stops);
    world
}

#[tokio::test]
async fn a_withdrawn_consent_is_refused_on_record_and_uncharged() {
    let world = stopped();
    let name = driver(1, "").name;
    let old = claimed(&driver(1, ""), name, consent(now() - 1.hour()));
    assert!(matches!(world.ask(&rental_desk(), &old).await, Err(NoAnswer::ConsentWithdrawn)));
    assert_eq!(world.happened(), ["quota", "question", "look up", "record"], "not noted as one in use");
    let written = Written {
        by: AuthorisedBy::Asserted,
        text: None,
        confirmed: true,
        decision: Decision::Indeterminate,
        charged: false,
        consent_withdrawn: true,
    };
    assert_eq!((world.last_written(), world.charged()), (written, 0));

    // Given anew, on another ground, by another name, shown by the driver.
    let anew = claimed(&driver(1, ""), name, consent(now() - 1.hour() + 1.second()));
    assert!(world.ask(&rental_desk(), &anew).await.is_ok());
    assert!(world.ask(&rental_desk(), &claimed(&driver(1, ""), name, PARTY)).await.is_ok());
    let other = Contract { partner: "rental-other".parse().unwrap(), ..rental_desk() };
    assert!(world.ask(&other, &old).await.is_ok());
    world.show(for_rental());
    assert!(world.ask(&rental_desk(), &named("request-2")).await.is_ok());
}

#[tokio::test]
async fn a_withdrawal_is_told_to_nobody_whose_claim_does_not_fit_and_never_without_a_record() {
    let world = stopped();
    let wrong_name = claimed(&driver(1, ""), "测试乙", consent(now() - 2.hours()));
    let began = boot();
    let answer = world.ask(&rental_desk(), &wrong_name).await.unwrap();
    assert!(boot() - began >= FLOOR);
    assert_eq!(answer.ruling.criteria[0].reason, Some(Reason::SubjectNotConfirmed));
    assert!(!world.last_written().consent_withdrawn);
    world.evidence_closed.store(true, Ordering::SeqCst);
    let old = claimed(&driver(1, ""), driver(1, "").name, consent(now() - 2.hours()));
    assert!(matches!(world.ask(&rental_desk(), &old).await, Err(NoAnswer::NoEvidence)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked when by whom: a use answers one request of its audience, and no refusal takes one away.
    #[test]
    fn a_presentation_of_n_uses_answers_n_requests_of_its_audience_whatever_is_tried_before(
        uses_max in 1u16..4,
        tries in proptest::collection::vec((0u8..4, 0usize..6), 0..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let world = World::new();
        world.send(Presentation { uses_max, expires_at: now() + 24.hours(), ..for_rental() });
        let insurer = contract("insurer-demo", PartnerKind::Insurer, Purpose::Rental);
        let mut answered = std::collections::BTreeSet::new();
        for (what, id) in tries {
            let request = Request { request_id: Some(format!("request-{id}")), ..typed() };
            let (contract, request) = match what {
                0 => (insurer.clone(), request),
                1 => (rental_desk(), Request { fields: FieldSet::of(&[Field::States]), ..request }),
                _ => (rental_desk(), request),
            };
            match runtime.block_on(world.ask(&contract, &request)) {
                Ok(_) => { answered.insert(id); }
                Err(NoAnswer::NotShown(ShownRefusal::AlreadyUsed)) => {
                    prop_assert!(answered.len() == usize::from(uses_max) && !answered.contains(&id));
                }
                Err(_) => prop_assert!(what < 2),
            }
        }
        prop_assert!(answered.len() <= usize::from(uses_max));
        prop_assert_eq!(world.charged(), answered.len());
        for id in 6..6 + usize::from(uses_max) - answered.len() {
            let request = Request { request_id: Some(format!("request-{id}")), ..typed() };
            prop_assert!(runtime.block_on(world.ask(&rental_desk(), &request)).is_ok());
        }
        let one_more = runtime.block_on(world.ask(&rental_desk(), &Request { request_id: Some("request-x".to_owned()), ..typed() }));
        prop_assert_eq!(refusal(one_more), Some(ShownRefusal::AlreadyUsed));
    }
}
