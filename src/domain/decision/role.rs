//! 职业招聘 and 客货运输: does somebody meet the rules of a role?

use super::ground::Ground;
use super::outcome::{Criterion, CriterionKind, Reason};
use super::period::Relied;
use super::probation::{self, InProbation};
use super::ruled::Case;
use crate::domain::licence::{StateLetter, VehicleClass};
use crate::domain::rules::RoleRule;
use crate::domain::time::{age_on, start_of};
use crate::domain::vehicle::Requirement;

/// What is asked about a role.
pub(super) struct Asked<'a> {
    pub(super) rule: &'a RoleRule,
    pub(super) class: Option<VehicleClass>,
    pub(super) min_tenure_months: Option<u16>,
    /// A filed driver: review, probation and pending matters show apart (Order 162 art. 82). Of anybody else, whoever asks,
    /// a probation shows as a tenure that is short.
    pub(super) filed: bool,
}

impl Asked<'_> {
    /// The classes the role needs, or the one the question names.
    pub(super) fn required(&self) -> Requirement {
        match self.class {
            _ if !self.rule.classes.is_empty() => {
                Requirement { suffices: self.rule.classes, ..Requirement::any_of(&[]) }
            }
            Some(class) if class != VehicleClass::C5 => Requirement::any_of(&[class]),
            // Never asked about: it would tell the holder's health.
            Some(_) | None => Requirement::UNCLEAR,
        }
    }

    pub(super) fn relied(&self) -> Relied {
        Relied { required: self.required(), age_max: self.rule.age_max }
    }

    fn forbidden_in_probation(&self) -> bool {
        self.rule.draws_trailer || self.rule.used_for.is_some_and(probation::is_forbidden_use)
    }

    fn tenure_months(&self) -> Option<u16> {
        self.rule.tenure_months.max(self.min_tenure_months)
    }
}

/// Licence, review (filed), class, probation (filed), tenure, points record, age, endorsement, pending (filed);
/// each only if the role, the question or the filing asks for it.
pub(super) fn criteria(case: &Case<'_>, asked: &Asked<'_>) -> Vec<Criterion> {
    let grounds = case.grounds();
    let mut criteria = Vec::with_capacity(8);
    if asked.filed {
        criteria.push(grounds.without(Ground::ReviewOverdue).in_force());
        let in_order = !grounds.contains(Ground::ReviewOverdue);
        criteria.push(Criterion::met_if(in_order, CriterionKind::Review, Reason::ReviewOverdue));
    } else {
        criteria.push(grounds.in_force());
    }
    criteria.push(case.class(asked.required()));
    criteria.extend(probation(case, asked));
    criteria.extend(tenure(case, asked));
    criteria.extend(asked.rule.periods_without_full_points.map(|periods| points_record(case, periods)));
    criteria.extend(age(case, asked.rule));
    criteria.extend(asked.rule.endorsement.map(|endorsement| {
        let held = case.held.endorsements.contains(&endorsement);
        Criterion::met_if(held, CriterionKind::Endorsement, Reason::EndorsementMissing)
    }));
    if asked.filed {
        criteria.push(pending(case));
    }
    criteria
}

fn in_probation(case: &Case<'_>, asked: &Asked<'_>) -> InProbation {
    probation::probation_with(case.held, case.rules, case.day, asked.required())
        .or(probation::of_first_car_class(case.held, case.rules, case.day))
}

fn probation(case: &Case<'_>, asked: &Asked<'_>) -> Option<Criterion> {
    (asked.filed && asked.forbidden_in_probation())
        .then(|| probation::criterion(in_probation(case, asked), Some(true)))
}

/// Tenure as the role or the question demands. Of a driver who is not filed a forbidden probation is a tenure that is short:
/// `docs/policy.md` §3 shows no other reason.
fn tenure(case: &Case<'_>, asked: &Asked<'_>) -> Option<Criterion> {
    let by_months = asked.tenure_months().map(|months| case.tenure(months));
    if asked.filed || !asked.forbidden_in_probation() {
        return by_months;
    }
    let short = Criterion::not_met(CriterionKind::Tenure, Reason::TenureShort);
    Some(match (in_probation(case, asked), by_months) {
        (InProbation::Yes(_), _) => short,
        (_, Some(by_months)) if by_months == short => short,
        (InProbation::Unknown, _) => Criterion::unknown(CriterionKind::Tenure, Reason::StateUnresolved),
        (InProbation::No, _) => Criterion::met(CriterionKind::Tenure),
    })
}

/// No 12 points in the periods before the running one, nor in the running one. A period begins on the day of the
/// first issue (记分管理办法 art. 3).
fn points_record(case: &Case<'_>, periods: u8) -> Criterion {
    let kind = CriterionKind::PointsRecord;
    let Some(first_issue) = case.held.first_issue else {
        return Criterion::unknown(kind, Reason::PeriodsNotHeld);
    };
    let running = age_on(first_issue, case.day);
    let oldest = (running - i16::from(periods)).max(0);
    let since = first_issue.saturating_add(jiff::Span::new().years(oldest));
    let within = |event: &crate::domain::licence::PointsEvent| event.reached_on >= since;
    if case.held.points_events.iter().any(within) {
        Criterion::not_met(kind, Reason::PointsRecord)
    } else if case.held.history_from.is_some_and(|from| from > start_of(since)) {
        Criterion::unknown(kind, Reason::PeriodsNotHeld)
    } else {
        Criterion::met(kind)
    }
}

fn age(case: &Case<'_>, rule: &RoleRule) -> Option<Criterion> {
    if rule.age_min.is_none() && rule.age_max.is_none() {
        return None;
    }
    let Some(born) = case.held.birth_day else {
        return Some(Criterion::unknown(CriterionKind::Age, Reason::StateUnresolved));
    };
    let years = age_on(born, case.day);
    let within = rule.age_min.is_none_or(|least| years >= i16::from(least))
        && rule.age_max.is_none_or(|most| years <= i16::from(most));
    Some(Criterion::met_if(within, CriterionKind::Age, Reason::Age))
}

fn pending(case: &Case<'_>) -> Criterion {
    let states = case.held.states;
    if states.contains(StateLetter::ViolationPending) || states.contains(StateLetter::AccidentPending) {
        Criterion::noted(CriterionKind::Pending, Reason::Pending)
    } else {
        Criterion::met(CriterionKind::Pending)
    }
}
