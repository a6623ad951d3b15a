//! Requests held to policy and contract.

use jiff::civil::date;

use super::*;
use crate::domain::disclosure::Field;
use crate::domain::licence::{DocumentKind, FullName, LicenceNumber, NumberRules};
use crate::domain::partner::{Allowance, ClaimTerms, PartnerKind};
use crate::domain::question::CoverageEdition;
use crate::domain::time::start_of;

fn now() -> Timestamp {
    start_of(date(2026, 11, 22))
}

/// A contract that lists everything under the sun.
fn greedy(kind: PartnerKind) -> Contract {
    let terms = |purpose| PurposeTerms {
        purpose,
        grounds: GroundKind::ALL.to_vec(),
        fields: FieldSet::of(Field::ALL),
        tenure_months: vec![1, 12],
        margin_days: vec![0, 30, 45],
        editions: vec![CoverageEdition::Commercial2020],
        roles: vec![Role::Driver, Role::RideHailing],
    };
    Contract {
        partner: "partner".parse().unwrap(),
        legal_name: String::new(),
        display_name: String::new(),
        kind,
        identities: Vec::new(),
        purposes: Purpose::ALL.iter().copied().map(terms).collect(),
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
        claims: ClaimTerms::usual(kind),
        starts_at: Timestamp::MIN,
        ends_at: Timestamp::MAX,
        contact: String::new(),
    }
}

fn claim_born(number: &str, ground: Ground) -> Claim {
    let document = DocumentKind::ResidentId;
    Claim {
        document,
        number: LicenceNumber::parse(document, number, NumberRules { accept_test_numbers: true }).unwrap(),
        name: FullName::parse("测试甲").unwrap(),
        file_number: None,
        ground,
    }
}

fn claim(ground: Ground) -> Claim {
    claim_born("000000199001010018", ground)
}

fn consent(obtained: i64, expires: i64) -> Ground {
    Ground::Consent(ConsentEvidence {
        obtained_at: now() + obtained.hours(),
        expires_at: now() + expires.hours(),
        notice_version: "1".to_owned(),
        evidence_sha256: [0; 32],
    })
}

fn rental(min_tenure_months: Option<u16>, validity_margin_days: u16) -> Question {
    Question::Rental {
        pick_up: now(),
        return_at: now() + 48.hours(),
        vehicle: Vehicle::of_class(VehicleClass::C1),
        min_tenure_months,
        validity_margin_days,
    }
}

fn transport(role: Role, filed: bool) -> Question {
    let class = (role == Role::Driver).then_some(VehicleClass::C1);
    Question::Transport { role, filed, class }
}

fn ask(
    kind: PartnerKind,
    ground: Ground,
    question: &Question,
    asked: &[Field],
) -> Result<FieldSet, AuthoriseRefusal> {
    let asked = FieldSet::of(asked);
    authorise_claim(&greedy(kind), &claim(ground), question, asked, now(), &Rules::default())
        .map(|permit| permit.fields())
}

const PARTY: Ground = Ground::Contract { subject_is_party: true };

#[test]
fn a_contract_grants_no_more_than_policy() {
    let named = FieldSet::of(&[Field::MaskedName]);
    assert_eq!(ask(PartnerKind::Rental, PARTY, &rental(Some(12), 30), &[]), Ok(named));
    assert_eq!(
        ask(PartnerKind::Rental, PARTY, &rental(None, 0), &[Field::MaskedName, Field::States]),
        Err(AuthoriseRefusal::FieldNotPermitted(FieldSet::of(&[Field::States])))
    );
    let narrowed = ask(
        PartnerKind::Enforcement,
        Ground::LegalDuty,
        &Question::Enforcement { vehicle: None },
        &[Field::States],
    );
    assert_eq!(narrowed, Ok(FieldSet::of(&[Field::States])));
}

#[test]
fn another_kind_of_partner_is_refused_the_purpose() {
    for kind in PartnerKind::ALL.iter().copied().filter(|kind| *kind != PartnerKind::Rental) {
        assert_eq!(ask(kind, PARTY, &rental(None, 0), &[]), Err(AuthoriseRefusal::PurposeNotPermitted));
    }
    let unlisted = Contract { purposes: Vec::new(), ..greedy(PartnerKind::Rental) };
    let refused = authorise_claim(
        &unlisted,
        &claim(PARTY),
        &rental(None, 0),
        FieldSet::EMPTY,
        now(),
        &Rules::default(),
    );
    assert_eq!(refused.err(), Some(AuthoriseRefusal::PurposeNotPermitted));
}

#[test]
fn grounds_by_the_table() {
    let basis =
        |accepted: &[GroundKind]| Err(AuthoriseRefusal::BasisNotAccepted { accepted: accepted.to_vec() });
    let duty = Ground::LegalDuty;
    assert_eq!(
        ask(PartnerKind::Rental, duty.clone(), &rental(None, 0), &[]),
        basis(&[GroundKind::Contract, GroundKind::Consent])
    );
    let filed = transport(Role::RideHailing, true);
    assert!(ask(PartnerKind::Transport, duty.clone(), &filed, &[]).is_ok());
    assert_eq!(ask(PartnerKind::Transport, consent(-1, 24), &filed, &[]), basis(&[GroundKind::LegalDuty]));
    let other = transport(Role::RideHailing, false);
    assert_eq!(ask(PartnerKind::Transport, duty, &other, &[]), basis(&[GroundKind::Consent]));
    assert_eq!(ask(PartnerKind::Transport, consent(-1, 24), &other, &[]), Ok(FieldSet::EMPTY));
    let stranger = Ground::Contract { subject_is_party: false };
    let Err(AuthoriseRefusal::Invalid { field, .. }) =
        ask(PartnerKind::Rental, stranger, &rental(None, 0), &[])
    else {
        panic!("a contract with somebody else is no ground");
    };
    assert_eq!(field, "claim.ground.subject_is_party");
}

#[test]
fn consent_is_in_force_and_within_its_cap() {
    let cap = 366 * 24;
    for (obtained, expires, fault) in [
        (-1, 1, None),
        (0, 1, None),
        (1, 2, Some("claim.ground.consent.obtained_at")),
        (-2, -1, Some("claim.ground.consent.expires_at")),
        (-2, 0, Some("claim.ground.consent.expires_at")),
        (-2, -2, Some("claim.ground.consent.expires_at")),
        (-1, cap - 1, None),
        (-1, cap, Some("claim.ground.consent.expires_at")),
    ] {
        let refused = match ask(PartnerKind::Rental, consent(obtained, expires), &rental(None, 0), &[]) {
            Ok(_) => None,
            Err(AuthoriseRefusal::Invalid { field, .. }) => Some(field),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(refused, fault, "{obtained} {expires}");
    }
}

#[test]
fn thresholds_outside_the_closed_sets_are_refused() {
    let field = |kind, ground, question: &Question| match ask(kind, ground, question, &[]) {
        Err(AuthoriseRefusal::QuestionNotInContract { field, .. }) => Some(field),
        _ => None,
    };
    // 1 month and 45 days stand in the contract, but in no closed set; 24 and 60 the other way round.
    for months in [1, 24, 13] {
        let asked = field(PartnerKind::Rental, PARTY, &rental(Some(months), 0));
        assert_eq!(asked, Some("rental.min_tenure_months"));
    }
    for days in [45, 60, 1] {
        let asked = field(PartnerKind::Rental, PARTY, &rental(None, days));
        assert_eq!(asked, Some("rental.validity_margin_days"));
    }
    let bus = transport(Role::CityBus, true);
    assert_eq!(field(PartnerKind::Transport, Ground::LegalDuty, &bus), Some("transport.role"));
    let claim = Question::InsuranceClaim {
        occurred_at: now(),
        vehicle: Vehicle::of_class(VehicleClass::C1),
        edition: CoverageEdition::Compulsory,
    };
    assert_eq!(field(PartnerKind::Insurer, PARTY, &claim), Some("insurance_claim.coverage_edition"));
}

#[test]
fn class_c5_is_asked_about_in_claims_and_police_checks_only() {
    let c5 = VehicleClass::C5;
    let vehicle = Vehicle::of_class(c5);
    let moment = now();
    for (kind, ground, question, refused) in [
        (
            PartnerKind::Insurer,
            consent(-1, 24),
            Question::InsurancePurchase { vehicle: vehicle.clone() },
            Some("insurance_purchase.vehicle.class"),
        ),
        (
            PartnerKind::Rental,
            PARTY,
            Question::Rental {
                pick_up: moment,
                return_at: moment + 48.hours(),
                vehicle: vehicle.clone(),
                min_tenure_months: None,
                validity_margin_days: 0,
            },
            Some("rental.vehicle.class"),
        ),
        (
            PartnerKind::Recruiter,
            consent(-1, 24),
            Question::Recruitment { role: Role::Driver, min_tenure_months: None, class: Some(c5) },
            Some("recruitment.class"),
        ),
        (
            PartnerKind::Transport,
            Ground::LegalDuty,
            Question::Transport { role: Role::Driver, filed: true, class: Some(c5) },
            Some("transport.class"),
        ),
        (
            PartnerKind::Insurer,
            Ground::LegalDuty,
            Question::InsuranceClaim {
                occurred_at: moment,
                vehicle: vehicle.clone(),
                edition: CoverageEdition::Commercial2020,
            },
            None,
        ),
        (PartnerKind::Enforcement, Ground::LegalDuty, Question::Enforcement { vehicle: Some(vehicle) }, None),
    ] {
        let field = match ask(kind, ground, &question, &[]) {
            Ok(_) => None,
            Err(AuthoriseRefusal::QuestionNotInContract { field, .. }) => Some(field),
            Err(other) => panic!("{question:?}: {other:?}"),
        };
        assert_eq!(field, refused, "{question:?}");
    }
}

#[test]
fn a_class_is_named_exactly_for_roles_that_fix_none() {
    let asked = |role, class| {
        let question = Question::Transport { role, filed: true, class };
        match ask(PartnerKind::Transport, Ground::LegalDuty, &question, &[]) {
            Ok(_) => None,
            Err(AuthoriseRefusal::Invalid { field, .. }) => Some(field),
            Err(other) => panic!("{question:?}: {other:?}"),
        }
    };
    assert_eq!(asked(Role::Driver, Some(VehicleClass::C1)), None);
    assert_eq!(asked(Role::Driver, None), Some("transport.class"));
    assert_eq!(asked(Role::RideHailing, None), None);
    assert_eq!(asked(Role::RideHailing, Some(VehicleClass::C1)), Some("transport.class"));
}

#[test]
fn nobody_under_age_is_asked_about() {
    // Turns 18 on the day, and the day after.
    for (number, refused) in [("000000200811220012", false), ("000000200811230018", true)] {
        let number = number[..17].to_owned();
        let number = (0..=10)
            .map(|check| format!("{number}{}", &"0123456789X"[check..=check]))
            .find(|whole| {
                LicenceNumber::parse(
                    DocumentKind::ResidentId,
                    whole,
                    NumberRules { accept_test_numbers: true },
                )
                .is_ok()
            })
            .unwrap();
        let outcome = authorise_claim(
            &greedy(PartnerKind::Rental),
            &claim_born(&number, PARTY),
            &rental(None, 0),
            FieldSet::EMPTY,
            now(),
            &Rules::default(),
        );
        assert_eq!(outcome.err(), refused.then_some(AuthoriseRefusal::SubjectUnderAge));
    }
}

#[test]
fn faults_list_what_policy_never_grants() {
    let mut contract = greedy(PartnerKind::Rental);
    contract.purposes.retain(|terms| matches!(terms.purpose, Purpose::Rental | Purpose::Recruitment));
    let faults = contract.faults(&Rules::default());
    assert!(faults.contains(&ContractFault::Purpose(Purpose::Recruitment)));
    assert!(faults.contains(&ContractFault::Ground(Purpose::Rental, GroundKind::LegalDuty)));
    assert!(faults.contains(&ContractFault::Tenure(Purpose::Rental, 1)));
    assert!(faults.contains(&ContractFault::Margin(Purpose::Rental, 45)));
    let fields = FieldSet::of(Field::ALL).without(FieldSet::of(&[Field::MaskedName]));
    assert!(faults.contains(&ContractFault::Fields { purpose: Purpose::Rental, fields }));
    contract.purposes = vec![PurposeTerms {
        purpose: Purpose::Rental,
        grounds: vec![GroundKind::Contract],
        fields: FieldSet::of(&[Field::MaskedName]),
        tenure_months: vec![12],
        margin_days: vec![30],
        editions: Vec::new(),
        roles: Vec::new(),
    }];
    assert_eq!(contract.faults(&Rules::default()), []);
    contract.purposes.push(contract.purposes[0].clone());
    assert_eq!(contract.faults(&Rules::default()), [ContractFault::Twice(Purpose::Rental)]);
}

fn peer_scan() -> Question {
    let document = DocumentKind::ResidentId;
    let rules = NumberRules { accept_test_numbers: true };
    let number = LicenceNumber::parse(document, "000000199001010018", rules).unwrap();
    Question::PeerScan { scanner: crate::domain::presentation::Holder { document, number } }
}

fn shown(
    contract: &Contract,
    question: &Question,
    asked: &[Field],
    agreed: Option<&[Field]>,
) -> Result<FieldSet, AuthoriseRefusal> {
    let asked = FieldSet::of(asked);
    authorise_presentation(contract, question, asked, now(), &Rules::default())
        .and_then(|permit| permit.agreed(agreed.map(FieldSet::of), asked))
        .map(|permit| permit.fields())
}

#[test]
fn a_contract_for_presentations_alone_refuses_a_claim_before_anything_else_about_it() {
    let strict = Contract { presentations_only: true, ..greedy(PartnerKind::Rental) };
    // The ground, a field and a threshold are wrong too.
    let refused = authorise_claim(
        &strict,
        &claim(Ground::LegalDuty),
        &rental(Some(13), 1),
        FieldSet::of(&[Field::States]),
        now(),
        &Rules::default(),
    );
    assert_eq!(refused.err(), Some(AuthoriseRefusal::PresentationRequired));
    assert_eq!(shown(&strict, &rental(None, 0), &[], None), Ok(FieldSet::of(&[Field::MaskedName])));
}

#[test]
fn a_peer_scan_is_never_a_claim_and_for_the_wallet_alone() {
    let ask = |kind| ask(kind, Ground::LegalDuty, &peer_scan(), &[]);
    assert_eq!(ask(PartnerKind::Wallet), Err(AuthoriseRefusal::PresentationRequired));
    for kind in PartnerKind::ALL.iter().copied().filter(|kind| *kind != PartnerKind::Wallet) {
        assert_eq!(ask(kind), Err(AuthoriseRefusal::PurposeNotPermitted));
        assert_eq!(shown(&greedy(kind), &peer_scan(), &[], None), Err(AuthoriseRefusal::PurposeNotPermitted));
    }
    let fields = FieldSet::of(&[Field::MaskedName, Field::Display, Field::ClassGroups]);
    assert_eq!(shown(&greedy(PartnerKind::Wallet), &peer_scan(), &[], None), Ok(fields));
}

#[test]
fn a_presentation_needs_no_ground_and_is_held_to_everything_else() {
    let recruiter = greedy(PartnerKind::Recruiter);
    let role = |role| Question::Recruitment { role, min_tenure_months: None, class: None };
    assert_eq!(shown(&recruiter, &role(Role::RideHailing), &[], None), Ok(FieldSet::EMPTY));
    let refused = shown(&recruiter, &role(Role::CityBus), &[], None);
    assert!(matches!(
        refused,
        Err(AuthoriseRefusal::QuestionNotInContract { field: "recruitment.role", .. })
    ));
    let refused = shown(&recruiter, &role(Role::RideHailing), &[Field::MaskedName], None);
    assert_eq!(refused, Err(AuthoriseRefusal::FieldNotPermitted(FieldSet::of(&[Field::MaskedName]))));
}

#[test]
fn the_driver_narrows_the_fields_and_what_was_not_agreed_to_is_named() {
    let police = greedy(PartnerKind::Enforcement);
    let shown = |asked, agreed| shown(&police, &Question::Enforcement { vehicle: None }, asked, agreed);
    let states = FieldSet::of(&[Field::States]);
    assert_eq!(shown(&[], Some(&[Field::States, Field::MaskedName])), Ok(states), "all that is left");
    assert_eq!(shown(&[Field::States], Some(&[Field::States, Field::Classes])), Ok(states));
    assert_eq!(shown(&[], Some(&[])), Ok(FieldSet::EMPTY));
    assert_eq!(
        shown(&[Field::States, Field::Classes], Some(&[Field::States])),
        Err(AuthoriseRefusal::FieldNotPermitted(FieldSet::of(&[Field::Classes])))
    );
}

#[test]
fn a_purpose_without_grounds_is_no_fault_of_a_contract() {
    let mut contract = greedy(PartnerKind::Wallet);
    contract.purposes.retain(|terms| terms.purpose == Purpose::PeerScan);
    contract.purposes[0].grounds.clear();
    contract.purposes[0].fields = FieldSet::of(&[Field::Display]);
    (contract.purposes[0].tenure_months, contract.purposes[0].margin_days) = (Vec::new(), Vec::new());
    assert_eq!(contract.faults(&Rules::default()), []);
    contract.kind = PartnerKind::Rental;
    assert_eq!(contract.faults(&Rules::default()), [ContractFault::Purpose(Purpose::PeerScan)]);
}
