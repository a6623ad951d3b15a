//! One partner's connection: who it is, and the standing every request of it asks for.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::roster::{Judgement, Roster};
use crate::domain::partner::{Contract, PartnerId, PeerIdentity, Standing};

/// What is known of a connection. Cheap to clone; travels with every request.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    remote: SocketAddr,
    peer: Arc<PeerIdentity>,
    opened_as: Option<PartnerId>,
    judgement: ArcSwap<Judgement>,
}

impl Connection {
    /// Takes up a connection whose handshake is done.
    pub fn new(id: u64, remote: SocketAddr, peer: PeerIdentity, roster: &Roster, now: Timestamp) -> Self {
        let judgement = roster.judge(&peer, None, now);
        let opened_as = judgement.contract.as_ref().map(|contract| contract.partner.clone());
        let judgement = ArcSwap::from_pointee(judgement);
        Self(Arc::new(Inner { id, remote, peer: Arc::new(peer), opened_as, judgement }))
    }

    /// Says whether the partner may call now. Tens of nanoseconds: judged anew only when something changed or ended.
    pub fn standing(&self, roster: &Roster, now: Timestamp) -> Standing {
        self.judged(roster, now).0
    }

    /// As [`Self::standing`], for a claim: of a partner in good standing the claims alone may be suspended.
    pub fn standing_to_claim(&self, roster: &Roster, now: Timestamp) -> Standing {
        match self.judged(roster, now) {
            (Standing::Active, true) => Standing::ClaimsSuspended,
            (standing, _) => standing,
        }
    }

    /// Returns the standing, and whether claims are suspended beside it.
    fn judged(&self, roster: &Roster, now: Timestamp) -> (Standing, bool) {
        // First: what is judged after a look at the age is never older than that age.
        let is_current = roster.is_current();
        match self.last_judgement(roster, now) {
            (Standing::Active, claims_suspended) if !is_current => (Standing::NotKnown, claims_suspended),
            judged => judged,
        }
    }

    fn last_judgement(&self, roster: &Roster, now: Timestamp) -> (Standing, bool) {
        let judgement = self.0.judgement.load();
        if judgement.epoch == roster.epoch() && judgement.from <= now && now < judgement.until {
            return (judgement.standing, judgement.claims_suspended);
        }
        drop(judgement);
        let judgement = self.judge(roster, now);
        (judgement.standing, judgement.claims_suspended)
    }

    /// Returns the contract in force, if one lists the certificate; `None` is answered with PARTNER_NOT_KNOWN.
    pub fn contract(&self, roster: &Roster) -> Option<Arc<Contract>> {
        let judgement = self.0.judgement.load();
        if judgement.epoch == roster.epoch() {
            return judgement.contract.clone();
        }
        let moment = judgement.from;
        drop(judgement);
        // Which contract it is does not depend on the time; the standing is judged with the caller's own clock.
        roster.judge(&self.0.peer, self.0.opened_as.as_ref(), moment).contract
    }

    /// Returns the connection's number, unique within this process.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Returns the peer's address.
    pub fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    /// Returns what the certificate proves.
    pub fn peer(&self) -> &Arc<PeerIdentity> {
        &self.0.peer
    }

    /// Returns the partner the connection was opened as.
    pub fn opened_as(&self) -> Option<&PartnerId> {
        self.0.opened_as.as_ref()
    }

    fn judge(&self, roster: &Roster, now: Timestamp) -> Arc<Judgement> {
        let judgement = Arc::new(roster.judge(&self.0.peer, self.0.opened_as.as_ref(), now));
        self.0.judgement.store(Arc::clone(&judgement));
        judgement
    }
}
