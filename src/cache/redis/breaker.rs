//! Stops the waiting for a Redis that does not answer.
//!
//! Closed: requests ask. Open: they do not, and nothing of them waits. Only the link's keeper closes it again, by a probe that
//! reads as requests do; requests never probe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::{BreakerState, CacheObserver};

pub(super) struct Breaker {
    state: AtomicU8,
    /// Failures since the last success.
    failures: AtomicU32,
    /// When the first of them was seen, in nanoseconds since boot.
    failing_since: AtomicU64,
    failures_max: u32,
    failing_time_max: Duration,
    observer: Arc<dyn CacheObserver>,
}

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

impl Breaker {
    /// Starts open: there is no connection yet.
    pub(super) fn new(
        failures_max: u32,
        failing_time_max: Duration,
        observer: Arc<dyn CacheObserver>,
    ) -> Self {
        Self {
            state: AtomicU8::new(OPEN),
            failures: AtomicU32::new(0),
            failing_since: AtomicU64::new(0),
            failures_max: failures_max.max(1),
            failing_time_max,
            observer,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) == CLOSED
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
        self.enter(OPEN, BreakerState::Open) == CLOSED
    }

    /// Notes that a probe is under way.
    pub(super) fn half_open(&self) {
        self.enter(HALF_OPEN, BreakerState::HalfOpen);
    }

    /// Closes after a good probe.
    pub(super) fn close(&self) {
        self.failures.store(0, Ordering::Release);
        self.enter(CLOSED, BreakerState::Closed);
    }

    fn enter(&self, state: u8, told: BreakerState) -> u8 {
        let before = self.state.swap(state, Ordering::AcqRel);
        if before != state {
            self.observer.breaker(told);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::Notes;

    fn closed() -> (Breaker, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        let breaker =
            Breaker::new(3, Duration::from_millis(500), Arc::clone(&notes) as Arc<dyn CacheObserver>);
        assert!(!breaker.is_closed(), "nothing is asked before the first connection");
        breaker.close();
        (breaker, notes)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn opens_at_the_third_failure_in_a_row() {
        let (breaker, _) = closed();
        assert!(!breaker.failed(ms(1)) && !breaker.failed(ms(2)));
        breaker.succeeded();
        assert!(!breaker.failed(ms(3)) && !breaker.failed(ms(4)));
        assert!(breaker.is_closed());
        assert!(breaker.failed(ms(5)));
        assert!(!breaker.is_closed());
        assert!(!breaker.failed(ms(6)), "opens once");
    }

    #[test]
    fn opens_at_the_second_failure_when_calls_are_rare() {
        let (breaker, _) = closed();
        assert!(!breaker.failed(ms(1_000)));
        assert!(breaker.failed(ms(1_500)));
    }

    #[test]
    fn every_change_of_state_is_told_once() {
        let (breaker, notes) = closed();
        breaker.open();
        breaker.open();
        breaker.succeeded();
        assert!(!breaker.is_closed(), "a late reply does not close it");
        breaker.half_open();
        breaker.close();
        let told = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
        assert_eq!(*notes.breaker.lock().unwrap(), told);
    }
}
