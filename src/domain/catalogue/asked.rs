//! The questions of the catalogue's columns, and short ways to say what must come out.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::Expectation;
use super::story::{at_hour, days_after};
use crate::domain::decision::{CriterionKind, Decision, Outcome, Reason};
use crate::domain::licence::VehicleClass;
use crate::domain::question::{CoverageEdition, Question, Role};
use crate::domain::vehicle::{TypeCode, Vehicle, VehicleKind, VehicleUse};

/// Days before the as-of day of the accident, unless a row says otherwise.
pub(super) const ACCIDENT: i32 = -10;

/// A vehicle by code: private, drawing nothing, automatic, not adapted.
pub(super) fn vehicle(code: &str) -> Vehicle {
    let kind = match TypeCode::parse(code) {
        Some(code) => VehicleKind::TypeCode(code),
        None => VehicleKind::Class(VehicleClass::C1),
    };
    Vehicle {
        automatic: Some(true),
        adapted: Some(false),
        combination_mass_kg: Some(0),
        used_for: Some(VehicleUse::Private),
        ..Vehicle::of_kind(kind)
    }
}

/// The small car everybody drives.
pub(super) fn small_car() -> Vehicle {
    vehicle("K33")
}

/// A question to one driver, and what must come out.
pub(super) fn expect(label: &'static str, question: Question, decision: Decision) -> Expectation {
    Expectation {
        label,
        question,
        asked_at: None,
        known_at: None,
        decision,
        shows: None,
        changed_since: false,
    }
}

impl Expectation {
    /// Asked about another vehicle.
    pub(super) fn about(mut self, other: Vehicle) -> Self {
        match &mut self.question {
            Question::InsuranceClaim { vehicle, .. }
            | Question::InsurancePurchase { vehicle }
            | Question::Rental { vehicle, .. } => *vehicle = other,
            Question::Enforcement { vehicle } => *vehicle = Some(other),
            Question::Recruitment { .. } | Question::Transport { .. } | Question::PeerScan { .. } => {}
        }
        self
    }

    /// The answer shows a criterion that is not met.
    pub(super) fn not_met(self, kind: CriterionKind, reason: Reason) -> Self {
        self.shows(kind, Outcome::NotMet, reason)
    }

    /// The answer shows a fact that does not decide.
    pub(super) fn noted(self, kind: CriterionKind, reason: Reason) -> Self {
        self.shows(kind, Outcome::Noted, reason)
    }

    /// The answer shows something unknown.
    pub(super) fn unknown(self, kind: CriterionKind, reason: Reason) -> Self {
        self.shows(kind, Outcome::Unknown, reason)
    }

    /// Asked at another moment than during the as-of day.
    pub(super) fn asked_at(mut self, moment: Timestamp) -> Self {
        self.asked_at = Some(moment);
        self
    }

    /// As known at an earlier moment.
    pub(super) fn known_at(mut self, moment: Timestamp) -> Self {
        self.known_at = Some(moment);
        self
    }

    /// The answer says that something recorded later changed it.
    pub(super) fn changed_since(mut self) -> Self {
        self.changed_since = true;
        self
    }

    fn shows(mut self, kind: CriterionKind, outcome: Outcome, reason: Reason) -> Self {
        self.shows = Some((kind, outcome, reason));
        self
    }
}

/// Columns asked in the same way for every row.
pub(super) struct Asked {
    /// The as-of day.
    pub(super) as_of: Date,
}

impl Asked {
    /// Claim about a small car, commercial cover of 2020, so many days after the as-of day at noon.
    pub(super) fn claim(&self, day: i32) -> Question {
        self.claim_at(at_hour(days_after(self.as_of, day), 12))
    }

    /// Claim about a small car at a moment.
    pub(super) fn claim_at(&self, occurred_at: Timestamp) -> Question {
        Question::InsuranceClaim {
            occurred_at,
            vehicle: small_car(),
            edition: CoverageEdition::Commercial2020,
        }
    }

    /// Purchase of cover for a small car.
    pub(super) fn purchase(&self) -> Question {
        Question::InsurancePurchase { vehicle: small_car() }
    }

    /// Rental of a C1 car for three days from the as-of day on, at least a year of driving.
    pub(super) fn rental(&self) -> Question {
        self.rental_from(0)
    }

    /// The same, from a later day on.
    pub(super) fn rental_from(&self, day: i32) -> Question {
        let pick_up = at_hour(days_after(self.as_of, day), 18);
        Question::Rental {
            pick_up,
            return_at: pick_up + 72.hours(),
            vehicle: Vehicle::of_class(VehicleClass::C1),
            min_tenure_months: Some(12),
            validity_margin_days: 0,
        }
    }

    /// Recruitment of a driver of C1 cars with three years of driving.
    pub(super) fn recruit(&self) -> Question {
        Question::Recruitment {
            role: Role::Driver,
            min_tenure_months: Some(36),
            class: Some(VehicleClass::C1),
        }
    }

    /// Recruitment for a role.
    pub(super) fn recruit_as(&self, role: Role) -> Question {
        Question::Recruitment { role, min_tenure_months: None, class: None }
    }

    /// Transport: a filed driver of a class.
    pub(super) fn transport(&self, class: VehicleClass) -> Question {
        Question::Transport { role: Role::Driver, filed: true, class: Some(class) }
    }

    /// Transport: a filed driver in a role.
    pub(super) fn transport_as(&self, role: Role) -> Question {
        Question::Transport { role, filed: true, class: None }
    }

    /// Qualified in every column, transport with the class given.
    pub(super) fn qualified(&self, top: VehicleClass) -> Vec<Expectation> {
        let yes = Decision::Qualified;
        vec![
            expect("claim", self.claim(ACCIDENT), yes),
            expect("purchase", self.purchase(), yes),
            expect("rental", self.rental(), yes),
            expect("recruit", self.recruit(), yes),
            expect("transport", self.transport(top), yes),
        ]
    }

    /// Not in force in every column but the claim.
    pub(super) fn not_in_force(&self) -> Vec<Expectation> {
        let no = |label, question| {
            expect(label, question, Decision::NotQualified)
                .not_met(CriterionKind::Licence, Reason::LicenceNotInForce)
        };
        vec![
            no("purchase", self.purchase()),
            no("rental", self.rental()),
            no("recruit", self.recruit()),
            no("transport", self.transport(VehicleClass::C1)),
        ]
    }

    /// A claim decided against the driver for a reason at the moment.
    pub(super) fn claim_refuted(&self, label: &'static str, day: i32, reason: Reason) -> Expectation {
        expect(label, self.claim(day), Decision::NotQualified).not_met(CriterionKind::Licence, reason)
    }

    /// A claim decided for the driver, with a fact noted.
    pub(super) fn claim_noted(&self, label: &'static str, day: i32, reason: Reason) -> Expectation {
        expect(label, self.claim(day), Decision::Qualified).noted(CriterionKind::Licence, reason)
    }
}
