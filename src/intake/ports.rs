//! What the intake needs from a store. Implemented by `registry`, embedded and PostgreSQL.
//!
//! A store is thin. For the changes of one number, in one transaction: find the subject of the number; load its record and
//! its state (or, when nobody has the number, the state kept under the number's pseudonym); load what is known of each
//! change's key; ask [`plan()`]; take as many positions as it appends; write record, index, feed rows, state and known changes;
//! commit; tell the observers; only then answer. When a plan makes a number known (it creates the subject, or sets a number),
//! the state kept under that number is [adopted](SubjectState::adopt) and planned once more, in the same transaction. Whoever
//! else writes a record (an import) does the same for its numbers, so that nothing that waits is forgotten.

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

pub use super::change::{ChangeDigest, ChangeId, ChangeKey, FeedName, Handle, IncomingChange, StatedChange};
pub use super::fate::{Fate, Outcome, QuarantineReason, RejectReason};
pub use super::plan::{
    Arrival, DISPUTE_ROOM, Dossier, FEEDS_MAX, KnownChange, KnownFate, Placed, Plan, WAITING_MAX,
    numbers_to_look_up, plan, plan_notice,
};
pub use super::state::{FeedState, Hold, SubjectState, Waiting, WaitingCounts};
pub use super::verdict::{Verdict, VerdictFault, plan_verdict};

/// A future a port returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Numbers nobody has for which changes may wait, over the whole store. Beyond that such changes are rejected: somebody sends
/// the changes of a population that was never loaded.
pub const UNKNOWN_NUMBERS_MAX: u64 = 10_000;

/// Changes remembered by their id, at least, over the whole store. What came longer ago is recognised by the record itself
/// and by its sequence.
pub const KNOWN_CHANGES_MIN: u64 = 1_000_000;

/// Takes changes in, durably.
pub trait ChangeStore: Send + Sync + 'static {
    /// Takes a batch in. When this returns, everything in it is durable and every observer of the feed has heard of it.
    fn take(&self, batch: Vec<IncomingChange>, now: Timestamp) -> Later<'_, Result<Taken, StoreFault>>;

    /// Puts what was held for too long into quarantine. Returns what waits afterwards.
    fn expire(&self, now: Timestamp) -> Later<'_, Result<WaitingCounts, StoreFault>>;

    /// Counts what waits.
    fn waiting(&self) -> Later<'_, Result<WaitingCounts, StoreFault>>;

    /// Lists up to `count_max` waiting changes, after the one with the handle `after`.
    fn quarantine(
        &self,
        after: Option<Handle>,
        count_max: usize,
    ) -> Later<'_, Result<Vec<QuarantineEntry>, StoreFault>>;

    /// Carries out what the operator decided. Returns how many changes joined the record by it.
    fn judge(
        &self,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Later<'_, Result<Result<u64, VerdictFault>, StoreFault>>;
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// One for each change of the batch, in its order.
    pub outcomes: Vec<Outcome>,
    /// Changes that joined the record, those included that had waited.
    pub applied: u64,
    /// When the latest of them was recorded by the authority.
    pub latest_recorded: Option<Timestamp>,
}

/// The store could not be read or written; nothing of the batch was taken.
#[derive(Debug, thiserror::Error)]
#[error("the registry cannot take changes now")]
pub struct StoreFault(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A waiting change, as the operator sees it. Nothing in it tells who the subject is, but that two changes have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// What to name it by.
    pub handle: Handle,
    /// `partner/feed`.
    pub source: String,
    /// The authority's id of it.
    pub change_id: String,
    /// Its place in the sequence.
    pub sequence: u64,
    /// The next sequence number due of this subject and feed.
    pub next: u64,
    /// The kind of change, as import files name it; `None`: not understood.
    pub kind: Option<String>,
    /// When the authority recorded it.
    pub recorded_at: Option<Timestamp>,
    /// Since when it waits.
    pub since: Timestamp,
    /// Why; `None`: it is held for an earlier change, and not in quarantine yet.
    pub reason: Option<QuarantineReason>,
    /// Whether the registry knows the subject: then its answers are in dispute.
    pub subject_known: bool,
}
