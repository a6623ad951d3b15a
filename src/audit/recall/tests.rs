//! What a start learns of requests answered before, from a real log.

use std::sync::Arc;

use jiff::SignedDuration;
use tempfile::TempDir;

use super::*;
use crate::audit::entry::testing::{Answered, answered};
use crate::audit::journal::{JournalOptions, NoObserver};
use crate::domain::decision::Ruling;
use crate::domain::time::Clock;

struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn since_boot(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// A log whose segments hold a dozen entries each.
fn open(folder: &TempDir) -> Arc<Journal> {
    let options = JournalOptions {
        segment_bytes: 4_096,
        step_bytes: 1_024,
        ..JournalOptions::new(folder.path(), "gw-1")
    };
    Journal::open(options, Arc::new(TestClock), Arc::new(NoObserver)).unwrap()
}

fn entry_at(answered: &Answered, journal: &Journal, number: u64) -> Vec<u8> {
    let bytes = answered.entry([u8::try_from(number % 251).unwrap(); 16]);
    let Ok(Entry::Answer(mut answer)) = Entry::decode(&bytes) else { panic!("it is an answer") };
    answer.at += SignedDuration::from_secs(number.cast_signed());
    answer.request = number
        .is_multiple_of(2)
        .then(|| journal.secret().request_digest(&answer.partner, &format!("request-{number}")));
    let mut bytes = Vec::new();
    answer.encode(&mut bytes).unwrap();
    bytes
}

/// Goal: a process that starts knows every request answered since a moment, and where. Method: a log of many segments, odd entries
/// without a request id, closed and opened again as after a kill; read back with several bounds.
#[tokio::test]
async fn every_request_since_the_moment_is_recalled_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let answered = answered();
    let journal = open(&folder);
    let mut last = None;
    for number in 0..200 {
        last = Some(journal.append(&entry_at(&answered, &journal, number)).unwrap());
    }
    last.unwrap().await.unwrap();
    drop(journal);

    let journal = open(&folder);
    let first_at = match Entry::decode(&entry_at(&answered, &journal, 0)).unwrap() {
        Entry::Answer(answer) => answer.at,
        _ => panic!("it is an answer"),
    };
    let since = |seconds| first_at + SignedDuration::from_secs(seconds);
    let told = |since, entries_max| -> Vec<u64> {
        let recalled = recall(&journal, RecallBounds { since, entries_max }).unwrap();
        recalled.iter().map(|told| told.place.index).collect()
    };
    let even = |from: u64| (from..200).filter(|number| number % 2 == 0).collect::<Vec<_>>();
    assert_eq!(told(since(0), 1_000), even(0));
    assert_eq!(told(since(123), 1_000), even(123));
    assert_eq!(told(since(0), 50), even(150), "bounded");
    assert_eq!(told(since(190), 50), even(190));
    assert_eq!(told(since(1_000), 1_000), Vec::<u64>::new());

    let partner: PartnerId = "rental-demo".parse().unwrap();
    let one = recall(&journal, RecallBounds { since: since(198), entries_max: 1_000 }).unwrap().remove(0);
    assert_eq!(one.request, journal.secret().request(&partner, "request-198"));
    assert_eq!(one.place, EntryAt { origin: Arc::clone(journal.origin()), index: 198 });
    assert_eq!((one.at, one.partner), (since(198), partner));
}

#[test]
fn an_empty_log_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = RecallBounds { since: Timestamp::UNIX_EPOCH, entries_max: 10 };
    assert_eq!(recall(&open(&folder), bounds).unwrap(), []);
}

#[test]
fn a_request_of_the_log_is_named_as_one_that_comes() {
    let answered = answered();
    let Ok(Entry::Answer(answer)) = Entry::decode(&answered.entry([9; 16])) else { panic!("an answer") };
    let place = EntryAt { origin: "gw-1-00".into(), index: 3 };
    let told = told_of(answer, place, &answered.log).unwrap();
    let partner: PartnerId = "rental-demo".parse().unwrap();
    assert_eq!(told.request, answered.log.request(&partner, "0192f0c1-7a1e-7b6c-9c51-0a4f0b0d8a11"));
    assert_eq!(told.case, answered.log.case(&partner, "RA-2026-0004711"));
}

/// Goal: of the log's answers claims alone are told, with whom they were about and whether they came to nothing.
#[tokio::test]
async fn claims_are_told_with_what_came_of_them_and_nothing_that_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let answered = answered();
    let journal = open(&folder);
    let about = [7; 16];
    let mut last = None;
    for number in 0..4_u8 {
        let Ok(Entry::Answer(mut answer)) = Entry::decode(&answered.entry([number; 16])) else {
            panic!("it is an answer")
        };
        answer.at += SignedDuration::from_secs(number.into());
        answer.handle =
            journal.secret().hide_handle(&answer.nonce, crate::evidence::ports::SubjectHandle(about));
        if number == 1 {
            answer.criteria = Ruling::not_confirmed().criteria.into();
        }
        if number == 2 {
            (answer.authorised_by, answer.ground, answer.subject_is_party) = (AuthorisedBy::Qr, None, false);
        }
        let mut bytes = Vec::new();
        answer.encode(&mut bytes).unwrap();
        last = Some(journal.append(&bytes).unwrap());
    }
    last.unwrap().await.unwrap();
    drop(journal);

    let journal = open(&folder);
    let mut told = Vec::new();
    let bounds = RecallBounds { since: Timestamp::UNIX_EPOCH, entries_max: 10 };
    recall_claims(&journal, bounds, |claim| told.push(claim)).unwrap();
    let outcomes: Vec<_> = told.iter().map(|claim| (claim.unconfirmed, claim.about)).collect();
    assert_eq!(outcomes, [(false, about), (true, about), (false, about)]);
    assert_eq!(
        (told[0].partner.as_str(), told[2].at.duration_since(told[1].at).as_secs()),
        ("rental-demo", 2)
    );
}
