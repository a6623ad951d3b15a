//! What happened to a synthetic driver, in the order it was recorded.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::chance::Chance;
use super::person::Person;
use crate::domain::licence::{ChangeKind, FileNumber, Validity, ValidityTerm, VehicleClass};
use crate::domain::time::{Effective, start_of};
use crate::registry::submission::NewChange;

/// First classes and how many in a thousand begin with them. A1, A2, B1 and C6 cannot be a first licence.
const FIRST_CLASSES: [(&[VehicleClass], u32); 9] = [
    (&[VehicleClass::C1], 615),
    (&[VehicleClass::C2], 160),
    (&[VehicleClass::C1, VehicleClass::E], 60),
    (&[VehicleClass::D], 50),
    (&[VehicleClass::E], 50),
    (&[VehicleClass::B2], 45),
    (&[VehicleClass::C3], 8),
    (&[VehicleClass::A3], 7),
    (&[VehicleClass::C5], 5),
];
/// Later classes of holders of C1 and B2: the class, years after the first issue, and how many in a thousand.
const UPGRADES: [(VehicleClass, VehicleClass, i32, u32); 5] = [
    (VehicleClass::C1, VehicleClass::B2, 3, 45),
    (VehicleClass::C1, VehicleClass::C6, 2, 20),
    (VehicleClass::C1, VehicleClass::B1, 4, 15),
    (VehicleClass::B2, VehicleClass::A2, 4, 350),
    (VehicleClass::B2, VehicleClass::A1, 7, 100),
];
/// Letters carried today, by how many in a hundred thousand. The rest carry none.
const LETTERS: [(&[u8], u32); 16] = [
    (b"", 93_400),
    (b"H", 3_500),
    (b"I", 300),
    (b"S", 500),
    (b"SH", 200),
    (b"BU", 250),
    (b"U", 150),
    (b"D", 200),
    (b"J", 50),
    (b"F", 120),
    (b"E", 10),
    (b"G", 500),
    (b"K", 20),
    (b"L", 30),
    (b"N", 170),
    (b"P", 600),
];
const AUTHORITIES: [&str; 6] = ["测A", "测B", "测C", "测D", "测E", "测F"];

/// A life in the making.
pub(super) struct Life<'p> {
    person: &'p Person,
    as_of: Date,
    first_issue: Date,
    chance: Chance,
    changes: Vec<NewChange>,
}

impl<'p> Life<'p> {
    /// Tells a life up to `as_of`.
    pub(super) fn of(person: &'p Person, as_of: Date, mut chance: Chance) -> Vec<NewChange> {
        let earliest = years_after(person.birth_day, 18);
        let latest = as_of.saturating_sub(1.day());
        let wanted =
            years_after(earliest, chance.between(0, 12)).saturating_add(chance.between(0, 364).days());
        let first_issue = if wanted < latest { wanted } else { earliest.min(latest) };
        let mut life = Self { person, as_of, first_issue, chance, changes: Vec::with_capacity(16) };
        life.issue();
        life.upgrade();
        life.earn_points();
        life.renew();
        life.carry_letters();
        // Each was told in its own order; what was recorded earlier stands earlier.
        life.changes.sort_by_key(|change| change.recorded_at);
        life.changes
    }

    fn issue(&mut self) {
        let day = self.first_issue;
        let recorded = self.recorded_on(day);
        let classes = *self.chance.weighed(&FIRST_CLASSES);
        self.record(day, recorded, ChangeKind::Issued);
        let sequence = format!("0000{:08}", self.chance.below(100_000_000));
        if let Ok(number) = FileNumber::parse(&sequence) {
            self.record(day, recorded, ChangeKind::FileNumberSet { number });
        }
        let code = self.chance.pick(&AUTHORITIES).to_owned();
        self.record(day, recorded, ChangeKind::AuthoritySet { code });
        for &class in classes {
            self.record(day, recorded, ChangeKind::ClassAdded { class });
        }
    }

    fn upgrade(&mut self) {
        for (from, to, years, permille) in UPGRADES {
            let day = years_after(self.first_issue, years).saturating_add(self.chance.between(0, 900).days());
            let age_fits =
                day >= years_after(self.person.birth_day, 22) && day < years_after(self.person.birth_day, 60);
            if self.chance.permille(permille) && age_fits && day < self.as_of && self.holds(from) {
                let recorded = self.recorded_on(day);
                self.record(day, recorded, ChangeKind::ClassAdded { class: to });
            }
        }
    }

    /// Six years, then ten, then long-term; a few forget to renew and are expired today.
    fn renew(&mut self) {
        let mut begins = self.first_issue;
        let mut terms = [(ValidityTerm::SixYears, 6), (ValidityTerm::TenYears, 10)].into_iter();
        loop {
            let recorded = self.recorded_on(begins);
            let Some((term, years)) = terms.next() else {
                let validity = Validity { term: ValidityTerm::LongTerm, last_day: None };
                return self.record(begins, recorded, ChangeKind::ValiditySet { validity });
            };
            let last_day = years_after(begins, years);
            let validity = Validity { term, last_day: Some(last_day) };
            self.record(begins, recorded, ChangeKind::ValiditySet { validity });
            if last_day >= self.as_of {
                return;
            }
            if self.chance.permille(15) {
                return self.expire(last_day);
            }
            begins = last_day;
        }
    }

    /// M from the day after; cancelled (restorable) a year later.
    fn expire(&mut self, last_day: Date) {
        let after = last_day.saturating_add(1.day());
        let recorded = self.recorded_on(after);
        self.record(after, recorded, ChangeKind::StateSet { letter: b'M', original_end: None });
        let cancelled = years_after(after, 1);
        if cancelled < self.as_of {
            let recorded = self.recorded_on(cancelled);
            self.record(cancelled, recorded, ChangeKind::StateLifted { letter: b'M' });
            self.record(cancelled, recorded, ChangeKind::StateSet { letter: b'R', original_end: None });
        }
    }

    /// Points in some of the last five periods, cleared at each period's end.
    fn earn_points(&mut self) {
        let age = self.as_of.year() - self.first_issue.year();
        for period in (i32::from(age) - 5).max(0)..i32::from(age) {
            let begins = years_after(self.first_issue, period);
            let ends = years_after(self.first_issue, period + 1);
            let on = begins.saturating_add(self.chance.between(10, 350).days());
            let points = *self.chance.weighed(&[(1_u8, 25), (3, 45), (6, 22), (9, 6), (11, 2)]);
            if self.chance.permille(220) && on < self.as_of {
                let recorded = self.recorded_on(on);
                self.record(on, recorded, ChangeKind::PointsSet { points });
                if ends < self.as_of {
                    let recorded = self.recorded_on(ends);
                    self.record(ends, recorded, ChangeKind::PointsCleared);
                }
            }
        }
    }

    fn carry_letters(&mut self) {
        let letters = *self.chance.weighed(&LETTERS);
        let since = self.as_of.saturating_sub(self.chance.between(1, 300).days());
        if since <= self.first_issue {
            return;
        }
        let recorded = self.recorded_on(since);
        for &letter in letters {
            let deferred = matches!(letter, b'N' | b'P' | b'T');
            let original_end = deferred.then(|| since.saturating_add(90.days()));
            self.record(since, recorded, ChangeKind::StateSet { letter, original_end });
        }
        if letters.contains(&b'B') {
            self.record(since, recorded, ChangeKind::PointsSet { points: 12 });
        }
    }

    fn holds(&self, wanted: VehicleClass) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change.kind, ChangeKind::ClassAdded { class } if class == wanted))
    }

    /// Picks the moment of a day at which the authority records: a full minute between 9 and 17 o'clock.
    fn recorded_on(&mut self, day: Date) -> Timestamp {
        start_of(day) + i64::from(9 * 60 + self.chance.between(0, 8 * 60)).minutes()
    }

    fn record(&mut self, day: Date, recorded_at: Timestamp, kind: ChangeKind) {
        self.changes.push(NewChange { effective: Effective::On(day), recorded_at, kind });
    }
}

fn years_after(day: Date, years: i32) -> Date {
    day.saturating_add(years.years())
}
