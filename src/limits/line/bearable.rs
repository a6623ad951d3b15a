//! How many readings the registry bears at once, learned from how it answers.
//!
//! The limit is twice *rate × time*: the most it has answered in a second lately, times how long one reading takes while few are under way
//! (Little's law: that many at once keep it busy; twice as many, so that it never waits for us). As long as more at once means more
//! answers the limit doubles; where more at once only means longer waits it stays. Now and then a window runs at a quarter of the
//! limit: the time of one reading is taken anew there, so that a slow hour is not taken for the rule.
//!
//! It learns only while somebody waits: a registry that is asked little tells nothing about what it bears.

use std::time::Duration;

/// The least time, and the fewest readings, that say something.
const WINDOW: Duration = Duration::from_millis(100);
const READINGS_MIN: u64 = 32;
/// Windows whose best rate counts.
const RATES: usize = 8;
/// Windows between two looks at the time of one reading.
const LOOK_EVERY: u32 = 32;
/// The part of the limit such a look runs at.
const LOOK_AT: usize = 4;

/// What the registry bears.
#[derive(Debug)]
pub(super) struct Bearable {
    places: usize,
    places_min: usize,
    places_max: usize,
    /// Since when somebody waits.
    contended_since: Option<Duration>,
    window: Window,
    calm: Window,
    /// Answers per second in the last windows.
    rates: [u64; RATES],
    windows: u32,
    /// Nanoseconds of one reading while few are under way.
    time: Option<u64>,
    is_looking: bool,
    /// Readings that began before the look, and tell of what was before.
    skipped: usize,
}

/// Readings that were counted together.
#[derive(Debug, Default)]
struct Window {
    /// How long somebody waited, up to the last change.
    contended: Duration,
    readings: u64,
    time: Duration,
}

impl Bearable {
    pub(super) fn new(places: usize, places_min: usize, places_max: usize) -> Self {
        let places_max = places_max.max(1);
        let places_min = places_min.clamp(1, places_max);
        Self {
            places: places.clamp(places_min, places_max),
            places_min,
            places_max,
            contended_since: None,
            window: Window::default(),
            calm: Window::default(),
            rates: [0; RATES],
            windows: 0,
            time: None,
            is_looking: false,
            skipped: 0,
        }
    }

    /// Returns how many may be under way.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// Is told whether somebody waits, whenever that may have changed.
    pub(super) fn contended(&mut self, is_contended: bool, now: Duration) {
        match (self.contended_since, is_contended) {
            (None, true) => self.contended_since = Some(now),
            (Some(since), false) => {
                self.window.contended += now.saturating_sub(since);
                self.contended_since = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Is told of a reading that was answered.
    pub(super) fn answered(&mut self, took: Duration, now: Duration) {
        let Some(since) = self.contended_since else {
            self.calm.add(took);
            if self.calm.readings >= READINGS_MIN {
                let calm = std::mem::take(&mut self.calm);
                self.time = Some(self.time.map_or(calm.mean(), |time| time.min(calm.mean())));
            }
            return;
        };
        if self.skipped > 0 {
            self.skipped -= 1;
            if self.skipped == 0 {
                self.window = Window::default();
                self.contended_since = Some(now);
            }
            return;
        }
        self.window.add(took);
        let contended = self.window.contended + now.saturating_sub(since);
        if contended >= WINDOW && self.window.readings >= READINGS_MIN {
            self.contended_since = Some(now);
            let window = std::mem::take(&mut self.window);
            self.learn(&window, contended);
        }
    }

    fn learn(&mut self, window: &Window, contended: Duration) {
        let time = match self.time {
            Some(time) if !self.is_looking => time.min(window.mean()),
            _ => window.mean(),
        };
        self.time = Some(time);
        if !self.is_looking {
            let nanoseconds = contended.as_nanos().max(1);
            let rate = u128::from(window.readings) * 1_000_000_000 / nanoseconds;
            self.rates[self.windows as usize % RATES] = u64::try_from(rate).unwrap_or(u64::MAX);
            self.windows = self.windows.wrapping_add(1);
        }
        let best = self.rates.iter().copied().max().unwrap_or(0);
        let busy = (u128::from(best) * u128::from(time)).div_ceil(1_000_000_000);
        let before = self.places;
        self.places = usize::try_from(2 * busy).unwrap_or(usize::MAX).clamp(self.places_min, self.places_max);
        self.is_looking = !self.is_looking && self.windows.is_multiple_of(LOOK_EVERY);
        if self.is_looking {
            self.places = (self.places / LOOK_AT).max(self.places_min);
            self.skipped = before;
        }
    }
}

impl Window {
    fn add(&mut self, took: Duration) {
        self.readings += 1;
        self.time += took;
    }

    /// Returns the mean time of a reading, in nanoseconds.
    fn mean(&self) -> u64 {
        let mean = self.time.as_nanos() / u128::from(self.readings.max(1));
        u64::try_from(mean).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registry that reads so many at a time, each for so long; more only wait.
    struct Registry {
        at_a_time: u64,
        each: Duration,
    }

    impl Registry {
        fn rate(&self) -> u64 {
            self.at_a_time * 1_000_000_000 / u64::try_from(self.each.as_nanos()).unwrap()
        }

        /// Runs it for a while with as many under way as are allowed; returns what it answered and the highest and last limit.
        fn serve(&self, bearable: &mut Bearable, now: &mut Duration, time: Duration) -> (u64, usize, usize) {
            let (end, mut answered, mut highest) = (*now + time, 0, 0);
            bearable.contended(true, *now);
            while *now < end {
                let places = bearable.places() as u64;
                highest = highest.max(bearable.places());
                // Little's law: each takes as long as those before it need.
                let took = self.each.mul_f64((places as f64 / self.at_a_time as f64).max(1.0));
                *now += took / u32::try_from(places).unwrap();
                bearable.answered(took, *now);
                answered += 1;
            }
            (answered, highest, bearable.places())
        }
    }

    #[test]
    fn it_grows_as_long_as_more_at_once_means_more_answers() {
        for (at_a_time, millis) in [(1, 1), (4, 2), (16, 2), (64, 1)] {
            let registry = Registry { at_a_time, each: Duration::from_millis(millis) };
            let (mut bearable, mut now) = (Bearable::new(16, 4, 512), Duration::from_secs(1));
            registry.serve(&mut bearable, &mut now, Duration::from_secs(40));
            let (answered, highest, _) = registry.serve(&mut bearable, &mut now, Duration::from_secs(10));
            let most = registry.rate() * 10;
            assert!(answered >= most * 95 / 100, "{at_a_time}: {answered} of {most}");
            let enough = usize::try_from(at_a_time).unwrap().max(4);
            assert!(highest <= 4 * enough, "{at_a_time}: {highest} at once");
        }
    }

    #[test]
    fn it_comes_down_when_the_registry_bears_less() {
        let (mut bearable, mut now) = (Bearable::new(16, 4, 512), Duration::from_secs(1));
        let quick = Registry { at_a_time: 64, each: Duration::from_millis(1) };
        quick.serve(&mut bearable, &mut now, Duration::from_secs(20));
        assert!(bearable.places() >= 64, "{}", bearable.places());
        let slow = Registry { at_a_time: 4, each: Duration::from_millis(1) };
        let (answered, ..) = slow.serve(&mut bearable, &mut now, Duration::from_secs(60));
        let (_, highest, _) = slow.serve(&mut bearable, &mut now, Duration::from_secs(10));
        assert!(highest <= 32, "{highest} at once where 4 are enough");
        assert!(answered >= slow.rate() * 60 * 95 / 100, "{answered}");
    }

    #[test]
    fn a_registry_that_is_asked_little_tells_nothing_of_what_it_bears() {
        let mut bearable = Bearable::new(16, 4, 512);
        let mut now = Duration::from_secs(1);
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            bearable.answered(Duration::from_micros(50), now);
        }
        assert_eq!(bearable.places(), 16);
        assert_eq!(bearable.time, Some(50_000), "but how long a reading takes");
    }

    #[test]
    fn bounds_hold_whatever_is_learned() {
        for took in [Duration::ZERO, Duration::from_secs(3)] {
            let mut bearable = Bearable::new(1_000, 4, 64);
            assert_eq!(bearable.places(), 64);
            let mut now = Duration::from_secs(1);
            bearable.contended(true, now);
            for _ in 0..20_000 {
                now += Duration::from_millis(1);
                bearable.answered(took, now);
                assert!((4..=64).contains(&bearable.places()), "{}", bearable.places());
            }
        }
    }
}
