//! The bounds on claims: what is counted, what is refused, and that neither tells whether there is such a person.

use std::sync::Arc;
use std::time::Duration;

use super::ports::{Admission, ClaimRefused, Deadline, EntryAt, Retries, RetryKey, Soon, TakenUp};
use super::testing::*;
use super::tests::boot;
use super::{Answer, Caller, NoAnswer, Request, Verification};
use crate::domain::catalogue::TestDriver;
use crate::domain::partner::{Contract, PartnerId, Standing};
use crate::domain::policy::AuthoriseRefusal;
use crate::domain::time::Clock as _;

fn claim(driver: &TestDriver, name: &str) -> Request {
    claimed(driver, name, consent(now()))
}

/// A driver whose record answers nobody, one under another name, and one who is not in the registry.
fn nobody_s(world: &World) -> [Request; 3] {
    let (protected, other, gone) = (driver(29, "protected"), driver(3, ""), driver(4, ""));
    world.remove(&gone);
    [claim(&protected, protected.name), claim(&other, "别人"), claim(&gone, gone.name)]
}

#[tokio::test]
async fn every_kind_of_unconfirmed_claim_is_counted_before_it_is_on_record_and_no_confirmed_one_is() {
    let world = World::new();
    let desk = rental_desk();
    for request in nobody_s(&world) {
        let answer = world.ask(&desk, &request).await.unwrap();
        assert!(answer.confirmed.is_none());
        let happened = world.happened();
        assert_eq!(happened.iter().filter(|event| **event == "unconfirmed").count(), 1, "{happened:?}");
        let at = |wanted| happened.iter().position(|event| *event == wanted).unwrap();
        assert!(at("look up") < at("unconfirmed") && at("unconfirmed") < at("record"), "{happened:?}");
    }
    let known = driver(1, "");
    assert!(world.ask(&desk, &claim(&known, known.name)).await.unwrap().confirmed.is_some());
    assert!(!world.happened().contains(&"unconfirmed"));
}

#[tokio::test]
async fn a_spent_budget_and_a_tripped_wire_refuse_before_any_look_up_whoever_it_is() {
    let world = World::new();
    let known = driver(1, "");
    let [protected, other, gone] = nobody_s(&world);
    for request in [protected, other, gone, claim(&known, known.name)] {
        *world.admission.lock().unwrap() = Some(Err(SPENT));
        let refused = world.ask(&rental_desk(), &request).await;
        assert!(
            matches!(refused, Err(NoAnswer::SubjectsSpent { subjects_max: 7, window_hours: 24, retry_after })
                if retry_after == Duration::from_secs(42)),
            "{refused:?}"
        );
        *world.admission.lock().unwrap() = Some(Err(ClaimRefused::Stopped));
        let refused = world.ask(&rental_desk(), &request).await;
        assert!(matches!(refused, Err(NoAnswer::StandingLost(Standing::ClaimsSuspended))), "{refused:?}");
        let happened = world.happened();
        assert!(!happened.contains(&"look up") && !happened.contains(&"record"), "{happened:?}");
    }
    assert_eq!(world.charged(), 0);
}

#[tokio::test]
async fn a_tripped_wire_stops_claims_first_of_all_and_no_presentation() {
    let world = World::new();
    *world.pace.lock().unwrap() = Some(Err(ClaimRefused::Stopped));
    let known = driver(1, "");
    let refused = world.ask(&rental_desk(), &claim(&known, known.name)).await;
    assert!(matches!(refused, Err(NoAnswer::StandingLost(Standing::ClaimsSuspended))), "{refused:?}");
    assert_eq!(world.happened(), Vec::<&str>::new());
    world.show(for_rental());
    assert!(world.ask(&rental_desk(), &scanned()).await.is_ok());
}

/// Goal: slowing tells no kind of claim from another. Method: with a wait far longer than the floor, an unconfirmed answer still leaves a
/// floor later than the wait ends.
#[tokio::test]
async fn a_slowed_claim_waits_first_and_the_floor_counts_from_the_end_of_it() {
    let wait = FLOOR * 10;
    let world = World::new();
    *world.pace.lock().unwrap() = Some(Ok(wait));
    let known = driver(1, "");
    let [.., gone] = nobody_s(&world);
    let began = boot();
    world.ask(&rental_desk(), &claim(&known, known.name)).await.unwrap();
    assert!(boot() - began >= wait, "a confirmed one, too");
    let began = boot();
    world.ask(&rental_desk(), &gone).await.unwrap();
    assert!(boot() - began >= wait + FLOOR, "{:?}", boot() - began);
    world.happened();

    *world.pace.lock().unwrap() = Some(Ok(Duration::from_millis(998)));
    for request in [gone, claim(&known, known.name)] {
        let late = world.ask(&rental_desk(), &request).await;
        assert!(matches!(late, Err(NoAnswer::DeadlineTooShort)), "{late:?}");
    }
    assert_eq!(world.happened(), Vec::<&str>::new(), "a wait beyond the deadline is not begun");
}

/// Goal: after a restart whom the log names is known, although his number is not. Method: a spent budget that says so.
#[tokio::test]
async fn whom_the_log_names_is_admitted_by_a_look_up_and_nobody_else_is_told_from_nobody() {
    let world = World::new();
    *world.admission.lock().unwrap() = Some(Ok(Admission::IfRecalled));
    let (named, other) = (driver(1, ""), driver(5, ""));
    let [.., gone] = nobody_s(&world);
    let numbered = world.subject_of(&named);
    *world.recalled.lock().unwrap() = Some(numbered);
    assert!(world.ask(&rental_desk(), &claim(&named, named.name)).await.is_ok());
    for request in [claim(&other, other.name), gone] {
        let began = boot();
        let refused = world.ask(&rental_desk(), &request).await;
        assert!(matches!(refused, Err(NoAnswer::SubjectsSpent { .. })), "{refused:?}");
        assert!(boot() - began >= FLOOR, "at the floor, both");
    }
    assert_eq!(world.written.lock().unwrap().len(), 1);
}

/// After a restart: of every request the log knows that it was answered, and whom it was about.
struct Recalls([u8; 16]);

impl Retries for Recalls {
    fn take_up<'a>(&'a self, _key: RetryKey<'a>, _deadline: Deadline) -> Soon<'a, TakenUp> {
        let place = EntryAt { origin: "log".into(), index: 77 };
        Soon::Now(TakenUp::Recorded { place, about: Some(self.0), retry: Box::new(NeverKept) })
    }

    fn let_go(&self, _partner: &PartnerId, _id: &str, _place: &EntryAt) {}
}

/// Asks under the id of a request that was answered about `about` before the restart.
async fn ask_again(
    world: &Arc<World>,
    desk: &Contract,
    about: &TestDriver,
    (request, time): (&Request, Duration),
) -> Result<Answer, NoAnswer> {
    let retries = Arc::new(Recalls(*world.subject_of(about).as_bytes()));
    let verification = Verification { retries, ..world.verification() };
    let caller = Caller { contract: desk, standing: &|| Standing::Active };
    let deadline = Deadline { since_boot: world.since_boot() + time };
    verification.verify(caller, request, deadline).await
}

const SOON: Duration = Duration::from_secs(1);

/// Goal: an id that only the log knows is no free look-up of other numbers. Method: a confirmed one and every kind of unconfirmed ones under
/// it are counted, refused at the floor and otherwise alike.
#[tokio::test]
async fn another_number_under_a_recalled_id_counts_and_is_refused_at_the_floor_whoever_it_is() {
    let world = World::new();
    let (known, other) = (driver(1, ""), driver(5, ""));
    let mut requests = nobody_s(&world).to_vec();
    requests.push(claim(&other, other.name));
    for request in &requests {
        let began = boot();
        let refused = ask_again(&world, &rental_desk(), &known, (request, SOON)).await;
        assert!(matches!(refused, Err(NoAnswer::OtherContent)), "{refused:?}");
        assert!(boot() - began >= FLOOR, "{:?}", boot() - began);
        assert_eq!(world.happened(), ["quota", "question", "look up", "unconfirmed"]);
    }
    assert_eq!((world.written.lock().unwrap().len(), world.charged()), (0, 0));

    let own = claim(&known, known.name);
    assert!(ask_again(&world, &rental_desk(), &known, (&own, SOON)).await.unwrap().confirmed.is_some());
    assert!(!world.happened().contains(&"unconfirmed"));
}

#[tokio::test]
async fn what_bounds_claims_bounds_those_under_a_recalled_id_before_any_look_up() {
    let world = World::new();
    let (known, other) = (driver(1, ""), driver(5, ""));
    let request = claim(&other, other.name);
    let desk = rental_desk();
    let elsewhere = Contract { purposes: Vec::new(), ..rental_desk() };

    let refused = ask_again(&world, &elsewhere, &known, (&request, SOON)).await;
    assert!(
        matches!(refused, Err(NoAnswer::NotAuthorised(AuthoriseRefusal::PurposeNotPermitted))),
        "{refused:?}"
    );
    let refused = ask_again(&world, &desk, &known, (&request, FLOOR)).await;
    assert!(matches!(refused, Err(NoAnswer::DeadlineTooShort)), "{refused:?}");
    *world.admission.lock().unwrap() = Some(Err(SPENT));
    let refused = ask_again(&world, &desk, &known, (&request, SOON)).await;
    assert!(matches!(refused, Err(NoAnswer::SubjectsSpent { .. })), "{refused:?}");
    *world.admission.lock().unwrap() = Some(Err(ClaimRefused::Stopped));
    let refused = ask_again(&world, &desk, &known, (&request, SOON)).await;
    assert!(matches!(refused, Err(NoAnswer::StandingLost(Standing::ClaimsSuspended))), "{refused:?}");
    assert!(!world.happened().contains(&"look up"));
}
