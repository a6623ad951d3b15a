use super::super::fate::{Fate, Outcome};
use super::super::testing::{Shelf, at, change, stated};
use super::*;
use crate::domain::licence::{ChangeKind, VehicleClass};

const A1: ChangeKind = ChangeKind::ClassAdded { class: VehicleClass::A1 };
const REPLAY: Verdict = Verdict::Replay { recorded_now: false };

fn set(letter: u8) -> ChangeKind {
    ChangeKind::StateSet { letter, original_end: None }
}

fn handle(shelf: &Shelf, sequence: u64) -> Handle {
    shelf.state.waiting().find(|waiting| waiting.sequence == sequence).unwrap().digest.handle()
}

/// A revoked licence to which a class is added, and what follows.
fn stuck() -> Shelf {
    let mut shelf = Shelf::licensed();
    let changes =
        vec![change(1, stated(5, set(b'F'))), change(2, stated(6, A1)), change(3, stated(7, set(b'H')))];
    shelf.take(changes, at(0));
    shelf
}

#[test]
fn a_discarded_change_lets_the_others_through_and_settles_the_dispute() {
    let mut shelf = stuck();
    assert_eq!((shelf.waits(), shelf.is_disputed(at(1))), (2, true));
    let later = handle(&shelf, 3);
    let first = handle(&shelf, 2);
    assert_eq!(shelf.judge(later, Verdict::Discard, at(1)), Err(VerdictFault::NotFirst(first)));
    shelf.judge(first, Verdict::Discard, at(1)).unwrap();
    assert_eq!((shelf.waits(), shelf.is_disputed(at(1))), (0, false));
    assert!(shelf.said().iter().any(|(_, _, kind)| *kind == set(b'H')));
    assert!(!shelf.said().iter().any(|(_, _, kind)| *kind == A1));
    assert_eq!(shelf.take(vec![change(2, stated(6, A1))], at(2)), [Outcome::Duplicate(Fate::Discarded)]);
    assert_eq!(shelf.judge(first, Verdict::Discard, at(2)), Err(VerdictFault::NotWaiting));
}

#[test]
fn a_replay_is_judged_again() {
    let mut shelf = stuck();
    let first = handle(&shelf, 2);
    let still = Err(VerdictFault::StillNot(QuarantineReason::LicenceEnded));
    assert_eq!(shelf.judge(first, REPLAY, at(1)), still);
    assert_eq!(shelf.waits(), 2, "nothing has changed");
    let mut restored = change(1, stated(5, ChangeKind::StateLifted { letter: b'F' }));
    restored.source = super::super::testing::feed("corrections");
    shelf.take(vec![restored], at(2));
    shelf.judge(first, REPLAY, at(3)).unwrap();
    assert_eq!((shelf.waits(), shelf.is_disputed(at(3))), (0, false));
    assert!(shelf.said().iter().any(|(_, _, kind)| *kind == A1));
}

#[test]
fn a_replay_over_a_gap_gives_up_what_is_missing_and_never_loses_it() {
    let mut shelf = Shelf::licensed();
    shelf.take(vec![change(3, stated(7, set(b'H')))], at(0));
    let waiting = handle(&shelf, 3);
    shelf.judge(waiting, REPLAY, at(1)).unwrap();
    assert_eq!((shelf.waits(), shelf.is_disputed(at(1))), (0, false));
    let told = shelf.take(vec![change(2, stated(6, set(b'F')))], at(2));
    assert_eq!(told, [Outcome::New(Fate::Quarantined(QuarantineReason::OutOfSequence))]);
    assert!(shelf.is_disputed(at(2)), "a late revocation is in nobody's way, and never silent");
}

#[test]
fn what_was_recorded_back_is_replayed_as_recorded_now() {
    let mut shelf = Shelf::licensed();
    let back = StatedChange { recorded_at: at(-9_000), ..stated(5, set(b'F')) };
    shelf.take(vec![change(1, back)], at(0));
    let waiting = handle(&shelf, 1);
    let still = Err(VerdictFault::StillNot(QuarantineReason::RecordedTimeBack));
    assert_eq!(shelf.judge(waiting, REPLAY, at(1)), still);
    shelf.judge(waiting, Verdict::Replay { recorded_now: true }, at(1)).unwrap();
    let last = shelf.record.unwrap();
    assert!(last.iter().any(|change| change.kind == set(b'F') && change.recorded_at == at(1)));
}

#[test]
fn an_id_used_twice_is_replayed_out_of_sequence_and_known_from_then_on() {
    let mut shelf = Shelf::licensed();
    shelf.take(vec![change(1, stated(5, set(b'H')))], at(0));
    let second = change(1, stated(6, set(b'F')));
    shelf.take(vec![second.clone()], at(1));
    let waiting = handle(&shelf, 1);
    shelf.judge(waiting, REPLAY, at(2)).unwrap();
    assert_eq!((shelf.waits(), shelf.is_disputed(at(2))), (0, false));
    let again = shelf.take(vec![second, change(1, stated(5, set(b'H')))], at(3));
    assert!(again.iter().all(|told| matches!(told, Outcome::Duplicate(Fate::Applied(_)))), "{again:?}");
    assert_eq!(shelf.waits(), 0);
}

#[test]
fn what_was_never_understood_cannot_be_replayed() {
    let mut shelf = Shelf::licensed();
    let unclear = super::super::change::IncomingChange { content: None, ..change(1, stated(5, set(b'F'))) };
    shelf.take(vec![unclear], at(0));
    let waiting = handle(&shelf, 1);
    assert_eq!(shelf.judge(waiting, REPLAY, at(1)), Err(VerdictFault::NothingToReplay));
    shelf.judge(waiting, Verdict::Discard, at(1)).unwrap();
    assert_eq!((shelf.waits(), shelf.is_disputed(at(1))), (0, false));
}
