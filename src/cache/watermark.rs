//! Up to when every change is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::time::Clock;

/// How changes reach this process, and so how far its knowledge lags.
#[derive(Clone, Debug)]
pub enum Watermark {
    /// The registry lives in this process and tells of a change before its writer hears that it is durable: the watermark
    /// is always now.
    InProcess,
    /// The feed is polled; whoever polls it publishes here.
    Tailed(Arc<FeedWatermark>),
}

impl Watermark {
    /// Returns how long ago every change was known; `None`: never yet.
    pub(super) fn age(&self, clock: &dyn Clock) -> Option<Duration> {
        match self {
            Self::InProcess => Some(Duration::ZERO),
            Self::Tailed(feed) => feed.age(clock),
        }
    }
}

/// The local start (time since boot) of the last poll that brought every change so far.
#[derive(Debug, Default)]
pub struct FeedWatermark {
    nanoseconds: AtomicU64,
}

impl FeedWatermark {
    /// Publishes that a poll begun at this time since boot brought every change. Call it after the poll's changes were
    /// handed to the slots: `Release` here pairs with the readers' `Acquire`, so whoever sees the watermark sees the slots.
    pub fn publish(&self, poll_began: Duration) {
        let nanoseconds = u64::try_from(poll_began.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_max(nanoseconds, Ordering::Release);
    }

    fn age(&self, clock: &dyn Clock) -> Option<Duration> {
        match self.nanoseconds.load(Ordering::Acquire) {
            0 => None,
            published => Some(clock.since_boot().saturating_sub(Duration::from_nanos(published))),
        }
    }
}
