//! Why a wallet does not get what it asked for, as statuses of the contract.

use crate::domain::policy::AuthoriseRefusal;
use crate::evidence::NotShown;
use crate::gateway::convert::FieldFault;
use crate::gateway::refusal::{Refusal, WalletRefusal};
use crate::issuing::{AgreementFault, NoHolder, NotDone, NotIssued, NotRevoked};
use crate::verification::NoAnswer;

impl From<NoHolder> for Refusal {
    fn from(why: NoHolder) -> Self {
        match why {
            NoHolder::NotKnown => Self::Wallet(WalletRefusal::HolderNotKnown),
            NoHolder::NoFacts(error) => NoAnswer::NoFacts(error).into(),
        }
    }
}

impl From<NotIssued> for Refusal {
    fn from(why: NotIssued) -> Self {
        match why {
            NotIssued::Agreement(AgreementFault::Invalid { field, rule }) => malformed(field, rule),
            NotIssued::Agreement(AgreementFault::FieldNotPermitted(fields)) => {
                Self::NotAuthorised(AuthoriseRefusal::FieldNotPermitted(fields))
            }
            NotIssued::UnderAge => Self::NotAuthorised(AuthoriseRefusal::SubjectUnderAge),
            NotIssued::StandingLost(standing) => Self::Standing(standing),
            NotIssued::NotShown(why) => Self::Wallet(WalletRefusal::NotShown(why)),
            NotIssued::Holder(why) => why.into(),
            NotIssued::Unavailable(_) => Self::RegistryUnavailable,
            NotIssued::Unsealable(_) | NotIssued::NoRandomness(_) => Self::Internal,
        }
    }
}

impl From<NotRevoked> for Refusal {
    fn from(why: NotRevoked) -> Self {
        match why {
            NotRevoked::Holder(why) => why.into(),
            NotRevoked::NotKnown => Self::Wallet(WalletRefusal::PresentationNotKnown),
            NotRevoked::Unavailable(_) => Self::RegistryUnavailable,
        }
    }
}

impl From<NotDone> for Refusal {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::HolderNotKnown => Self::Wallet(WalletRefusal::HolderNotKnown),
            NotDone::ConsentNotKnown => Self::Wallet(WalletRefusal::ConsentNotKnown),
            NotDone::PageTokenNotKnown => Self::Wallet(WalletRefusal::PageTokenNotKnown),
            NotDone::StopsFull => {
                malformed("holder", "has withdrawn or objected against as many as are kept")
            }
            NotDone::StandingLost(standing) => Self::Standing(standing),
            NotDone::NoFacts(error) => NoAnswer::NoFacts(error).into(),
            NotDone::NoStore => Self::RegistryUnavailable,
            NotDone::NoEvidence => Self::EvidenceUnavailable,
        }
    }
}

impl From<NotShown> for Refusal {
    fn from(why: NotShown) -> Self {
        match why {
            NotShown::HolderNotKnown => Self::Wallet(WalletRefusal::HolderNotKnown),
            NotShown::TokenNotKnown => Self::Wallet(WalletRefusal::PageTokenNotKnown),
            NotShown::StandingLost(standing) => Self::Standing(standing),
            NotShown::NoFacts(error) => NoAnswer::NoFacts(error).into(),
            NotShown::NoIndex => Self::RegistryUnavailable,
            NotShown::NoLog => Self::LogUnavailable,
            NotShown::NoEvidence => Self::EvidenceUnavailable,
        }
    }
}

fn malformed(path: &'static str, rule: &'static str) -> Refusal {
    Refusal::Malformed(vec![FieldFault { path, rule: rule.to_owned() }])
}
