//! 保险理赔: was the driver qualified at the accident's moment? Only the edition's grounds decide; never called coverage.

use super::ground::{Ground, GroundSet};
use super::outcome::{Criterion, CriterionKind, NotCovered, Reason};
use super::probation;
use super::ruled::Case;
use crate::domain::licence::StateLetter;
use crate::domain::question::CoverageEdition;
use crate::domain::rules::EditionRule;
use crate::domain::vehicle::Vehicle;

pub(super) const NOT_COVERED: &[NotCovered] =
    &[NotCovered::LicenceLostOrDamaged, NotCovered::Sobriety, NotCovered::VehiclePapers];

/// Licence (one criterion for each ground), class, probation.
pub(super) fn criteria(case: &Case<'_>, vehicle: &Vehicle, edition: CoverageEdition) -> Vec<Criterion> {
    let grounds = case.grounds();
    if grounds.contains(Ground::NeverIssued) {
        return vec![Criterion::not_met(CriterionKind::Licence, Reason::NoLicenceAtT)];
    }
    let edition = case.rules.edition(edition);
    let required = vehicle.required();
    let mut criteria = licence(grounds, edition);
    criteria.push(case.class(required));
    let probation = probation::probation_with(case.held, case.rules, case.day, required);
    let forbidden = probation::forbids(vehicle);
    let decides = edition.is_none_or(|edition| edition.probation_decides) && forbidden != Some(false);
    criteria.push(if decides {
        probation::criterion(probation, forbidden)
    } else {
        probation::noted(probation)
    });
    criteria
}

fn licence(grounds: GroundSet, edition: Option<&EditionRule>) -> Vec<Criterion> {
    if grounds.is_empty() {
        return vec![Criterion::met(CriterionKind::Licence)];
    }
    grounds.iter().map(|ground| weighed(ground, edition)).collect()
}

/// What a ground weighs in a claim (`docs/policy.md` §2).
fn weighed(ground: Ground, edition: Option<&EditionRule>) -> Criterion {
    let by_letter = |letter: StateLetter| {
        // An edition nobody described is decided by everything.
        if edition.is_none_or(|edition| edition.decides.contains(letter)) {
            Criterion::not_met(CriterionKind::Licence, ground.reason())
        } else {
            Criterion::noted(CriterionKind::Licence, ground.reason())
        }
    };
    match ground {
        Ground::NeverIssued => Criterion::not_met(CriterionKind::Licence, Reason::NoLicenceAtT),
        Ground::Expired => by_letter(StateLetter::RenewalOverdue),
        Ground::Cancelled => by_letter(StateLetter::Cancelled),
        Ground::CancelledRestorable => by_letter(StateLetter::CancelledRestorable),
        Ground::Revoked => by_letter(StateLetter::Revoked),
        Ground::Annulled => by_letter(StateLetter::Annulled),
        Ground::Suspended => by_letter(StateLetter::Suspended),
        Ground::Detained => by_letter(StateLetter::Detained),
        Ground::PointsFull => by_letter(StateLetter::PointsFull),
        Ground::ReviewOverdue => by_letter(StateLetter::ReviewOverdue),
        Ground::Stopped => by_letter(StateLetter::Stopped),
        Ground::Deferred => by_letter(StateLetter::RenewalDeferred),
        // No clause names 扣押, and nobody knows what the others mean.
        Ground::Seized | Ground::Unresolved => {
            Criterion::unknown(CriterionKind::Licence, Reason::StateUnresolved)
        }
    }
}
