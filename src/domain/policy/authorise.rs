//! Holding a request to policy and contract. What passes becomes a [`Permit`]; look-up and disclosure take one.

use jiff::{Timestamp, ToSpan as _};

use super::{PolicyRow, fields_at_most, grounds_at_most, row_for};
use crate::domain::claim::{Claim, ConsentEvidence, Ground, GroundKind};
use crate::domain::disclosure::FieldSet;
use crate::domain::licence::VehicleClass;
use crate::domain::partner::{Contract, PurposeTerms};
use crate::domain::question::{Purpose, Question, Role};
use crate::domain::rules::Rules;
use crate::domain::time::civil_day;
use crate::domain::vehicle::{Vehicle, VehicleKind};

/// What a partner may ask about this subject now, and how much it may learn. Only [`authorise`] makes one.
#[derive(Debug)]
pub struct Permit {
    purpose: Purpose,
    fields: FieldSet,
}

impl Permit {
    /// Returns the purpose it was given for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Returns the fields that may be released at most.
    pub fn fields(&self) -> FieldSet {
        self.fields
    }
}

/// Why a request is refused before any look-up. Never holds what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoriseRefusal {
    /// Contract or policy do not give this partner the purpose.
    #[error("purpose is not permitted")]
    PurposeNotPermitted,
    /// A field was named that is not permitted.
    #[error("a field asked for is not permitted")]
    FieldNotPermitted(FieldSet),
    /// The ground is none that policy and contract accept here.
    #[error("ground is not accepted for the purpose")]
    BasisNotAccepted {
        /// Those that are.
        accepted: Vec<GroundKind>,
    },
    /// The question lies outside the contract's closed sets.
    #[error("{field}: {rule}")]
    QuestionNotInContract {
        /// Path of the field.
        field: &'static str,
        /// What the contract says.
        rule: &'static str,
    },
    /// Something that was sent cannot be.
    #[error("{field}: {rule}")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The number shows that the subject is under age.
    #[error("subject is under age")]
    SubjectUnderAge,
}

/// Authorises one question about one subject: purpose, question, ground, fields, age, in this order.
/// `asked` names fields wanted; empty: all that are permitted.
///
/// # Errors
/// The first [`AuthoriseRefusal`] that applies.
pub fn authorise(
    contract: &Contract,
    claim: &Claim,
    question: &Question,
    asked: FieldSet,
    now: Timestamp,
    rules: &Rules,
) -> Result<Permit, AuthoriseRefusal> {
    let purpose = question.purpose();
    let terms = contract.terms(purpose).ok_or(AuthoriseRefusal::PurposeNotPermitted)?;
    let row = row_for(contract.kind, question).ok_or(AuthoriseRefusal::PurposeNotPermitted)?;
    check_question(question, terms, now, rules)?;
    check_ground(&claim.ground, row, terms)?;
    check_evidence(&claim.ground, purpose, now, rules)?;
    let permitted = row.fields.intersection(terms.fields);
    let refused = asked.without(permitted);
    if !refused.is_empty() {
        return Err(AuthoriseRefusal::FieldNotPermitted(refused));
    }
    let under_age = claim.number.younger_than(claim.document, rules.subject_age_min, civil_day(now));
    if under_age == Some(true) {
        return Err(AuthoriseRefusal::SubjectUnderAge);
    }
    let fields = if asked.is_empty() { permitted } else { asked };
    Ok(Permit { purpose, fields })
}

/// Accepts a ground that both policy and contract accept.
fn check_ground(ground: &Ground, row: &PolicyRow, terms: &PurposeTerms) -> Result<(), AuthoriseRefusal> {
    let accepted: Vec<_> = row.grounds.iter().copied().filter(|kind| terms.grounds.contains(kind)).collect();
    if accepted.contains(&ground.kind()) {
        Ok(())
    } else {
        Err(AuthoriseRefusal::BasisNotAccepted { accepted })
    }
}

/// Checks what must be true of the ground itself.
fn check_evidence(
    ground: &Ground,
    purpose: Purpose,
    now: Timestamp,
    rules: &Rules,
) -> Result<(), AuthoriseRefusal> {
    match ground {
        Ground::Consent(consent) => check_consent(consent, rules.consent_days_max(purpose), now),
        Ground::Contract { subject_is_party: false } => {
            invalid("claim.ground.subject_is_party", "must be true with GROUND_KIND_CONTRACT")
        }
        Ground::Contract { subject_is_party: true } | Ground::LegalDuty => Ok(()),
    }
}

fn check_consent(consent: &ConsentEvidence, days_max: u16, now: Timestamp) -> Result<(), AuthoriseRefusal> {
    if consent.obtained_at > now {
        return invalid("claim.ground.consent.obtained_at", "must not lie in the future");
    }
    if consent.expires_at <= consent.obtained_at {
        return invalid("claim.ground.consent.expires_at", "must lie after obtained_at");
    }
    if consent.expires_at <= now {
        return invalid("claim.ground.consent.expires_at", "must not have passed");
    }
    let furthest =
        consent.obtained_at.checked_add((i64::from(days_max) * 24).hours()).unwrap_or(Timestamp::MAX);
    if consent.expires_at > furthest {
        return invalid(
            "claim.ground.consent.expires_at",
            "must lie within the purpose's cap after obtained_at",
        );
    }
    Ok(())
}

/// Holds thresholds, editions, roles and classes to the closed sets of contract and policy (`docs/policy.md` §4).
fn check_question(
    question: &Question,
    terms: &PurposeTerms,
    now: Timestamp,
    rules: &Rules,
) -> Result<(), AuthoriseRefusal> {
    check_thresholds(question, terms, rules)?;
    check_health(question)?;
    match question {
        Question::Recruitment { role, class, .. } => {
            check_class("recruitment.class", *role, *class, now, rules)
        }
        Question::Transport { role, class, .. } => check_class("transport.class", *role, *class, now, rules),
        _ => Ok(()),
    }
}

/// Who holds C5 is disabled: only a claim and a police check may ask about it, and the others are refused before anybody
/// is looked up, whoever it is.
fn check_health(question: &Question) -> Result<(), AuthoriseRefusal> {
    const RULE: &str = "must not be C5: the class tells the holder's health";
    let for_c5 = |vehicle: &Vehicle| vehicle.kind == VehicleKind::Class(VehicleClass::C5);
    match question {
        Question::InsurancePurchase { vehicle } if for_c5(vehicle) => {
            not_in_contract("insurance_purchase.vehicle.class", RULE)
        }
        Question::Rental { vehicle, .. } if for_c5(vehicle) => not_in_contract("rental.vehicle.class", RULE),
        Question::Recruitment { class: Some(VehicleClass::C5), .. } => {
            not_in_contract("recruitment.class", RULE)
        }
        Question::Transport { class: Some(VehicleClass::C5), .. } => not_in_contract("transport.class", RULE),
        _ => Ok(()),
    }
}

/// Holds the class to the role: a role either fixes its classes, or the question names one.
fn check_class(
    field: &'static str,
    role: Role,
    class: Option<VehicleClass>,
    now: Timestamp,
    rules: &Rules,
) -> Result<(), AuthoriseRefusal> {
    let fixed = rules.role_on(role, civil_day(now)).is_some_and(|rule| !rule.classes.is_empty());
    match class {
        Some(_) if fixed => invalid(field, "must be absent: the role fixes the class"),
        None if !fixed => invalid(field, "must be set for ROLE_DRIVER"),
        _ => Ok(()),
    }
}

fn check_thresholds(
    question: &Question,
    terms: &PurposeTerms,
    rules: &Rules,
) -> Result<(), AuthoriseRefusal> {
    let sets = &rules.thresholds;
    let tenure_listed =
        |months: &u16| terms.tenure_months.contains(months) && sets.tenure_months.contains(months);
    match question {
        Question::InsuranceClaim { edition, .. } if !terms.editions.contains(edition) => {
            not_in_contract("insurance_claim.coverage_edition", "must be an edition the contract lists")
        }
        Question::Rental { min_tenure_months: Some(months), .. } if !tenure_listed(months) => {
            not_in_contract("rental.min_tenure_months", "must be a tenure the contract lists")
        }
        Question::Rental { validity_margin_days: days @ 1.., .. }
            if !(terms.margin_days.contains(days) && sets.margin_days.contains(days)) =>
        {
            not_in_contract("rental.validity_margin_days", "must be a margin the contract lists")
        }
        Question::Recruitment { role, .. } if !terms.roles.contains(role) => {
            not_in_contract("recruitment.role", "must be a role the contract lists")
        }
        Question::Recruitment { min_tenure_months: Some(months), .. } if !tenure_listed(months) => {
            not_in_contract("recruitment.min_tenure_months", "must be a tenure the contract lists")
        }
        Question::Transport { role, .. } if !terms.roles.contains(role) => {
            not_in_contract("transport.role", "must be a role the contract lists")
        }
        _ => Ok(()),
    }
}

fn invalid(field: &'static str, rule: &'static str) -> Result<(), AuthoriseRefusal> {
    Err(AuthoriseRefusal::Invalid { field, rule })
}

fn not_in_contract(field: &'static str, rule: &'static str) -> Result<(), AuthoriseRefusal> {
    Err(AuthoriseRefusal::QuestionNotInContract { field, rule })
}

/// Something a contract lists that policy never grants: the contract file is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractFault {
    /// This kind of partner never gets the purpose.
    #[error("purpose {0} is not for this kind of partner")]
    Purpose(Purpose),
    /// The purpose is listed twice.
    #[error("purpose {0} is listed twice")]
    Twice(Purpose),
    /// The purpose never accepts the ground.
    #[error("purpose {0} never accepts ground {1}")]
    Ground(Purpose, GroundKind),
    /// The purpose never releases these fields.
    #[error("purpose {purpose} never releases: {fields}")]
    Fields {
        /// The purpose.
        purpose: Purpose,
        /// The fields.
        fields: FieldSet,
    },
    /// A tenure outside the closed set.
    #[error("purpose {0}: a tenure of {1} months is not in the closed set")]
    Tenure(Purpose, u16),
    /// A margin outside the closed set.
    #[error("purpose {0}: a margin of {1} days is not in the closed set")]
    Margin(Purpose, u16),
}

impl ContractFault {
    /// Returns the purpose whose terms are at fault.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Purpose(purpose)
            | Self::Twice(purpose)
            | Self::Ground(purpose, _)
            | Self::Fields { purpose, .. }
            | Self::Tenure(purpose, _)
            | Self::Margin(purpose, _) => *purpose,
        }
    }
}

impl Contract {
    /// Lists everything the contract grants that policy never does. A contract with faults is not to be loaded; were it
    /// loaded all the same, it would grant nothing more: [`authorise`] takes the intersection.
    pub fn faults(&self, rules: &Rules) -> Vec<ContractFault> {
        let mut faults = Vec::new();
        for (index, terms) in self.purposes.iter().enumerate() {
            if self.purposes[..index].iter().any(|earlier| earlier.purpose == terms.purpose) {
                faults.push(ContractFault::Twice(terms.purpose));
            }
            faults.extend(self.faults_of(terms, rules));
        }
        faults
    }

    fn faults_of(&self, terms: &PurposeTerms, rules: &Rules) -> Vec<ContractFault> {
        let purpose = terms.purpose;
        let grounds = grounds_at_most(self.kind, purpose);
        if grounds.is_empty() {
            return vec![ContractFault::Purpose(purpose)];
        }
        let unknown_ground = terms.grounds.iter().filter(|kind| !grounds.contains(kind));
        let mut faults: Vec<_> = unknown_ground.map(|kind| ContractFault::Ground(purpose, *kind)).collect();
        let fields = terms.fields.without(fields_at_most(self.kind, purpose));
        if !fields.is_empty() {
            faults.push(ContractFault::Fields { purpose, fields });
        }
        let sets = &rules.thresholds;
        let tenures = terms.tenure_months.iter().filter(|months| !sets.tenure_months.contains(months));
        faults.extend(tenures.map(|months| ContractFault::Tenure(purpose, *months)));
        let margins = terms.margin_days.iter().filter(|days| !sets.margin_days.contains(days));
        faults.extend(margins.map(|days| ContractFault::Margin(purpose, *days)));
        faults
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::disclosure::Field;
    use crate::domain::licence::{DocumentKind, FullName, LicenceNumber, NumberRules};
    use crate::domain::partner::{Allowance, PartnerKind};
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
            allowance: Allowance {
                rate_per_second: 1,
                burst: 1,
                in_flight_max: 1,
                connections_max: 1,
                quota_per_minute: 1,
                quota_per_hour: 1,
                quota_per_day: 1,
            },
            starts_at: Timestamp::MIN,
            ends_at: Timestamp::MAX,
            contact: String::new(),
        }
    }

    fn claim_born(number: &str, ground: Ground) -> Claim {
        let document = DocumentKind::ResidentId;
        Claim {
            document,
            number: LicenceNumber::parse(document, number, NumberRules { accept_test_numbers: true })
                .unwrap(),
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
        authorise(&greedy(kind), &claim(ground), question, asked, now(), &Rules::default())
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
        let refused =
            authorise(&unlisted, &claim(PARTY), &rental(None, 0), FieldSet::EMPTY, now(), &Rules::default());
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
        assert_eq!(
            ask(PartnerKind::Transport, consent(-1, 24), &filed, &[]),
            basis(&[GroundKind::LegalDuty])
        );
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
            (
                PartnerKind::Enforcement,
                Ground::LegalDuty,
                Question::Enforcement { vehicle: Some(vehicle) },
                None,
            ),
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
            let outcome = authorise(
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
}
