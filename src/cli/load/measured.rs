//! What was measured: latencies, outcomes, errors. Bounded, mergeable, without a number it did not count.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Shortest and longest latency told apart, in nanoseconds; longer ones count as the longest.
const LATENCY_NS_MIN: u64 = 100;
const LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Three significant digits: a p99 of 1.234 ms is not 1.2 ms.
const DIGITS: u8 = 3;
/// The most kinds of errors kept apart; the rest counts as one kind, so that no server can fill the memory.
const ERROR_KINDS_MAX: usize = 64;
/// Where errors beyond [`ERROR_KINDS_MAX`] are counted.
const OTHER: &str = "other";

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An answer, with its decision's number on the wire.
    Answered(u8),
    /// A status or a lost connection, by code and reason.
    Failed(String),
}

/// Latencies and outcomes of one thread, or of all.
#[derive(Clone, Debug)]
pub struct Measured {
    latency_ns: Histogram<u64>,
    decisions: [u64; 4],
    failures: BTreeMap<String, u64>,
    /// What ended within the window, whenever it was due.
    ended: Within,
}

/// What ended within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
}

impl Measured {
    /// Starts with nothing.
    ///
    /// # Errors
    /// Never with the constants above; the histogram checks them.
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            latency_ns: Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, DIGITS)?,
            decisions: [0; 4],
            failures: BTreeMap::new(),
            ended: Within::default(),
        })
    }

    /// Notes that a request ended within the window. Who asks for more than is answered builds up a line: what is due within the window is
    /// then not what is done in it.
    pub const fn ended(&mut self, ended: &Ended) {
        match ended {
            Ended::Answered(_) => self.ended.answered += 1,
            Ended::Failed(_) => self.ended.failed += 1,
        }
    }

    /// Returns what ended within the window.
    pub const fn within(&self) -> Within {
        self.ended
    }

    /// Counts a request. A failure's latency is not mixed with that of answers: refusing is quicker.
    pub fn record(&mut self, latency_ns: u64, ended: Ended) {
        match ended {
            Ended::Answered(decision) => {
                self.latency_ns.saturating_record(latency_ns.max(LATENCY_NS_MIN));
                if let Some(count) = self.decisions.get_mut(usize::from(decision)) {
                    *count += 1;
                }
            }
            Ended::Failed(kind) => self.count_failure(kind, 1),
        }
    }

    /// Counts failures of a kind.
    pub fn count_failure(&mut self, kind: String, count: u64) {
        let full = self.failures.len() >= ERROR_KINDS_MAX && !self.failures.contains_key(&kind);
        *self.failures.entry(if full { OTHER.to_owned() } else { kind }).or_default() += count;
    }

    /// Adds what another thread measured.
    pub fn add(&mut self, other: &Self) {
        // Equal bounds: adding cannot fail.
        let _added = self.latency_ns.add(&other.latency_ns);
        for (mine, theirs) in self.decisions.iter_mut().zip(other.decisions) {
            *mine += theirs;
        }
        for (kind, count) in &other.failures {
            self.count_failure(kind.clone(), *count);
        }
        self.ended.answered += other.ended.answered;
        self.ended.failed += other.ended.failed;
    }

    /// Returns how many of the requests that were due in the window were answered.
    pub fn answered(&self) -> u64 {
        self.latency_ns.len()
    }

    /// Returns how many of them failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns the failures by kind.
    pub const fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Returns the answers by decision: unspecified, qualified, not qualified, indeterminate.
    pub const fn decisions(&self) -> [u64; 4] {
        self.decisions
    }

    /// Returns the latency that this share of answers stayed within, in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        nanos_as_ms(self.latency_ns.value_at_quantile(quantile))
    }

    /// Returns the longest latency, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        nanos_as_ms(self.latency_ns.max())
    }

    /// Returns the mean latency, in milliseconds.
    pub fn mean_ms(&self) -> f64 {
        self.latency_ns.mean() / 1e6
    }
}

fn nanos_as_ms(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_answers_alone() {
        let mut measured = Measured::new().unwrap();
        for one in 1..=1_000_u64 {
            measured.record(one * 1_000_000, Ended::Answered(1));
        }
        measured.record(1, Ended::Failed("Unavailable OVERLOADED".to_owned()));
        assert_eq!((measured.answered(), measured.failed()), (1_000, 1));
        assert!((measured.quantile_ms(0.5) - 500.0).abs() < 1.0);
        assert!((measured.quantile_ms(0.99) - 990.0).abs() < 1.0);
        assert!((measured.max_ms() - 1_000.0).abs() < 1.0);
    }

    #[test]
    fn threads_add_up_and_kinds_stay_bounded() {
        let mut all = Measured::new().unwrap();
        let mut one = Measured::new().unwrap();
        one.record(1_000, Ended::Answered(2));
        for kind in 0..200 {
            one.record(1_000, Ended::Failed(format!("kind {kind}")));
        }
        all.add(&one);
        all.add(&one);
        assert_eq!((all.answered(), all.decisions(), all.failed()), (2, [0, 0, 2, 0], 400));
        assert!(all.failures().len() <= ERROR_KINDS_MAX + 1);
    }
}
