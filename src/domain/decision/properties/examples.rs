//! Single cases: every letter, and what a bug once was.

use super::*;

#[test]
fn probation_shows_as_such_for_filed_drivers_only() {
    let bus = |filed| Question::Transport { role: Role::CityBus, filed, class: None };
    let shown = |filed| ask(&bus(filed), &plain(0)).ruling.criteria;
    let probation = Criterion::not_met(CriterionKind::Probation, Reason::Probation);
    let tenure = Criterion::not_met(CriterionKind::Tenure, Reason::TenureShort);
    assert!(shown(true).contains(&probation) && !shown(true).contains(&tenure));
    assert!(shown(false).contains(&tenure) && !shown(false).contains(&probation));
}

/// `docs/policy.md` §2 for claims: every letter, what it is under the 2020 edition, and everywhere else.
#[test]
fn every_letter_in_a_claim_and_elsewhere() {
    use Outcome::{Met, NotMet, Noted, Unknown};
    for (letter, in_claim, elsewhere) in [
        (b'A', Met, Met),
        (b'B', Noted, NotMet),
        (b'C', Unknown, Unknown),
        (b'D', NotMet, NotMet),
        (b'E', NotMet, NotMet),
        (b'F', NotMet, NotMet),
        (b'G', NotMet, NotMet),
        (b'H', Met, Met),
        (b'I', Met, Met),
        (b'J', Noted, NotMet),
        (b'K', Unknown, NotMet),
        (b'L', Unknown, Unknown),
        (b'M', Noted, NotMet),
        (b'N', Unknown, Unknown),
        (b'O', Unknown, Unknown),
        (b'P', Unknown, Unknown),
        (b'Q', Unknown, Unknown),
        (b'R', NotMet, NotMet),
        (b'S', Noted, NotMet),
        (b'T', Unknown, Unknown),
        (b'U', NotMet, NotMet),
        (b'Z', Unknown, Unknown),
    ] {
        let mut changes = plain(10);
        changes.push(set(letter));
        let licence = |question: &Question| {
            let criteria = ask(question, &changes).ruling.criteria;
            criteria.iter().find(|criterion| criterion.kind == CriterionKind::Licence).unwrap().outcome
        };
        let name = char::from(letter);
        assert_eq!(licence(&claim(VehicleClass::C1, CoverageEdition::Commercial2020)), in_claim, "{name}");
        assert_eq!(licence(&rental(VehicleClass::C1, 3, None, 0)), elsewhere, "{name}");
    }
    assert_eq!(StateLetter::ALL.len(), 19);
}

#[test]
fn probation_decides_under_the_edition_that_names_it() {
    for (edition, expected) in [
        (CoverageEdition::Compulsory, Criterion::noted(CriterionKind::Probation, Reason::Probation)),
        (CoverageEdition::Commercial2014, Criterion::not_met(CriterionKind::Probation, Reason::Probation)),
        (CoverageEdition::Commercial2020, Criterion::noted(CriterionKind::Probation, Reason::Probation)),
    ] {
        let criteria = ask(&claim(VehicleClass::C1, edition), &plain(0)).ruling.criteria;
        assert!(criteria.contains(&expected), "{edition}: {criteria:?}");
    }
}

#[test]
fn a_dispute_leaves_nothing_to_be_said() {
    let mut changes = plain(10);
    changes.push(set(b'G'));
    changes.push(change(ChangeKind::DisputeOpened, 0));
    for question in questions(VehicleClass::C1) {
        let ruling = ask(&question, &changes).ruling;
        assert_eq!(ruling.criteria, [Criterion::unknown(CriterionKind::Record, Reason::RecordInDispute)]);
        assert_eq!(ruling.decision, Decision::Indeterminate);
    }
}

#[test]
fn a_suspension_recorded_ahead_ends_a_rental() {
    let mut changes = plain(10);
    let ahead = |letter_set: bool, days: i64| {
        let letter = b'D';
        let kind = if letter_set {
            ChangeKind::StateSet { letter, original_end: None }
        } else {
            ChangeKind::StateLifted { letter }
        };
        let effective = Effective::On(date(2026, 11, 22).saturating_add(days.days()));
        Change { effective, ..change(kind, 0) }
    };
    changes.extend([ahead(true, 2), ahead(false, 3)]);
    let shown = |days| ask(&rental(VehicleClass::C1, days, None, 0), &changes).ruling;
    assert_eq!(shown(1).decision, Decision::Qualified);
    let ends = Criterion::not_met(CriterionKind::Period, Reason::EndsWithinPeriod);
    assert!(shown(5).criteria.contains(&ends), "lifted again before the return, and still");
    assert_eq!(ask(&purchase(), &changes).ruling.reliance_until, Some(now() + 24.hours()));
}

fn purchase() -> Question {
    Question::InsurancePurchase { vehicle: Vehicle::of_class(VehicleClass::C1) }
}

/// A change recorded yesterday that takes effect so many days ahead.
fn ahead(days: i64, kind: ChangeKind) -> Change {
    let effective = Effective::On(date(2026, 11, 22).saturating_add(days.days()));
    Change { effective, ..change(kind, 0) }
}

#[test]
fn reliance_ends_at_a_closed_horizon_and_never_after_the_first_end() {
    for (ends_in_days, relied) in
        [(0, None), (1, Some(1)), (6, Some(1)), (7, Some(7)), (29, Some(7)), (30, Some(30)), (400, Some(30))]
    {
        let mut changes = plain(5);
        let last_day = Some(date(2026, 11, 22).saturating_add(i64::from(ends_in_days).days()));
        let validity = Validity { term: ValidityTerm::SixYears, last_day };
        changes.push(change(ChangeKind::ValiditySet { validity }, 0));
        let until = ask(&purchase(), &changes).ruling.reliance_until;
        assert_eq!(until, relied.map(|days: i64| now() + (days * 24).hours()), "{ends_in_days}");
    }
}

#[test]
fn the_configured_number_of_days_caps_reliance() {
    for (most, expected) in [(1, 1), (7, 7), (14, 14), (30, 30), (90, 90)] {
        let rules = Rules { reliance_days_max: most, ..Rules::default() };
        let as_of = AsOf::new(now(), now());
        let ruled = decide(&purchase(), &History::from_changes(plain(10)), as_of, now(), &rules);
        assert_eq!(ruled.ruling.reliance_until, Some(now() + (expected * 24).hours()));
    }
}

#[test]
fn what_becomes_doubtful_is_neither_lasting_nor_relied_on() {
    let mut changes = plain(10);
    changes.push(ahead(2, ChangeKind::StateSet { letter: b'Z', original_end: None }));
    let lasting = |days| {
        let ruling = ask(&rental(VehicleClass::C1, days, None, 0), &changes).ruling;
        (ruling.decision, ruling.criteria.last().copied())
    };
    assert_eq!(lasting(1), (Decision::Qualified, Some(Criterion::met(CriterionKind::Period))));
    let doubtful = Criterion::unknown(CriterionKind::Period, Reason::StateUnresolved);
    assert_eq!(lasting(5), (Decision::Indeterminate, Some(doubtful)));
    assert_eq!(ask(&purchase(), &changes).ruling.reliance_until, Some(now() + 24.hours()));
    let police = Question::Enforcement { vehicle: None };
    assert_eq!(ask(&police, &changes).ruling.reliance_until, Some(now() + 24.hours()));
}

#[test]
fn before_anything_was_recorded_nothing_is_known() {
    let history = History::from_changes(plain(10));
    let known_at = |known_at| {
        let question = claim(VehicleClass::C1, CoverageEdition::Commercial2020);
        let as_of = AsOf::new(question.moment(now()), known_at);
        decide(&question, &history, as_of, now(), &Rules::default()).ruling
    };
    let not_held = [Criterion::unknown(CriterionKind::Record, Reason::HistoryNotHeld)];
    assert_eq!(known_at(start_of(date(2010, 1, 1))).criteria, not_held);
    assert_ne!(known_at(now()).criteria, not_held);
    let mut never_issued = plain(10);
    never_issued.remove(0);
    for question in questions(VehicleClass::C1) {
        assert_eq!(ask(&question, &never_issued).ruling.criteria, not_held, "{question:?}");
    }
    never_issued.push(ahead(5, ChangeKind::Issued));
    let none = ask(&claim(VehicleClass::C1, CoverageEdition::Compulsory), &never_issued).ruling;
    assert_eq!(none.criteria, [Criterion::not_met(CriterionKind::Licence, Reason::NoLicenceAtT)]);
}

#[test]
fn a_towing_nobody_spoke_of_is_the_same_doubt_in_probation_and_after() {
    let vehicle = Vehicle::of_kind(VehicleKind::TypeCode(TypeCode::parse("Z31").unwrap()));
    let rental = |combination_mass_kg| Question::Rental {
        pick_up: now(),
        return_at: now() + 24.hours(),
        vehicle: Vehicle { combination_mass_kg, ..vehicle.clone() },
        min_tenure_months: None,
        validity_margin_days: 0,
    };
    let (beginner, experienced) = (ask(&rental(None), &plain(0)), ask(&rental(None), &plain(10)));
    assert_eq!(beginner.ruling, experienced.ruling);
    let unclear = Criterion::unknown(CriterionKind::Probation, Reason::VehicleUnclear);
    assert!(beginner.ruling.criteria.contains(&unclear));
    assert_eq!(ask(&rental(Some(0)), &plain(0)).ruling.decision, Decision::Qualified);
}

#[test]
fn without_a_birth_date_a_class_with_a_ceiling_is_unknown() {
    let mut changes = plain(10);
    changes.remove(1);
    changes.push(change(ChangeKind::ClassAdded { class: VehicleClass::A1 }, 5));
    let class = |class| {
        let criteria = ask(&rental(class, 1, None, 0), &changes).ruling.criteria;
        criteria.into_iter().find(|criterion| criterion.kind == CriterionKind::Class).unwrap()
    };
    assert_eq!(class(VehicleClass::A1), Criterion::unknown(CriterionKind::Class, Reason::StateUnresolved));
    assert_eq!(class(VehicleClass::C1), Criterion::met(CriterionKind::Class));
    assert_eq!(class(VehicleClass::D), Criterion::not_met(CriterionKind::Class, Reason::ClassNotCovered));
}

#[test]
fn nothing_heals_a_record_in_dispute() {
    let mut changes = plain(10);
    changes.push(set(b'B'));
    let police = Question::Enforcement { vehicle: None };
    assert!(!ask(&police, &changes).ruling.remedies.is_empty());
    changes.push(change(ChangeKind::DisputeOpened, 0));
    assert!(ask(&police, &changes).ruling.remedies.is_empty());
}

#[test]
fn a_late_recording_shows_only_where_it_changes_the_answer() {
    let late = |kind, minutes: i64| Change { recorded_at: now() + minutes.minutes(), ..change(kind, 0) };
    let asked_later = |changes: &[Change]| {
        let question = claim(VehicleClass::C1, CoverageEdition::Commercial2020);
        let later = now() + 1.hour();
        let as_of = AsOf::new(question.moment(later), later);
        decide(&question, &History::from_changes(changes.to_vec()), as_of, later, &Rules::default())
    };
    let letter = |letter| ChangeKind::StateSet { letter, original_end: None };
    let mut changes = plain(10);
    for idle in [
        letter(b'H'),
        letter(b'I'),
        ChangeKind::PointsSet { points: 9 },
        ChangeKind::EndorsementSet { endorsement: Endorsement::SchoolBus },
        ChangeKind::ClassAdded { class: VehicleClass::D },
    ] {
        changes.push(late(idle, 1));
        assert_eq!(asked_later(&changes).changed_since, None, "{:?}", changes.last());
    }
    let detained = late(letter(b'U'), 2);
    changes.push(detained.clone());
    assert_eq!(asked_later(&changes).changed_since, Some(detained.recorded_at));
    let lifted = late(ChangeKind::StateLifted { letter: b'U' }, 3);
    changes.push(lifted.clone());
    assert_eq!(asked_later(&changes).changed_since, Some(lifted.recorded_at), "it took back what was shown");
    changes.push(late(letter(b'H'), 4));
    assert_eq!(asked_later(&changes).changed_since, Some(lifted.recorded_at));
    changes.push(late(ChangeKind::DisputeOpened, 5));
    assert_eq!(asked_later(&changes).changed_since, None, "in doubt nothing is said");
}

#[test]
fn a_snapshot_of_an_upgraded_driver_leaves_probation_open() {
    let mut changes = plain(10);
    changes[2] = change(ChangeKind::ClassAdded { class: VehicleClass::A3 }, 0);
    changes.push(Change {
        effective: Effective::On(date(2026, 11, 21)),
        ..change(ChangeKind::HistoryBegins, 0)
    });
    let bus = |filed| Question::Transport { role: Role::CityBus, filed, class: None };
    for (question, kind) in [(bus(true), CriterionKind::Probation), (bus(false), CriterionKind::Tenure)] {
        let ruling = ask(&question, &changes).ruling;
        let unknown = Criterion::unknown(kind, Reason::StateUnresolved);
        assert!(ruling.criteria.contains(&unknown), "{ruling:?}");
        assert_eq!(ruling.decision, Decision::Indeterminate);
    }
}

#[test]
fn a_review_overdue_ahead_ends_the_reliance_on_a_filed_driver() {
    let mut changes = plain(10);
    changes.push(ahead(3, ChangeKind::StateSet { letter: b'S', original_end: None }));
    let class = Some(VehicleClass::C1);
    let filed = Question::Transport { role: Role::Driver, filed: true, class };
    assert_eq!(ask(&filed, &changes).ruling.reliance_until, Some(now() + 24.hours()));
}
