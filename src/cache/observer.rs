//! What happens in the caches, told to whoever counts it. No metric library is known here.

use std::time::Duration;

use crate::verification::ports::{FactSource, LookUpError, Usability};

/// Hears what the caches do. Every method returns at once: it is called on the request path.
pub trait CacheObserver: Send + Sync + 'static {
    /// A level answered; `negative`: with "no such number".
    fn hit(&self, level: FactSource, negative: bool) {
        let _ = (level, negative);
    }

    /// A level that was asked gave nothing.
    fn missed(&self, level: FactSource) {
        let _ = level;
    }

    /// A level held a fact that may not be used.
    fn refused(&self, level: FactSource, cause: StaleCause) {
        let _ = (level, cause);
    }

    /// A caller joined a load that was under way.
    fn joined(&self) {}

    /// A load brought a fact; `negative`: "no such number".
    fn loaded(&self, from: FactSource, negative: bool, took: Duration) {
        let _ = (from, negative, took);
    }

    /// A reading of the registry failed and was tried again; `false`: the budget of attempts was spent.
    fn retried(&self, is_tried_again: bool) {
        let _ = is_tried_again;
    }

    /// A look-up failed.
    fn failed(&self, error: &LookUpError) {
        let _ = error;
    }

    /// A look-up went past a level: the feed is stalled, the caller demanded the registry, or Redis is not asked now.
    fn bypassed(&self, level: FactSource) {
        let _ = level;
    }

    /// Redis did not give what it was asked for. It counted as a miss.
    fn redis_failed(&self, cause: RedisFault) {
        let _ = cause;
    }

    /// A fact was not written to Redis. It is read from the registry next time.
    fn redis_not_written(&self, cause: RedisFault) {
        let _ = cause;
    }

    /// The breaker in front of Redis changed its state.
    fn breaker(&self, state: BreakerState) {
        let _ = state;
    }
}

/// Nobody counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl CacheObserver for Unobserved {}

/// Why a held fact may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaleCause {
    /// A change may lie after it.
    Outdated,
    /// Of another epoch.
    OtherEpoch,
    /// The feed is stalled.
    FeedStalled,
    /// Older than the caller accepts.
    TooOldForCaller,
}

impl StaleCause {
    /// Returns the cause in a judgement, if it is against use.
    pub(super) const fn of(usability: Usability) -> Option<Self> {
        match usability {
            Usability::Usable => None,
            Usability::Outdated => Some(Self::Outdated),
            Usability::OtherEpoch => Some(Self::OtherEpoch),
            Usability::FeedStalled => Some(Self::FeedStalled),
        }
    }

    /// Returns the label for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Outdated => "outdated",
            Self::OtherEpoch => "other-epoch",
            Self::FeedStalled => "feed-stalled",
            Self::TooOldForCaller => "too-old-for-caller",
        }
    }
}

/// What was wrong with Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RedisFault {
    /// Not connected, or the breaker is open: not asked.
    NotAsked,
    /// Too many calls under way, or the write queue is full: not asked.
    Busy,
    /// No reply in time.
    Timeout,
    /// The connection broke.
    Disconnected,
    /// It takes no writes: a replica.
    ReadOnly,
    /// It takes no writes: out of memory.
    Full,
    /// Any other error it replied with (loading, no permission, wrong type).
    Refused,
    /// A value that is too long, truncated, of an unknown version or key, or not sealed for this key.
    Unsealable,
    /// A value that opens but does not decode.
    Undecodable,
    /// A value that cannot be sealed, or is longer than allowed.
    Unwritable,
}

impl RedisFault {
    /// Returns the label for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::ReadOnly => "read-only",
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Unsealable => "unsealable",
            Self::Undecodable => "undecodable",
            Self::Unwritable => "unwritable",
        }
    }
}

/// The breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Redis is asked.
    Closed,
    /// Redis is not asked.
    Open,
    /// A probe is under way; requests do not ask yet.
    HalfOpen,
}

impl BreakerState {
    /// Returns the label for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}
