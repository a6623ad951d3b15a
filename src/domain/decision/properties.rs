//! What holds of every decision, whoever is asked about: stricter questions, more letters and unknowns never help.

mod e_licence;
mod examples;

use jiff::civil::date;
use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;

use super::probation::is_forbidden_use;
use super::{Criterion, CriterionKind, Decision, Outcome, Reason, Ruled, Ruling, decide};
use crate::domain::catalogue::test_drivers;
use crate::domain::licence::{
    AsOf, Change, ChangeKind, Endorsement, History, StateLetter, Validity, ValidityTerm, VehicleClass,
};
use crate::domain::partner::PartnerKind;
use crate::domain::policy::{PolicyRow, row_for};
use crate::domain::question::{CoverageEdition, Question, Role};
use crate::domain::rules::Rules;
use crate::domain::subject::Position;
use crate::domain::time::{Effective, start_of};
use crate::domain::vehicle::{TypeCode, Vehicle, VehicleKind, VehicleUse};

fn now() -> Timestamp {
    start_of(date(2026, 11, 22)) + 12.hours()
}

fn change(kind: ChangeKind, years_ago: i64) -> Change {
    let day = date(2026, 11, 22).saturating_sub(years_ago.years()).yesterday().unwrap();
    Change {
        effective: Effective::On(day),
        recorded_at: start_of(day),
        position: Position { epoch: 1, partition: 0, seq: 0 },
        kind,
    }
}

fn set(letter: u8) -> Change {
    change(ChangeKind::StateSet { letter, original_end: None }, 0)
}

/// Somebody with a class, a tenure, an age and some letters.
fn any_changes() -> impl Strategy<Value = Vec<Change>> {
    let letters = proptest::collection::vec(b'A'..=b'Z', 0..3);
    (1u8..=17, 0i64..12, 20i64..80, -2i64..3, letters).prop_map(|(class, tenure, age, validity, letters)| {
        let class = VehicleClass::from_code(class).unwrap();
        let last_day = Some(date(2026, 11, 22).saturating_add(validity.years()));
        let mut changes = vec![
            change(ChangeKind::Issued, tenure),
            change(ChangeKind::BirthDaySet { day: date(2026, 5, 5).saturating_sub(age.years()) }, tenure),
            change(ChangeKind::ClassAdded { class }, tenure),
            change(
                ChangeKind::ValiditySet { validity: Validity { term: ValidityTerm::SixYears, last_day } },
                tenure,
            ),
        ];
        changes.extend(letters.into_iter().map(set));
        changes
    })
}

fn any_class() -> impl Strategy<Value = VehicleClass> {
    (1u8..=17).prop_map(|code| VehicleClass::from_code(code).unwrap())
}

fn rental(
    class: VehicleClass,
    days: i64,
    min_tenure_months: Option<u16>,
    validity_margin_days: u16,
) -> Question {
    Question::Rental {
        pick_up: now(),
        return_at: now() + (days * 24).hours(),
        vehicle: Vehicle::of_class(class),
        min_tenure_months,
        validity_margin_days,
    }
}

fn claim(class: VehicleClass, edition: CoverageEdition) -> Question {
    let vehicle = Vehicle { used_for: Some(VehicleUse::PublicBus), ..Vehicle::of_class(class) };
    Question::InsuranceClaim { occurred_at: now() - 1.hour(), vehicle, edition }
}

/// One question of every purpose.
fn questions(class: VehicleClass) -> Vec<Question> {
    let mut questions = vec![
        claim(class, CoverageEdition::Compulsory),
        claim(class, CoverageEdition::Commercial2014),
        claim(class, CoverageEdition::Commercial2020),
        Question::InsurancePurchase { vehicle: Vehicle::of_class(class) },
        rental(class, 3, Some(12), 30),
        Question::Enforcement { vehicle: Some(Vehicle::of_class(class)) },
        Question::Enforcement { vehicle: None },
    ];
    for role in Role::ALL.iter().copied() {
        questions.push(Question::Recruitment { role, min_tenure_months: Some(36), class: Some(class) });
        questions.push(Question::Transport { role, filed: true, class: Some(class) });
        questions.push(Question::Transport { role, filed: false, class: Some(class) });
    }
    questions
}

fn ask(question: &Question, changes: &[Change]) -> Ruled {
    let as_of = AsOf::new(question.moment(now()), now());
    decide(question, &History::from_changes(changes.to_vec()), as_of, now(), &Rules::default())
}

/// How good a decision is for the driver.
fn rank(decision: Decision) -> u8 {
    match decision {
        Decision::NotQualified => 0,
        Decision::Indeterminate => 1,
        Decision::Qualified => 2,
    }
}

proptest! {
    #[test]
    fn another_letter_never_helps(changes in any_changes(), class in any_class(), letter in b'A'..=b'Z') {
        // A renewal deferred nobody knows how far leaves an expiry open, and nothing else helps.
        prop_assume!(letter != b'N');
        let mut more = changes.clone();
        more.push(set(letter));
        for question in questions(class) {
            let (before, after) = (ask(&question, &changes).ruling, ask(&question, &more).ruling);
            prop_assert!(rank(after.decision) <= rank(before.decision), "{question:?}\n{before:?}\n{after:?}");
        }
    }

    #[test]
    fn an_unknown_letter_is_never_qualified(changes in any_changes(), class in any_class()) {
        for letter in *b"OQVWXYZLC" {
            let mut more = changes.clone();
            more.push(set(letter));
            for question in questions(class) {
                prop_assert_ne!(ask(&question, &more).ruling.decision, Decision::Qualified, "{:?}", question);
            }
        }
    }

    #[test]
    fn a_stricter_rental_never_helps(
        changes in any_changes(), class in any_class(), days in 1i64..300, more_days in 0i64..60, margin in 0usize..3,
        tenure in 0usize..5,
    ) {
        let tenures = [None, Some(6), Some(12), Some(24), Some(36)];
        let lax = ask(&rental(class, days, tenures[tenure], 0), &changes).ruling.decision;
        let margin = [0, 30, 60][margin];
        for stricter in &tenures[tenure..] {
            let strict = ask(&rental(class, days + more_days, *stricter, margin), &changes).ruling.decision;
            prop_assert!(rank(strict) <= rank(lax));
        }
    }

    #[test]
    fn a_longer_tenure_never_helps_an_applicant(changes in any_changes(), class in any_class(), tenure in 0usize..5) {
        let tenures = [None, Some(6), Some(12), Some(24), Some(36)];
        for role in Role::ALL.iter().copied() {
            let rank_with = |min_tenure_months| {
                let question = Question::Recruitment { role, min_tenure_months, class: Some(class) };
                rank(ask(&question, &changes).ruling.decision)
            };
            let lax = rank_with(tenures[tenure]);
            for stricter in &tenures[tenure..] {
                prop_assert!(rank_with(*stricter) <= lax, "{role:?}: {stricter:?} after {:?}", tenures[tenure]);
            }
        }
    }

    #[test]
    fn nobody_but_insurers_and_the_police_can_tell_who_holds_c5(
        changes in any_changes(), adapted in proptest::option::of(any::<bool>()),
        automatic in proptest::option::of(any::<bool>()), named in 0usize..4,
    ) {
        let kind = [
            VehicleKind::TypeCode(TypeCode::parse("K33").unwrap()),
            VehicleKind::Class(VehicleClass::C1),
            VehicleKind::Class(VehicleClass::C2),
            VehicleKind::Class(VehicleClass::C5),
        ][named].clone();
        let vehicle = Vehicle { adapted, automatic, ..Vehicle::of_kind(kind) };
        let holding = |class| {
            let mut changes = changes.clone();
            changes.retain(|change| !matches!(change.kind, ChangeKind::ClassAdded { .. }));
            changes.push(change(ChangeKind::ClassAdded { class }, 5));
            changes
        };
        let rental = Question::Rental {
            pick_up: now(), return_at: now() + 24.hours(), vehicle: vehicle.clone(), min_tenure_months: None,
            validity_margin_days: 0,
        };
        for question in [Question::InsurancePurchase { vehicle }, rental] {
            let with = |class| ask(&question, &holding(class)).ruling;
            // Class F permits none of these vehicles, and no age ends it.
            prop_assert_eq!(with(VehicleClass::C5), with(VehicleClass::F), "{:?}", question);
        }
    }

    #[test]
    fn every_reason_belongs_to_an_outcome_that_is_not_met(changes in any_changes(), class in any_class()) {
        for question in questions(class) {
            for criterion in ask(&question, &changes).ruling.criteria {
                prop_assert_eq!(criterion.reason.is_none(), criterion.outcome == Outcome::Met);
            }
        }
    }

    #[test]
    fn partners_but_insurers_see_one_code_for_every_barring_state(changes in any_changes(), class in any_class()) {
        for question in questions(class) {
            if matches!(question, Question::InsuranceClaim { .. } | Question::Enforcement { .. }) {
                continue;
            }
            for criterion in ask(&question, &changes).ruling.criteria {
                let licence = criterion.kind == CriterionKind::Licence;
                let shown = [None, Some(Reason::LicenceNotInForce), Some(Reason::StateUnresolved)];
                prop_assert!(!licence || shown.contains(&criterion.reason));
            }
            prop_assert!(ask(&question, &changes).ruling.remedies.is_empty());
        }
    }

    #[test]
    fn reliance_is_for_qualified_answers_about_the_present(changes in any_changes(), class in any_class()) {
        for question in questions(class) {
            let ruling = ask(&question, &changes).ruling;
            let claim = matches!(question, Question::InsuranceClaim { .. });
            let qualified = ruling.decision == Decision::Qualified && !claim;
            prop_assert!(ruling.reliance_until.is_none() || qualified);
            if let Some(until) = ruling.reliance_until {
                // The rental asked about lasts three days.
                let days = if matches!(question, Question::Rental { .. }) { &[3][..] } else { &[1, 7, 30] };
                prop_assert!(days.iter().any(|days| until == now() + (days * 24).hours()), "{until}");
            }
        }
    }
}

/// The row a question falls under: every purpose is one kind of partner's.
fn row_of(question: &Question) -> &'static PolicyRow {
    PartnerKind::ALL.iter().find_map(|kind| row_for(*kind, question)).unwrap()
}

/// The reasons a question shows that its row does not grant, or that its role's rule does not name.
fn shown_too_much(question: &Question, ruling: &Ruling) -> Vec<Reason> {
    let row = row_of(question);
    let rules = Rules::default();
    let not_named = |reason| {
        let (Question::Recruitment { role, .. } | Question::Transport { role, .. }) = question else {
            return false;
        };
        let asked = matches!(question, Question::Recruitment { min_tenure_months: Some(_), .. });
        let filed = matches!(question, Question::Transport { filed: true, .. });
        let rule = rules.role_on(*role, date(2026, 11, 22)).unwrap();
        let forbidden = rule.draws_trailer || rule.used_for.is_some_and(is_forbidden_use);
        match reason {
            Reason::TenureShort => !(asked || rule.tenure_months.is_some() || forbidden && !filed),
            Reason::PointsRecord | Reason::PeriodsNotHeld => rule.periods_without_full_points.is_none(),
            Reason::EndorsementMissing => rule.endorsement.is_none(),
            Reason::Probation => !forbidden,
            // A class lost by age shows as no class; the age itself only where the rule asks for it.
            Reason::Age => rule.age_min.is_none() && rule.age_max.is_none(),
            _ => false,
        }
    };
    let reasons = ruling.criteria.iter().filter_map(|criterion| criterion.reason);
    reasons.filter(|reason| !row.shows(*reason) || not_named(*reason)).collect()
}

proptest! {
    #[test]
    fn no_answer_shows_a_reason_outside_its_row(
        changes in any_changes(), class in any_class(), begins in proptest::option::of(0i64..12), points in 0u8..15,
    ) {
        let mut changes = changes;
        changes.push(change(ChangeKind::PointsSet { points }, 0));
        changes.extend(begins.map(|years| change(ChangeKind::HistoryBegins, years)));
        for question in questions(class) {
            let ruling = ask(&question, &changes).ruling;
            prop_assert_eq!(shown_too_much(&question, &ruling), [], "{:?}", question);
        }
    }
}

#[test]
fn no_driver_of_the_catalogue_shows_a_reason_outside_the_row() {
    let day = date(2026, 11, 22);
    for driver in test_drivers(day) {
        let change = |(effective, recorded_at, kind): &(Effective, Timestamp, ChangeKind)| Change {
            effective: *effective,
            recorded_at: *recorded_at,
            position: Position { epoch: 1, partition: 0, seq: 0 },
            kind: kind.clone(),
        };
        let changes: Vec<Change> = driver.changes.iter().map(change).collect();
        let asked = driver.expectations.iter().map(|expected| expected.question.clone());
        let of_every_class = VehicleClass::ALL.iter().flat_map(|class| questions(*class));
        for question in asked.chain(of_every_class) {
            let ruling = ask(&question, &changes).ruling;
            assert_eq!(shown_too_much(&question, &ruling), [], "row {} {question:?}", driver.row);
        }
    }
}

fn plain(first_years: i64) -> Vec<Change> {
    let validity = Validity { term: ValidityTerm::LongTerm, last_day: None };
    vec![
        change(ChangeKind::Issued, first_years),
        change(ChangeKind::BirthDaySet { day: date(1990, 1, 1) }, first_years),
        change(ChangeKind::ClassAdded { class: VehicleClass::C1 }, first_years),
        change(ChangeKind::ValiditySet { validity }, first_years),
    ]
}
