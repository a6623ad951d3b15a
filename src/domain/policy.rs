//! The policy: who may ask what, on what ground, and how much they learn. Contracts may only narrow it.
//!
//! [`POLICY`] is the table of `docs/policy.md` §3 with the reason per row; [`authorise`] holds a request to it and to the contract.

mod authorise;

pub use authorise::{AuthoriseRefusal, ContractFault, Permit, authorise_claim, authorise_presentation};

use super::claim::GroundKind;
use super::closed_set::closed_set;
use super::decision::Reason;
use super::disclosure::{Field, FieldSet};
use super::partner::PartnerKind;
use super::presentation::PresentationKind;
use super::question::{Purpose, Question};

/// The version of the rules that decide, named in every answer and entry.
pub const POLICY_VERSION: &str = "2026-11-22";

closed_set! {
    /// How a look-up was authorised.
    pub enum AuthorisedBy {
        /// A QR code shown by the driver.
        Qr = 1, "qr";
        /// A share code given by the driver.
        ShareCode = 2, "share-code";
        /// The partner's assertion, with its ground.
        Asserted = 3, "asserted";
    }
}

impl From<PresentationKind> for AuthorisedBy {
    fn from(shown: PresentationKind) -> Self {
        match shown {
            PresentationKind::Qr => Self::Qr,
            PresentationKind::ShareCode => Self::ShareCode,
        }
    }
}

/// One row of the policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRow {
    /// The purpose.
    pub purpose: Purpose,
    /// Which questions of the purpose.
    pub about: About,
    /// Which kind of partner may ask.
    pub kind: PartnerKind,
    /// On which grounds it may claim; none: it may ask about presentations alone. A presentation needs no ground.
    pub grounds: &'static [GroundKind],
    /// With which fields at most.
    pub fields: FieldSet,
    /// With which reasons at most, besides [`ReasonSet::OF_ANY_ROW`].
    pub reasons: ReasonSet,
    /// Why.
    pub because: &'static str,
}

/// A set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonSet(u32);

impl ReasonSet {
    /// What every partner may learn: that nothing can be said, and whether its own words are why.
    pub const OF_ANY_ROW: Self = Self::of(&[
        Reason::SubjectNotConfirmed,
        Reason::HistoryNotHeld,
        Reason::RecordInDispute,
        Reason::StateUnresolved,
        Reason::VehicleUnclear,
    ]);

    /// Builds a set.
    pub const fn of(reasons: &[Reason]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < reasons.len() {
            bits |= 1 << reasons[index].code();
            index += 1;
        }
        Self(bits)
    }

    /// Returns the reasons in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Says whether a reason is in the set.
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & (1 << reason.code()) != 0
    }
}

impl PolicyRow {
    /// Says whether an answer under this row may show a reason.
    pub const fn shows(&self, reason: Reason) -> bool {
        ReasonSet::OF_ANY_ROW.union(self.reasons).contains(reason)
    }
}

/// The states at the moment, each by its name: for a claim, which turns on them, and the police.
const EXACT: ReasonSet = ReasonSet::of(&[
    Reason::NoLicenceAtT,
    Reason::ExpiredUnderOneYear,
    Reason::Cancelled,
    Reason::CancelledRestorable,
    Reason::Revoked,
    Reason::Annulled,
    Reason::Suspended,
    Reason::Detained,
    Reason::ClassNotCovered,
    Reason::Probation,
    Reason::PointsFull,
    Reason::ReviewOverdue,
    Reason::Stopped,
    Reason::Deferred,
]);

/// An applicant for a role: yes or no, and which of the role's rules says no.
const OF_APPLICANTS: ReasonSet = ReasonSet::of(&[
    Reason::LicenceNotInForce,
    Reason::ClassNotCovered,
    Reason::TenureShort,
    Reason::PointsRecord,
    Reason::PeriodsNotHeld,
    Reason::Age,
    Reason::EndorsementMissing,
]);

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
        reasons: EXACT,
        because: "交强险条例 art. 33 obliges the insurer to examine a claim; the clauses turn on expiry and probation, \
                  so their dates are facts it needs (docs/domain.md §6)",
    },
    PolicyRow {
        purpose: Purpose::InsurancePurchase,
        about: About::Anyone,
        kind: PartnerKind::Insurer,
        grounds: &[GroundKind::Consent],
        fields: FieldSet::of(&[Field::TenureBand]),
        reasons: ReasonSet::of(&[Reason::LicenceNotInForce, Reason::ClassNotCovered]),
        because: "voluntary cover only: compulsory cover may not be refused (交强险条例 art. 10), so consent is free; \
                  a price needs a band of years, not a date",
    },
    PolicyRow {
        purpose: Purpose::Rental,
        about: About::Anyone,
        kind: PartnerKind::Rental,
        grounds: &[GroundKind::Contract, GroundKind::Consent],
        fields: FieldSet::of(&[Field::MaskedName]),
        reasons: ReasonSet::of(&[
            Reason::LicenceNotInForce,
            Reason::ClassNotCovered,
            Reason::TenureShort,
            Reason::EndsWithinPeriod,
            Reason::Probation,
        ]),
        because: "the lender answers for a driver it should have known to be unqualified (道交损害赔偿解释 art. 1); \
                  the mask lets the desk see that the right person stands there",
    },
    PolicyRow {
        purpose: Purpose::Recruitment,
        about: About::Anyone,
        kind: PartnerKind::Recruiter,
        grounds: &[GroundKind::Consent],
        fields: FieldSet::EMPTY,
        reasons: OF_APPLICANTS,
        because: "an applicant is not yet a party, and nothing obliges the recruiter: separate consent (PIPL art. 23), \
                  yes or no per criterion; a school bus without its endorsement may not be driven (Order 162 art. 87)",
    },
    PolicyRow {
        purpose: Purpose::Transport,
        about: About::FiledDrivers,
        kind: PartnerKind::Transport,
        grounds: &[GroundKind::LegalDuty],
        fields: FieldSet::of(&[Field::Pending]),
        reasons: OF_APPLICANTS.union(ReasonSet::of(&[
            Reason::ReviewOverdue,
            Reason::Pending,
            Reason::Probation,
        ])),
        because: "Order 162 art. 82 obliges the operator to see to its filed drivers' violations and review, and it must \
                  not let them drive what probation forbids (art. 76) or without the endorsement (art. 87)",
    },
    PolicyRow {
        purpose: Purpose::Transport,
        about: About::OtherDrivers,
        kind: PartnerKind::Transport,
        grounds: &[GroundKind::Consent],
        fields: FieldSet::EMPTY,
        reasons: OF_APPLICANTS,
        because: "a driver who is not filed is an applicant: as recruitment",
    },
    PolicyRow {
        purpose: Purpose::Enforcement,
        about: About::Anyone,
        kind: PartnerKind::Enforcement,
        grounds: &[GroundKind::LegalDuty],
        fields: FieldSet::of(&[Field::States, Field::Classes, Field::PaperLicenceNeeded]),
        reasons: EXACT.union(ReasonSet::of(&[Reason::LicenceNotInForce, Reason::Pending])),
        because: "a police check needs the exact state, and whether the paper licence must be handed over (article: \
                  通过执法终端在线核查)",
    },
    PolicyRow {
        purpose: Purpose::PeerScan,
        about: About::Anyone,
        kind: PartnerKind::Wallet,
        grounds: &[],
        fields: FieldSet::of(&[Field::MaskedName, Field::Display, Field::ClassGroups]),
        reasons: ReasonSet::of(&[Reason::LicenceNotInForce]),
        because: "users who hold an e-licence scan each other (article: 持有电子驾驶证的…用户，可通过APP互扫): what the screen shows, by \
                  a live QR code and never by a number",
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

/// Says whether some row gives a kind of partner a purpose.
pub fn may_ask(kind: PartnerKind, purpose: Purpose) -> bool {
    rows(kind, purpose).next().is_some()
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
            (For::PeerScan, Kind::Wallet, &[], &[Field::MaskedName, Field::Display, Field::ClassGroups]),
        ] {
            assert_eq!(grounds_at_most(kind, purpose), grounds, "{purpose}");
            assert_eq!(fields_at_most(kind, purpose), FieldSet::of(fields), "{purpose}");
            for other in Kind::ALL.iter().copied().filter(|other| *other != kind) {
                assert!(!may_ask(other, purpose), "{purpose} is not for {other}");
            }
        }
    }

    #[test]
    fn every_row_has_a_reason() {
        assert!(POLICY.iter().all(|row| row.because.len() > 20));
    }
}
