//! Clocks for this room's tests.

use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::domain::time::Clock;

/// A clock that stands still until it is moved.
pub(super) struct SetClock(ArcSwap<Timestamp>);

impl SetClock {
    pub(super) fn at(moment: &str) -> Self {
        Self(ArcSwap::from_pointee(moment.parse().unwrap()))
    }

    pub(super) fn move_to(&self, moment: &str) {
        self.0.store(moment.parse::<Timestamp>().unwrap().into());
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        **self.0.load()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
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
