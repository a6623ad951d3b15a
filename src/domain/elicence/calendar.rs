//! Working days as data: weekends, less the days worked, plus the holidays the State Council names each year.

use jiff::civil::{Date, Weekday};

/// Which days are worked. Without data for a year its weekends alone are off; a review that seems late for want of a holiday
/// is only seen as late, for lateness decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkingDays {
    /// Holidays on days that would be worked; ascending.
    off: Vec<Date>,
    /// Days of a weekend that are worked instead (调休); ascending.
    worked: Vec<Date>,
}

/// No calendar names so many days off in a row; what follows a longer row is not looked for.
const SEARCH_DAYS_MAX: u16 = 400;

impl WorkingDays {
    /// Takes holidays and worked weekend days, in any order.
    pub fn new(mut off: Vec<Date>, mut worked: Vec<Date>) -> Self {
        off.sort_unstable();
        worked.sort_unstable();
        Self { off, worked }
    }

    /// Says whether a day is worked.
    pub fn is_worked(&self, day: Date) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        match weekend {
            true => self.worked.binary_search(&day).is_ok(),
            false => self.off.binary_search(&day).is_err(),
        }
    }

    /// Returns the last day of a term of so many working days that begins on the day after `day`.
    pub fn due(&self, day: Date, working_days: u16) -> Date {
        let (mut due, mut left) = (day, working_days);
        for _ in 0..SEARCH_DAYS_MAX.saturating_add(working_days) {
            let (false, Ok(next)) = (left == 0, due.tomorrow()) else { break };
            due = next;
            left -= u16::from(self.is_worked(due));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    /// The week of 1 October 2026 as an example: seven days off, a Sunday before and a Saturday after worked.
    fn october() -> WorkingDays {
        let off = (1..=7).map(|day| date(2026, 10, day)).collect();
        WorkingDays::new(off, vec![date(2026, 10, 10), date(2026, 9, 20)])
    }

    #[test]
    fn a_term_of_one_working_day_ends_on_the_next_day_worked() {
        let calendar = october();
        for (from, due) in [
            (date(2026, 9, 16), date(2026, 9, 17)),
            (date(2026, 9, 18), date(2026, 9, 20)),
            (date(2026, 9, 30), date(2026, 10, 8)),
            (date(2026, 10, 3), date(2026, 10, 8)),
            (date(2026, 10, 9), date(2026, 10, 10)),
            (date(2026, 10, 10), date(2026, 10, 12)),
        ] {
            assert_eq!(calendar.due(from, 1), due, "{from}");
        }
        assert_eq!(calendar.due(date(2026, 9, 30), 0), date(2026, 9, 30));
        assert_eq!(calendar.due(date(2026, 9, 30), 3), date(2026, 10, 10));
    }

    #[test]
    fn without_data_weekends_alone_are_off() {
        let calendar = WorkingDays::default();
        assert_eq!(calendar.due(date(2026, 11, 20), 1), date(2026, 11, 23), "a Friday");
        assert_eq!(calendar.due(date(2026, 9, 30), 1), date(2026, 10, 1));
    }

    #[test]
    fn a_calendar_without_end_of_holidays_ends_the_search() {
        let first = date(2026, 1, 1);
        let off = (0..2000).map(|days| first.saturating_add(jiff::Span::new().days(days))).collect();
        assert!(WorkingDays::new(off, Vec::new()).due(first, 1) < date(2028, 1, 1));
        assert_eq!(october().due(Date::MAX, 5), Date::MAX);
    }

    proptest! {
        #[test]
        fn a_term_holds_exactly_its_working_days(start in 0i64..400, length in 0u16..30) {
            let calendar = october();
            let from = date(2026, 3, 1).saturating_add(jiff::Span::new().days(start));
            let due = calendar.due(from, length);
            let worked = from.series(jiff::Span::new().days(1)).skip(1).take_while(|day| *day <= due);
            prop_assert_eq!(worked.filter(|day| calendar.is_worked(*day)).count(), usize::from(length));
            prop_assert!(length == 0 || calendar.is_worked(due));
        }
    }
}
