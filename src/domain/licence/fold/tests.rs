//! The fold against a naive model, on random histories and on every small one.

mod exhaustive;
mod naive;

use jiff::ToSpan as _;
use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::domain::licence::{
    ClassSet, ELicenceEvent, ELicencePath, Endorsement, Known, StateSet, Validity, ValidityTerm,
};
use crate::domain::subject::Position;
use crate::domain::time::{Effective, start_of};

/// A change by days: effective on one, recorded at noon of the other.
fn change(effective: i64, recorded: i64, kind: ChangeKind) -> Change {
    let day = |days: i64| date(2026, 1, 1).saturating_add(days.days());
    Change {
        effective: Effective::On(day(effective)),
        recorded_at: start_of(day(recorded)) + 12.hours(),
        position: Position { epoch: 1, partition: 0, seq: 0 },
        kind,
    }
}

fn set(letter: u8) -> ChangeKind {
    ChangeKind::StateSet { letter, original_end: None }
}

fn as_of(moment: i64, known_at: i64) -> AsOf {
    let at = |days: i64| start_of(date(2026, 1, 1).saturating_add(days.days())) + 18.hours();
    AsOf::new(at(moment), at(known_at))
}

#[test]
fn only_what_was_known_and_in_effect_counts() {
    let history = History::from_changes(vec![change(10, 10, set(b'D')), change(5, 20, set(b'U'))]);
    let letters = |moment, known| history.fold(as_of(moment, known)).states;
    assert_eq!(letters(9, 30), StateSet::parse("U").unwrap());
    assert_eq!(letters(9, 19), StateSet::EMPTY);
    assert_eq!(letters(10, 10), StateSet::parse("D").unwrap());
    assert_eq!(letters(30, 30), StateSet::parse("DU").unwrap());
}

#[test]
fn reversed_points_leave_no_record_and_restored_ones_do() {
    let twelve = || ChangeKind::PointsSet { points: 12 };
    let set_and = |kind: fn() -> Vec<Change>| {
        let mut changes = vec![change(1, 1, ChangeKind::PointsSet { points: 3 }), change(5, 5, twelve())];
        changes.extend(kind());
        History::from_changes(changes).fold(as_of(40, 40))
    };
    let reversed = set_and(|| vec![change(5, 20, ChangeKind::PointsReversed)]);
    assert_eq!((reversed.points, reversed.points_events.len()), (3, 0));
    let cleared = set_and(|| vec![change(20, 20, ChangeKind::PointsCleared)]);
    assert_eq!((cleared.points, cleared.points_events.len()), (0, 1));
    let by_letter = set_and(|| vec![change(5, 5, set(b'B'))]);
    assert_eq!(by_letter.points_events.len(), 1, "points and letter are one event");
}

#[test]
fn cancellation_is_dated_by_its_first_letter() {
    let mut changes = vec![change(5, 5, set(b'R')), change(9, 9, set(b'G'))];
    let cancelled =
        |changes: &[Change]| History::from_changes(changes.to_vec()).fold(as_of(40, 40)).cancelled_at;
    assert_eq!(cancelled(&changes), Some(changes[0].effective.moment()));
    changes.push(change(10, 10, ChangeKind::StateLifted { letter: b'R' }));
    assert!(cancelled(&changes).is_some());
    changes.push(change(10, 10, ChangeKind::StateLifted { letter: b'G' }));
    assert_eq!(cancelled(&changes), None);
}

#[test]
fn the_record_begins_although_its_beginning_lies_after_the_moment() {
    let history = History::from_changes(vec![change(50, 50, ChangeKind::HistoryBegins)]);
    assert!(history.fold(as_of(10, 60)).history_from.is_some());
}

fn class_code() -> impl Strategy<Value = VehicleClass> + Clone {
    (1u8..=17).prop_map(|code| VehicleClass::from_code(code).unwrap())
}

fn any_kind() -> impl Strategy<Value = ChangeKind> {
    let class = class_code();
    prop_oneof![
        Just(ChangeKind::Issued),
        class.clone().prop_map(|class| ChangeKind::ClassAdded { class }),
        class.prop_map(|class| ChangeKind::ClassRemoved { class }),
        (b'A'..=b'Z').prop_map(set),
        (b'A'..=b'Z').prop_map(|letter| ChangeKind::StateLifted { letter }),
        (0i64..40).prop_map(|days| ChangeKind::ValiditySet {
            validity: Validity {
                term: ValidityTerm::SixYears,
                last_day: Some(date(2026, 1, 1).saturating_add(days.days())),
            }
        }),
        (1u8..=17, 60u8..70).prop_map(|(code, ceiling_years)| ChangeKind::AgeExtended {
            class: VehicleClass::from_code(code).unwrap(),
            ceiling_years,
        }),
        (0u8..15).prop_map(|points| ChangeKind::PointsSet { points }),
        Just(ChangeKind::PointsCleared),
        Just(ChangeKind::PointsReversed),
        class_code().prop_map(|class| ChangeKind::ClassLostByAge { class }),
        (b'A'..=b'Z', 1u8..=23).prop_map(|(letter, code)| ChangeKind::StateGrounded {
            letter,
            ground: StateGround::from_code(code).unwrap(),
        }),
        (0i64..40).prop_map(|days| ChangeKind::ValidityRenewed {
            validity: Validity {
                term: ValidityTerm::TenYears,
                last_day: Some(date(2026, 1, 1).saturating_add(days.days())),
            }
        }),
        Just(ChangeKind::EndorsementSet { endorsement: Endorsement::SchoolBus }),
        Just(ChangeKind::EndorsementLifted { endorsement: Endorsement::SchoolBus }),
        Just(ChangeKind::ELicence(ELicenceEvent::Applied { path: ELicencePath::Album })),
        Just(ChangeKind::ELicence(ELicenceEvent::Issued)),
        Just(ChangeKind::ELicence(ELicenceEvent::Superseded)),
    ]
}

fn any_history() -> impl Strategy<Value = History> {
    proptest::collection::vec((0i64..40, 0i64..6, any_kind()), 0..30).prop_map(|steps| {
        let mut recorded = 0;
        let step = |(seq, (effective, later, kind))| {
            recorded += later;
            let position = Position { epoch: 1, partition: 0, seq };
            Change { position, ..change(effective, recorded, kind) }
        };
        History::from_changes((1..).zip(steps).map(step).collect())
    })
}

proptest! {
    #[test]
    fn the_fold_agrees_with_the_naive_model(
        history in any_history(), moment in 0i64..60, known_at in 0i64..100,
    ) {
        let asked = as_of(moment, known_at);
        let held = history.fold(asked);
        let known = naive::known(history.changes(), asked);
        for letter in b'A'..=b'Z' {
            prop_assert_eq!(held.states.contains_letter(letter), naive::carries(&known, letter));
        }
        for class in VehicleClass::ALL.iter().copied() {
            let folded = held.classes.iter().any(|holding| holding.class == class);
            prop_assert_eq!(folded, naive::holds(&known, class));
        }
        prop_assert_eq!(held.points, naive::points(&known));
        prop_assert_eq!(held.validity, naive::validity(&known));
        prop_assert_eq!(held.first_issue, naive::first_issue(&known));
    }

    #[test]
    fn what_was_known_then_never_changes(
        history in any_history(), more in any_history(), moment in 0i64..60, known_at in 0i64..100,
    ) {
        let asked = as_of(moment, known_at);
        let later = more.changes().iter().cloned().map(|mut change| {
            change.recorded_at = asked.known.at + 1.hour();
            change
        });
        let known = history.changes().iter().filter(|change| asked.known.counts(change)).cloned();
        let grown = History::from_changes(known.chain(later).collect());
        prop_assert_eq!(grown.fold(asked), history.fold(asked));
    }

    #[test]
    fn what_was_known_at_a_position_never_changes(
        history in any_history(), more in any_history(), moment in 0i64..60, seq in 0u64..35,
    ) {
        let position = Position { epoch: 1, partition: 0, seq };
        let known = Known { at: Timestamp::MAX, position };
        let asked = AsOf { known, ..as_of(moment, 0) };
        let begun: Vec<Change> = history.changes().iter().filter(|change| change.position.seq <= seq).cloned().collect();
        // Recorded no later than what was known, but handed in after it: it was not known.
        let recorded_at = begun.last().map_or(Timestamp::MIN, |change| change.recorded_at);
        let later = more.changes().iter().cloned().map(|change| {
            Change { recorded_at, position: Position { seq: seq + 1, ..position }, ..change }
        });
        let grown = History::from_changes(begun.iter().cloned().chain(later).collect());
        prop_assert_eq!(grown.fold(asked), history.fold(asked));
        prop_assert_eq!(history.fold(asked), History::from_changes(begun).fold(as_of(moment, 1000)));
    }

    #[test]
    fn what_is_reversed_never_happened(
        steps in any_steps(), more in 0usize..3, odd in 0i64..40, kind in any_kind(), moment in 0i64..100,
    ) {
        // Everything else happens on even days.
        let told = |(effective, kind): (i64, ChangeKind)| change(2 * effective, 0, kind);
        let plain: Vec<Change> = steps.into_iter().map(told).collect();
        let day = 2 * odd + 1;
        let before = History::from_changes(plain.clone()).fold(as_of(day, 500));
        let Some(opposite) = opposite(&kind, &before) else { return Ok(()) };
        let mut pairs = plain.clone();
        for _ in 0..=more {
            pairs.push(change(day, 200, kind.clone()));
            pairs.push(change(day, 201, opposite.clone()));
        }
        let moment = as_of(moment, 500);
        prop_assert_eq!(
            History::from_changes(pairs).fold(moment), History::from_changes(plain).fold(moment)
        );
    }
}

/// What reverses a change that changes something, given what was held before it.
fn opposite(kind: &ChangeKind, before: &Qualification) -> Option<ChangeKind> {
    let holds = |asked: &VehicleClass| before.classes.iter().any(|held| held.class == *asked);
    match kind {
        ChangeKind::ClassAdded { class } if !holds(class) => Some(ChangeKind::ClassRemoved { class: *class }),
        ChangeKind::ClassRemoved { class } if holds(class) => Some(ChangeKind::ClassAdded { class: *class }),
        ChangeKind::ClassLostByAge { class } if holds(class) && !before.lost_by_age.contains(*class) => {
            Some(ChangeKind::ClassAdded { class: *class })
        }
        ChangeKind::StateSet { letter, .. } if !before.states.contains_letter(*letter) => {
            Some(ChangeKind::StateLifted { letter: *letter })
        }
        ChangeKind::StateLifted { letter } if before.states.contains_letter(*letter) => Some(set(*letter)),
        ChangeKind::PointsSet { .. } => Some(ChangeKind::PointsReversed),
        _ => None,
    }
}

fn any_steps() -> impl Strategy<Value = Vec<(i64, ChangeKind)>> {
    proptest::collection::vec((0i64..40, any_kind()), 0..30)
}

#[test]
fn a_removal_reversed_gives_back_first_day_and_extension() {
    let class = VehicleClass::A1;
    let history = History::from_changes(vec![
        change(0, 0, ChangeKind::Issued),
        change(0, 0, ChangeKind::ClassAdded { class }),
        change(5, 5, ChangeKind::AgeExtended { class, ceiling_years: 66 }),
        change(10, 10, ChangeKind::ClassRemoved { class }),
        change(10, 20, ChangeKind::ClassAdded { class }),
    ]);
    let held = history.fold(as_of(30, 30));
    assert_eq!(held.classes, [ClassHolding { class, since: date(2026, 1, 1) }]);
    assert_eq!(held.age_extensions, [(class, 66)]);
    assert_eq!(history.fold(as_of(30, 15)).classes, []);
}

#[test]
fn a_class_added_in_error_is_no_first_class() {
    let class = VehicleClass::C1;
    let held = History::from_changes(vec![
        change(5, 5, ChangeKind::ClassAdded { class }),
        change(5, 9, ChangeKind::ClassRemoved { class }),
        change(8, 9, ChangeKind::ClassAdded { class }),
    ])
    .fold(as_of(30, 30));
    assert_eq!(held.first_car_class, Some(date(2026, 1, 9)));
}

#[test]
fn a_restoration_reversed_leaves_the_day_of_the_cancellation() {
    let mut changes = vec![change(5, 5, set(b'R')), change(20, 20, ChangeKind::StateLifted { letter: b'R' })];
    changes.push(change(20, 25, set(b'R')));
    let held = History::from_changes(changes.clone()).fold(as_of(40, 40));
    assert_eq!(held.cancelled_at, Some(changes[0].effective.moment()));
}

#[test]
fn a_reversal_keeps_what_was_reached_before() {
    let points = |effective, recorded, points| change(effective, recorded, ChangeKind::PointsSet { points });
    let fold = |changes| History::from_changes(changes).fold(as_of(40, 40));
    let reversed = fold(vec![points(5, 5, 12), points(9, 9, 15), change(9, 20, ChangeKind::PointsReversed)]);
    assert_eq!((reversed.points, reversed.points_events.len()), (12, 1));
    let corrected = fold(vec![points(5, 5, 12), points(5, 20, 6)]);
    assert_eq!((corrected.points, corrected.points_events.len()), (6, 0));
    let corrected_later = fold(vec![points(5, 5, 12), points(9, 20, 6)]);
    assert_eq!(corrected_later.points_events.len(), 1, "another moment corrects nothing");
}
