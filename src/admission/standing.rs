//! Standing that holds for every replica: the words on the shared record, and who hears of them.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::domain::standing::StandingChange;

/// A future a port returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A change of standing on the shared record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingWord {
    /// Its place among all changes, from 1, without gaps, in the order they were committed.
    pub seq: u64,
    /// What it says.
    pub change: StandingChange,
}

/// The standing record that all replicas share. Implemented by `registry` where the registry is shared.
pub trait StandingRecords: Send + Sync + 'static {
    /// Puts a change on record, durably; this replica's follower is told before it returns.
    ///
    /// # Errors
    /// [`StandingUnavailable`]: it may be on record all the same when the connection broke off at the last moment.
    fn put(&self, change: StandingChange) -> Later<'_, Result<StandingWord, StandingUnavailable>>;
}

/// The shared record cannot be reached now.
#[derive(Debug, thiserror::Error)]
#[error("the shared standing record cannot be reached")]
pub struct StandingUnavailable(#[source] pub Box<dyn Error + Send + Sync>);

/// Hears of the shared record. Implemented by `identity`, called by `registry`.
pub trait StandingFollower: Send + Sync + 'static {
    /// The latest word about everybody, as of one moment: at the start, and whenever words may have been missed.
    fn begins_with(&self, words: Vec<StandingWord>);

    /// More words. Each may be told more than once; of two about the same the later sequence counts.
    fn told(&self, words: Vec<StandingWord>);

    /// Every word on record when this poll began (time since boot) has been told.
    fn current_as_of(&self, poll_began: Duration);
}
