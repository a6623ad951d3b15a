//! Points, the 12 of them, and the letters one carries.

use super::calendar::Day;
use super::life::Life;
use super::tables::{
    ACTS, DEFERRED_REVIEWS, DEGRADABLE, LATE_REPORTS, LETTERS, PAST_LETTERS, POINTS_PERIODS, REVERSED,
    STOPPED, TWELVES,
};
use crate::domain::licence::ChangeKind;

/// What never ends.
const NEVER: Day = Day::new(9_000, 1, 1);
/// Letters carried today began within so many days.
const RECENT_DAYS: i32 = 300;

impl Life<'_> {
    /// Points periods (记分周期): years from the first issue on, the running one included.
    fn periods(&self) -> i32 {
        (self.last_day.since(self.first_issue) / 365) + 1
    }

    fn period(&self, index: i32) -> (Day, Day) {
        (self.first_issue.years_after(index), self.first_issue.years_after(index + 1))
    }

    /// 12 points: the licence is held until the course is passed (记分管理办法 arts. 17–23), or announced as stopped (29).
    /// Not in the first year: that would end the probation's class (Order 162 art. 80).
    pub(super) fn reach_twelve_points(&mut self) {
        for index in 1..self.periods() {
            if self.chance.below(10_000) < TWELVES {
                let (begins, ends) = self.period(index);
                let day = begins.plus(self.chance.between(0, ends.since(begins) - 1));
                if day <= self.last_day && !self.is_in_trouble(day) {
                    self.hold_for_twelve(day);
                }
            }
        }
    }

    fn hold_for_twelve(&mut self, day: Day) {
        let set = |letter| ChangeKind::StateSet { letter, original_end: None };
        let lifted = |letter| ChangeKind::StateLifted { letter };
        self.twelves.push(day);
        let late = self.chance.between(0, 3);
        self.record_late(day, late, [ChangeKind::PointsSet { points: 12 }, set(b'B'), set(b'U')]);
        let is_stopped = self.chance.permille(STOPPED);
        let days = if is_stopped { self.chance.between(100, 400) } else { self.chance.between(15, 90) };
        let passed = day.plus(days);
        if is_stopped {
            self.record(day.plus(35), set(b'J'));
        }
        if passed > self.last_day {
            return self.troubles.push((day, NEVER));
        }
        self.troubles.push((day, passed));
        self.record_late(passed, 0, [ChangeKind::PointsCleared, lifted(b'B'), lifted(b'U')]);
        if is_stopped {
            self.record(passed, lifted(b'J'));
        }
    }

    /// Points in some periods, cleared at each period's end; a few are reported late, a few reversed.
    pub(super) fn earn_points(&mut self) {
        for index in 0..self.periods() {
            if self.chance.permille(POINTS_PERIODS.0) {
                let (begins, ends) = self.period(index);
                let has_twelve = self.twelves.iter().any(|day| (begins..ends).contains(day));
                let day = begins.plus(self.chance.between(0, 300));
                if !has_twelve && !self.is_in_trouble(day) && day <= self.last_day {
                    self.act(day, ends);
                }
            }
        }
    }

    fn act(&mut self, day: Day, ends: Day) {
        let points = *self.chance.weighed(&ACTS);
        let acts = ChangeKind::PointsSet { points };
        if self.chance.permille(REVERSED) {
            let after = self.chance.between(10, 50);
            let reversed = day.plus(after);
            self.record(day, acts);
            if reversed < ends && reversed <= self.last_day {
                return self.record_late(day, after, [ChangeKind::PointsReversed]);
            }
        } else if self.chance.permille(LATE_REPORTS) {
            let late = self.chance.between(3, 40);
            self.record_late(day, late, [acts]);
        } else {
            self.record(day, acts);
            self.act_again(day, ends, points);
        }
        self.record(ends, ChangeKind::PointsCleared);
    }

    /// A second act in the same period: the count stands at the sum.
    fn act_again(&mut self, first: Day, ends: Day, points: u8) {
        if self.chance.permille(POINTS_PERIODS.1) {
            let sum = points + *self.chance.weighed(&ACTS);
            let second = first.plus(self.chance.between(1, ends.since(first) - 1));
            if sum < 12 && !self.is_in_trouble(second) {
                self.record(second, ChangeKind::PointsSet { points: sum });
            }
        }
    }

    /// What was on hand once and is lifted, and what is carried today.
    pub(super) fn carry_letters(&mut self) {
        for (letter, permille, days) in PAST_LETTERS {
            if self.chance.permille(permille) {
                self.carry_for_a_while(letter, days);
            }
        }
        if !self.is_over {
            self.defer_review();
            self.carry_today();
        }
    }

    fn carry_for_a_while(&mut self, letter: u8, days: (i32, i32)) {
        let latest = self.last_day.plus(-RECENT_DAYS - days.1 - 1);
        let Some(from) = self.day_between(self.first_issue.plus(30), latest) else { return };
        let to = from.plus(self.chance.between(days.0, days.1));
        let overlaps = self.troubles.iter().any(|(begins, ends)| *begins <= to && from <= *ends);
        if !overlaps {
            self.troubles.push((from, to));
            // Less than the shortest span: what is set is recorded before it is lifted.
            let late = self.chance.between(0, 4);
            self.record_late(from, late, [ChangeKind::StateSet { letter, original_end: None }]);
            self.record(to, ChangeKind::StateLifted { letter });
        }
    }

    /// P for those of 70 and more, T for those whose class is reviewed: inside the original period, or already past it.
    fn defer_review(&mut self) {
        let is_old = self.person.birth.years_after(70) <= self.last_day;
        let is_reviewed = self.classes.iter().any(|held| DEGRADABLE.contains(&held.class));
        let letter = match (is_old, is_reviewed) {
            (true, _) => b'P',
            (false, true) => b'T',
            (false, false) => return,
        };
        if self.chance.permille(DEFERRED_REVIEWS) {
            let earliest = self.last_day.plus(-RECENT_DAYS).max(self.first_issue);
            if let Some(since) = self.day_between(earliest, self.last_day) {
                let end = since.plus(self.chance.between(30, 250));
                let original_end = Some(end.date());
                self.troubles.push((since, NEVER));
                self.record(since, ChangeKind::StateSet { letter, original_end });
            }
        }
    }

    fn carry_today(&mut self) {
        let letters = *self.chance.weighed(&LETTERS);
        let earliest = self.last_day.plus(-RECENT_DAYS).max(self.first_issue.plus(5));
        let Some(since) = self.day_between(earliest, self.last_day) else { return };
        let overlaps = self.troubles.iter().any(|(_, ends)| since <= *ends);
        if letters.is_empty() || overlaps {
            return;
        }
        self.troubles.push((since, NEVER));
        let late = self.chance.between(0, 10);
        let recorded = self.office_hour(since.plus(late).min(self.last_day));
        for &letter in letters {
            self.record_at(since, recorded, ChangeKind::StateSet { letter, original_end: None });
        }
    }
}
