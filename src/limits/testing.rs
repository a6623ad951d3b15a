//! What this room's tests share: a clock that stands still until told, and a generous allowance.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::partners::locked;
use crate::domain::partner::{Allowance, PartnerId};
use crate::domain::time::Clock;

/// Stands at 2026-03-01 12:00:00 in China until advanced.
pub(super) struct FakeClock(Mutex<Duration>);

impl FakeClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Duration::ZERO)))
    }

    pub(super) fn advance(&self, by: Duration) {
        *locked(&self.0) += by;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        "2026-03-01T04:00:00Z".parse::<Timestamp>().unwrap() + *locked(&self.0)
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(100) + *locked(&self.0)
    }
}

pub(super) fn allowance() -> Allowance {
    Allowance {
        rate_per_second: 10,
        burst: 20,
        in_flight_max: 4,
        connections_max: 2,
        quota_per_minute: 100,
        quota_per_hour: 1_000,
        quota_per_day: 10_000,
    }
}

pub(super) fn partner() -> PartnerId {
    "insurer-demo".parse().unwrap()
}
