//! Up to when every change is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
    /// Returns up to when (time since boot) every change is known, `now` at most; `None`: never yet.
    pub(super) fn known_until(&self, now: Duration) -> Option<Duration> {
        match self {
            Self::InProcess => Some(now),
            Self::Tailed(feed) => feed.known_until().map(|published| published.min(now)),
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

    fn known_until(&self) -> Option<Duration> {
        match self.nanoseconds.load(Ordering::Acquire) {
            0 => None,
            published => Some(Duration::from_nanos(published)),
        }
    }
}
