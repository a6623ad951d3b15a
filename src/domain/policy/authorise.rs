//! Holding a request to policy and contract. What passes becomes a [`Permit`]; look-up and disclosure take one.

use jiff::{Timestamp, ToSpan as _};

use super::{PolicyRow, fields_at_most, grounds_at_most, may_ask, row_for};
use crate::domain::claim::{Claim, ConsentEvidence, Ground, GroundKind};
use crate::domain::disclosure::FieldSet;
use crate::domain::licence::VehicleClass;
use crate::domain::partner::{Contract, PurposeTerms};
use crate::domain::question::{Purpose, Question, Role};
use crate::domain::rules::Rules;
use crate::domain::time::civil_day;
use crate::domain::vehicle::{Vehicle, VehicleKind};

/// What a partner may ask about this subject now, and how much it may learn. Only [`authorise_claim`] and
/// [`authorise_presentation`] make one.
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

    /// Narrows the permit to the fields a driver agreed to; `None`: to all of them. `asked` are those of the request.
    ///
    /// # Errors
    /// [`AuthoriseRefusal::FieldNotPermitted`] names what was asked for and not agreed to.
    pub fn agreed(self, agreed: Option<FieldSet>, asked: FieldSet) -> Result<Self, AuthoriseRefusal> {
        let Some(agreed) = agreed else { return Ok(self) };
        let refused = asked.without(agreed);
        if !refused.is_empty() {
            return Err(AuthoriseRefusal::FieldNotPermitted(refused));
        }
        Ok(Self { fields: self.fields.intersection(agreed), ..self })
    }
}

/// Why a request is refused before any look-up. Never holds what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoriseRefusal {
    /// Contract or policy do not give this partner the purpose.
    #[error("purpose is not permitted")]
    PurposeNotPermitted,
    /// The contract, or the purpose, answers presentations alone, and this is a claim.
    #[error("only presentations are answered")]
    PresentationRequired,
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

/// Authorises one question about a claimed subject: purpose, whether claims are answered at all, question, ground, fields, age,
/// in this order. `asked` names fields wanted; empty: all that are permitted.
///
/// # Errors
/// The first [`AuthoriseRefusal`] that applies.
pub fn authorise_claim(
    contract: &Contract,
    claim: &Claim,
    question: &Question,
    asked: FieldSet,
    now: Timestamp,
    rules: &Rules,
) -> Result<Permit, AuthoriseRefusal> {
    let (row, terms) = terms_of(contract, question)?;
    if contract.presentations_only || row.grounds.is_empty() {
        return Err(AuthoriseRefusal::PresentationRequired);
    }
    check_question(question, terms, now, rules)?;
    check_ground(&claim.ground, row, terms)?;
    check_evidence(&claim.ground, question.purpose(), now, rules)?;
    let permit = permit(row, terms, asked)?;
    let under_age = claim.number.younger_than(claim.document, rules.subject_age_min, civil_day(now));
    if under_age == Some(true) {
        return Err(AuthoriseRefusal::SubjectUnderAge);
    }
    Ok(permit)
}

/// Authorises one question about whoever shows a presentation: purpose, question, fields, in this order. The driver's act stands
/// in for a ground, and the age was looked at when the presentation was issued. What the driver agreed to narrows the permit
/// ([`Permit::agreed`]).
///
/// # Errors
/// The first [`AuthoriseRefusal`] that applies.
pub fn authorise_presentation(
    contract: &Contract,
    question: &Question,
    asked: FieldSet,
    now: Timestamp,
    rules: &Rules,
) -> Result<Permit, AuthoriseRefusal> {
    let (row, terms) = terms_of(contract, question)?;
    check_question(question, terms, now, rules)?;
    permit(row, terms, asked)
}

/// Finds what policy and contract say about a question's purpose.
fn terms_of<'a>(
    contract: &'a Contract,
    question: &Question,
) -> Result<(&'static PolicyRow, &'a PurposeTerms), AuthoriseRefusal> {
    let terms = contract.terms(question.purpose());
    row_for(contract.kind, question).zip(terms).ok_or(AuthoriseRefusal::PurposeNotPermitted)
}

/// Permits the fields asked for, if policy and contract do; all that they permit, if none is named.
fn permit(row: &PolicyRow, terms: &PurposeTerms, asked: FieldSet) -> Result<Permit, AuthoriseRefusal> {
    let permitted = row.fields.intersection(terms.fields);
    let refused = asked.without(permitted);
    if !refused.is_empty() {
        return Err(AuthoriseRefusal::FieldNotPermitted(refused));
    }
    let fields = if asked.is_empty() { permitted } else { asked };
    Ok(Permit { purpose: row.purpose, fields })
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
    /// loaded all the same, it would grant nothing more: authorising takes the intersection.
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
        if !may_ask(self.kind, purpose) {
            return vec![ContractFault::Purpose(purpose)];
        }
        let grounds = grounds_at_most(self.kind, purpose);
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
mod tests;
