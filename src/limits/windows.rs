//! The windows of the quota: minute, hour, and the civil day of China Standard Time.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::lease::{Tally, WindowGrant, share};
use crate::admission::{LimitExceeded, LimitLevel, LimitWindow};
use crate::domain::partner::Allowance;
use crate::domain::time::{civil_day, end_of, start_of};

/// When to come back while the deployment has answers left, but this replica none: slices come within a few milliseconds.
const SLICE_RETRY: Duration = Duration::from_millis(100);

/// How far another replica's clock, or Redis' own, may be ahead when it turns a window.
const AHEAD_MAX: SignedDuration = SignedDuration::from_secs(2);

/// The windows, shortest first.
const WINDOWS: [LimitWindow; 3] = [LimitWindow::QuotaMinute, LimitWindow::QuotaHour, LimitWindow::QuotaDay];

/// Answers counted in the windows now open.
#[derive(Debug)]
pub(super) struct Windows {
    open: [OpenWindow; 3],
    /// How many replicas share them; `None`: they are this process' own.
    replicas_max: Option<NonZeroU32>,
    /// Shared ones give nothing before the first word: what others hold of them is not known.
    is_starting: bool,
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
    /// The most this replica may give, when leased; `None`: its share, for the window opened since it last heard.
    entitled: Option<u64>,
    /// What it could still give when it last heard: half of it gone, more is wanted.
    slice: u64,
    /// What the other replicas had given by then.
    elsewhere: u64,
}

impl Windows {
    /// Opens the windows around `now`; shared ones give nothing before the first word, see [`Self::begin_alone`].
    pub(super) fn at(now: Timestamp, replicas_max: Option<NonZeroU32>) -> Self {
        let is_starting = replicas_max.is_some();
        let open = WINDOWS.map(|window| OpenWindow::around(window, now, is_starting));
        Self { open, replicas_max, is_starting }
    }

    /// Begins with this replica's share of every window: there was no first word.
    pub(super) fn begin_alone(&mut self) {
        self.is_starting = false;
        self.open.iter_mut().for_each(|open| open.entitled = None);
    }

    /// Counts one answer in every window, or in none and names the spent window that opens last: coming back earlier
    /// would be of no use. While slices are leased, one that is used up comes back at once if the deployment has answers left.
    pub(super) fn take(
        &mut self,
        allowance: &Allowance,
        now: Timestamp,
        is_leased: bool,
    ) -> Result<Counted, LimitExceeded> {
        self.roll(now);
        for index in (0..WINDOWS.len()).rev() {
            let (window, open) = (WINDOWS[index], &self.open[index]);
            let limit = limit_of(window, allowance);
            if open.taken >= open.ceiling(limit, self.replicas_max) {
                let comes_back = is_leased && open.taken.saturating_add(open.elsewhere) < limit;
                let left = open.left_at(now);
                let retry_after = if comes_back { left.min(SLICE_RETRY) } else { left };
                return Err(LimitExceeded { window, limit, retry_after });
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

    /// Says whether a slice is half used up.
    pub(super) fn is_low(&self, allowance: &Allowance) -> bool {
        WINDOWS.iter().zip(&self.open).any(|(window, open)| {
            let ceiling = open.ceiling(limit_of(*window, allowance), self.replicas_max);
            let slice = if open.entitled.is_some() { open.slice } else { ceiling };
            ceiling.saturating_sub(open.taken) <= slice / 2
        })
    }

    /// Says whether the deployment had answers left in every window when this replica last heard.
    pub(super) fn has_some_left_elsewhere(&self, allowance: &Allowance) -> bool {
        let mut windows = WINDOWS.iter().zip(&self.open);
        windows.all(|(window, open)| open.taken.saturating_add(open.elsewhere) < limit_of(*window, allowance))
    }

    /// Lets go of what is more than this replica's part of the rest, then says what it may give and has given of every window.
    pub(super) fn tallies(&mut self, allowance: &Allowance, now: Timestamp) -> [Tally; 3] {
        self.roll(now);
        std::array::from_fn(|index| {
            let (limit, open) = (limit_of(WINDOWS[index], allowance), &mut self.open[index]);
            open.keep_part(limit, self.replicas_max);
            Tally {
                limit,
                starts_at: open.starts_at.as_second(),
                entitled: open.entitled,
                spent: open.taken,
                elsewhere: open.elsewhere,
            }
        })
    }

    #[cfg(test)]
    pub(super) fn caps(&mut self, allowance: &Allowance, now: Timestamp) -> [(i64, u64); 3] {
        self.roll(now);
        std::array::from_fn(|index| {
            let (limit, open) = (limit_of(WINDOWS[index], allowance), &self.open[index]);
            (open.starts_at.as_second(), open.ceiling(limit, self.replicas_max).max(open.taken))
        })
    }

    /// Takes in what was leased of every window.
    pub(super) fn grant(&mut self, allowance: &Allowance, grants: &[WindowGrant; 3], now: Timestamp) {
        self.roll(now);
        for (index, grant) in grants.iter().enumerate() {
            let (window, open) = (WINDOWS[index], &mut self.open[index]);
            open.follow(window, grant.starts_at, now, self.is_starting);
            if open.starts_at.as_second() != grant.starts_at {
                if self.is_starting {
                    // Redis is in another window, and has no word on this one: as if it were away.
                    open.entitled = None;
                }
                continue;
            }
            open.elsewhere = grant.elsewhere;
            if let Some(entitled) = grant.entitled {
                let entitled = entitled.min(limit_of(window, allowance));
                open.entitled = Some(entitled);
                open.slice = entitled.saturating_sub(open.taken);
            }
        }
        self.is_starting = false;
    }

    /// Says what is left of every window: of the deployment while slices are leased, otherwise of what this replica may give.
    pub(super) fn levels(
        &mut self,
        allowance: &Allowance,
        now: Timestamp,
        is_leased: bool,
    ) -> [LimitLevel; 3] {
        self.roll(now);
        std::array::from_fn(|index| {
            let (window, open) = (WINDOWS[index], &self.open[index]);
            let limit = limit_of(window, allowance);
            LimitLevel {
                window,
                limit,
                remaining: if is_leased {
                    limit.saturating_sub(open.taken.saturating_add(open.elsewhere))
                } else {
                    open.ceiling(limit, self.replicas_max).saturating_sub(open.taken)
                },
                reset_after: open.left_at(now),
            }
        })
    }

    fn roll(&mut self, now: Timestamp) {
        for (window, open) in WINDOWS.into_iter().zip(&mut self.open) {
            if open.is_over_at(now) {
                // Shared, a window that was left for a later one gives nothing again before Redis' word: what was given there is forgotten.
                let is_left = self.replicas_max.is_some() && now < open.starts_at;
                *open = OpenWindow::around(window, now, self.is_starting || is_left);
            }
        }
    }
}

impl OpenWindow {
    /// Opens the window around `now`; it gives its share, or nothing before a word.
    fn around(window: LimitWindow, now: Timestamp, gives_nothing: bool) -> Self {
        let (starts_at, ends_at) = match window {
            LimitWindow::QuotaMinute => aligned(now, 60),
            LimitWindow::QuotaHour => aligned(now, 3_600),
            _ => (start_of(civil_day(now)), end_of(civil_day(now))),
        };
        Self { starts_at, ends_at, taken: 0, entitled: gives_nothing.then_some(0), slice: 0, elsewhere: 0 }
    }

    /// Returns the most that may be given here: the limit, or what is leased of it, or the share of a window not heard of.
    fn ceiling(&self, limit: u64, replicas_max: Option<NonZeroU32>) -> u64 {
        replicas_max.map_or(limit, |replicas_max| {
            self.entitled.unwrap_or_else(|| share(limit, replicas_max)).min(limit)
        })
    }

    /// Lowers what this replica may give to its part of what remains of the deployment's, as it last heard.
    fn keep_part(&mut self, limit: u64, replicas_max: Option<NonZeroU32>) {
        let (Some(entitled), Some(replicas_max)) = (self.entitled, replicas_max) else { return };
        let remaining = limit.saturating_sub(self.elsewhere.saturating_add(self.taken));
        let part = self.taken.saturating_add(remaining / u64::from(replicas_max.get()));
        self.entitled = Some(entitled.min(part));
    }

    /// Turns to a window that Redis has opened before us, if our clocks may differ so much.
    fn follow(&mut self, window: LimitWindow, starts_at: i64, now: Timestamp, is_starting: bool) {
        let Ok(told) = Timestamp::from_second(starts_at) else { return };
        if told > self.starts_at && told.duration_since(now) <= AHEAD_MAX {
            *self = Self::around(window, told, is_starting);
        }
    }

    /// A wall clock set back by less than a window must not open the window a second time; one set back by more
    /// was wrong before, and the window it led to is dropped.
    fn is_over_at(&self, now: Timestamp) -> bool {
        now >= self.ends_at
            || self.starts_at.duration_since(now) > self.ends_at.duration_since(self.starts_at)
    }

    fn left_at(&self, now: Timestamp) -> Duration {
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
        let mut windows = Windows::at(before, None);
        let allowance = quota(10, 10, 1);
        windows.take(&allowance, before, false).unwrap();
        let refused = windows.take(&allowance, before, false).unwrap_err();
        assert_eq!(refused.window, LimitWindow::QuotaDay);
        assert_eq!(refused.retry_after, Duration::from_secs(1));
        assert!(windows.take(&allowance, at("2026-03-01T16:00:00Z"), false).is_ok());
    }

    #[test]
    fn minutes_and_hours_are_aligned() {
        let mut windows = Windows::at(at("2026-03-01T10:59:58Z"), None);
        let allowance = quota(1, 2, 9);
        windows.take(&allowance, at("2026-03-01T10:58:58Z"), false).unwrap();
        let refused = windows.take(&allowance, at("2026-03-01T10:58:59Z"), false);
        assert_eq!(refused.unwrap_err().window, LimitWindow::QuotaMinute);
        windows.take(&allowance, at("2026-03-01T10:59:59.5Z"), false).unwrap_err();
        windows.take(&allowance, at("2026-03-01T11:00:00Z"), false).unwrap();
        assert_eq!(windows.levels(&allowance, at("2026-03-01T11:00:00Z"), false)[1].remaining, 1);
    }

    #[test]
    fn of_two_spent_windows_the_later_to_open_is_named() {
        let now = at("2026-03-01T10:00:00Z");
        let mut windows = Windows::at(now, None);
        let allowance = quota(1, 1, 9);
        windows.take(&allowance, now, false).unwrap();
        let refused = windows.take(&allowance, now, false).unwrap_err();
        assert_eq!((refused.window, refused.limit), (LimitWindow::QuotaHour, 1));
        assert_eq!(refused.retry_after, Duration::from_secs(3_600));
    }

    #[test]
    fn an_answer_is_given_back_to_its_own_windows_only() {
        let minute = at("2026-03-01T10:00:30Z");
        let mut windows = Windows::at(minute, None);
        let allowance = quota(5, 5, 5);
        let counted = windows.take(&allowance, minute, false).unwrap();
        let next_minute = at("2026-03-01T10:01:00Z");
        windows.take(&allowance, next_minute, false).unwrap();
        windows.give_back(counted);
        let remaining = windows.levels(&allowance, next_minute, false).map(|level| level.remaining);
        assert_eq!(remaining, [4, 4, 4]);
    }

    #[test]
    fn a_clock_set_back_does_not_open_the_window_again() {
        let now = at("2026-03-01T10:00:05Z");
        let mut windows = Windows::at(now, None);
        let allowance = quota(1, 9, 9);
        windows.take(&allowance, now, false).unwrap();
        assert!(windows.take(&allowance, now - 10.seconds(), false).is_err());
    }

    #[test]
    fn shared_windows_that_were_left_give_nothing_again_without_a_word() {
        let now = at("2026-03-01T10:00:05Z");
        let mut windows = Windows::at(now, 3.try_into().ok());
        windows.begin_alone();
        let allowance = quota(9, 9, 9);
        windows.take(&allowance, now + 48.hours(), false).unwrap();
        let refused = windows.take(&allowance, now, false).unwrap_err();
        assert_eq!(refused.window, LimitWindow::QuotaDay);
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_close_the_quota_for_years() {
        let mut windows = Windows::at(at("2036-03-01T10:00:05Z"), None);
        let allowance = quota(1, 1, 1);
        windows.take(&allowance, at("2036-03-01T10:00:05Z"), false).unwrap();
        assert!(windows.take(&allowance, at("2026-03-01T10:00:05Z"), false).is_ok());
    }
}
