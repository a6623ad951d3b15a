//! 保险购置: may the named driver drive this vehicle now? Voluntary cover only (交强险条例 art. 10).

use super::outcome::{Criterion, NotCovered};
use super::ruled::Case;
use crate::domain::vehicle::Vehicle;

pub(super) const NOT_COVERED: &[NotCovered] = &[NotCovered::LicenceLostOrDamaged, NotCovered::VehiclePapers];

/// Licence, class.
pub(super) fn criteria(case: &Case<'_>, vehicle: &Vehicle) -> Vec<Criterion> {
    vec![case.grounds().in_force(), case.class(vehicle.required_without_health())]
}
