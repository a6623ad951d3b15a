//! How often what failed may be tried again: a tenth of what is asked.

use std::sync::atomic::{AtomicU32, Ordering};

/// What one more attempt costs, in tenths.
const ATTEMPT: u32 = 10;
/// What every request brings, in tenths: a tenth of an attempt.
const REQUEST: u32 = 1;
/// As much as is saved for bad times: 50 attempts, enough for the connections a server drops when it restarts.
const SAVED_MAX: u32 = 50 * ATTEMPT;

/// A bucket of attempts, one for all that reach for the registry: it fills by a tenth for each request and is emptied by one for each
/// attempt beyond the first. So trouble makes at most a tenth more load, whatever fails and however often.
#[derive(Debug)]
pub struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(SAVED_MAX))
    }
}

impl RetryBudget {
    /// A request is made for the first time.
    pub fn asked(&self) {
        let fuller = |saved: u32| (saved < SAVED_MAX).then(|| (saved + REQUEST).min(SAVED_MAX));
        // A full bucket is only read: nothing is written that other cores would have to fetch.
        let _full = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fuller);
    }

    /// Takes an attempt, if there is one.
    pub fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(ATTEMPT)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_a_tenth_of_the_requests_beyond_what_was_saved() {
        let budget = RetryBudget::default();
        let saved = (0..1_000).filter(|_| budget.take()).count();
        assert_eq!(saved, 50);
        let mut made = 0;
        for _ in 0..1_000 {
            budget.asked();
            made += usize::from(budget.take());
        }
        assert_eq!(made, 100);
        (0..10_000).for_each(|_| budget.asked());
        assert_eq!(
            (0..1_000).filter(|_| budget.take()).count(),
            50,
            "no more is saved, however long all is well"
        );
    }

    #[test]
    fn racing_takers_share_one_bucket() {
        let budget = RetryBudget::default();
        let taken: usize = std::thread::scope(|threads| {
            let take = || (0..1_000).filter(|_| budget.take()).count();
            let takers: Vec<_> = (0..4).map(|_| threads.spawn(take)).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(taken, 50);
    }
}
