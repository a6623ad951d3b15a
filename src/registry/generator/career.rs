//! Classes added (Order 162 arts. 16–17), and lost: to 12 points, to age.

use super::calendar::Day;
use super::life::{Held, Life};
use super::tables::{
    ADDITIONS, ALONE, Addition, DEGRADABLE, EXTENDED, NOT_EXCHANGED, ORDER_172, SCHOOL_BUS, ceiling,
    precondition,
};
use crate::domain::licence::{ChangeKind, Endorsement, MotorType, VehicleClass};

/// The age to which a class may be extended (*assumption*, `docs/population.md`).
const EXTENDED_TO: u8 = 66;

impl Life<'_> {
    pub(super) fn add_classes(&mut self) {
        let begins_alone = self.classes.first().is_some_and(|held| ALONE.contains(&held.class));
        if begins_alone {
            return;
        }
        for addition in &ADDITIONS {
            let from = self.classes.iter().find(|held| addition.from.contains(&held.class)).copied();
            let holds = self.classes.iter().any(|held| held.class == addition.to);
            if let Some(from) = from.filter(|_| !holds)
                && self.chance.permille(addition.permille)
            {
                let day = self.wanted_on(from, addition);
                if self.may_add(from, addition.to, day) {
                    self.classes.push(Held { class: addition.to, since: day, until: None });
                    self.exchanges.push(day);
                    self.record(day, ChangeKind::ClassAdded { class: addition.to });
                }
            }
        }
    }

    fn wanted_on(&mut self, from: Held, addition: &Addition) -> Day {
        let (least, most) = addition.years;
        from.since.years_after(self.chance.between(least, most - 1)).plus(self.chance.between(0, 364))
    }

    fn may_add(&self, from: Held, to: VehicleClass, day: Day) -> bool {
        let Some(needs) = precondition(to, from.class, day) else { return false };
        let clean_from = day.years_after(-(needs.clean_periods + 1));
        // 12 points within a year after would end the new class in its probation (art. 80): those are not told.
        let clean_to = day.years_after(1);
        let loses_its_base = DEGRADABLE.contains(&from.class);
        let is_clean = self.twelves.iter().all(|twelve| {
            !((clean_from..=clean_to).contains(twelve)
                || loses_its_base && (from.since..=day).contains(twelve))
        });
        day <= self.last_day
            && from.since.years_after(needs.years) <= day
            && is_clean
            && self.is_of_age_for(to, day)
            && !self.is_in_trouble(day)
    }

    pub(super) fn lose_classes(&mut self) {
        self.drive_school_buses();
        for twelve in std::mem::take(&mut self.twelves) {
            self.degrade(twelve);
            self.twelves.push(twelve);
        }
        for index in 0..self.classes.len() {
            self.reach_ceiling(index);
        }
    }

    /// 12 points cost a holder of A or B classes the highest of them (Order 162 art. 78).
    fn degrade(&mut self, twelve: Day) {
        let highest = DEGRADABLE.iter().find(|class| self.held_on(**class, twelve).is_some());
        let day = twelve.plus(self.chance.between(5, 30));
        if let Some(&class) = highest
            && day <= self.last_day
            && let Some(index) = self.classes.iter().position(|held| held.class == class)
        {
            self.lose(index, day);
        }
    }

    /// A class with a ceiling ends on the birthday, unless it was extended (from 2025). Most exchange their licence; for the
    /// others the class is announced void, and what it covers below the ceiling goes on.
    fn reach_ceiling(&mut self, index: usize) {
        let Held { class, since, until } = self.classes[index];
        let birth = self.person.birth;
        let Some(mut day) = ceiling(class, birth).filter(|day| until.is_none() && since < *day) else {
            return;
        };
        let may_extend = DEGRADABLE.contains(&class) && day >= ORDER_172;
        let asked = day.plus(-self.chance.between(5, 40));
        if may_extend && since < asked && asked <= self.last_day && self.chance.permille(EXTENDED) {
            self.record(asked, ChangeKind::AgeExtended { class, ceiling_years: EXTENDED_TO });
            day = birth.years_after(i32::from(EXTENDED_TO));
        }
        if day > self.last_day {
            return;
        }
        let late = self.chance.between(0, 30);
        if self.chance.permille(NOT_EXCHANGED) {
            self.classes[index].until = Some(day);
            return self.record_late(day, late, [ChangeKind::ClassLostByAge { class }]);
        }
        // The ban bites on the birthday whatever is recorded; the exchange may take its 30 days.
        self.lose(index, day.plus(late));
    }

    /// Exchanges the licence for one without a class; whoever has no other of its group is given the highest that has no
    /// ceiling.
    fn lose(&mut self, index: usize, day: Day) {
        let class = self.classes[index].class;
        let group = class.motor_type();
        if day > self.last_day {
            return;
        }
        self.classes[index].until = Some(day);
        self.exchanges.push(day);
        let keeps = self
            .classes
            .iter()
            .any(|held| held.class.motor_type() == group && self.held_on(held.class, day).is_some());
        let removed = ChangeKind::ClassRemoved { class };
        let instead = match group {
            MotorType::Car => VehicleClass::C1,
            MotorType::Motorcycle => VehicleClass::F,
            MotorType::Other => return self.record(day, removed),
        };
        if keeps {
            return self.record(day, removed);
        }
        self.classes.push(Held { class: instead, since: day, until: None });
        self.record_late(day, 0, [removed, ChangeKind::ClassAdded { class: instead }]);
    }

    /// School buses: three years of a bus class, 25 to 60 years old, no 12 points (Order 162 art. 87).
    fn drive_school_buses(&mut self) {
        use VehicleClass::{A1, A3, B1};
        let bus = self.classes.iter().find(|held| matches!(held.class, A1 | A3 | B1)).copied();
        let Some(held) = bus.filter(|_| self.twelves.is_empty()) else { return };
        if !self.chance.permille(SCHOOL_BUS) {
            return;
        }
        let birth = self.person.birth;
        let earliest = held.since.years_after(3).max(birth.years_after(25));
        let latest = birth.years_after(60).plus(-1);
        let Some(day) = self.day_between(earliest, latest).filter(|day| !self.is_in_trouble(*day)) else {
            return;
        };
        let endorsement = Endorsement::SchoolBus;
        self.record(day, ChangeKind::EndorsementSet { endorsement });
        let ends = birth.years_after(61).min(ceiling(held.class, birth).unwrap_or(birth.years_after(61)));
        self.record(ends, ChangeKind::EndorsementLifted { endorsement });
    }
}
