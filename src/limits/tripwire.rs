//! How many of a partner's claims came to nothing, and what follows: every claim of the partner slows down, then none is answered.
//!
//! A delay and no refusals at first: an honest desk on a bad day is served, only later, while somebody who guesses gets fewer guesses for
//! as many places in flight. It stands before everything else that is done about a claim, is the same for every claim, and the floor counts
//! from its end: so it tells nothing of the claim. What is counted is every unconfirmed answer, the same number guessed at again included.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::partner::ClaimTerms;

/// The wait at the first threshold, and right before the second. The second leaves room for look-up and floor within the usual 2 s.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What a partner's unconfirmed claims lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Claims are answered.
    Free,
    /// Claims wait so long first.
    Slowed(Duration),
    /// Claims are not answered.
    Tripped,
}

/// One partner's count, since the window began or an operator last let the partner claim again.
#[derive(Debug)]
pub(super) struct Tripwire {
    since: Timestamp,
    here: u64,
    elsewhere: u64,
    /// Different numbers claimed in this window before `since`.
    subjects_before: u64,
    /// It does not come back by itself: more different numbers must not lower the share again.
    is_tripped: bool,
}

impl Tripwire {
    /// Begins to count. `subjects`: different numbers claimed in this window so far.
    pub(super) const fn new(since: Timestamp, subjects: u64) -> Self {
        Self { since, here: 0, elsewhere: 0, subjects_before: subjects, is_tripped: false }
    }

    /// Returns since when it counts.
    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    /// Returns what was counted here.
    pub(super) const fn here(&self) -> u64 {
        self.here
    }

    /// Returns what was counted here and elsewhere.
    pub(super) const fn unconfirmed(&self) -> u64 {
        self.here + self.elsewhere
    }

    /// Leaves out different numbers that turn out to have been claimed before `since`.
    pub(super) const fn leave_out(&mut self, subjects: u64) {
        self.subjects_before += subjects;
    }

    /// Counts unconfirmed claims, of which this process or the log before it knows.
    pub(super) const fn count(&mut self, unconfirmed: u64) {
        self.here += unconfirmed;
    }

    /// Takes up what the others have counted since `since`; another beginning is another count.
    pub(super) fn learn(&mut self, since: Timestamp, elsewhere: u64) {
        if since == self.since {
            self.elsewhere = elsewhere;
        }
    }

    /// Judges, over so many different numbers claimed in this window. Once tripped it stays so until it begins anew.
    pub(super) fn pace(&mut self, terms: &ClaimTerms, subjects: u64) -> Pace {
        let unconfirmed = self.unconfirmed();
        let subjects = subjects.saturating_sub(self.subjects_before);
        self.is_tripped |= terms.suspend.is_reached(unconfirmed, subjects);
        if self.is_tripped {
            Pace::Tripped
        } else if terms.slow.is_reached(unconfirmed, subjects) {
            Pace::Slowed(wait(terms, unconfirmed))
        } else {
            Pace::Free
        }
    }
}

/// Grows evenly from the first threshold's count to the second's.
fn wait(terms: &ClaimTerms, unconfirmed: u64) -> Duration {
    let first = u64::from(terms.slow.unconfirmed);
    let steps = u64::from(terms.suspend.unconfirmed).saturating_sub(first).max(1);
    let step = u32::try_from(unconfirmed.saturating_sub(first).min(steps)).unwrap_or(u32::MAX);
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    WAIT_MIN + (WAIT_MAX - WAIT_MIN).mul_f64(f64::from(step) / f64::from(steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::partner::{PartnerKind, Threshold};

    fn began() -> Timestamp {
        "2026-02-28T16:00:00Z".parse().unwrap()
    }

    fn terms() -> ClaimTerms {
        ClaimTerms {
            slow: Threshold { unconfirmed: 20, percent: 20 },
            suspend: Threshold { unconfirmed: 100, percent: 40 },
            ..ClaimTerms::usual(PartnerKind::Rental)
        }
    }

    #[test]
    fn it_slows_more_and_more_and_then_trips_for_good() {
        let mut tripwire = Tripwire::new(began(), 0);
        let mut before = Duration::ZERO;
        for unconfirmed in 1..100 {
            tripwire.count(1);
            match tripwire.pace(&terms(), unconfirmed) {
                Pace::Free => assert!(unconfirmed < 20),
                Pace::Slowed(wait) => {
                    assert!(unconfirmed >= 20 && wait > before && wait < WAIT_MAX, "{unconfirmed}: {wait:?}");
                    before = wait;
                }
                Pace::Tripped => panic!("after {unconfirmed}"),
            }
        }
        tripwire.count(1);
        assert_eq!(tripwire.pace(&terms(), 100), Pace::Tripped);
        assert_eq!(tripwire.pace(&terms(), 100_000), Pace::Tripped, "more numbers do not bring it back");
    }

    #[test]
    fn a_small_share_neither_slows_nor_trips_however_many() {
        let mut tripwire = Tripwire::new(began(), 0);
        tripwire.count(1_000);
        assert_eq!(tripwire.pace(&terms(), 5_001), Pace::Free);
        assert!(matches!(tripwire.pace(&terms(), 2_501), Pace::Slowed(wait) if wait == WAIT_MAX));
        assert_eq!(tripwire.pace(&terms(), 2_500), Pace::Tripped);
    }

    #[test]
    fn what_was_claimed_before_an_operator_let_it_go_does_not_dilute() {
        let mut tripwire = Tripwire::new(began(), 5_000);
        tripwire.count(99);
        assert!(matches!(tripwire.pace(&terms(), 5_000), Pace::Slowed(_)));
        tripwire.count(1);
        assert_eq!(tripwire.pace(&terms(), 5_100), Pace::Tripped);
    }

    #[test]
    fn replicas_count_together_if_they_began_together() {
        let mut tripwire = Tripwire::new(began(), 0);
        tripwire.count(60);
        tripwire.learn(began() + Duration::from_secs(1), 1_000);
        assert!(matches!(tripwire.pace(&terms(), 60), Pace::Slowed(_)));
        tripwire.learn(began(), 40);
        assert_eq!(tripwire.here(), 60, "what others told is not told again");
        assert_eq!(tripwire.pace(&terms(), 60), Pace::Tripped);
    }
}
