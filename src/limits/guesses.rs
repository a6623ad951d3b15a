//! How often a partner may try share codes that are not accepted: a code has 65 bits, so this is there to be seen guessing, not to hold
//! the guess up.

use std::collections::VecDeque;
use std::time::Duration;

use crate::verification::ports::GuessesExceeded;

/// Within which time wrong codes count.
const WINDOW: Duration = Duration::from_hours(1);

/// Wrong codes within the window: what a busy desk mistypes past the check symbol, and codes of other partners, are far fewer.
const MISSES_MAX: usize = 20;

/// The latest misses of one partner, since boot, oldest first. Never more than [`MISSES_MAX`], so it stays below a kibibyte.
#[derive(Debug, Default)]
pub(super) struct Guesses(VecDeque<Duration>);

impl Guesses {
    /// Says whether another code may be tried. Codes tried at the same moment do not know of each other's misses: as many more as are in
    /// flight may pass.
    pub(super) fn may_try(&mut self, now: Duration) -> Result<(), GuessesExceeded> {
        self.0.retain(|missed| now.saturating_sub(*missed) < WINDOW);
        match self.0.front() {
            Some(oldest) if self.0.len() >= MISSES_MAX => {
                Err(GuessesExceeded { retry_after: (*oldest + WINDOW).saturating_sub(now) })
            }
            _ => Ok(()),
        }
    }

    /// Counts a code that was not accepted.
    pub(super) fn missed(&mut self, now: Duration) {
        if self.0.len() >= MISSES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(minute: u64) -> Duration {
        Duration::from_secs(10_000 + minute * 60)
    }

    #[test]
    fn the_twenty_first_try_within_an_hour_waits_for_the_first_to_be_forgotten() {
        let mut guesses = Guesses::default();
        for minute in 0..20 {
            assert_eq!(guesses.may_try(at(minute)), Ok(()), "{minute}");
            guesses.missed(at(minute));
        }
        let exceeded = GuessesExceeded { retry_after: Duration::from_mins(30) };
        assert_eq!(guesses.may_try(at(30)), Err(exceeded));
        assert_eq!(guesses.may_try(at(30)), Err(exceeded), "asking costs nothing");
        assert_eq!(guesses.may_try(at(60)), Ok(()), "the first is an hour ago");
        guesses.missed(at(60));
        assert_eq!(guesses.may_try(at(60)), Err(GuessesExceeded { retry_after: Duration::from_mins(1) }));
    }

    proptest! {
        #[test]
        fn never_more_than_twenty_within_any_hour_and_bounded(steps in proptest::collection::vec(0u64..20, 0..200)) {
            let (mut guesses, mut minute, mut misses) = (Guesses::default(), 0, Vec::new());
            for step in steps {
                minute += step;
                let lately = misses.iter().filter(|missed| minute - **missed < 60).count();
                prop_assert_eq!(guesses.may_try(at(minute)).is_ok(), lately < 20);
                if lately < 20 {
                    guesses.missed(at(minute));
                    misses.push(minute);
                }
                prop_assert!(guesses.0.len() <= MISSES_MAX);
            }
        }
    }
}
