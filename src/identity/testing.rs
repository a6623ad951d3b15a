//! Clocks for this room's tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::domain::time::Clock;

/// A clock that stands still until it is moved.
pub(super) struct SetClock(ArcSwap<Timestamp>, AtomicU64);

impl SetClock {
    pub(super) fn at(moment: &str) -> Self {
        Self(ArcSwap::from_pointee(moment.parse().unwrap()), AtomicU64::new(0))
    }

    pub(super) fn move_to(&self, moment: &str) {
        self.0.store(moment.parse::<Timestamp>().unwrap().into());
    }

    pub(super) fn boot_at(&self, since_boot: Duration) {
        self.1.store(since_boot.as_nanos().try_into().unwrap(), Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        **self.0.load()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_nanos(self.1.load(Ordering::Relaxed))
    }
}

/// The machine's clock: our client judges the server's certificate by it.
pub(super) struct WallClock;

impl Clock for WallClock {
    #[allow(clippy::disallowed_methods, reason = "real handshakes happen in real time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}
