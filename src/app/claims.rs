//! Keeps the bounds on claims: begun from the log, told among replicas once a second, and a tripwire that trips put on record.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::gateway::Parts;
use crate::admission::claims::SharedClaims;
use crate::audit::{RecallBounds, recall_claims};
use crate::domain::partner::PartnerId;
use crate::domain::standing::{RecordedState, StandingChange, StandingOf};
use crate::identity::error_chain;
use crate::limits::{Alarmed, PastClaim};
use crate::telemetry::labels::ClaimsLabel;

/// How often replicas tell each other.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a start waits for what the other replicas know.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);
/// The longest window there is.
const WINDOW_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Entries read from the end of the log at the start, at most: seconds of it. What lies before is forgotten, which refuses nobody.
const RECALLED_MAX: u64 = 2_000_000;
/// Who suspends claims when the tripwire trips.
const BY_TRIPWIRE: &str = "drivegate's tripwire";

/// Takes in what the log tells of claims from before the start. After the shared standing record was read, before anything is served.
/// Blocks. Where replicas tell each other, they know whom this one's partners claimed; the count of unconfirmed claims is its log's.
/// Until that is heard, the count alone neither slows nor suspends anybody.
pub(super) fn recall(parts: &Parts) {
    let since = parts.clock.now().checked_sub(WINDOW_MAX).unwrap_or_default();
    let roster = parts.identity.roster();
    let bounds = RecallBounds { since, entries_max: RECALLED_MAX };
    let recalled = recall_claims(&parts.journal, bounds, |claim| {
        let Some(slot) = roster.contract_of(&claim.partner) else { return };
        let let_go_at = roster.claims_let_go_at(&claim.partner);
        let about = parts.shared_claims.is_none().then_some(claim.about);
        let past = PastClaim { partner: claim.partner, at: claim.at, about, unconfirmed: claim.unconfirmed };
        parts.claims.recall(&slot.contract.claims, let_go_at, &past);
    });
    if let Err(error) = recalled {
        tracing::error!(
            causes = error_chain(&error),
            "the log cannot be read back: budgets of claims and tripwires begin anew"
        );
    }
}

/// Keeps them until it is told to stop; then tells the other replicas once more.
pub(super) async fn keep(mut keeper: Keeper, stop: CancellationToken) {
    loop {
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(TELL_EVERY) => false,
        };
        keeper.turn().await;
        if stopped {
            return;
        }
    }
}

/// What was told so far.
pub(super) struct Keeper {
    parts: Arc<Parts>,
    /// Who was told of, and as what.
    alarmed: HashSet<(PartnerId, bool)>,
    unshared: bool,
    /// Metrics were told so far.
    unconfirmed: u64,
}

impl Keeper {
    /// Hears the other replicas for the first time, before anything is served; not for ever.
    pub(super) async fn begin(parts: Arc<Parts>) -> Self {
        let mut keeper = Self { parts, alarmed: HashSet::new(), unshared: false, unconfirmed: 0 };
        let _late = tokio::time::timeout(BEGIN_WITHIN, keeper.turn()).await;
        keeper
    }

    async fn turn(&mut self) {
        let suspended = self.follow_records();
        if let Some(others) = self.parts.shared_claims.clone() {
            self.tell(others.as_ref()).await;
        }
        let unconfirmed = self.parts.claims.unconfirmed_count();
        self.parts
            .metrics
            .claims_unconfirmed(unconfirmed - std::mem::replace(&mut self.unconfirmed, unconfirmed));
        let alarmed = self.parts.claims.alarmed();
        let slowed = alarmed.iter().filter(|one| !one.is_tripped && !suspended.contains(&one.partner));
        self.parts.metrics.claims_alarmed(ClaimsLabel::Slowed, slowed.count() as u64);
        let tripped: Vec<_> = alarmed.iter().filter(|one| one.is_tripped).collect();
        let all: HashSet<_> = suspended.iter().chain(tripped.iter().map(|one| &one.partner)).collect();
        self.parts.metrics.claims_alarmed(ClaimsLabel::Suspended, all.len() as u64);
        for one in tripped.iter().filter(|one| !suspended.contains(&one.partner)) {
            self.suspend(one).await;
        }
        let now: HashSet<_> = alarmed.iter().map(|one| (one.partner.clone(), one.is_tripped)).collect();
        for one in alarmed.iter().filter(|one| !self.alarmed.contains(&(one.partner.clone(), one.is_tripped)))
        {
            warn_of(one);
        }
        self.alarmed = now;
    }

    /// Follows contracts and records. Returns whose claims are suspended by record, read before it is read when they were let go: of a
    /// word that comes in between nothing is done twice.
    fn follow_records(&self) -> HashSet<PartnerId> {
        let roster = self.parts.identity.roster();
        let mut suspended = HashSet::new();
        for slot in roster.contracts() {
            let partner = &slot.contract.partner;
            if roster.are_claims_suspended(partner) {
                suspended.insert(partner.clone());
            }
            self.parts.claims.introduce(partner, &slot.contract.claims);
            if let Some(at) = roster.claims_let_go_at(partner) {
                self.parts.claims.let_go(partner, &slot.contract.claims, at);
            }
        }
        suspended
    }

    async fn tell(&mut self, others: &dyn SharedClaims) {
        let told = self.parts.claims.exchange_with(others).await;
        if let Err(error) = &told {
            self.parts.metrics.claims_unshared();
            if !self.unshared {
                tracing::warn!(
                    causes = error_chain(error),
                    "claims cannot be shared with the other replicas"
                );
            }
        }
        self.unshared = told.is_err();
    }

    /// Puts it on record: until then, and if that fails, this replica refuses claims by itself.
    async fn suspend(&self, tripped: &Alarmed) {
        let reason = format!(
            "tripwire: {} unconfirmed claims, {} different numbers claimed",
            tripped.unconfirmed, tripped.subjects
        );
        let change = StandingChange {
            of: StandingOf::Claims(tripped.partner.clone()),
            state: RecordedState::Suspended,
            reason,
            by: BY_TRIPWIRE.to_owned(),
            at: self.parts.clock.now(),
        };
        if let Err(error) = self.parts.change_standing(change, false).await {
            tracing::warn!(
                partner = %tripped.partner,
                error = &error as &dyn std::error::Error,
                "the suspension of claims is not on record yet; this replica refuses them meanwhile"
            );
        }
    }
}

fn warn_of(alarmed: &Alarmed) {
    let Alarmed { partner, unconfirmed, subjects, is_tripped } = alarmed;
    if *is_tripped {
        tracing::warn!(%partner, unconfirmed, subjects, "claims are suspended: too many were unconfirmed");
    } else {
        tracing::warn!(%partner, unconfirmed, subjects, "claims are slowed: many were unconfirmed");
    }
}
