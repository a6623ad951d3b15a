//! The e-licence's life and display, state by state, and that its three questions are three.

use jiff::ToSpan as _;
use jiff::civil::{Date, date};

use super::*;
use crate::domain::decision::Outcome;
use crate::domain::licence::{
    AsOf, Change, ChangeKind, ELicenceEvent, ELicencePath, History, Qualification, RefusalGround,
    RefusalGroup, StateGround, Validity, ValidityTerm, VehicleClass,
};
use crate::domain::rules::Rules;
use crate::domain::subject::Position;
use crate::domain::time::{Effective, end_of, start_of};

/// The day everything is asked about.
const DAY: Date = date(2026, 11, 22);

/// A change so many days before the day asked about.
fn ago(days: i64, kind: ChangeKind) -> Change {
    let day = DAY.saturating_sub(days.days());
    Change {
        effective: Effective::On(day),
        recorded_at: start_of(day),
        position: Position { epoch: 1, partition: 0, seq: 0 },
        kind,
    }
}

fn event(days: i64, event: ELicenceEvent) -> Change {
    ago(days, ChangeKind::ELicence(event))
}

fn set(days: i64, letter: u8) -> Change {
    ago(days, ChangeKind::StateSet { letter, original_end: None })
}

fn long_term() -> Validity {
    Validity { term: ValidityTerm::LongTerm, last_day: None }
}

/// Somebody with C1 and A1 for ten years, and an e-licence for one.
fn holder() -> Vec<Change> {
    vec![
        ago(3652, ChangeKind::Issued),
        ago(3652, ChangeKind::BirthDaySet { day: date(1990, 1, 1) }),
        ago(3652, ChangeKind::AuthoritySet { code: "测A".to_owned() }),
        ago(3652, ChangeKind::ClassAdded { class: VehicleClass::C1 }),
        ago(3652, ChangeKind::ClassAdded { class: VehicleClass::A1 }),
        ago(3652, ChangeKind::ValiditySet { validity: long_term() }),
        event(365, ELicenceEvent::Applied { path: ELicencePath::StoredPhoto }),
        event(365, ELicenceEvent::Issued),
    ]
}

/// What is held and known at the end of a day.
fn at(changes: &[Change], day: Date) -> (ELicence, Qualification) {
    let moment = end_of(day) - 1.second();
    let (history, as_of) = (History::from_changes(changes.to_vec()), AsOf::new(moment, moment));
    (ELicence::of(&history, as_of), history.fold(as_of))
}

fn shown_on(changes: &[Change], day: Date) -> Result<Shown, NotShown> {
    let (known, held) = at(changes, day);
    may_be_shown(&known, &held, &Rules::default(), day)
}

fn display_after(more: Vec<Change>) -> Result<Display, NotShown> {
    let mut changes = holder();
    changes.extend(more);
    shown_on(&changes, DAY).map(|shown| shown.display)
}

/// Group by group of `docs/domain.md` §2: display, refusal of an issue, and who may drive.
#[test]
fn every_letter_by_its_group() {
    use Outcome::{Met, NotMet, Unknown};
    use RefusalGround as No;
    for (letter, display, refused, drives) in [
        (b'A', Ok(Display::Normal), None, Met),
        (b'H', Ok(Display::Normal), None, Met),
        (b'I', Ok(Display::Normal), None, Met),
        (b'B', Ok(Display::Red), Some(No::PointsFull), NotMet),
        (b'D', Ok(Display::Red), Some(No::Suspended), NotMet),
        (b'K', Ok(Display::Red), Some(No::Seized), NotMet),
        (b'M', Ok(Display::Red), Some(No::NotInValidity), NotMet),
        (b'S', Ok(Display::Red), Some(No::ReviewOverdue), NotMet),
        (b'U', Ok(Display::Red), Some(No::Detained), NotMet),
        (b'J', Err(NotShown::Void), Some(No::Stopped), NotMet),
        (b'L', Err(NotShown::Void), Some(No::Locked), Unknown),
        (b'C', Err(NotShown::Void), Some(No::StateUnresolved), Unknown),
        (b'Z', Err(NotShown::Void), Some(No::StateUnresolved), Unknown),
        (b'E', Err(NotShown::Hidden), Some(No::Annulled), NotMet),
        (b'F', Err(NotShown::Hidden), Some(No::Revoked), NotMet),
        (b'G', Err(NotShown::Hidden), Some(No::Cancelled), NotMet),
        (b'R', Err(NotShown::Hidden), Some(No::Cancelled), NotMet),
    ] {
        let mut changes = holder();
        changes.push(set(10, letter));
        let name = char::from(letter);
        assert_eq!(shown_on(&changes, DAY).map(|shown| shown.display), display, "{name}");
        let (_, held) = at(&changes, DAY);
        assert_eq!(may_be_issued(&held, &Rules::default(), DAY).err(), refused, "{name}");
        assert_eq!(may_drive(&held, &Rules::default(), DAY), drives, "{name}");
    }
}

#[test]
fn a_deferral_is_a_label_past_its_period_and_never_a_colour() {
    for letter in *b"NPT" {
        let deferred = |original_end| {
            let mut changes = holder();
            changes.push(ago(90, ChangeKind::StateSet { letter, original_end: Some(original_end) }));
            shown_on(&changes, DAY).unwrap()
        };
        let inside = deferred(DAY);
        assert_eq!((inside.display, inside.deferred), (Display::Normal, false));
        let past = deferred(DAY.yesterday().unwrap());
        assert_eq!((past.display, past.deferred), (Display::Normal, true));
    }
}

#[test]
fn the_weightiest_state_shows_and_an_expiry_needs_no_letter() {
    assert_eq!(display_after(vec![set(9, b'H'), set(9, b'S')]), Ok(Display::Red));
    assert_eq!(display_after(vec![set(9, b'S'), set(9, b'J')]), Err(NotShown::Void));
    assert_eq!(display_after(vec![set(9, b'J'), set(9, b'G')]), Err(NotShown::Hidden));
    assert_eq!(display_after(vec![ago(3, ChangeKind::PointsSet { points: 12 })]), Ok(Display::Red));
    let mut expiring = holder();
    let validity = Validity { term: ValidityTerm::SixYears, last_day: Some(DAY) };
    expiring[5] = ago(3652, ChangeKind::ValiditySet { validity });
    let on = |day| shown_on(&expiring, day).map(|shown| shown.display);
    assert_eq!(on(DAY), Ok(Display::Normal), "the last day is valid");
    assert_eq!(on(DAY.tomorrow().unwrap()), Ok(Display::Red));
    assert_eq!(on(date(2027, 11, 23)), Err(NotShown::Hidden), "cancelled a year later");
}

#[test]
fn a_record_in_doubt_is_never_green() {
    assert_eq!(display_after(vec![ago(1, ChangeKind::DisputeOpened)]), Err(NotShown::Void));
    assert_eq!(display_after(vec![ago(1, ChangeKind::Erased)]), Err(NotShown::Hidden));
    let mut changes = holder();
    changes.push(ago(1, ChangeKind::DisputeOpened));
    let (_, held) = at(&changes, DAY);
    assert_eq!(may_be_issued(&held, &Rules::default(), DAY), Err(RefusalGround::StateUnresolved));
    assert_eq!(may_drive(&held, &Rules::default(), DAY), Outcome::Unknown);
}

/// `docs/domain.md` §0 no. 13 and 14.
#[test]
fn lifting_twelve_points_restores_without_a_new_application() {
    let mut changes = holder();
    changes.extend([ago(60, ChangeKind::PointsSet { points: 12 }), set(60, b'B'), set(60, b'U')]);
    assert_eq!(
        shown_on(&changes, DAY.saturating_sub(40.days())).map(|shown| shown.display),
        Ok(Display::Red)
    );
    changes.extend([
        ago(30, ChangeKind::PointsCleared),
        ago(30, ChangeKind::StateLifted { letter: b'B' }),
        ago(30, ChangeKind::StateLifted { letter: b'U' }),
        ago(30, ChangeKind::StateGrounded { letter: b'U', ground: StateGround::StudyPassed }),
    ]);
    assert_eq!(shown_on(&changes, DAY).map(|shown| shown.display), Ok(Display::Normal));
    let (known, _) = at(&changes, DAY);
    assert_eq!(known, at(&holder(), DAY).0, "its life went on untouched");
}

/// `docs/domain.md` §0 no. 31.
#[test]
fn an_exchange_supersedes_and_a_birthday_does_not() {
    let class = VehicleClass::A1;
    let renewed = Validity { term: ValidityTerm::TenYears, last_day: Some(date(2036, 1, 1)) };
    for exchanged in [
        ChangeKind::ClassAdded { class: VehicleClass::D },
        ChangeKind::ClassRemoved { class },
        ChangeKind::ValidityRenewed { validity: renewed },
        ChangeKind::ValidityExtended { validity: renewed },
        ChangeKind::AuthoritySet { code: "测B".to_owned() },
        ChangeKind::ELicence(ELicenceEvent::Superseded),
    ] {
        assert_eq!(
            display_after(vec![ago(5, exchanged.clone())]),
            Err(NotShown::Superseded),
            "{exchanged:?}"
        );
        let again = vec![
            ago(5, exchanged.clone()),
            event(4, ELicenceEvent::Reapplied { path: ELicencePath::Window }),
            event(4, ELicenceEvent::Issued),
        ];
        assert_eq!(display_after(again), Ok(Display::Normal), "{exchanged:?}");
    }
    for kept in [
        ChangeKind::ClassLostByAge { class },
        ChangeKind::AgeExtended { class, ceiling_years: 66 },
        ChangeKind::PointsSet { points: 3 },
        ChangeKind::StateSet { letter: b'H', original_end: None },
        ChangeKind::AuthoritySet { code: "测A".to_owned() },
        ChangeKind::ValiditySet { validity: long_term() },
        ChangeKind::ELicence(ELicenceEvent::PhotoChanged),
    ] {
        assert_eq!(display_after(vec![ago(5, kept.clone())]), Ok(Display::Normal), "{kept:?}");
    }
    let mut aged = holder();
    aged[1] = ago(3652, ChangeKind::BirthDaySet { day: date(1963, 6, 15) });
    assert_eq!(
        shown_on(&aged, DAY).map(|shown| shown.display),
        Ok(Display::Normal),
        "A1 ended on a birthday"
    );
}

#[test]
fn what_is_taken_back_at_its_own_moment_exchanged_nothing() {
    let class = VehicleClass::D;
    let late = Change { recorded_at: start_of(DAY), ..ago(5, ChangeKind::ClassRemoved { class }) };
    assert_eq!(display_after(vec![ago(5, ChangeKind::ClassAdded { class }), late]), Ok(Display::Normal));
    let exchanged_twice =
        vec![ago(5, ChangeKind::ClassAdded { class }), ago(4, ChangeKind::ClassRemoved { class })];
    assert_eq!(display_after(exchanged_twice), Err(NotShown::Superseded));
}

/// `docs/domain.md` §0 no. 21 to 25.
#[test]
fn an_application_is_reviewed_unless_the_photo_is_the_authoritys_own() {
    let calendar = WorkingDays::new(vec![date(2026, 11, 23)], Vec::new());
    for path in ELicencePath::ALL.iter().copied() {
        let mut changes = holder();
        changes.truncate(6);
        changes.push(event(2, ELicenceEvent::Applied { path }));
        let (applied, _) = at(&changes, DAY);
        assert_eq!((applied.stage, applied.path), (Stage::Applied, Some(path)));
        let stored = path == ELicencePath::StoredPhoto;
        assert_eq!(applied.admits(ELicenceEvent::UnderReview).is_ok(), !stored, "{path}");
        assert_eq!(applied.admits(ELicenceEvent::Issued), Ok(()), "{path}");
        assert_eq!(shown_on(&changes, DAY), Err(NotShown::NotIssued));
        changes.push(event(2, ELicenceEvent::UnderReview));
        let (under_review, _) = at(&changes, DAY);
        assert_eq!(under_review.review_due(&calendar), Some(date(2026, 11, 24)), "Friday, then a holiday");
    }
}

#[test]
fn a_late_review_decides_nothing() {
    let mut changes = holder();
    changes.truncate(6);
    changes.push(event(40, ELicenceEvent::Applied { path: ELicencePath::Camera }));
    changes.push(event(40, ELicenceEvent::UnderReview));
    let (known, held) = at(&changes, DAY);
    assert!(known.review_due(&WorkingDays::default()).unwrap() < DAY);
    assert_eq!(known.stage, Stage::UnderReview);
    assert_eq!(may_be_issued(&held, &Rules::default(), DAY), Ok(()));
    assert_eq!(known.admits(ELicenceEvent::Issued), Ok(()));
    assert_eq!(shown_on(&changes, DAY), Err(NotShown::NotIssued));
}

/// `docs/domain.md` §0 no. 18 to 30: every ground is one of state, photo and person, and a refused one may apply again.
#[test]
fn every_refusal_is_kept_with_its_ground() {
    for ground in RefusalGround::ALL.iter().copied() {
        let mut changes = holder();
        changes.truncate(6);
        changes.push(event(3, ELicenceEvent::Applied { path: ELicencePath::Album }));
        changes.push(event(2, ELicenceEvent::Refused { ground }));
        let (known, _) = at(&changes, DAY);
        assert_eq!(known.stage, Stage::Refused(ground));
        assert_eq!(shown_on(&changes, DAY), Err(NotShown::NotIssued));
        assert_eq!(known.admits(ELicenceEvent::Applied { path: ELicencePath::Window }), Ok(()));
        assert_eq!(ground.group() == RefusalGroup::Photo, ground.word().starts_with("photo-"), "{ground}");
    }
    assert_eq!(RefusalGround::NotTheHolder.group(), RefusalGroup::Holder);
    assert_eq!(RefusalGround::StateUnresolved.group(), RefusalGroup::State);
}

/// `docs/domain.md` §0 no. 19: 逾期未体检 has no letter.
#[test]
fn a_missed_medical_is_a_refusal_of_its_own() {
    let refused = |more: Vec<Change>| {
        let mut changes = holder();
        changes.extend(more);
        may_be_issued(&at(&changes, DAY).1, &Rules::default(), DAY)
    };
    let restorable = |ground| vec![set(9, b'R'), ago(9, ChangeKind::StateGrounded { letter: b'R', ground })];
    assert_eq!(refused(restorable(StateGround::NoMedical)), Err(RefusalGround::MedicalOverdue));
    assert_eq!(refused(restorable(StateGround::Expiry)), Err(RefusalGround::Cancelled));
    let deferred = |letter| {
        let original_end = Some(DAY.yesterday().unwrap());
        vec![ago(90, ChangeKind::StateSet { letter, original_end })]
    };
    assert_eq!(refused(deferred(b'P')), Err(RefusalGround::MedicalOverdue));
    assert_eq!(refused(deferred(b'N')), Err(RefusalGround::NotInValidity));
}

/// `docs/domain.md` §0 no. 26 and 32.
#[test]
fn the_photo_changes_the_first_time_at_once_and_then_every_six_months() {
    let changed_on = |changed: Option<Date>| ELicence {
        stage: Stage::Issued,
        photo_changed_on: changed,
        ..ELicence::default()
    };
    assert_eq!(may_change_photo(&changed_on(None), DAY), Ok(()));
    for (changed, earliest) in [
        (date(2026, 5, 22), date(2026, 11, 22)),
        (date(2026, 8, 31), date(2027, 2, 28)),
        (date(2027, 8, 31), date(2028, 2, 29)),
    ] {
        let known = changed_on(Some(changed));
        assert_eq!(may_change_photo(&known, earliest), Ok(()), "{changed}");
        assert_eq!(may_change_photo(&known, earliest.yesterday().unwrap()), Err(TooSoon { earliest }));
    }
    let mut changes = holder();
    changes.push(event(90, ELicenceEvent::PhotoChanged));
    changes.push(ago(50, ChangeKind::ClassAdded { class: VehicleClass::D }));
    changes.push(event(40, ELicenceEvent::Reapplied { path: ELicencePath::Album }));
    changes.push(event(39, ELicenceEvent::Issued));
    let (known, _) = at(&changes, DAY);
    assert!(may_change_photo(&known, DAY).is_err(), "a new application does not begin the count anew");
}

/// `docs/domain.md` §0 no. 28.
#[test]
fn an_abused_photo_ends_the_service_and_not_the_licence() {
    let mut changes = holder();
    changes.push(event(3, ELicenceEvent::Withdrawn));
    assert_eq!(shown_on(&changes, DAY), Err(NotShown::Withdrawn));
    let (known, held) = at(&changes, DAY);
    assert_eq!(may_drive(&held, &Rules::default(), DAY), Outcome::Met);
    assert_eq!(known.admits(ELicenceEvent::Reapplied { path: ELicencePath::Window }), Ok(()));
    assert_eq!(known.admits(ELicenceEvent::PhotoChanged), Err(Impossible));
}

#[test]
fn what_follows_on_what() {
    let path = ELicencePath::Camera;
    let events = [
        ELicenceEvent::Applied { path },
        ELicenceEvent::UnderReview,
        ELicenceEvent::Issued,
        ELicenceEvent::Refused { ground: RefusalGround::PhotoLight },
        ELicenceEvent::PhotoChanged,
        ELicenceEvent::Superseded,
        ELicenceEvent::Withdrawn,
        ELicenceEvent::Reapplied { path },
    ];
    for (stage, follows) in [
        (Stage::None, [1, 0, 0, 0, 0, 0, 0, 0]),
        (Stage::Applied, [0, 1, 1, 1, 0, 0, 0, 0]),
        (Stage::UnderReview, [0, 0, 1, 1, 0, 0, 0, 0]),
        (Stage::Issued, [0, 0, 0, 0, 1, 1, 1, 0]),
        (Stage::Refused(RefusalGround::PhotoLight), [1, 0, 0, 0, 0, 0, 0, 1]),
        (Stage::Superseded, [0, 0, 0, 0, 0, 1, 0, 1]),
        (Stage::Withdrawn, [0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        let known = ELicence { stage, path: Some(path), ..ELicence::default() };
        assert_eq!(events.map(|event| u8::from(known.admits(event).is_ok())), follows, "{stage:?}");
    }
}

#[test]
fn the_group_is_shown_and_the_class_is_not() {
    let groups = |class| {
        let mut changes = holder();
        changes.retain(|change| !matches!(change.kind, ChangeKind::ClassAdded { .. }));
        changes.insert(3, ago(3652, ChangeKind::ClassAdded { class }));
        shown_on(&changes, DAY).unwrap().groups
    };
    assert_eq!(groups(VehicleClass::C5), groups(VehicleClass::C1));
    assert_eq!(groups(VehicleClass::E), Groups { car: false, motorcycle: true });
}
