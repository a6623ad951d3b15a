//! Stops the waiting for a Redis, or a part of one, that does not answer.
//!
//! Closed: requests ask. Open: they do not, and nothing of them waits. Only the link's keeper closes it again, by a probe that
//! reads as requests do; requests never probe.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

pub(super) struct Breaker {
    closed: AtomicBool,
    /// Failures since the last success.
    failures: AtomicU32,
    /// When the first of them was seen, in nanoseconds since boot.
    failing_since: AtomicU64,
    failures_max: u32,
    failing_time_max: Duration,
}

impl Breaker {
    /// Starts open: there is no connection yet.
    pub(super) fn new(failures_max: u32, failing_time_max: Duration) -> Self {
        Self {
            closed: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            failing_since: AtomicU64::new(0),
            failures_max: failures_max.max(1),
            failing_time_max,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Says whether the last thing that was noted is a failure.
    pub(super) fn is_failing(&self) -> bool {
        self.failures.load(Ordering::Relaxed) != 0
    }

    /// Notes a reply.
    pub(super) fn succeeded(&self) {
        // A load, not a store: on the good path the line stays shared between cores.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failure. Returns whether it opened the breaker.
    pub(super) fn failed(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let earlier = self.failures.fetch_add(1, Ordering::AcqRel);
        if earlier == 0 {
            self.failing_since.store(now, Ordering::Release);
        }
        let failing_for =
            Duration::from_nanos(now.saturating_sub(self.failing_since.load(Ordering::Acquire)));
        let enough =
            earlier + 1 >= self.failures_max || (earlier > 0 && failing_for >= self.failing_time_max);
        enough && self.open()
    }

    /// Opens at once. Returns whether it was closed.
    pub(super) fn open(&self) -> bool {
        self.closed.swap(false, Ordering::AcqRel)
    }

    /// Closes after a good probe. One that is closed already goes on as if there had been a reply.
    pub(super) fn close(&self) {
        self.failures.store(0, Ordering::Release);
        self.closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Breaker {
        let breaker = Breaker::new(3, Duration::from_millis(500));
        assert!(!breaker.is_closed(), "nothing is asked before the first connection");
        breaker.close();
        breaker
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn opens_at_the_third_failure_in_a_row() {
        let breaker = closed();
        assert!(!breaker.failed(ms(1)) && !breaker.failed(ms(2)));
        breaker.succeeded();
        assert!(!breaker.failed(ms(3)) && !breaker.failed(ms(4)));
        assert!(breaker.is_closed() && breaker.is_failing());
        assert!(breaker.failed(ms(5)));
        assert!(!breaker.is_closed());
        assert!(!breaker.failed(ms(6)), "opens once");
        breaker.succeeded();
        assert!(!breaker.is_closed(), "a late reply does not close it");
    }

    #[test]
    fn opens_at_the_second_failure_when_calls_are_rare() {
        let breaker = closed();
        assert!(!breaker.failed(ms(1_000)));
        assert!(breaker.failed(ms(1_500)));
    }
}
