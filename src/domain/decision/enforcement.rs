//! 执法查验: the exact state, and what heals it.

use super::ages;
use super::ground::{Ground, GroundSet};
use super::outcome::{Criterion, CriterionKind, NotCovered, Reason, Remedy};
use super::probation;
use super::ruled::Case;
use crate::domain::licence::StateLetter;
use crate::domain::question::Role;
use crate::domain::rules::RoleRule;
use crate::domain::time::age_on;
use crate::domain::vehicle::Vehicle;

pub(super) const NOT_COVERED: &[NotCovered] =
    &[NotCovered::LicenceLostOrDamaged, NotCovered::Sobriety, NotCovered::VehiclePapers];

/// Licence (one criterion for each ground), review, class and probation if a vehicle was found, pending.
pub(super) fn criteria(case: &Case<'_>, vehicle: Option<&Vehicle>) -> Vec<Criterion> {
    let grounds = case.grounds();
    let mut criteria = licence(grounds.without(Ground::ReviewOverdue));
    let in_order = !grounds.contains(Ground::ReviewOverdue);
    criteria.push(Criterion::met_if(in_order, CriterionKind::Review, Reason::ReviewOverdue));
    if let Some(vehicle) = vehicle {
        let required = vehicle.required();
        criteria.push(case.class(required));
        let probation = probation::probation_with(case.held, case.rules, case.day, required);
        criteria.push(probation::criterion(probation, probation::forbids(vehicle)));
    }
    if has_pending(case) {
        criteria.push(Criterion::noted(CriterionKind::Pending, Reason::Pending));
    }
    criteria
}

fn licence(grounds: GroundSet) -> Vec<Criterion> {
    if grounds.is_empty() {
        return vec![Criterion::met(CriterionKind::Licence)];
    }
    let exact = |ground: Ground| match ground {
        Ground::Unresolved => Criterion::unknown(CriterionKind::Licence, ground.reason()),
        _ => Criterion::not_met(CriterionKind::Licence, ground.reason()),
    };
    grounds.iter().map(exact).collect()
}

fn has_pending(case: &Case<'_>) -> bool {
    let states = case.held.states;
    states.contains(StateLetter::ViolationPending) || states.contains(StateLetter::AccidentPending)
}

/// What heals each state (`docs/domain.md` §0 no. 14-17, §2). Each remedy once, in the order of their codes.
pub(super) fn remedies(case: &Case<'_>) -> Vec<Remedy> {
    let mut found: Vec<Remedy> = case.grounds().iter().flat_map(remedies_of).copied().collect();
    if has_pending(case) {
        found.push(Remedy::HandlePendingMatter);
    }
    if must_exchange(case) {
        found.extend([Remedy::Renew, Remedy::ReapplyInApp]);
    }
    if must_strike_endorsement(case) {
        found.push(Remedy::WindowWithPaper);
    }
    found.sort_unstable();
    found.dedup();
    found
}

const fn remedies_of(ground: Ground) -> &'static [Remedy] {
    match ground {
        Ground::PointsFull | Ground::Stopped => &[Remedy::WindowWithPaperAndStudyResult],
        Ground::Detained | Ground::Seized => &[Remedy::WindowWithPaper],
        Ground::Suspended => &[Remedy::WindowWithPaper, Remedy::Wait],
        Ground::Expired | Ground::Deferred => &[Remedy::Renew, Remedy::ReapplyInApp],
        Ground::CancelledRestorable => &[Remedy::RestoreByTest],
        Ground::ReviewOverdue => &[Remedy::WindowWithPaper],
        Ground::NeverIssued | Ground::Cancelled | Ground::Revoked | Ground::Annulled | Ground::Unresolved => {
            &[]
        }
    }
}

/// Business that follows from the state still needs the paper licence (`docs/domain.md` §0 no. 14-17):
///
/// | business | follows from |
/// |---|---|
/// | 注销 | 注销, 注销可恢复, by letter, date or age |
/// | 撤销, 吊销 | 撤销, 吊销 |
/// | 暂扣, 扣留, 扣押 | the letter |
/// | 转籍 | 转出 |
/// | 签注 | 逾期未审验 (the review is endorsed), an endorsement whose rule its holder no longer meets |
/// | 期满换证 | 逾期未换证, a deferral past its period, a class that age has ended |
/// | 恢复 after 12 points | 记满12分, 停止使用 |
pub(super) fn needs_paper_licence(case: &Case<'_>) -> bool {
    let grounds = case.grounds();
    let by_ground = grounds.without(Ground::NeverIssued).without(Ground::Unresolved);
    !by_ground.is_empty()
        || case.held.states.contains(StateLetter::TransferredOut)
        || must_exchange(case)
        || must_strike_endorsement(case)
}

/// A class that age has ended is exchanged for what is left (Order 162 art. 65), while there is a licence to exchange.
fn must_exchange(case: &Case<'_>) -> bool {
    let gone = [
        Ground::NeverIssued,
        Ground::Cancelled,
        Ground::CancelledRestorable,
        Ground::Revoked,
        Ground::Annulled,
    ];
    let grounds = case.grounds();
    !gone.into_iter().any(|ground| grounds.contains(ground))
        && ages::has_ended_a_class(case.held, case.rules, case.day)
}

/// An endorsement is struck when its holder is too old for its role, or holds none of its classes any more.
fn must_strike_endorsement(case: &Case<'_>) -> bool {
    let in_force = ages::classes_in_force(case.held, case.rules, case.day).at_most();
    let lapsed = |rule: &RoleRule| {
        let too_old = match (rule.age_max, case.held.birth_day) {
            (Some(most), Some(born)) => age_on(born, case.day) > i16::from(most),
            _ => false,
        };
        too_old || !rule.classes.is_empty() && rule.classes.intersection(in_force).is_empty()
    };
    let rules = Role::ALL.iter().filter_map(|role| case.rules.role_on(*role, case.day));
    let mut endorsed =
        rules.filter(|rule| rule.endorsement.is_some_and(|asked| case.held.endorsements.contains(&asked)));
    !case.held.endorsements.is_empty() && endorsed.any(lapsed)
}

#[cfg(test)]
mod tests;
