//! How far this machine's clock is from the server's, which all replicas share.
//!
//! Freshness does not need it: ages are counted on each machine's own clock since boot. What does is whatever a moment stands in:
//! QR codes and consents (which bear [`CLOCK_SKEW`](crate::domain::presentation::CLOCK_SKEW)), contracts, entries of the log. So it is
//! measured and told, and nobody is refused for it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::PgConnection;

use super::connection::Trying as _;
use crate::domain::time::Clock;
use crate::registry::embedded::RegistryError;

/// How often it is measured.
pub(super) const MEASURED_EVERY: Duration = Duration::from_secs(10);
/// A round trip that took longer says too little.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);
const NOT_MEASURED: i64 = i64::MIN;

/// The latest measurement.
#[derive(Debug)]
pub struct ClockOffset(AtomicI64);

impl Default for ClockOffset {
    fn default() -> Self {
        Self(AtomicI64::new(NOT_MEASURED))
    }
}

impl ClockOffset {
    /// Returns how far this machine's clock is ahead of the server's, to half a round trip (250 ms at most); negative: behind. `None`:
    /// not measured yet.
    pub fn ahead(&self) -> Option<SignedDuration> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != NOT_MEASURED).then(|| SignedDuration::from_micros(micros))
    }

    /// Notes what the server's clock said between two readings of ours.
    fn note(&self, server: i64, before: Timestamp, round_trip: Duration) {
        if round_trip > ROUND_TRIP_MAX {
            return;
        }
        let half = i64::try_from(round_trip.as_micros() / 2).unwrap_or_default();
        let ahead = before.as_microsecond().saturating_add(half).saturating_sub(server);
        self.0.store(ahead.max(NOT_MEASURED + 1), Ordering::Relaxed);
    }
}

/// Asks the server's clock.
pub(super) async fn measure(
    connection: &mut PgConnection,
    clock: &dyn Clock,
    offset: &ClockOffset,
) -> Result<(), RegistryError> {
    let (before, began) = (clock.now(), clock.since_boot());
    let server: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        .fetch_one(connection)
        .await
        .trying_to("ask the clock of")?;
    offset.note(server, before, clock.since_boot().saturating_sub(began));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_middle_of_the_round_trip_that_counts_and_a_slow_one_says_nothing() {
        let offset = ClockOffset::default();
        assert_eq!(offset.ahead(), None);
        let before: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let server = before.as_microsecond() - 6_950_000;
        offset.note(server, before, Duration::from_millis(100));
        assert_eq!(offset.ahead(), Some(SignedDuration::from_secs(7)));
        offset.note(0, before, Duration::from_secs(1));
        assert_eq!(offset.ahead(), Some(SignedDuration::from_secs(7)));
        offset.note(before.as_microsecond() + 31_000_000, before, Duration::ZERO);
        assert_eq!(offset.ahead(), Some(SignedDuration::from_secs(-31)));
    }
}
