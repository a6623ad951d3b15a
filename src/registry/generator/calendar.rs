//! Days as plain numbers: a life is told in thousands of days, and civil arithmetic for each would be most of its cost.

use jiff::Timestamp;
use jiff::civil::{Date, date};

use crate::domain::time::start_of;

/// A civil day, counted from 1 January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i32);

impl Day {
    /// Names a day of the calendar.
    pub(super) const fn new(year: i32, month: i32, day: i32) -> Self {
        Self(count(year, month, day))
    }

    /// Counts a date.
    pub(super) fn of(date: Date) -> Self {
        Self(count(i32::from(date.year()), i32::from(date.month()), i32::from(date.day())))
    }

    /// Returns the civil date. Years beyond the calendar's end cannot occur: a life ends before its as-of day.
    pub(super) fn date(self) -> Date {
        let (year, month, day) = self.civil();
        let narrow = |part: i32| i8::try_from(part).unwrap_or(1);
        Date::new(i16::try_from(year).unwrap_or(0), narrow(month), narrow(day)).unwrap_or_default()
    }

    /// Returns the day's number.
    pub(super) const fn number(self) -> i32 {
        self.0
    }

    /// Returns the day so many days later.
    pub(super) const fn plus(self, days: i32) -> Self {
        Self(self.0 + days)
    }

    /// Returns the same day of a later or earlier year; a 29 February becomes the 28th in common years.
    pub(super) const fn years_after(self, years: i32) -> Self {
        let (year, month, day) = self.civil();
        let year = year + years;
        let day = if month == 2 && day == 29 && !is_leap(year) { 28 } else { day };
        Self(count(year, month, day))
    }

    /// Returns the days from another day to this one.
    pub(super) const fn since(self, other: Self) -> i32 {
        self.0 - other.0
    }

    /// Year, month and day. The algorithm counts years from 1 March, so that the leap day is a year's last.
    const fn civil(self) -> (i32, i32, i32) {
        let days = self.0 + DAYS_TO_1970;
        let era = days.div_euclid(DAYS_PER_ERA);
        let of_era = days - era * DAYS_PER_ERA;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let year = year_of_era + era * 400;
        if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
    }
}

/// Days of 400 years.
const DAYS_PER_ERA: i32 = 146_097;
/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_TO_1970: i32 = 719_468;

const fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn count(year: i32, month: i32, day: i32) -> i32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - DAYS_TO_1970
}

/// Turns days and minutes into moments. Where a day begins is said in `domain::time` alone: it is asked once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    first_second: i64,
}

impl Moments {
    pub(super) fn new() -> Self {
        Self { first_second: start_of(date(1970, 1, 1)).as_second() }
    }

    /// Returns a minute of a day.
    pub(super) fn at(self, day: Day, minute: i32) -> Timestamp {
        let second = self.first_second + i64::from(day.0) * 86_400 + i64::from(minute) * 60;
        Timestamp::from_second(second).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn every_day_of_two_centuries_is_the_calendar_s() {
        let moments = Moments::new();
        let mut date = date(1890, 1, 1);
        let mut day = Day::of(date);
        while date.year() < 2110 {
            assert_eq!((day.date(), Day::of(date)), (date, day));
            for years in [1, 6, 18, -70] {
                assert_eq!(day.years_after(years).date(), date.saturating_add(years.years()));
            }
            assert_eq!(moments.at(day, 90), start_of(date) + 90.minutes());
            (date, day) = (date.tomorrow().unwrap(), day.plus(1));
        }
    }
}
