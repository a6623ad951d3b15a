//! The rate meter: governor's GCRA, one limiter per partner, on the clock everyone else is given.
//!
//! The limiter keeps one number, the theoretical arrival time (TAT). It lives outside governor's limiter here, so that
//! what is left can be read without spending, and so that a changed contract does not hand out a fresh burst.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::domain::time::Clock;

type Limiter = RateLimiter<NotKeyed, ArrivalTime, BootClock, NoOpMiddleware<Duration>>;

/// A partner's rate.
pub(super) struct Rate {
    limiter: Option<Limiter>,
    arrival: ArrivalTime,
    clock: Arc<dyn Clock>,
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// Makes a full meter. A rate or burst of zero admits nothing.
    pub(super) fn new(rate_per_second: u32, burst: u32, clock: &Arc<dyn Clock>) -> Self {
        Self::with_arrival(rate_per_second, burst, clock, ArrivalTime::default())
    }

    /// Makes a meter with changed figures that goes on from this one's state: what was spent stays spent.
    pub(super) fn changed(&self, rate_per_second: u32, burst: u32, clock: &Arc<dyn Clock>) -> Self {
        Self::with_arrival(rate_per_second, burst, clock, self.arrival.clone())
    }

    fn with_arrival(rate_per_second: u32, burst: u32, clock: &Arc<dyn Clock>, arrival: ArrivalTime) -> Self {
        let quota = NonZeroU32::new(rate_per_second)
            .zip(NonZeroU32::new(burst))
            .map(|(rate, burst)| Quota::per_second(rate).allow_burst(burst));
        let interval = quota.map_or(Duration::from_secs(1), |quota| quota.replenish_interval());
        let limiter = quota.map(|quota| {
            let clock = BootClock { clock: Arc::clone(clock), is_started: AtomicBool::new(false) };
            Limiter::new(quota, arrival.clone(), clock)
        });
        Self {
            limiter,
            arrival,
            clock: Arc::clone(clock),
            interval: interval.max(Duration::from_nanos(1)),
            burst,
        }
    }

    /// Spends one request, or says when to come back.
    pub(super) fn spend(&self) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Err(REFUSED_FOR_GOOD) };
        limiter.check().map_err(|not_until| not_until.wait_time_from(self.clock.since_boot()))
    }

    /// Returns how many requests would be admitted at once now, and when one more will be. Spends nothing.
    pub(super) fn left(&self) -> (u64, Duration) {
        if self.limiter.is_none() {
            return (0, REFUSED_FOR_GOOD);
        }
        let ahead = self.arrival.ahead_of(self.clock.since_boot());
        let interval_ns = nanos(self.interval);
        let spent = ahead.div_ceil(interval_ns).min(u64::from(self.burst));
        let next = if spent == 0 { 0 } else { ahead - (spent - 1) * interval_ns };
        (u64::from(self.burst) - spent, Duration::from_nanos(next))
    }
}

/// What a partner without any rate is told to wait: long enough not to ask all the time.
const REFUSED_FOR_GOOD: Duration = Duration::from_secs(60);

/// The theoretical arrival time in nanoseconds since boot, shared by a meter and its successors.
///
/// governor counts from the limiter's own start; this store counts from boot, so that it outlives a limiter.
#[derive(Clone, Default)]
struct ArrivalTime(Arc<AtomicU64>);

impl ArrivalTime {
    fn ahead_of(&self, now: Duration) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(nanos(now))
    }
}

impl StateStore for ArrivalTime {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut present = self.0.load(Ordering::Relaxed);
        loop {
            let (verdict, next) = judge((present != 0).then(|| Nanos::new(present)))?;
            match self.0.compare_exchange_weak(present, next.as_u64(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(verdict),
                Err(newer) => present = newer,
            }
        }
    }
}

/// governor's clock over ours: time since boot, suspension included.
///
/// The first reading is zero: governor takes it when a limiter is made and measures from it, and the arrival time is
/// to be counted from boot.
struct BootClock {
    clock: Arc<dyn Clock>,
    is_started: AtomicBool,
}

impl governor::clock::Clock for BootClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let is_started =
            self.is_started.load(Ordering::Relaxed) || self.is_started.swap(true, Ordering::Relaxed);
        if is_started { self.clock.since_boot() } else { Duration::ZERO }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::testing::FakeClock;

    fn rate(rate_per_second: u32, burst: u32) -> (Rate, Arc<FakeClock>, Arc<dyn Clock>) {
        let fake = FakeClock::new();
        let clock: Arc<dyn Clock> = fake.clone();
        (Rate::new(rate_per_second, burst, &clock), fake, clock)
    }

    #[test]
    fn a_burst_is_admitted_then_the_rate() {
        let (rate, clock, _) = rate(10, 3);
        for _ in 0..3 {
            assert_eq!(rate.spend(), Ok(()));
        }
        assert_eq!(rate.spend(), Err(Duration::from_millis(100)));
        clock.advance(Duration::from_millis(99));
        assert_eq!(rate.spend(), Err(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(rate.spend(), Ok(()));
        assert!(rate.spend().is_err());
    }

    #[test]
    fn looking_at_what_is_left_spends_nothing() {
        let (rate, clock, _) = rate(10, 3);
        assert_eq!(rate.left(), (3, Duration::ZERO));
        rate.spend().unwrap();
        rate.spend().unwrap();
        for _ in 0..5 {
            assert_eq!(rate.left(), (1, Duration::from_millis(100)));
        }
        clock.advance(Duration::from_millis(150));
        assert_eq!(rate.left(), (2, Duration::from_millis(50)));
        clock.advance(Duration::from_secs(3600));
        assert_eq!(rate.left(), (3, Duration::ZERO));
    }

    #[test]
    fn a_changed_contract_hands_out_no_fresh_burst() {
        let (first, _, clock) = rate(10, 5);
        while first.spend().is_ok() {}
        let second = first.changed(10, 4, &clock);
        assert!(second.spend().is_err());
        let third = second.changed(10, 5, &clock);
        assert_eq!(third.left().0, 0);
    }

    #[test]
    fn a_rate_of_zero_admits_nothing() {
        for (rate_per_second, burst) in [(0, 5), (5, 0), (0, 0)] {
            let (rate, clock, _) = rate(rate_per_second, burst);
            clock.advance(Duration::from_secs(86_400));
            assert_eq!(rate.spend(), Err(REFUSED_FOR_GOOD));
            assert_eq!(rate.left().0, 0);
        }
    }

    proptest! {
        #[test]
        fn no_interval_admits_more_than_burst_plus_rate(
            rate_per_second in 1_u32..2_000,
            burst in 1_u32..200,
            pauses in prop::collection::vec(0_u64..50_000, 1..400),
        ) {
            let (rate, clock, _) = rate(rate_per_second, burst);
            let mut elapsed = Duration::ZERO;
            let mut admitted = 0_u64;
            for pause_us in pauses {
                let pause = Duration::from_micros(pause_us);
                clock.advance(pause);
                elapsed += pause;
                let (left, _) = rate.left();
                let verdict = rate.spend();
                prop_assert_eq!(verdict.is_ok(), left > 0);
                admitted += u64::from(verdict.is_ok());
                let most = f64::from(burst) + f64::from(rate_per_second) * elapsed.as_secs_f64() * 1.000_01 + 1.0;
                prop_assert!((admitted as f64) <= most, "{} over {}", admitted, most);
                if let Err(wait) = verdict {
                    clock.advance(wait);
                    elapsed += wait;
                    prop_assert_eq!(rate.spend(), Ok(()));
                    admitted += 1;
                }
            }
        }
    }
}
