//! What a driver was shown and agreed to, held to the policy before anybody is looked up.

use super::ports::PartnerKinds;
use crate::domain::disclosure::FieldSet;
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::policy::{fields_at_most, grounds_at_most};
use crate::domain::presentation::{Audience, PartnerMark};
use crate::domain::question::Purpose;

/// For whom, as the wallet says the driver was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Every partner of a kind.
    Kind(PartnerKind),
    /// One partner.
    Partner(PartnerId),
}

/// What the wallet says the driver agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// For what; together with `audience`, or neither.
    pub purpose: Option<Purpose>,
    /// For whom.
    pub audience: Option<Told>,
    /// The fields agreed to; `None`: all that policy and contract allow.
    pub fields: Option<FieldSet>,
}

/// Why what was agreed cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgreementFault {
    /// Something that was sent cannot be.
    #[error("{field}: {rule}")]
    Invalid {
        /// Path of the field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// Fields that policy never releases to this audience for this purpose.
    #[error("a field agreed to is never released")]
    FieldNotPermitted(FieldSet),
}

impl Agreed {
    /// Holds the agreement to the policy. Contracts are not asked: they change, and narrow at the moment of the question.
    ///
    /// # Errors
    /// [`AgreementFault`].
    pub(super) fn audience(&self, partners: &dyn PartnerKinds) -> Result<Audience, AgreementFault> {
        match (&self.purpose, &self.audience) {
            (None, None) => {
                // Whom the driver need not be told of: the police, and who scans as a peer.
                let police = fields_at_most(PartnerKind::Enforcement, Purpose::Enforcement);
                let peers = fields_at_most(PartnerKind::Wallet, Purpose::PeerScan);
                self.demand_fields(police.iter().chain(peers.iter()).collect())?;
                Ok(Audience::Untold)
            }
            (Some(_), None) => invalid("audience", "must be set together with purpose"),
            (None, Some(_)) => invalid("purpose", "must be set together with audience"),
            (Some(purpose), Some(told)) => {
                let kind = kind_of(told, partners)?;
                if grounds_at_most(kind, *purpose).is_empty() {
                    return invalid("purpose", "must be a purpose of the audience's kind");
                }
                self.demand_fields(fields_at_most(kind, *purpose))?;
                Ok(match told {
                    Told::Kind(kind) => Audience::Kind(*kind),
                    Told::Partner(partner) => Audience::Partner(PartnerMark::of(partner)),
                })
            }
        }
    }

    fn demand_fields(&self, at_most: FieldSet) -> Result<(), AgreementFault> {
        let refused = self.fields.unwrap_or_default().without(at_most);
        if refused.is_empty() { Ok(()) } else { Err(AgreementFault::FieldNotPermitted(refused)) }
    }
}

/// Finds the kind of the audience: one that asks about drivers.
fn kind_of(told: &Told, partners: &dyn PartnerKinds) -> Result<PartnerKind, AgreementFault> {
    const RULE: &str = "must be a kind of partner a driver shows the e-licence to: not wallet, not authority";
    let (field, kind) = match told {
        Told::Kind(kind) => ("audience.kind", *kind),
        Told::Partner(partner) => match partners.kind_of(partner) {
            Some(kind) => ("audience.partner_id", kind),
            None => return invalid("audience.partner_id", "must be a partner of this gateway"),
        },
    };
    match kind {
        PartnerKind::Wallet | PartnerKind::Authority => invalid(field, RULE),
        PartnerKind::Insurer
        | PartnerKind::Rental
        | PartnerKind::Recruiter
        | PartnerKind::Transport
        | PartnerKind::Enforcement => Ok(kind),
    }
}

pub(super) fn invalid<T>(field: &'static str, rule: &'static str) -> Result<T, AgreementFault> {
    Err(AgreementFault::Invalid { field, rule })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::disclosure::Field;

    /// A rental desk, an insurer and a wallet.
    struct Partners;

    impl PartnerKinds for Partners {
        fn kind_of(&self, partner: &PartnerId) -> Option<PartnerKind> {
            match partner.as_str() {
                "rental-demo" => Some(PartnerKind::Rental),
                "wallet-demo" => Some(PartnerKind::Wallet),
                _ => None,
            }
        }
    }

    fn partner(id: &str) -> Option<Told> {
        Some(Told::Partner(id.parse().unwrap()))
    }

    fn judged(
        purpose: Option<Purpose>,
        audience: Option<Told>,
        fields: Option<FieldSet>,
    ) -> Result<Audience, AgreementFault> {
        Agreed { purpose, audience, fields }.audience(&Partners)
    }

    fn field_of(judged: Result<Audience, AgreementFault>) -> &'static str {
        match judged.unwrap_err() {
            AgreementFault::Invalid { field, .. } => field,
            AgreementFault::FieldNotPermitted(_) => "fields",
        }
    }

    #[test]
    fn a_purpose_is_one_of_the_audiences_kind_and_of_no_other() {
        for kind in PartnerKind::ALL.iter().copied() {
            for purpose in Purpose::ALL.iter().copied() {
                let judged = judged(Some(purpose), Some(Told::Kind(kind)), None);
                let asks = !matches!(kind, PartnerKind::Wallet | PartnerKind::Authority);
                if asks && !grounds_at_most(kind, purpose).is_empty() {
                    assert_eq!(judged, Ok(Audience::Kind(kind)), "{purpose} of {kind}");
                } else {
                    assert_eq!(
                        field_of(judged),
                        if asks { "purpose" } else { "audience.kind" },
                        "{purpose} of {kind}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_partner_counts_as_its_kind_and_must_be_known() {
        let rental = PartnerMark::of(&"rental-demo".parse().unwrap());
        assert_eq!(
            judged(Some(Purpose::Rental), partner("rental-demo"), None),
            Ok(Audience::Partner(rental))
        );
        assert_eq!(field_of(judged(Some(Purpose::Recruitment), partner("rental-demo"), None)), "purpose");
        assert_eq!(field_of(judged(Some(Purpose::Rental), partner("nobody"), None)), "audience.partner_id");
        assert_eq!(
            field_of(judged(Some(Purpose::PeerScan), partner("wallet-demo"), None)),
            "audience.partner_id"
        );
    }

    #[test]
    fn purpose_and_audience_come_together_or_not_at_all() {
        assert_eq!(judged(None, None, None), Ok(Audience::Untold));
        assert_eq!(field_of(judged(Some(Purpose::Rental), None, None)), "audience");
        assert_eq!(field_of(judged(None, partner("rental-demo"), None)), "purpose");
    }

    #[test]
    fn fields_lie_within_the_policy() {
        let rental =
            |fields| judged(Some(Purpose::Rental), Some(Told::Kind(PartnerKind::Rental)), Some(fields));
        assert!(rental(FieldSet::EMPTY).is_ok());
        assert!(rental(FieldSet::of(&[Field::MaskedName])).is_ok());
        let refused = FieldSet::of(&[Field::States]);
        let asked = FieldSet::of(&[Field::States, Field::MaskedName]);
        assert_eq!(rental(asked), Err(AgreementFault::FieldNotPermitted(refused)));
        assert!(judged(None, None, Some(refused)).is_ok(), "the police see the states");
        assert_eq!(field_of(judged(None, None, Some(FieldSet::of(&[Field::TenureBand])))), "fields");
    }
}
