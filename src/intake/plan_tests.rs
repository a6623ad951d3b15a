use proptest::prelude::*;

use super::super::fate::{Fate, QuarantineReason as Reason, RejectReason};
use super::super::testing::{ONE, Shelf, TWO, at, change, feed, number, stated};
use super::*;
use crate::domain::licence::{AsOf, FullName, VehicleClass};
use crate::domain::time::Effective;
use crate::intake::change::ChangeId;

const C1: VehicleClass = VehicleClass::C1;

fn set(letter: u8) -> ChangeKind {
    ChangeKind::StateSet { letter, original_end: None }
}

fn lifted(letter: u8) -> ChangeKind {
    ChangeKind::StateLifted { letter }
}

fn applied(seq: u64) -> Outcome {
    Outcome::New(Fate::Applied(Position { epoch: 1, partition: 0, seq }))
}

fn quarantined(reason: Reason) -> Outcome {
    Outcome::New(Fate::Quarantined(reason))
}

#[test]
fn changes_in_order_join_the_record_each_at_its_own_position() {
    let mut shelf = Shelf::licensed();
    let told = shelf.take(vec![change(1, stated(5, set(b'H'))), change(2, stated(6, lifted(b'H')))], at(0));
    assert_eq!(told, [applied(2), applied(3)]);
    assert_eq!((shelf.waits(), shelf.is_disputed(at(0))), (0, false));
    let again = shelf.take(vec![change(2, stated(6, lifted(b'H')))], at(1));
    assert_eq!(again, [Outcome::Duplicate(Fate::Applied(Position { epoch: 1, partition: 0, seq: 3 }))]);
    assert_eq!(shelf.record.as_ref().unwrap().len(), 5);
}

#[test]
fn a_gap_opens_a_dispute_at_once_and_filling_it_settles_it() {
    let mut shelf = Shelf::licensed();
    assert_eq!(shelf.take(vec![change(2, stated(6, lifted(b'H')))], at(0)), [Outcome::New(Fate::Held)]);
    assert!(shelf.is_disputed(at(0)));
    assert!(shelf.take(Vec::new(), at(4)).is_empty());
    assert_eq!(shelf.state.counts().held, 1, "held for five seconds");
    shelf.take(Vec::new(), at(5));
    assert_eq!((shelf.state.counts().held, shelf.state.counts().quarantined), (0, 1));
    let again = shelf.take(vec![change(2, stated(6, lifted(b'H')))], at(6));
    assert_eq!(again, [Outcome::Duplicate(Fate::Quarantined(Reason::SequenceGap))]);
    let told = shelf.take(vec![change(1, stated(5, set(b'H')))], at(7));
    assert!(matches!(told[..], [Outcome::New(Fate::Applied(_))]), "{told:?}");
    assert!(!shelf.is_disputed(at(7)));
    assert_eq!(shelf.waits(), 0);
}

#[test]
fn reordering_within_a_batch_leaves_no_mark() {
    let mut shelf = Shelf::licensed();
    let told = shelf.take(vec![change(2, stated(6, lifted(b'H'))), change(1, stated(5, set(b'H')))], at(0));
    assert_eq!(told, [applied(3), applied(2)]);
    assert_eq!(shelf.record.unwrap().len(), 5, "two changes, no dispute");
}

#[test]
fn what_cannot_be_waits_for_the_operator_and_holds_back_what_follows() {
    let mut shelf = Shelf::licensed();
    shelf.take(vec![change(1, stated(5, set(b'F')))], at(0));
    let told = shelf.take(
        vec![
            change(2, stated(6, ChangeKind::ClassAdded { class: VehicleClass::A1 })),
            change(3, stated(7, set(b'H'))),
        ],
        at(1),
    );
    assert_eq!(told, [quarantined(Reason::LicenceEnded), Outcome::New(Fate::Held)]);
    assert!(shelf.is_disputed(at(1)));
    assert!(shelf.history().fold(AsOf::new(at(1), at(1))).states.contains_letter(b'F'));
}

#[test]
fn an_id_used_twice_and_a_place_taken_are_set_aside() {
    let mut shelf = Shelf::licensed();
    shelf.take(vec![change(1, stated(5, set(b'H')))], at(0));
    let other_content = change(1, stated(6, set(b'F')));
    assert_eq!(shelf.take(vec![other_content.clone()], at(1)), [quarantined(Reason::ChangeIdReused)]);
    assert_eq!(
        shelf.take(vec![other_content], at(2)),
        [Outcome::Duplicate(Fate::Quarantined(Reason::ChangeIdReused))]
    );
    let mut place_taken = change(1, stated(7, set(b'F')));
    place_taken.id = ChangeId::parse("other").unwrap();
    assert_eq!(shelf.take(vec![place_taken], at(3)), [quarantined(Reason::OutOfSequence)]);
    assert_eq!(shelf.waits(), 2);
    assert!(shelf.is_disputed(at(3)));
    let next = shelf.take(vec![change(2, stated(8, lifted(b'H')))], at(4));
    assert!(matches!(next[..], [Outcome::New(Fate::Applied(_))]), "the sequence itself goes on");
}

#[test]
fn recorded_time_neither_runs_back_nor_ahead() {
    let mut shelf = Shelf::licensed();
    shelf.take(vec![change(1, stated(5, set(b'H')))], at(0));
    let back = StatedChange { recorded_at: at(-2_000), ..stated(9, lifted(b'H')) };
    assert_eq!(shelf.clone().take(vec![change(2, back)], at(1)), [quarantined(Reason::RecordedTimeBack)]);
    let ahead = |seconds| StatedChange { recorded_at: at(seconds), ..stated(9, lifted(b'H')) };
    assert_eq!(
        shelf.clone().take(vec![change(2, ahead(12))], at(1)),
        [quarantined(Reason::RecordedTimeAhead)]
    );
    shelf.take(vec![change(2, ahead(11))], at(1));
    assert_eq!(shelf.record.unwrap().last().unwrap().recorded_at, at(1), "a skewed clock: known since now");
}

#[test]
fn a_number_nobody_has_waits_until_its_subject_is_introduced() {
    let mut shelf = Shelf::default();
    let name = ChangeKind::NameSet { name: FullName::parse("测试小明").unwrap() };
    let told = shelf.take(vec![change(2, stated(0, name))], at(0));
    assert_eq!(told, [quarantined(Reason::UnknownSubject)]);
    assert!(shelf.record.is_none());
    let introduces = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(ONE) };
    let told = shelf.take(vec![change(1, stated(0, introduces))], at(9));
    assert_eq!(told, [applied(1)]);
    assert_eq!((shelf.record.as_ref().unwrap().len(), shelf.waits()), (2, 0));
    assert!(!shelf.is_disputed(at(9)));
}

#[test]
fn a_number_of_somebody_else_is_not_taken_over() {
    let mut shelf = Shelf::licensed();
    shelf.taken = vec![(DocumentKind::ResidentId, number(TWO))];
    let sets = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(TWO) };
    assert_eq!(shelf.take(vec![change(1, stated(5, sets))], at(0)), [quarantined(Reason::NumberTaken)]);
}

#[test]
fn what_was_not_understood_waits_until_it_is_sent_again_corrected() {
    let mut shelf = Shelf::licensed();
    let unclear = IncomingChange { content: None, ..change(1, stated(5, set(b'F'))) };
    assert_eq!(shelf.take(vec![unclear.clone()], at(0)), [quarantined(Reason::NotUnderstood)]);
    assert!(shelf.is_disputed(at(0)), "it may be a revocation");
    assert_eq!(
        shelf.take(vec![unclear.clone()], at(1)),
        [Outcome::Duplicate(Fate::Quarantined(Reason::NotUnderstood))]
    );
    let told = shelf.take(vec![change(1, stated(5, set(b'F')))], at(2));
    assert!(matches!(told[..], [Outcome::New(Fate::Applied(_))]), "{told:?}");
    assert!(!shelf.is_disputed(at(2)));
    assert_eq!(Shelf::default().take(vec![unclear], at(0)), [Outcome::Rejected(RejectReason::NotUnderstood)]);
}

#[test]
fn what_an_import_brought_in_is_no_second_change() {
    let mut shelf = Shelf::licensed();
    let said = change(1, stated(0, ChangeKind::ClassAdded { class: C1 }));
    let told = shelf.take(vec![said, change(2, stated(5, set(b'H')))], at(0));
    assert_eq!(told, [applied(1), applied(2)]);
    assert_eq!(shelf.record.unwrap().len(), 4, "the class was on record");
}

#[test]
fn ids_long_forgotten_are_recognised_by_the_record() {
    let mut shelf = Shelf::licensed();
    shelf.take(vec![change(1, stated(5, set(b'H')))], at(0));
    shelf.known.clear();
    let told = shelf.take(vec![change(1, stated(5, set(b'H')))], at(1));
    assert_eq!(told, [Outcome::Duplicate(Fate::Applied(Position { epoch: 1, partition: 0, seq: 2 }))]);
    shelf.known.clear();
    assert_eq!(
        shelf.take(vec![change(1, stated(5, set(b'F')))], at(2)),
        [quarantined(Reason::OutOfSequence)],
        "another change on a place that was passed is never dropped"
    );
}

#[test]
fn what_waits_is_bounded_and_what_is_due_still_gets_through() {
    let mut shelf = Shelf::licensed();
    let late: Vec<_> = (2..2 + WAITING_MAX as u64).map(|seq| change(seq, stated(5, set(b'H')))).collect();
    assert!(shelf.take(late, at(0)).iter().all(|told| *told == Outcome::New(Fate::Held)));
    let one_more = change(500, stated(6, set(b'F')));
    assert_eq!(shelf.take(vec![one_more], at(0)), [Outcome::Rejected(RejectReason::SubjectFull)]);
    shelf.take(vec![change(1, stated(5, set(b'H')))], at(0));
    assert_eq!((shelf.waits(), shelf.is_disputed(at(0))), (0, false));
    let mut feeds = Shelf::licensed();
    for index in 0..=FEEDS_MAX {
        let mut first = change(1, stated(5, set(b'H')));
        first.source = feed(&format!("f{index}"));
        let told = feeds.take(vec![first], at(0));
        let is_full = told == [Outcome::Rejected(RejectReason::SubjectFull)];
        assert_eq!(is_full, index == FEEDS_MAX, "{told:?}");
    }
}

#[test]
fn a_full_record_can_still_be_disputed_and_stays_so() {
    let mut shelf = Shelf { changes_max: Some(4), ..Shelf::licensed() };
    shelf.take(vec![change(1, stated(5, set(b'H')))], at(0));
    assert_eq!(shelf.take(vec![change(2, stated(6, set(b'F')))], at(0)), [quarantined(Reason::RecordFull)]);
    assert!(shelf.is_disputed(at(0)));
    assert!(shelf.record.unwrap().len() <= 4 + DISPUTE_ROOM);
}

#[test]
fn an_import_that_settles_a_dispute_does_not_hide_what_waits() {
    let mut shelf = Shelf::licensed();
    shelf.take(vec![change(2, stated(6, set(b'F')))], at(0));
    let position = Position { epoch: 1, partition: 0, seq: 90 };
    let settled = StatedChange { effective: Effective::At(at(1)), ..stated(9, ChangeKind::DisputeSettled) };
    shelf.record.as_mut().unwrap().push(settled.at(position));
    assert!(!shelf.is_disputed(at(2)));
    let history = shelf.history();
    let planned = plan_notice(shelf.dossier(Some(&history), &[]));
    shelf.write(planned);
    assert!(shelf.is_disputed(at(2)));
}

#[test]
fn a_dispute_somebody_else_opened_is_theirs_to_settle() {
    let mut shelf = Shelf::licensed();
    let position = Position { epoch: 1, partition: 0, seq: 90 };
    shelf.record.as_mut().unwrap().push(stated(3, ChangeKind::DisputeOpened).at(position));
    shelf.take(vec![change(2, stated(6, lifted(b'H')))], at(0));
    shelf.take(vec![change(1, stated(5, set(b'H')))], at(1));
    assert_eq!((shelf.waits(), shelf.is_disputed(at(1))), (0, true));
}

/// A step of a delivery.
#[derive(Clone, Debug)]
enum Step {
    /// These changes of the script arrive together, by index.
    Arrive(Vec<usize>),
    /// So many milliseconds pass.
    Wait(i64),
}

fn any_kind() -> impl Strategy<Value = ChangeKind> {
    let letter = proptest::sample::select(vec![b'H', b'F', b'S']);
    let class = proptest::sample::select(vec![VehicleClass::C1, VehicleClass::A1, VehicleClass::D]);
    prop_oneof![
        letter.clone().prop_map(set),
        letter.prop_map(lifted),
        class.clone().prop_map(|class| ChangeKind::ClassAdded { class }),
        class.prop_map(|class| ChangeKind::ClassRemoved { class }),
        (0_u8..14).prop_map(|points| ChangeKind::PointsSet { points }),
    ]
}

/// A feed's changes in order, most of them possible, recorded times mostly growing.
fn any_script() -> impl Strategy<Value = Vec<IncomingChange>> {
    let one = (0_i64..40, prop_oneof![9 => Just(0_i64), 1 => Just(-30)], any_kind(), 0..20_u8);
    proptest::collection::vec(one, 1..10).prop_map(|changes| {
        let with_index = changes.into_iter().enumerate();
        with_index
            .map(|(index, (day, back, kind, fate))| {
                let content =
                    StatedChange { recorded_at: at(index as i64 * 7 + back - 500), ..stated(day, kind) };
                let incoming = change(index as u64 + 1, content);
                IncomingChange { content: incoming.content.filter(|_| fate > 0), ..incoming }
            })
            .collect()
    })
}

/// Any order, any doubling, any loss, any batches; the rest is sent again in the end.
fn any_delivery() -> impl Strategy<Value = (Vec<IncomingChange>, Vec<Step>)> {
    any_script().prop_flat_map(|script| {
        let count = script.len();
        let arrive = proptest::collection::vec(0..count, 1..6).prop_map(Step::Arrive);
        let step = prop_oneof![3 => arrive, 1 => (0_i64..9_000).prop_map(Step::Wait)];
        (Just(script), proptest::collection::vec(step, 0..12))
    })
}

fn assert_dispute_exactly_while_something_waits(shelf: &Shelf, now: Timestamp) {
    if shelf.record.is_some() {
        assert_eq!(shelf.is_disputed(now), shelf.waits() > 0, "waiting: {:?}", shelf.state);
    }
    let recorded: Vec<_> = shelf.record.iter().flatten().map(|change| change.recorded_at).collect();
    assert!(recorded.is_sorted(), "recorded time runs back");
}

fn sequences(shelf: &Shelf) -> Vec<u64> {
    shelf.state.waiting().map(|waiting| waiting.sequence).collect()
}

proptest! {
    #[test]
    fn however_a_feed_arrives_the_record_is_the_one_in_order((script, steps) in any_delivery()) {
        let mut in_order = Shelf::licensed();
        in_order.take(script.clone(), at(0));
        let mut shelf = Shelf::licensed();
        let mut now = at(0);
        let mut acknowledged = vec![false; script.len()];
        for step in steps {
            match step {
                Step::Wait(milliseconds) => {
                    now += jiff::SignedDuration::from_millis(milliseconds);
                    shelf.take(Vec::new(), now);
                }
                Step::Arrive(indices) => {
                    let told = shelf.take(indices.iter().map(|index| script[*index].clone()).collect(), now);
                    for (index, told) in indices.into_iter().zip(told) {
                        prop_assert!(!matches!(told, Outcome::Rejected(_)), "{told:?}");
                        prop_assert_eq!(matches!(told, Outcome::Duplicate(_)), acknowledged[index]);
                        acknowledged[index] = true;
                    }
                }
            }
            assert_dispute_exactly_while_something_waits(&shelf, now);
        }
        shelf.take(script, now);
        assert_dispute_exactly_while_something_waits(&shelf, now);
        prop_assert_eq!(shelf.said(), in_order.said());
        prop_assert_eq!(sequences(&shelf), sequences(&in_order));
    }

    #[test]
    fn two_feeds_never_leave_a_dispute_behind_or_something_waiting_without_one(
        (one, steps_one) in any_delivery(),
        (two, steps_two) in any_delivery(),
    ) {
        let two: Vec<_> = two.into_iter().map(|change| IncomingChange { source: feed("other"), ..change }).collect();
        let mut shelf = Shelf::licensed();
        let mut now = at(0);
        for (script, step) in steps_one.iter().map(|step| (&one, step)).chain(steps_two.iter().map(|step| (&two, step))) {
            match step {
                Step::Wait(milliseconds) => {
                    now += jiff::SignedDuration::from_millis(*milliseconds);
                    shelf.take(Vec::new(), now);
                }
                Step::Arrive(indices) => {
                    shelf.take(indices.iter().map(|index| script[*index].clone()).collect(), now);
                }
            }
            assert_dispute_exactly_while_something_waits(&shelf, now);
        }
    }
}
