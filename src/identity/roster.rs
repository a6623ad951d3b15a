//! The roster: which contract a certificate belongs to, and whether its partner may call now.
//!
//! A contract lists exact URIs, pins of public keys, or both. If it lists URIs, the certificate carries one of them; if it
//! lists pins, the certificate's key matches one of them; **if it lists both, both must hold**. Two pins may stand side by
//! side while keys rotate. A certificate that fits two contracts fits none.

mod folder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use self::folder::Folder;
use super::shared::SharedBook;
use super::standing::StandingBook;
use super::trust::Trust;
use crate::domain::partner::{Contract, PartnerId, PeerIdentity, PeerName, Standing};
use crate::domain::standing::{KeyPin, RecordedState, StandingOf};

/// The folder of contracts cannot be read at start.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the folder of contracts {}: check the path and its permissions", path.display())]
pub struct RosterError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// A contract in force, as its file has it.
#[derive(Debug, PartialEq)]
pub struct PartnerSlot {
    /// The contract.
    pub contract: Arc<Contract>,
    /// Suspended by the contract file itself.
    pub suspended: bool,
}

/// All contracts, and everything that decides about standing.
pub struct Roster {
    trust: Arc<Trust>,
    book: Arc<StandingBook>,
    /// The record all replicas share, where there is one.
    shared: OnceLock<Arc<SharedBook>>,
    contracts: ArcSwap<Contracts>,
    generation: AtomicU64,
    folder: Mutex<Folder>,
}

/// One reading of the folder, indexed for look-ups.
#[derive(Debug, Default)]
struct Contracts {
    by_partner: HashMap<PartnerId, Arc<PartnerSlot>>,
    by_name: HashMap<PeerName, Arc<PartnerSlot>>,
}

/// What is known about a certificate's partner, and as long as which it holds.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    /// See [`Roster::epoch`].
    pub(super) epoch: u64,
    /// First moment it holds for.
    pub(super) from: Timestamp,
    /// First moment it no longer holds for.
    pub(super) until: Timestamp,
    /// The outcome.
    pub(super) standing: Standing,
    /// Whether a partner in good standing may not claim.
    pub(super) claims_suspended: bool,
    /// The contract, when one lists the certificate.
    pub(super) contract: Option<Arc<Contract>>,
}

impl Roster {
    /// Reads the folder of contracts: one `<id>.toml` each. A bad file keeps its partner out; [`Self::faults`] says why.
    ///
    /// # Errors
    /// [`RosterError`]: without the folder nobody could call.
    pub fn open(folder: &Path, book: Arc<StandingBook>, trust: Arc<Trust>) -> Result<Self, RosterError> {
        let mut folder = Folder::new(folder);
        folder.read().map_err(|source| RosterError { path: folder.path().to_path_buf(), source })?;
        let contracts = ArcSwap::from_pointee(Contracts::of(folder.slots()));
        let (shared, generation) = (OnceLock::new(), AtomicU64::new(1));
        Ok(Self { trust, book, shared, contracts, generation, folder: Mutex::new(folder) })
    }

    /// Has a shared record count beside the files from now on: nobody is in good standing until it is told. The first one stands.
    pub(super) fn share(&self, shared: Arc<SharedBook>) {
        let _set_once = self.shared.set(shared);
    }

    /// Returns the shared record, where there is one.
    pub fn shared(&self) -> Option<&Arc<SharedBook>> {
        self.shared.get()
    }

    /// Says whether what is known of standing is young enough. Ask before [`Self::epoch`]: see [`SharedBook::is_current`].
    pub(super) fn is_current(&self) -> bool {
        self.shared().is_none_or(|shared| shared.is_current())
    }

    /// Says whether contract file, this replica's record or the shared one suspends a partner.
    pub fn is_suspended(&self, slot: &PartnerSlot) -> bool {
        let partner = &slot.contract.partner;
        slot.suspended
            || self.book.is_suspended(partner)
            || self.shared().is_some_and(|shared| shared.is_suspended(partner))
    }

    /// Says whether this replica's record or the shared one suspends a partner's claims.
    pub fn are_claims_suspended(&self, partner: &PartnerId) -> bool {
        self.book.are_claims_suspended(partner)
            || self.shared().is_some_and(|shared| shared.are_claims_suspended(partner))
    }

    /// Returns when a partner was last let claim again, by this replica's record or the shared one.
    pub fn claims_let_go_at(&self, partner: &PartnerId) -> Option<Timestamp> {
        let of = StandingOf::Claims(partner.clone());
        let here = self.book.record(&of).map(|record| (record.state, record.since));
        let shared = self.shared().and_then(|shared| shared.word(&of));
        let shared = shared.map(|word| (word.change.state, word.change.at));
        let words = here.into_iter().chain(shared);
        words.filter(|(state, _)| *state == RecordedState::Active).map(|(_, at)| at).max()
    }

    fn is_denied(&self, pin: KeyPin) -> bool {
        self.book.is_denied(pin) || self.shared().is_some_and(|shared| shared.is_denied(pin))
    }

    /// Reads the folder again. A file that turned bad keeps its last good contract.
    pub fn reload(&self) {
        // The lock spans reading and publishing: of two readers at once the later one must win.
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if folder.read().is_ok_and(|changed| changed) {
            self.contracts.store(Arc::new(Contracts::of(folder.slots())));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Finds the contract a certificate belongs to; see the rule at the top of this file.
    pub fn find(&self, peer: &PeerIdentity) -> Option<Arc<PartnerSlot>> {
        self.contracts.load().find(peer)
    }

    /// Finds a partner's contract.
    pub fn contract_of(&self, partner: &PartnerId) -> Option<Arc<PartnerSlot>> {
        self.contracts.load().by_partner.get(partner).cloned()
    }

    /// Returns every contract, by partner.
    pub fn contracts(&self) -> Vec<Arc<PartnerSlot>> {
        let mut slots: Vec<_> = self.contracts.load().by_partner.values().cloned().collect();
        slots.sort_by(|a, b| a.contract.partner.cmp(&b.contract.partner));
        slots
    }

    /// Changes whenever contracts, records (files or shared) or trust change: what was judged before must be judged anew.
    ///
    /// The sum of counters that only rise is different after every change of one of them.
    pub fn epoch(&self) -> u64 {
        let contracts = self.generation.load(Ordering::Acquire);
        let shared = self.shared().map_or(0, |shared| shared.generation());
        contracts
            .wrapping_add(self.book.generation())
            .wrapping_add(self.trust.generation())
            .wrapping_add(shared)
    }

    /// Returns the folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).path().to_path_buf()
    }

    /// Says which contract files cannot be used now.
    pub fn faults(&self) -> Vec<String> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).faults()
    }

    /// Judges a certificate. `opened_as` is the partner its connection was opened as: a certificate that another
    /// contract claims meanwhile must come back on a new connection, where that partner's limits apply.
    pub(super) fn judge(
        &self,
        peer: &PeerIdentity,
        opened_as: Option<&PartnerId>,
        now: Timestamp,
    ) -> Judgement {
        // Read before the facts: a change in between makes this judgement stale, never wrong.
        let epoch = self.epoch();
        let slot = self.find(peer).filter(|slot| opened_as.is_none_or(|id| *id == slot.contract.partner));
        let certificate_ends = after_last_second(peer.not_after);
        let Some(slot) = slot else {
            let (from, until) = span(&[certificate_ends], now);
            let standing = Standing::NotListed;
            return Judgement { epoch, from, until, standing, claims_suspended: false, contract: None };
        };
        let contract = &slot.contract;
        let (from, until) = span(&[certificate_ends, contract.starts_at, contract.ends_at], now);
        let standing = if now >= certificate_ends
            || self.trust.is_revoked(peer)
            || self.is_denied(KeyPin(peer.spki_sha256))
        {
            Standing::CertificateNotAccepted
        } else if self.is_suspended(&slot) {
            Standing::Suspended
        } else if now < contract.starts_at || now >= contract.ends_at {
            Standing::ContractNotInForce
        } else {
            Standing::Active
        };
        let claims_suspended = self.are_claims_suspended(&contract.partner);
        Judgement { epoch, from, until, standing, claims_suspended, contract: Some(Arc::clone(contract)) }
    }
}

impl Contracts {
    fn of<'a>(slots: impl Iterator<Item = &'a Arc<PartnerSlot>>) -> Self {
        let mut contracts = Self::default();
        for slot in slots {
            for name in &slot.contract.identities {
                contracts.by_name.insert(name.clone(), Arc::clone(slot));
            }
            contracts.by_partner.insert(slot.contract.partner.clone(), Arc::clone(slot));
        }
        contracts
    }

    fn find(&self, peer: &PeerIdentity) -> Option<Arc<PartnerSlot>> {
        let by_uri = peer.san_uris.iter().filter_map(|uri| self.by_name.get(&PeerName::SanUri(uri.clone())));
        let by_pin = self.by_name.get(&PeerName::SpkiSha256(peer.spki_sha256));
        let mut fitting = by_uri.chain(by_pin).filter(|slot| fits(&slot.contract, peer));
        let found = fitting.next()?;
        fitting.all(|other| Arc::ptr_eq(other, found)).then(|| Arc::clone(found))
    }
}

/// Holds a certificate to a contract's list: one of the URIs if it lists any, and one of the pins if it lists any.
fn fits(contract: &Contract, peer: &PeerIdentity) -> bool {
    let (mut uris, mut pins) = (None, None);
    for name in &contract.identities {
        match name {
            PeerName::SanUri(uri) => *uris.get_or_insert(false) |= peer.san_uris.contains(uri),
            PeerName::SpkiSha256(pin) => *pins.get_or_insert(false) |= *pin == peer.spki_sha256,
        }
    }
    (uris.is_some() || pins.is_some()) && uris.unwrap_or(true) && pins.unwrap_or(true)
}

/// X.509 counts whole seconds and the last one is valid (RFC 5280 §4.1.2.5).
fn after_last_second(not_after: Timestamp) -> Timestamp {
    not_after.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}

/// Finds the stretch around `now` in which none of the boundaries is crossed.
fn span(boundaries: &[Timestamp], now: Timestamp) -> (Timestamp, Timestamp) {
    let passed = boundaries.iter().copied().filter(|boundary| *boundary <= now).max();
    let ahead = boundaries.iter().copied().filter(|boundary| *boundary > now).min();
    (passed.unwrap_or(Timestamp::MIN), ahead.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests;
