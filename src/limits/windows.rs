//! The windows of the quota: minute, hour, and the civil day of China Standard Time.

use jiff::{SignedDuration, Timestamp};

use crate::admission::{LimitExceeded, LimitLevel, LimitWindow};
use crate::domain::partner::Allowance;
use crate::domain::time::{civil_day, end_of, start_of};

/// The windows, shortest first.
const WINDOWS: [LimitWindow; 3] = [LimitWindow::QuotaMinute, LimitWindow::QuotaHour, LimitWindow::QuotaDay];

/// Answers counted in the windows now open.
#[derive(Debug)]
pub(super) struct Windows {
    open: [OpenWindow; 3],
}

/// Which windows an answer was counted in, to give it back to these and to no later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    starts: [Timestamp; 3],
}

/// One window: from `starts_at` up to, not including, `ends_at`.
#[derive(Clone, Copy, Debug)]
struct OpenWindow {
    starts_at: Timestamp,
    ends_at: Timestamp,
    taken: u64,
}

impl Windows {
    /// Opens the windows around `now`.
    pub(super) fn at(now: Timestamp) -> Self {
        Self { open: WINDOWS.map(|window| OpenWindow::around(window, now)) }
    }

    /// Counts one answer in every window, or in none and names the spent window that opens last: coming back earlier
    /// would be of no use.
    pub(super) fn take(&mut self, allowance: &Allowance, now: Timestamp) -> Result<Counted, LimitExceeded> {
        self.roll(now);
        for index in (0..WINDOWS.len()).rev() {
            let (window, open) = (WINDOWS[index], &self.open[index]);
            let limit = limit_of(window, allowance);
            if open.taken >= limit {
                return Err(LimitExceeded { window, limit, retry_after: open.left_at(now) });
            }
        }
        self.open.iter_mut().for_each(|open| open.taken += 1);
        Ok(Counted { starts: self.open.map(|open| open.starts_at) })
    }

    /// Gives an answer back to those of its windows that are still open.
    pub(super) fn give_back(&mut self, counted: Counted) {
        for (open, starts_at) in self.open.iter_mut().zip(counted.starts) {
            if open.starts_at == starts_at {
                open.taken = open.taken.saturating_sub(1);
            }
        }
    }

    /// Says what is left of every window.
    pub(super) fn levels(&mut self, allowance: &Allowance, now: Timestamp) -> [LimitLevel; 3] {
        self.roll(now);
        std::array::from_fn(|index| {
            let (window, open) = (WINDOWS[index], &self.open[index]);
            let limit = limit_of(window, allowance);
            LimitLevel {
                window,
                limit,
                remaining: limit.saturating_sub(open.taken),
                reset_after: open.left_at(now),
            }
        })
    }

    fn roll(&mut self, now: Timestamp) {
        for (window, open) in WINDOWS.into_iter().zip(&mut self.open) {
            if open.is_over_at(now) {
                *open = OpenWindow::around(window, now);
            }
        }
    }
}

impl OpenWindow {
    fn around(window: LimitWindow, now: Timestamp) -> Self {
        let (starts_at, ends_at) = match window {
            LimitWindow::QuotaMinute => aligned(now, 60),
            LimitWindow::QuotaHour => aligned(now, 3_600),
            _ => (start_of(civil_day(now)), end_of(civil_day(now))),
        };
        Self { starts_at, ends_at, taken: 0 }
    }

    /// A wall clock set back by less than a window must not open the window a second time; one set back by more
    /// was wrong before, and the window it led to is dropped.
    fn is_over_at(&self, now: Timestamp) -> bool {
        now >= self.ends_at
            || self.starts_at.duration_since(now) > self.ends_at.duration_since(self.starts_at)
    }

    fn left_at(&self, now: Timestamp) -> std::time::Duration {
        self.ends_at.duration_since(now).max(SignedDuration::ZERO).unsigned_abs()
    }
}

/// Returns the aligned window of so many seconds around `now`. China Standard Time is whole hours from UTC.
fn aligned(now: Timestamp, seconds: i64) -> (Timestamp, Timestamp) {
    let start = now.as_second().div_euclid(seconds) * seconds;
    let moment = |second| Timestamp::from_second(second).unwrap_or(now);
    (moment(start), moment(start + seconds))
}

fn limit_of(window: LimitWindow, allowance: &Allowance) -> u64 {
    match window {
        LimitWindow::QuotaMinute => allowance.quota_per_minute,
        LimitWindow::QuotaHour => allowance.quota_per_hour,
        _ => allowance.quota_per_day,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::ToSpan as _;

    use super::*;
    use crate::limits::testing::allowance;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn quota(per_minute: u64, per_hour: u64, per_day: u64) -> Allowance {
        Allowance {
            quota_per_minute: per_minute,
            quota_per_hour: per_hour,
            quota_per_day: per_day,
            ..allowance()
        }
    }

    #[test]
    fn the_day_turns_at_midnight_in_china() {
        let before = at("2026-03-01T15:59:59Z");
        let mut windows = Windows::at(before);
        let allowance = quota(10, 10, 1);
        windows.take(&allowance, before).unwrap();
        let refused = windows.take(&allowance, before).unwrap_err();
        assert_eq!(refused.window, LimitWindow::QuotaDay);
        assert_eq!(refused.retry_after, Duration::from_secs(1));
        assert!(windows.take(&allowance, at("2026-03-01T16:00:00Z")).is_ok());
    }

    #[test]
    fn minutes_and_hours_are_aligned() {
        let mut windows = Windows::at(at("2026-03-01T10:59:58Z"));
        let allowance = quota(1, 2, 9);
        windows.take(&allowance, at("2026-03-01T10:58:58Z")).unwrap();
        let refused = windows.take(&allowance, at("2026-03-01T10:58:59Z"));
        assert_eq!(refused.unwrap_err().window, LimitWindow::QuotaMinute);
        windows.take(&allowance, at("2026-03-01T10:59:59.5Z")).unwrap_err();
        windows.take(&allowance, at("2026-03-01T11:00:00Z")).unwrap();
        assert_eq!(windows.levels(&allowance, at("2026-03-01T11:00:00Z"))[1].remaining, 1);
    }

    #[test]
    fn of_two_spent_windows_the_later_to_open_is_named() {
        let now = at("2026-03-01T10:00:00Z");
        let mut windows = Windows::at(now);
        let allowance = quota(1, 1, 9);
        windows.take(&allowance, now).unwrap();
        let refused = windows.take(&allowance, now).unwrap_err();
        assert_eq!((refused.window, refused.limit), (LimitWindow::QuotaHour, 1));
        assert_eq!(refused.retry_after, Duration::from_secs(3_600));
    }

    #[test]
    fn an_answer_is_given_back_to_its_own_windows_only() {
        let minute = at("2026-03-01T10:00:30Z");
        let mut windows = Windows::at(minute);
        let allowance = quota(5, 5, 5);
        let counted = windows.take(&allowance, minute).unwrap();
        let next_minute = at("2026-03-01T10:01:00Z");
        windows.take(&allowance, next_minute).unwrap();
        windows.give_back(counted);
        let remaining = windows.levels(&allowance, next_minute).map(|level| level.remaining);
        assert_eq!(remaining, [4, 4, 4]);
    }

    #[test]
    fn a_clock_set_back_does_not_open_the_window_again() {
        let now = at("2026-03-01T10:00:05Z");
        let mut windows = Windows::at(now);
        let allowance = quota(1, 9, 9);
        windows.take(&allowance, now).unwrap();
        assert!(windows.take(&allowance, now - 10.seconds()).is_err());
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_close_the_quota_for_years() {
        let mut windows = Windows::at(at("2036-03-01T10:00:05Z"));
        let allowance = quota(1, 1, 1);
        windows.take(&allowance, at("2036-03-01T10:00:05Z")).unwrap();
        assert!(windows.take(&allowance, at("2026-03-01T10:00:05Z")).is_ok());
    }
}
