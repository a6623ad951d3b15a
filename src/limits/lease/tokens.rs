//! The tokens of the rate that this replica holds: one counter that requests count down.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens at hand. Requests take them; the keeper alone adds and takes back.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    left: AtomicU64,
    /// All that were ever added, less those taken back.
    entitled: AtomicU64,
    /// At or below this many, more are wanted.
    low: AtomicU64,
}

impl Tokens {
    /// Takes one. `None`: there is none. Otherwise whether more are wanted.
    pub(super) fn take(&self) -> Option<bool> {
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        before.ok().map(|before| before - 1 <= self.low.load(Ordering::Relaxed))
    }

    /// Returns how many are at hand.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Returns what was ever added and what was ever taken. A request may take one meanwhile: the count is at most too low, as a report
    /// a moment earlier would have been.
    pub(super) fn tally(&self) -> (u64, u64) {
        let entitled = self.entitled.load(Ordering::Relaxed);
        (entitled, entitled.saturating_sub(self.left()))
    }

    /// Adds tokens, up to `left_max` at hand.
    pub(super) fn add(&self, count: u64, left_max: u64) {
        let count = count.min(left_max.saturating_sub(self.left()));
        // Entitled first: a tally between the two must not show more left than was ever added.
        self.entitled.fetch_add(count, Ordering::Relaxed);
        self.left.fetch_add(count, Ordering::Relaxed);
        self.low.store(self.left() / 2, Ordering::Relaxed);
    }

    /// Lets go of all but so many.
    pub(super) fn keep(&self, left_max: u64) {
        let mut let_go = 0;
        let _always_some = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            let_go = left.saturating_sub(left_max);
            Some(left - let_go)
        });
        self.entitled.fetch_sub(let_go, Ordering::Relaxed);
        self.low.store(self.left() / 2, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_added_and_let_go_of() {
        let tokens = Tokens::default();
        assert_eq!(tokens.take(), None);
        tokens.add(10, 4);
        assert_eq!((tokens.left(), tokens.tally()), (4, (4, 0)));
        assert_eq!(tokens.take(), Some(false));
        assert_eq!(tokens.take(), Some(true), "half is gone: more are wanted");
        assert_eq!(tokens.tally(), (4, 2));
        tokens.keep(1);
        assert_eq!((tokens.left(), tokens.tally()), (1, (3, 2)));
        assert_eq!(tokens.take(), Some(true));
        assert_eq!(tokens.take(), None);
    }
}
