//! Moments and civil days. China Standard Time lives here and nowhere else.

use std::cmp::Ordering;

use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _, civil::Date};

/// China Standard Time: UTC+8, no daylight saving.
pub const CHINA_STANDARD_TIME: Offset = Offset::constant(8);

/// Tells the time. Passed in everywhere, so that rules and tests decide what "now" is.
pub trait Clock: Send + Sync + 'static {
    /// Returns the wall-clock time.
    fn now(&self) -> Timestamp;

    /// Returns the time since boot, suspension included (CLOCK_BOOTTIME): the only clock ages are measured with.
    fn since_boot(&self) -> std::time::Duration;
}

/// Returns the civil day a moment falls on.
pub fn civil_day(moment: Timestamp) -> Date {
    CHINA_STANDARD_TIME.to_datetime(moment).date()
}

/// Returns the first moment of a civil day.
pub fn start_of(day: Date) -> Timestamp {
    CHINA_STANDARD_TIME.to_timestamp(day.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
}

/// Returns the first moment after a civil day: an end date is inclusive (`docs/domain.md` §6: the usual reading).
pub fn end_of(day: Date) -> Timestamp {
    day.tomorrow().map_or(Timestamp::MAX, start_of)
}

/// Returns the day that lies `months` calendar months after `day`; a missing day becomes the month's last.
pub fn months_after(day: Date, months: i32) -> Date {
    day.saturating_add(months.months())
}

/// Returns the day somebody reaches an age; a 29 February becomes the 28th in common years.
pub fn birthday(birth_day: Date, years: u8) -> Date {
    birth_day.saturating_add(i32::from(years).years())
}

/// Says whether somebody has reached an age by a day. Most often the years tell.
pub fn has_reached(birth_day: Date, years: u8, day: Date) -> bool {
    match (i32::from(birth_day.year()) + i32::from(years)).cmp(&i32::from(day.year())) {
        Ordering::Less => true,
        Ordering::Equal => birthday(birth_day, years) <= day,
        Ordering::Greater => false,
    }
}

/// Returns the age in whole years on a day; 0 before birth.
pub fn age_on(birth_day: Date, day: Date) -> i16 {
    let years = day.year() - birth_day.year();
    let had_birthday = u8::try_from(years).is_ok_and(|years| birthday(birth_day, years) <= day);
    (years - i16::from(!had_birthday)).max(0)
}

/// When a change takes effect: at an instant, or with the first moment of a civil day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effective {
    /// At this moment.
    At(Timestamp),
    /// From the first moment of this day on.
    On(Date),
}

impl Effective {
    /// Returns the first moment at which the change holds.
    pub fn moment(self) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::On(day) => start_of(day),
        }
    }

    /// Returns the civil day from which the change holds.
    pub fn day(self) -> Date {
        match self {
            Self::At(moment) => civil_day(moment),
            Self::On(day) => day,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_china() {
        let day = date(2026, 3, 1);
        assert_eq!(start_of(day).to_string(), "2026-02-28T16:00:00Z");
        assert_eq!(end_of(day).to_string(), "2026-03-01T16:00:00Z");
        assert_eq!(civil_day(end_of(day)), date(2026, 3, 2));
        assert_eq!(civil_day(end_of(day) - 1.nanosecond()), day);
    }

    #[test]
    fn ages_grow_on_the_birthday() {
        let born = date(1963, 3, 2);
        assert_eq!(age_on(born, date(2026, 3, 1)), 62);
        assert_eq!(age_on(born, date(2026, 3, 2)), 63);
        assert_eq!(age_on(born, date(1960, 1, 1)), 0);
        assert_eq!(birthday(date(2004, 2, 29), 18), date(2022, 2, 28));
        for (day, reached) in [(date(2026, 3, 1), false), (date(2026, 3, 2), true), (date(2027, 1, 1), true)]
        {
            assert_eq!(has_reached(born, 63, day), reached, "{day}");
        }
        assert!(!has_reached(born, 63, date(2025, 12, 31)));
    }

    #[test]
    fn the_29th_of_february_falls_back_to_the_28th() {
        assert_eq!(months_after(date(2024, 2, 29), 12), date(2025, 2, 28));
    }
}
