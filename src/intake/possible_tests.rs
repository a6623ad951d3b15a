use jiff::civil::date;

use super::super::testing::{Shelf, at, stated};
use super::*;
use crate::domain::licence::{AsOf, Endorsement, History, Validity, ValidityTerm, VehicleClass};
use crate::domain::time::Effective;

const C1: VehicleClass = VehicleClass::C1;
const A1: VehicleClass = VehicleClass::A1;

fn judged(before: &[(i64, ChangeKind)], day: i64, kind: ChangeKind) -> Result<(), Reason> {
    let mut shelf = Shelf::licensed();
    let position = crate::domain::subject::Position { epoch: 1, partition: 0, seq: 1 };
    let told = before.iter().map(|(day, kind)| stated(*day, kind.clone()).at(position));
    shelf.record.as_mut().unwrap().extend(told);
    judged_after(&shelf.history(), &stated(day, kind))
}

fn judged_after(history: &History, change: &StatedChange) -> Result<(), Reason> {
    let held_at = |moment| history.fold(AsOf::new(moment, Timestamp::MAX));
    judge(history.changes(), held_at, change)
}

fn set(letter: u8) -> ChangeKind {
    ChangeKind::StateSet { letter, original_end: None }
}

#[test]
fn nothing_is_added_to_a_licence_that_has_ended() {
    for letter in [b'E', b'F', b'G', b'R'] {
        let add = |day| judged(&[(10, set(letter))], day, ChangeKind::ClassAdded { class: A1 });
        assert_eq!(add(11), Err(Reason::LicenceEnded), "{}", char::from(letter));
        assert_eq!(add(9), Ok(()), "a late report about the time before");
        let restored = [(10, set(letter)), (12, ChangeKind::StateLifted { letter })];
        assert_eq!(judged(&restored, 13, ChangeKind::ClassAdded { class: A1 }), Ok(()));
    }
    for letter in [b'B', b'D', b'H', b'M', b'Q', b'U'] {
        assert_eq!(judged(&[(10, set(letter))], 11, ChangeKind::ClassAdded { class: A1 }), Ok(()));
    }
}

#[test]
fn the_table_of_what_cannot_be() {
    let ends = |last_day| ChangeKind::ValiditySet {
        validity: Validity { term: ValidityTerm::SixYears, last_day: Some(last_day) },
    };
    let lifted = |letter| ChangeKind::StateLifted { letter };
    let school_bus = Endorsement::SchoolBus;
    let rows = [
        (vec![], 5, ChangeKind::ClassAdded { class: C1 }, Err(Reason::ClassHeld)),
        (vec![(3, ChangeKind::ClassRemoved { class: C1 })], 5, ChangeKind::ClassAdded { class: C1 }, Ok(())),
        (vec![], 5, ChangeKind::ClassRemoved { class: C1 }, Ok(())),
        (vec![], 5, ChangeKind::ClassRemoved { class: A1 }, Err(Reason::ClassNotHeld)),
        (vec![], -5, ChangeKind::ClassRemoved { class: C1 }, Err(Reason::ClassNotHeld)),
        (vec![], 5, ChangeKind::AgeExtended { class: A1, ceiling_years: 66 }, Err(Reason::ClassNotHeld)),
        (vec![], -5, ChangeKind::ClassAdded { class: A1 }, Err(Reason::NotIssued)),
        (vec![], -5, ends(date(2030, 1, 1)), Ok(())),
        (vec![], 5, ends(date(2020, 1, 5)), Err(Reason::EndsBeforeItBegins)),
        (vec![], 4, ends(date(2020, 1, 5)), Ok(())),
        (vec![], 5, lifted(b'H'), Err(Reason::LetterNotCarried)),
        (vec![(5, set(b'H'))], 5, lifted(b'H'), Ok(())),
        (vec![(6, set(b'H'))], 5, lifted(b'H'), Err(Reason::LetterNotCarried)),
        (vec![], 5, lifted(b'A'), Ok(())),
        (
            vec![],
            5,
            ChangeKind::EndorsementLifted { endorsement: school_bus },
            Err(Reason::EndorsementNotHeld),
        ),
        (
            vec![(4, ChangeKind::EndorsementSet { endorsement: school_bus })],
            5,
            ChangeKind::EndorsementLifted { endorsement: school_bus },
            Ok(()),
        ),
        (
            vec![(4, ChangeKind::PointsSet { points: 9 })],
            5,
            ChangeKind::PointsReversed,
            Err(Reason::NothingToReverse),
        ),
        (vec![(5, ChangeKind::PointsSet { points: 9 })], 5, ChangeKind::PointsReversed, Ok(())),
        (vec![], 5, ChangeKind::PointsCleared, Ok(())),
        (vec![], 5, set(b'Q'), Ok(())),
    ];
    for (before, day, kind, expected) in rows {
        assert_eq!(judged(&before, day, kind.clone()), expected, "{before:?} then {kind:?} on {day}");
    }
}

#[test]
fn nothing_takes_effect_before_the_birth_date() {
    let unborn =
        StatedChange { effective: Effective::On(date(1989, 12, 31)), recorded_at: at(0), kind: set(b'H') };
    assert_eq!(judged_after(&Shelf::licensed().history(), &unborn), Err(Reason::BeforeBirth));
    let born = StatedChange { effective: Effective::On(date(1990, 1, 1)), ..unborn };
    assert_eq!(judged_after(&Shelf::licensed().history(), &born), Ok(()));
}
