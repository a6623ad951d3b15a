//! 租赁车辆: qualified from now until the return, as far as can be known today?

use jiff::{Timestamp, ToSpan as _};

use super::outcome::{Criterion, CriterionKind, NotCovered, Outcome, Reason};
use super::period::{Relied, lasts_until};
use super::probation;
use super::ruled::Case;
use crate::domain::time::{civil_day, start_of};
use crate::domain::vehicle::Vehicle;

pub(super) const NOT_COVERED: &[NotCovered] = &[NotCovered::LicenceLostOrDamaged, NotCovered::Sobriety];

/// What a rental desk asks beyond the vehicle.
pub(super) struct Terms {
    pub(super) return_at: Timestamp,
    pub(super) min_tenure_months: Option<u16>,
    pub(super) validity_margin_days: u16,
}

impl Terms {
    /// The last moment at which the driver must be qualified: the return, or the margin's last day.
    pub(super) fn until(&self) -> Timestamp {
        let margin = i64::from(self.validity_margin_days).days();
        self.return_at.max(start_of(civil_day(self.return_at).saturating_add(margin)))
    }
}

/// Licence, class, probation if a trailer is drawn, tenure if demanded, period.
///
/// Tenure counts up to now, not up to the hand-over: a hand-over date the asker may choose would tell the first issue.
pub(super) fn criteria(case: &Case<'_>, vehicle: &Vehicle, terms: &Terms) -> Vec<Criterion> {
    let required = vehicle.required_without_health();
    let mut criteria = vec![case.grounds().in_force(), case.class(required)];
    let now_qualified = criteria.iter().all(|criterion| criterion.outcome != Outcome::NotMet);
    match vehicle.draws_trailer() {
        Some(true) => {
            let probation = probation::probation_with(case.held, case.rules, case.day, required);
            criteria.push(probation::criterion(probation, Some(true)));
        }
        // The same for everybody: a doubt about those in probation only would tell who is.
        None => criteria.push(Criterion::unknown(CriterionKind::Probation, Reason::VehicleUnclear)),
        Some(false) => {}
    }
    criteria.extend(terms.min_tenure_months.map(|months| case.tenure(months)));
    if now_qualified {
        let relied = Relied { required, age_max: None };
        criteria.push(match lasts_until(case, &relied, terms.until()) {
            Outcome::NotMet => Criterion::not_met(CriterionKind::Period, Reason::EndsWithinPeriod),
            Outcome::Unknown => Criterion::unknown(CriterionKind::Period, Reason::StateUnresolved),
            Outcome::Met | Outcome::Noted => Criterion::met(CriterionKind::Period),
        });
    }
    criteria
}
