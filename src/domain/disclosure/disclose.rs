//! Releasing fields: the permit says which, the ruling says what there is.

use super::{Disclosure, Field, MaskedName, Pending, TenureBand};
use crate::domain::decision::Ruled;
use crate::domain::licence::{AsOf, Qualification, StateLetter, StateSet};
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
        released.classes = Some(ruled.classes_in_force);
    }
    if may(Field::PaperLicenceNeeded) && purpose == Purpose::Enforcement {
        released.paper_licence_needed = Some(ruled.paper_licence_needed);
    }
    released
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

/// The letters carried; 正常 when there are none, and never beside another.
fn shown_states(states: StateSet) -> StateSet {
    if states.is_empty() { StateSet::from_iter([StateLetter::Normal]) } else { states.shown() }
}
