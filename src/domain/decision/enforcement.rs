//! 执法查验: the exact state, and what heals it.

use super::ground::{Ground, GroundSet};
use super::outcome::{Criterion, CriterionKind, NotCovered, Reason, Remedy};
use super::probation;
use super::ruled::Case;
use crate::domain::licence::StateLetter;
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

/// Business that follows from these states still needs the paper licence (`docs/domain.md` §0 no. 14-17): 注销, 撤销, 吊销,
/// 暂扣, 扣留, 扣押, 转籍, 12 points, stopped use, renewal.
pub(super) fn needs_paper_licence(case: &Case<'_>) -> bool {
    let grounds = case.grounds();
    let by_ground =
        grounds.without(Ground::NeverIssued).without(Ground::Unresolved).without(Ground::ReviewOverdue);
    !by_ground.is_empty() || case.held.states.contains(StateLetter::TransferredOut)
}
