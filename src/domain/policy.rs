//! The policy: who may ask what, on what ground, and how much they learn. Contracts may only narrow it.
//!
//! [`POLICY`] is the table of `docs/policy.md` §3 with the reason per row; [`authorise`] holds a request to it and to the contract.

mod authorise;

pub use authorise::{AuthoriseRefusal, ContractFault, Permit, authorise};

use super::claim::GroundKind;
use super::disclosure::{Field, FieldSet};
use super::partner::PartnerKind;
use super::question::{Purpose, Question};

/// The version of the rules that decide, named in every answer and entry.
pub const POLICY_VERSION: &str = "2026-11-01";

/// One row of the policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRow {
    /// The purpose.
    pub purpose: Purpose,
    /// Which questions of the purpose.
    pub about: About,
    /// Which kind of partner may ask.
    pub kind: PartnerKind,
    /// On which grounds.
    pub grounds: &'static [GroundKind],
    /// With which fields at most.
    pub fields: FieldSet,
    /// Why.
    pub because: &'static str,
}

/// Which questions of a purpose a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Every one.
    Anyone,
    /// About a driver the operator has filed with the traffic police (Order 162 art. 82).
    FiledDrivers,
    /// About anybody else.
    OtherDrivers,
}

/// The whole policy. Nobody gets a number, birth date, address, photo, points value, file number or the ground of a
/// cancellation, whatever the row: there is no field for them.
pub const POLICY: &[PolicyRow] = &[
    PolicyRow {
        purpose: Purpose::InsuranceClaim,
        about: About::Anyone,
        kind: PartnerKind::Insurer,
        grounds: &[GroundKind::LegalDuty, GroundKind::Contract, GroundKind::Consent],
        fields: FieldSet::of(&[Field::MaskedName, Field::ExpiredOn, Field::Probation]),
        because: "交强险条例 art. 33 obliges the insurer to examine a claim; the clauses turn on expiry and probation, \
                  so their dates are facts it needs (docs/domain.md §6)",
    },
    PolicyRow {
        purpose: Purpose::InsurancePurchase,
        about: About::Anyone,
        kind: PartnerKind::Insurer,
        grounds: &[GroundKind::Consent],
        fields: FieldSet::of(&[Field::TenureBand]),
        because: "voluntary cover only: compulsory cover may not be refused (交强险条例 art. 10), so consent is free; \
                  a price needs a band of years, not a date",
    },
    PolicyRow {
        purpose: Purpose::Rental,
        about: About::Anyone,
        kind: PartnerKind::Rental,
        grounds: &[GroundKind::Contract, GroundKind::Consent],
        fields: FieldSet::of(&[Field::MaskedName]),
        because: "the lender answers for a driver it should have known to be unqualified (道交损害赔偿解释 art. 1); \
                  the mask lets the desk see that the right person stands there",
    },
    PolicyRow {
        purpose: Purpose::Recruitment,
        about: About::Anyone,
        kind: PartnerKind::Recruiter,
        grounds: &[GroundKind::Consent],
        fields: FieldSet::EMPTY,
        because: "an applicant is not yet a party, and nothing obliges the recruiter: separate consent (PIPL art. 23), \
                  yes or no per criterion",
    },
    PolicyRow {
        purpose: Purpose::Transport,
        about: About::FiledDrivers,
        kind: PartnerKind::Transport,
        grounds: &[GroundKind::LegalDuty],
        fields: FieldSet::of(&[Field::Pending]),
        because: "Order 162 art. 82 obliges the operator to see to its filed drivers' violations and review",
    },
    PolicyRow {
        purpose: Purpose::Transport,
        about: About::OtherDrivers,
        kind: PartnerKind::Transport,
        grounds: &[GroundKind::Consent],
        fields: FieldSet::EMPTY,
        because: "a driver who is not filed is an applicant: as recruitment",
    },
    PolicyRow {
        purpose: Purpose::Enforcement,
        about: About::Anyone,
        kind: PartnerKind::Enforcement,
        grounds: &[GroundKind::LegalDuty],
        fields: FieldSet::of(&[Field::States, Field::Classes, Field::PaperLicenceNeeded]),
        because: "a police check needs the exact state, and whether the paper licence must be handed over (article: \
                  通过执法终端在线核查)",
    },
];

/// Finds the row a question of a kind of partner falls under.
pub fn row_for(kind: PartnerKind, question: &Question) -> Option<&'static PolicyRow> {
    let filed = matches!(question, Question::Transport { filed: true, .. });
    POLICY.iter().find(|row| {
        let about = match row.about {
            About::Anyone => true,
            About::FiledDrivers => filed,
            About::OtherDrivers => !filed,
        };
        about && row.kind == kind && row.purpose == question.purpose()
    })
}

/// Returns every field some row grants a kind of partner for a purpose.
pub fn fields_at_most(kind: PartnerKind, purpose: Purpose) -> FieldSet {
    rows(kind, purpose).flat_map(|row| row.fields.iter()).collect()
}

/// Returns every ground some row accepts from a kind of partner for a purpose.
pub fn grounds_at_most(kind: PartnerKind, purpose: Purpose) -> Vec<GroundKind> {
    let mut grounds: Vec<_> = rows(kind, purpose).flat_map(|row| row.grounds).copied().collect();
    grounds.sort_unstable();
    grounds.dedup();
    grounds
}

fn rows(kind: PartnerKind, purpose: Purpose) -> impl Iterator<Item = &'static PolicyRow> {
    POLICY.iter().filter(move |row| row.kind == kind && row.purpose == purpose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_policy_section_3() {
        use {GroundKind as Ground, PartnerKind as Kind, Purpose as For};
        for (purpose, kind, grounds, fields) in [
            (
                For::InsuranceClaim,
                Kind::Insurer,
                &[Ground::Consent, Ground::Contract, Ground::LegalDuty][..],
                &[Field::MaskedName, Field::ExpiredOn, Field::Probation][..],
            ),
            (For::InsurancePurchase, Kind::Insurer, &[Ground::Consent], &[Field::TenureBand]),
            (For::Rental, Kind::Rental, &[Ground::Consent, Ground::Contract], &[Field::MaskedName]),
            (For::Recruitment, Kind::Recruiter, &[Ground::Consent], &[]),
            (For::Transport, Kind::Transport, &[Ground::Consent, Ground::LegalDuty], &[Field::Pending]),
            (
                For::Enforcement,
                Kind::Enforcement,
                &[Ground::LegalDuty],
                &[Field::States, Field::Classes, Field::PaperLicenceNeeded],
            ),
        ] {
            assert_eq!(grounds_at_most(kind, purpose), grounds, "{purpose}");
            assert_eq!(fields_at_most(kind, purpose), FieldSet::of(fields), "{purpose}");
            for other in Kind::ALL.iter().copied().filter(|other| *other != kind) {
                assert!(grounds_at_most(other, purpose).is_empty(), "{purpose} is not for {other}");
            }
        }
    }

    #[test]
    fn every_row_has_a_reason() {
        assert!(POLICY.iter().all(|row| row.because.len() > 20));
    }
}
