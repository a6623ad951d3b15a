//! Where a new contract starts: the widest terms its kind usually gets, for an operator to narrow.
//!
//! Policy decides on every request all the same; a line too many here releases nothing.

use crate::domain::claim::GroundKind::{self, Consent, Contract, LegalDuty};
use crate::domain::disclosure::Field::{
    self, ClassGroups, Classes, Display, ExpiredOn, MaskedName, PaperLicenceNeeded, Pending, Probation,
    States, TenureBand,
};
use crate::domain::disclosure::FieldSet;
use crate::domain::partner::{Allowance, PartnerKind, PurposeTerms};
use crate::domain::question::{CoverageEdition, Purpose, Role};

/// Returns the purposes a contract of this kind starts with.
pub fn terms_for(kind: PartnerKind) -> Vec<PurposeTerms> {
    match kind {
        PartnerKind::Insurer => vec![
            PurposeTerms {
                editions: CoverageEdition::ALL.to_vec(),
                ..terms(
                    Purpose::InsuranceClaim,
                    &[LegalDuty, Contract, Consent],
                    &[MaskedName, ExpiredOn, Probation],
                )
            },
            terms(Purpose::InsurancePurchase, &[Consent], &[TenureBand]),
        ],
        PartnerKind::Rental => vec![PurposeTerms {
            tenure_months: vec![6, 12, 24, 36],
            margin_days: vec![0, 30, 60],
            ..terms(Purpose::Rental, &[Contract, Consent], &[MaskedName])
        }],
        PartnerKind::Recruiter => vec![PurposeTerms {
            tenure_months: vec![6, 12, 24, 36],
            roles: Role::ALL.to_vec(),
            ..terms(Purpose::Recruitment, &[Consent], &[])
        }],
        PartnerKind::Transport => vec![PurposeTerms {
            roles: Role::ALL.to_vec(),
            ..terms(Purpose::Transport, &[LegalDuty, Consent], &[Pending])
        }],
        PartnerKind::Enforcement => {
            vec![terms(Purpose::Enforcement, &[LegalDuty], &[States, Classes, PaperLicenceNeeded])]
        }
        PartnerKind::Wallet => vec![terms(Purpose::PeerScan, &[], &[MaskedName, Display, ClassGroups])],
        PartnerKind::Authority => Vec::new(),
    }
}

/// Returns the allowance a contract starts with: a mid-sized partner's, about 50 questions a second.
pub fn usual_allowance() -> Allowance {
    Allowance {
        rate_per_second: 50,
        burst: 100,
        in_flight_max: 64,
        connections_max: 16,
        quota_per_minute: 3_000,
        quota_per_hour: 100_000,
        quota_per_day: 1_000_000,
    }
}

fn terms(purpose: Purpose, grounds: &[GroundKind], fields: &[Field]) -> PurposeTerms {
    PurposeTerms {
        purpose,
        grounds: grounds.to_vec(),
        fields: FieldSet::of(fields),
        tenure_months: Vec::new(),
        margin_days: Vec::new(),
        editions: Vec::new(),
        roles: Vec::new(),
    }
}
