//! Every small history: each alphabet of changes, on two days, in every order of recording, asked about at every moment and as
//! known after every recording.

use super::*;
use crate::domain::elicence::{ELicence, Stage};

const DAYS: [i64; 2] = [1, 2];

/// Calls `check` with every history of up to `length` changes. The change with index i is recorded on day i at position i + 1.
fn for_each_history(alphabet: &[ChangeKind], length: u32, mut check: impl FnMut(&History)) {
    let letters = alphabet.len() * DAYS.len();
    for length in 0..=length {
        for word in 0..letters.pow(length) {
            let mut rest = word;
            let changes = (0..length).map(|index| {
                let letter = rest % letters;
                rest /= letters;
                let position = Position { epoch: 1, partition: 0, seq: u64::from(index) + 1 };
                let kind = alphabet[letter / DAYS.len()].clone();
                Change { position, ..change(DAYS[letter % DAYS.len()], i64::from(index), kind) }
            });
            check(&History::from_changes(changes.collect()));
        }
    }
}

/// Calls `check` with what is asked, at every moment and as known after every recording, and what is known then. What is known is
/// the same by clock and by position, and the same as if nothing had ever followed.
fn for_each_question(history: &History, mut check: impl FnMut(AsOf, &[Change])) {
    for recorded in 0..=history.changes().len() {
        let begun = History::from_changes(history.changes()[..recorded].to_vec());
        for moment in 0..=2 {
            let by_clock = as_of(moment, i64::try_from(recorded).unwrap() - 1);
            let seq = u64::try_from(recorded).unwrap();
            let known = Known { at: Timestamp::MAX, position: Position { epoch: 1, partition: 0, seq } };
            // Who the holder is counts up to the later of moment and clock, so that only the rest is the same.
            if !history.changes().iter().any(|change| is_about_the_record(&change.kind)) {
                let by_position = AsOf { known, ..by_clock };
                assert_eq!(history.fold(by_clock), history.fold(by_position), "{history:?}");
            }
            assert_eq!(history.fold(by_clock), begun.fold(by_clock), "{history:?}");
            check(by_clock, &naive::known(history.changes(), by_clock));
        }
    }
}

#[test]
fn every_small_history_of_a_class() {
    let class = VehicleClass::A1;
    let alphabet = [
        ChangeKind::ClassAdded { class },
        ChangeKind::ClassRemoved { class },
        ChangeKind::ClassLostByAge { class },
    ];
    for_each_history(&alphabet, 4, |history| {
        for_each_question(history, |asked, known| {
            let held = history.fold(asked);
            let folded =
                held.classes.iter().find(|holding| holding.class == class).map(|holding| holding.since);
            let expected = naive::holding(known, class);
            assert_eq!(folded, expected.map(|(since, _)| since), "{known:?}");
            let lost = expected.is_some_and(|(_, lost)| lost.is_some());
            assert_eq!(held.lost_by_age.contains(class), lost, "{known:?}");
        });
    });
}

#[test]
fn every_small_history_of_points() {
    let alphabet = [
        ChangeKind::PointsSet { points: 12 },
        ChangeKind::PointsSet { points: 3 },
        ChangeKind::PointsCleared,
        ChangeKind::PointsReversed,
    ];
    for_each_history(&alphabet, 4, |history| {
        for_each_question(history, |asked, known| {
            let held = history.fold(asked);
            assert_eq!(held.points, naive::points(known), "{known:?}");
            assert!(held.points < POINTS_FULL || !held.points_events.is_empty(), "{known:?}");
        });
    });
}

#[test]
fn every_small_history_of_a_letter_and_its_ground() {
    let letter = b'D';
    let grounded = |ground| ChangeKind::StateGrounded { letter, ground };
    let alphabet = [
        set(letter),
        ChangeKind::StateLifted { letter },
        grounded(StateGround::Penalty),
        grounded(StateGround::Measure),
    ];
    for_each_history(&alphabet, 4, |history| {
        for_each_question(history, |asked, known| {
            let held = history.fold(asked);
            assert_eq!(held.states.contains_letter(letter), naive::carries(known, letter), "{known:?}");
            let ground = held.state_grounds.iter().find(|(of, _)| *of == letter).map(|(_, ground)| *ground);
            assert_eq!(ground, naive::ground(known, letter), "{known:?}");
        });
    });
}

#[test]
fn every_small_history_of_an_e_licence() {
    let class = VehicleClass::C1;
    let validity = Validity { term: ValidityTerm::LongTerm, last_day: None };
    let alphabet = [
        ChangeKind::ELicence(ELicenceEvent::Issued),
        ChangeKind::ELicence(ELicenceEvent::Withdrawn),
        ChangeKind::ClassAdded { class },
        ChangeKind::ClassRemoved { class },
        ChangeKind::ClassLostByAge { class },
        ChangeKind::ValidityRenewed { validity },
    ];
    for_each_history(&alphabet, 3, |history| {
        for_each_question(history, |asked, known| {
            let live = ELicence::of(history, asked).stage == Stage::Issued;
            assert_eq!(live, naive::is_e_licence_live(known), "{known:?}");
        });
    });
}

#[test]
fn every_pair_of_changes_of_any_kind() {
    let class = VehicleClass::C1;
    let validity = Validity { term: ValidityTerm::LongTerm, last_day: None };
    let alphabet = [
        ChangeKind::Issued,
        ChangeKind::ClassAdded { class },
        ChangeKind::ClassRemoved { class },
        ChangeKind::ClassLostByAge { class },
        ChangeKind::AgeExtended { class, ceiling_years: 66 },
        ChangeKind::EndorsementSet { endorsement: Endorsement::SchoolBus },
        ChangeKind::EndorsementLifted { endorsement: Endorsement::SchoolBus },
        ChangeKind::ValiditySet { validity },
        set(b'B'),
        ChangeKind::StateLifted { letter: b'B' },
        set(b'R'),
        ChangeKind::PointsSet { points: 12 },
        ChangeKind::PointsReversed,
        ChangeKind::HistoryBegins,
        ChangeKind::ProtectionSet,
        ChangeKind::DisputeOpened,
        ChangeKind::DisputeSettled,
        ChangeKind::ELicence(ELicenceEvent::Issued),
        ChangeKind::Erased,
    ];
    for_each_history(&alphabet, 2, |history| {
        for_each_question(history, |asked, known| {
            let held = history.fold(asked);
            assert_eq!(held.validity, naive::validity(known));
            assert_eq!(held.first_issue, naive::first_issue(known));
            assert_eq!(held.points, naive::points(known));
            let was_erased =
                |change: &Change| change.kind == ChangeKind::Erased && asked.known.counts(change);
            assert_eq!(
                held.erased,
                history.changes().iter().any(was_erased),
                "whatever moment is asked about"
            );
        });
    });
}
