//! Releasing fields: the permit says which, the ruling says what there is.

use super::{Disclosure, DisplayShown, Field, MaskedName, Pending, TenureBand};
use crate::domain::decision::Ruled;
use crate::domain::elicence::{Display, Shown};
use crate::domain::licence::{AsOf, ClassSet, Qualification, StateLetter, StateSet, VehicleClass};
use crate::domain::policy::Permit;
use crate::domain::question::{Purpose, Question};
use crate::domain::time::{age_on, civil_day};

/// Releases the fields the permit allows, of a confirmed subject. The only maker of a filled [`Disclosure`].
///
/// A permit for another purpose than the question's releases nothing.
pub fn disclose(permit: &Permit, question: &Question, ruled: &Ruled, as_of: AsOf) -> Disclosure {
    let purpose = question.purpose();
    if permit.purpose() != purpose {
        return Disclosure::nothing();
    }
    let held = &ruled.qualification;
    let may = |field| permit.fields().contains(field);
    let mut released = Disclosure::nothing();
    if may(Field::MaskedName) {
        released.masked_name = held.name.as_ref().map(MaskedName::of);
    }
    // Nothing about the licence leaves when the record itself is in doubt.
    if ruled.record_in_doubt() {
        return released;
    }
    if may(Field::ExpiredOn) {
        released.expired_on = ruled.expired_on;
    }
    if may(Field::Probation) {
        released.probation = ruled.probation;
    }
    if may(Field::TenureBand) {
        released.tenure_band = tenure_band(held, as_of);
    }
    if may(Field::Pending) {
        released.pending = Some(pending(held));
    }
    if may(Field::States) && purpose == Purpose::Enforcement {
        released.states = Some(shown_states(held.states));
    }
    if may(Field::Classes) && purpose == Purpose::Enforcement {
        // C5 tells a disability: whether the vehicle found may be driven is asked with the vehicle.
        released.classes = Some(ruled.classes_in_force.without(ClassSet::of(&[VehicleClass::C5])));
    }
    if may(Field::PaperLicenceNeeded) && purpose == Purpose::Enforcement {
        released.paper_licence_needed = Some(ruled.paper_licence_needed);
    }
    if let Some(shown) = ruled.e_licence.filter(|_| purpose == Purpose::PeerScan) {
        show_to_peer(shown, permit, &mut released);
    }
    released
}

/// What the screen shows. A void e-licence shows no groups.
fn show_to_peer(shown: Shown, permit: &Permit, released: &mut Disclosure) {
    let Shown { display, deferred, groups } = shown;
    if permit.fields().contains(Field::Display) {
        released.display = Some(DisplayShown { display, deferred });
    }
    if permit.fields().contains(Field::ClassGroups) && matches!(display, Display::Normal | Display::Red) {
        released.class_groups = Some(groups);
    }
}

fn tenure_band(held: &Qualification, as_of: AsOf) -> Option<TenureBand> {
    let years = age_on(held.first_issue?, civil_day(as_of.moment));
    Some(match years {
        ..1 => TenureBand::Under1,
        1..=2 => TenureBand::From1To2,
        3..=5 => TenureBand::From3To5,
        6.. => TenureBand::From6,
    })
}

fn pending(held: &Qualification) -> Pending {
    Pending {
        violation: held.states.contains(StateLetter::ViolationPending),
        accident: held.states.contains(StateLetter::AccidentPending),
    }
}

/// The letters carried; 正常 when there are none, and never beside another. A medical that is deferred is shown as a renewal
/// that is: a deferral, and nothing about health.
fn shown_states(mut states: StateSet) -> StateSet {
    if states.contains(StateLetter::MedicalDeferred) {
        states.remove_letter(StateLetter::MedicalDeferred.code());
        states.insert(StateLetter::RenewalDeferred);
    }
    if states.is_empty() { StateSet::from_iter([StateLetter::Normal]) } else { states.shown() }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};
    use jiff::{Timestamp, ToSpan as _};

    use super::*;
    use crate::domain::catalogue::{TestDriver, test_drivers};
    use crate::domain::claim::{Claim, ConsentEvidence, Ground, GroundKind};
    use crate::domain::decision::decide;
    use crate::domain::disclosure::{FieldSet, ProbationKind};
    use crate::domain::elicence::Groups;
    use crate::domain::licence::{Change, FullName, History, LicenceNumber, NumberRules, VehicleClass};
    use crate::domain::partner::{Allowance, ClaimTerms, Contract, PartnerKind, PurposeTerms};
    use crate::domain::policy::{authorise_claim, authorise_presentation};
    use crate::domain::presentation::Holder;
    use crate::domain::question::{CoverageEdition, Role};
    use crate::domain::rules::Rules;
    use crate::domain::subject::Position;
    use crate::domain::time::{end_of, start_of};
    use crate::domain::vehicle::Vehicle;

    const DAY: Date = date(2026, 11, 22);

    fn now() -> Timestamp {
        start_of(DAY) + 12.hours()
    }

    fn driver(row: u8, twin: &str) -> TestDriver {
        test_drivers(DAY).into_iter().find(|driver| driver.row == row && driver.twin == twin).unwrap()
    }

    fn kind_for(purpose: Purpose) -> PartnerKind {
        match purpose {
            Purpose::InsuranceClaim | Purpose::InsurancePurchase => PartnerKind::Insurer,
            Purpose::Rental => PartnerKind::Rental,
            Purpose::Recruitment => PartnerKind::Recruiter,
            Purpose::Transport => PartnerKind::Transport,
            Purpose::Enforcement => PartnerKind::Enforcement,
            Purpose::PeerScan => PartnerKind::Wallet,
        }
    }

    fn contract(purpose: Purpose) -> Contract {
        Contract {
            partner: "partner".parse().unwrap(),
            legal_name: String::new(),
            display_name: String::new(),
            kind: kind_for(purpose),
            identities: Vec::new(),
            purposes: vec![PurposeTerms {
                purpose,
                grounds: GroundKind::ALL.to_vec(),
                fields: FieldSet::of(Field::ALL),
                tenure_months: vec![12, 36],
                margin_days: vec![0],
                editions: CoverageEdition::ALL.to_vec(),
                roles: Role::ALL.to_vec(),
            }],
            presentations_only: false,
            allowance: Allowance {
                rate_per_second: 1,
                burst: 1,
                in_flight_max: 1,
                connections_max: 1,
                quota_per_minute: 1,
                quota_per_hour: 1,
                quota_per_day: 1,
            },
            claims: ClaimTerms::usual(kind_for(purpose)),
            starts_at: Timestamp::MIN,
            ends_at: Timestamp::MAX,
            contact: String::new(),
        }
    }

    fn permit(driver: &TestDriver, question: &Question, asked: FieldSet) -> Option<Permit> {
        let consent = Ground::Consent(ConsentEvidence {
            obtained_at: now() - 1.hour(),
            expires_at: now() + 1.hour(),
            notice_version: "1".to_owned(),
            evidence_sha256: [0; 32],
        });
        let rules = NumberRules { accept_test_numbers: true };
        [Ground::LegalDuty, consent].into_iter().find_map(|ground| {
            let claim = Claim {
                document: driver.document,
                number: LicenceNumber::parse(driver.document, driver.number, rules).unwrap(),
                name: FullName::parse(driver.name).unwrap(),
                file_number: None,
                ground,
            };
            authorise_claim(&contract(question.purpose()), &claim, question, asked, now(), &Rules::default())
                .ok()
        })
    }

    fn history(driver: &TestDriver) -> History {
        let change = |(effective, recorded_at, kind): &(_, _, _)| Change {
            effective: *effective,
            recorded_at: *recorded_at,
            position: Position { epoch: 1, partition: 0, seq: 0 },
            kind: Clone::clone(kind),
        };
        History::from_changes(driver.changes.iter().map(change).collect())
    }

    fn released_to(driver: &TestDriver, question: &Question, asked: &[Field]) -> Disclosure {
        let history = history(driver);
        let as_of = AsOf::new(question.moment(now()), now());
        let ruled = decide(question, &history, as_of, now(), &Rules::default());
        let permit = permit(driver, question, FieldSet::of(asked)).unwrap();
        disclose(&permit, question, &ruled, as_of)
    }

    fn claim(days_ago: i64) -> Question {
        Question::InsuranceClaim {
            occurred_at: now() - (days_ago * 24).hours(),
            vehicle: Vehicle::of_class(VehicleClass::C1),
            edition: CoverageEdition::Commercial2020,
        }
    }

    fn mask(disclosure: &Disclosure) -> Option<&str> {
        disclosure.masked_name.as_ref().map(MaskedName::as_str)
    }

    #[test]
    fn an_insurer_learns_expiry_and_probation_at_the_moment() {
        let expired = released_to(&driver(11, ""), &claim(10), &[]);
        assert_eq!((mask(&expired), expired.expired_on), (Some("测**"), Some(date(2026, 10, 23))));
        let before = released_to(&driver(11, ""), &claim(60), &[]);
        assert_eq!(before.expired_on, None, "not today's state");
        let cancelled = released_to(&driver(12, ""), &claim(10), &[]);
        assert_eq!(cancelled.expired_on, None, "the ground of a cancellation is never shown");
        let beginner = released_to(&driver(2, ""), &claim(10), &[]).probation.unwrap();
        assert_eq!((beginner.kind, beginner.last_day), (ProbationKind::FirstLicence, date(2027, 6, 21)));
        let compound = released_to(&driver(30, ""), &claim(10), &[]);
        assert_eq!(mask(&compound), Some("欧阳*"));
    }

    #[test]
    fn every_purpose_learns_what_the_table_says_and_no_more() {
        let pending = driver(1, "pending");
        let car = Vehicle::of_class(VehicleClass::C1);
        let purchase = released_to(&pending, &Question::InsurancePurchase { vehicle: car }, &[]);
        let expected = Disclosure { tenure_band: Some(TenureBand::From6), ..Disclosure::nothing() };
        assert_eq!(purchase, expected);
        let role = Role::RideHailing;
        let recruit = Question::Recruitment { role, min_tenure_months: None, class: None };
        assert_eq!(released_to(&pending, &recruit, &[]), Disclosure::nothing());
        let filed = released_to(&pending, &Question::Transport { role, filed: true, class: None }, &[]);
        let both = Pending { violation: true, accident: true };
        assert_eq!(filed, Disclosure { pending: Some(both), ..Disclosure::nothing() });
        let other = Question::Transport { role, filed: false, class: None };
        assert_eq!(released_to(&pending, &other, &[]), Disclosure::nothing());
        let police = released_to(&driver(15, ""), &Question::Enforcement { vehicle: None }, &[]);
        assert_eq!(police.states, StateSet::parse("BU"));
        assert_eq!(police.classes.unwrap().to_string(), "C1");
        assert_eq!(police.paper_licence_needed, Some(true));
        let normal = released_to(&driver(1, ""), &Question::Enforcement { vehicle: None }, &[]);
        assert_eq!((normal.states, normal.paper_licence_needed), (StateSet::parse("A"), Some(false)));
    }

    #[test]
    fn health_shows_to_nobody_the_police_included() {
        let police =
            |row, twin| released_to(&driver(row, twin), &Question::Enforcement { vehicle: None }, &[]);
        assert_eq!(police(5, "").classes, Some(ClassSet::EMPTY));
        for (medical, renewal) in [("medical", ""), ("medical-past", "renewal-past")] {
            assert_eq!(police(24, medical).states, StateSet::parse("N"), "{medical}");
            assert_eq!(police(24, medical), police(24, renewal), "{medical}");
        }
        assert_eq!(police(24, "review").states, StateSet::parse("T"));
    }

    #[test]
    fn a_peer_sees_the_screen_and_nothing_else() {
        let scan = |row, twin| {
            let driver = driver(row, twin);
            let number = LicenceNumber::parse(
                driver.document,
                driver.number,
                NumberRules { accept_test_numbers: true },
            );
            let scanner = Holder { document: driver.document, number: number.unwrap() };
            let question = Question::PeerScan { scanner };
            let (asked, rules) = (FieldSet::EMPTY, Rules::default());
            let contract = contract(Purpose::PeerScan);
            let permit = authorise_presentation(&contract, &question, asked, now(), &rules).unwrap();
            let ruled = decide(&question, &history(&driver), AsOf::new(now(), now()), now(), &rules);
            disclose(&permit, &question, &ruled, AsOf::new(now(), now()))
        };
        let looks = |display, deferred| Some(DisplayShown { display, deferred });
        let car = Some(Groups { car: true, motorcycle: false });
        let green = scan(1, "");
        assert_eq!(mask(&green), Some("测**"));
        assert_eq!((green.display, green.class_groups), (looks(Display::Normal, false), car));
        let red = scan(15, "");
        assert_eq!((red.display, red.class_groups), (looks(Display::Red, false), car));
        assert_eq!((red.states, red.classes, red.paper_licence_needed), (None, None, None));
        for (row, twin) in [(21, ""), (18, "")] {
            let void = scan(row, twin);
            assert_eq!((void.display, void.class_groups), (looks(Display::Void, false), None), "{row}");
        }
        let disabled = scan(5, "");
        assert_eq!((disabled.class_groups, disabled.classes), (car, None), "the class itself is not seen");
    }

    #[test]
    fn asking_for_fewer_fields_releases_fewer() {
        let narrowed = released_to(&driver(11, ""), &claim(10), &[Field::ExpiredOn]);
        assert_eq!(mask(&narrowed), None);
        assert!(narrowed.expired_on.is_some());
    }

    #[test]
    fn a_permit_for_another_purpose_releases_nothing() {
        let (driver, rental) = (driver(1, ""), Question::Enforcement { vehicle: None });
        let permit = permit(&driver, &claim(10), FieldSet::EMPTY).unwrap();
        let as_of = AsOf::new(now(), now());
        let ruled = decide(&rental, &History::default(), as_of, now(), &Rules::default());
        assert_eq!(disclose(&permit, &rental, &ruled, as_of), Disclosure::nothing());
    }

    #[test]
    fn before_the_record_begins_only_the_name_is_known() {
        let released = released_to(&driver(31, ""), &claim(400), &[]);
        assert_eq!(mask(&released), Some("测**"));
        assert_eq!((released.expired_on, released.probation), (None, None));
        assert!(end_of(DAY) > now());
    }

    #[test]
    fn tenure_in_bands() {
        for (years, expected) in [
            (0, TenureBand::Under1),
            (1, TenureBand::From1To2),
            (2, TenureBand::From1To2),
            (3, TenureBand::From3To5),
            (5, TenureBand::From3To5),
            (6, TenureBand::From6),
        ] {
            let held = Qualification {
                first_issue: Some(DAY.saturating_sub(years.years())),
                ..Qualification::default()
            };
            assert_eq!(tenure_band(&held, AsOf::new(now(), now())), Some(expected), "{years}");
        }
    }
}
