//! What a wallet's calls are served by, wired.

use std::sync::Arc;

use jiff::SignedDuration;

use super::clock::SystemClock;
use super::registry::Book;
use super::tokens::Tokens;
use crate::audit::{AllLogs, Journal, Opener};
use crate::config::GatewayConfig;
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::rules::Rules;
use crate::domain::time::Clock;
use crate::evidence::ports::{LookUpIndex, SubjectSecrets};
use crate::evidence::{Accesses, HoldBackDesk};
use crate::identity::Roster;
use crate::issuing::ports::PartnerKinds;
use crate::issuing::{Consents, Holders, Issuing, ListTokens};
use crate::registry::RegistryKeys;
use crate::tokens::SystemRandomness;
use crate::verification::ports::Facts;

/// The use cases of a wallet, and the operator's over what it is shown.
pub(super) struct Wallet {
    pub(super) issuing: Issuing,
    pub(super) consents: Consents,
    pub(super) accesses: Accesses,
    pub(super) hold_backs: HoldBackDesk,
}

/// What they are made of.
pub(super) struct WalletParts<'a> {
    pub(super) config: &'a GatewayConfig,
    pub(super) keys: &'a Arc<RegistryKeys>,
    pub(super) facts: Arc<dyn Facts>,
    pub(super) book: &'a Book,
    pub(super) index: Arc<dyn LookUpIndex>,
    pub(super) secrets: Arc<dyn SubjectSecrets>,
    pub(super) tokens: &'a Tokens,
    pub(super) journal: &'a Arc<Journal>,
    pub(super) logs: &'a Arc<AllLogs>,
    pub(super) roster: &'a Arc<Roster>,
    pub(super) rules: &'a Arc<Rules>,
}

/// Wires them.
pub(super) fn wire(parts: WalletParts<'_>) -> Wallet {
    let WalletParts { config, keys, book, tokens, journal, logs, roster, rules, .. } = parts;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let holders =
        Holders { pseudonyms: Arc::clone(keys) as _, facts: parts.facts, clock: Arc::clone(&clock) };
    let list_tokens = ListTokens::new(keys.list_tokens());
    let qr_lifetime = SignedDuration::try_from(config.presentations.qr_lifetime());
    Wallet {
        issuing: Issuing {
            holders: holders.clone(),
            partners: Arc::clone(roster) as _,
            writer: Arc::clone(&tokens.qr) as _,
            codes: Arc::clone(&tokens.share_codes) as _,
            book: Arc::clone(&book.presentations),
            randomness: Arc::new(SystemRandomness),
            rules: Arc::clone(rules),
            // Held to ten minutes when it was read.
            qr_lifetime: qr_lifetime.unwrap_or(SignedDuration::from_mins(1)),
        },
        consents: Consents {
            holders: holders.clone(),
            book: Arc::clone(&book.driver_consents),
            deeds: Arc::clone(journal) as _,
            tokens: list_tokens.clone(),
            clock: Arc::clone(&clock),
        },
        accesses: Accesses {
            holders: holders.clone(),
            index: parts.index,
            logs: Arc::clone(logs) as _,
            entries: Arc::new(Opener::new(Arc::clone(journal.secret()))),
            secrets: parts.secrets,
            hold_backs: Arc::clone(&book.hold_backs),
            names: Arc::clone(roster) as _,
            log: Arc::clone(journal) as _,
            tokens: list_tokens,
            clock: Arc::clone(&clock),
        },
        hold_backs: HoldBackDesk {
            holders,
            hold_backs: Arc::clone(&book.hold_backs),
            log: Arc::clone(journal) as _,
            clock,
            length_max: SignedDuration::from_hours(24 * i64::from(config.evidence.hold_back_days_max)),
        },
    }
}

impl PartnerKinds for Roster {
    fn kind_of(&self, partner: &PartnerId) -> Option<PartnerKind> {
        self.contract_of(partner).map(|slot| slot.contract.kind)
    }
}
