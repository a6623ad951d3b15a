//! What an officer is told beyond the state: remedies, and whether the paper licence is still needed.

use jiff::civil::{Date, date};
use jiff::{Timestamp, ToSpan as _};

use crate::domain::decision::{Decision, Remedy, Ruled, decide};
use crate::domain::licence::{
    AsOf, Change, ChangeKind, Endorsement, History, Validity, ValidityTerm, VehicleClass,
};
use crate::domain::question::Question;
use crate::domain::rules::Rules;
use crate::domain::subject::Position;
use crate::domain::time::{Effective, start_of};

const DAY: Date = date(2026, 11, 22);

fn now() -> Timestamp {
    start_of(DAY) + 12.hours()
}

fn change(day: Date, kind: ChangeKind) -> Change {
    Change {
        effective: Effective::On(day),
        recorded_at: start_of(day),
        position: Position { epoch: 1, partition: 0, seq: 0 },
        kind,
    }
}

/// Somebody born on a day, with a class for years and some letters since last week.
fn stopped(class: VehicleClass, born: Date, letters: &str, more: Vec<ChangeKind>) -> Ruled {
    let first = date(2015, 1, 1);
    let validity = Validity { term: ValidityTerm::LongTerm, last_day: None };
    let mut changes = vec![
        change(first, ChangeKind::Issued),
        change(first, ChangeKind::BirthDaySet { day: born }),
        change(first, ChangeKind::ClassAdded { class }),
        change(first, ChangeKind::ValiditySet { validity }),
    ];
    changes.extend(more.into_iter().map(|kind| change(date(2020, 1, 1), kind)));
    let letter =
        |letter| change(date(2026, 11, 15), ChangeKind::StateSet { letter, original_end: Some(first) });
    changes.extend(letters.bytes().map(letter));
    let question = Question::Enforcement { vehicle: None };
    decide(&question, &History::from_changes(changes), AsOf::new(now(), now()), now(), &Rules::default())
}

/// `docs/domain.md` §0 no. 14 to 17, state by state.
#[test]
fn every_state_its_remedy_and_whether_paper_is_needed() {
    use Remedy::{
        HandlePendingMatter, ReapplyInApp, Renew, RestoreByTest, Wait, WindowWithPaper,
        WindowWithPaperAndStudyResult,
    };
    for (letters, remedies, paper) in [
        ("", &[][..], false),
        ("H", &[HandlePendingMatter][..], false),
        ("I", &[HandlePendingMatter], false),
        ("B", &[WindowWithPaperAndStudyResult], true),
        ("J", &[WindowWithPaperAndStudyResult], true),
        ("D", &[WindowWithPaper, Wait], true),
        ("U", &[WindowWithPaper], true),
        ("K", &[WindowWithPaper], true),
        ("S", &[WindowWithPaper], true),
        ("M", &[Renew, ReapplyInApp], true),
        ("N", &[Renew, ReapplyInApp], true),
        ("P", &[Renew, ReapplyInApp], true),
        ("T", &[Renew, ReapplyInApp], true),
        ("R", &[RestoreByTest], true),
        ("G", &[], true),
        ("E", &[], true),
        ("F", &[], true),
        ("C", &[], true),
        ("L", &[], false),
        ("Z", &[], false),
        ("BU", &[WindowWithPaperAndStudyResult, WindowWithPaper], true),
    ] {
        let ruled = stopped(VehicleClass::C1, date(1990, 1, 1), letters, Vec::new());
        assert_eq!(ruled.ruling.remedies, remedies, "{letters}");
        assert_eq!(ruled.paper_licence_needed, paper, "{letters}");
    }
}

#[test]
fn a_class_that_age_has_ended_is_exchanged_on_paper() {
    let truck = |born| stopped(VehicleClass::B2, born, "", Vec::new());
    let (kept, ended) = (truck(date(1970, 1, 1)), truck(date(1960, 1, 1)));
    assert!(!kept.paper_licence_needed && kept.ruling.remedies.is_empty());
    assert!(ended.paper_licence_needed);
    assert_eq!(ended.ruling.decision, Decision::Qualified, "what is left is in force");
    assert_eq!(ended.ruling.remedies, [Remedy::Renew, Remedy::ReapplyInApp]);
}

#[test]
fn an_endorsement_its_holder_no_longer_meets_is_struck_on_paper() {
    let endorsed = |class, born| {
        let endorsement = ChangeKind::EndorsementSet { endorsement: Endorsement::SchoolBus };
        stopped(class, born, "", vec![endorsement])
    };
    assert!(!endorsed(VehicleClass::B1, date(1970, 1, 1)).paper_licence_needed);
    let too_old = endorsed(VehicleClass::B1, date(1965, 1, 1));
    assert!(too_old.paper_licence_needed && too_old.ruling.remedies == [Remedy::WindowWithPaper]);
    assert!(endorsed(VehicleClass::C1, date(1970, 1, 1)).paper_licence_needed);
}
