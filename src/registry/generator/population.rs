//! The population as a stream, and the fixed test drivers in the same form.

use std::ops::Range;

use jiff::civil::Date;

use super::chance::Chance;
use super::life::Life;
use super::person::Person;
use crate::domain::catalogue::test_drivers;
use crate::domain::licence::{DocumentKind, FullName, LicenceNumber, NumberRules};
use crate::registry::submission::{NewChange, NewSubject};

/// The largest population: beyond it numbers could repeat. Twice all drivers of the country.
pub const POPULATION_MAX: u64 = 1_000_000_000;
const RULES: NumberRules = NumberRules { accept_test_numbers: true };

/// An endless-looking, repeatable population. `take(n)` of it is the population of size n.
#[derive(Clone, Debug)]
pub struct Population {
    seed: u64,
    as_of: Date,
    indices: Range<u64>,
}

impl Population {
    /// Begins the population of a seed, as it stands on a day.
    pub fn new(seed: u64, as_of: Date) -> Self {
        Self { seed, as_of, indices: 0..POPULATION_MAX }
    }

    /// Returns the drivers with these indices: parts of a population can be made side by side.
    pub fn part(&self, indices: Range<u64>) -> Self {
        Self { indices: indices.start..indices.end.min(POPULATION_MAX), ..self.clone() }
    }

    /// Makes one driver.
    fn driver(&self, index: u64) -> Option<NewSubject> {
        let mut chance = Chance::of(self.seed, index);
        let person = Person::at(index, self.as_of, &mut chance);
        let document = DocumentKind::ResidentId;
        // Neither can fail for what `Person` makes; a test walks through a population to show it.
        let number = LicenceNumber::parse(document, &person.number, RULES).ok()?;
        let name = FullName::parse(&person.name).ok()?;
        let changes = Life::of(&person, self.as_of, chance);
        Some(NewSubject { document, number, name, changes })
    }
}

impl Iterator for Population {
    type Item = NewSubject;

    fn next(&mut self) -> Option<NewSubject> {
        let index = self.indices.next()?;
        self.driver(index)
    }
}

/// Makes the fixed test drivers that have a record, as of a day.
pub fn fixed_drivers(as_of: Date) -> impl Iterator<Item = NewSubject> {
    test_drivers(as_of).into_iter().filter(|driver| !driver.changes.is_empty()).filter_map(|driver| {
        // Stories may be told out of order; what was recorded earlier stands earlier.
        let mut changes = driver.changes;
        changes.sort_by_key(|(_, recorded_at, _)| *recorded_at);
        Some(NewSubject {
            document: driver.document,
            number: LicenceNumber::parse(driver.document, driver.number, RULES).ok()?,
            name: FullName::parse(driver.name).ok()?,
            changes: changes
                .into_iter()
                .map(|(effective, recorded_at, kind)| NewChange { effective, recorded_at, kind })
                .collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::licence::ChangeKind;
    use crate::domain::time::start_of;

    const AS_OF: Date = date(2026, 11, 1);

    #[test]
    fn the_same_seed_makes_the_same_people_and_another_seed_others() {
        let changes =
            |seed| Population::new(seed, AS_OF).take(200).map(|driver| driver.changes).collect::<Vec<_>>();
        assert_eq!(changes(7), changes(7));
        assert_ne!(changes(7), changes(8));
    }

    #[test]
    fn parts_make_the_same_people_as_the_whole() {
        let changes = |part: Population| part.map(|driver| driver.changes).collect::<Vec<_>>();
        let whole = Population::new(7, AS_OF);
        let parts = [changes(whole.part(0..30)), changes(whole.part(30..100))].concat();
        assert_eq!(parts, changes(whole.part(0..100)));
    }

    #[test]
    fn a_population_is_whole_and_its_histories_are_possible() {
        let drivers: Vec<_> = Population::new(1, AS_OF).take(20_000).collect();
        assert_eq!(drivers.len(), 20_000);
        let today = start_of(AS_OF);
        let mut changes = 0;
        for driver in drivers {
            let birth = driver.number.birth_day(driver.document).unwrap();
            let whole = driver.into_submission().changes;
            changes += whole.len();
            assert!(whole.is_sorted_by_key(|change| change.recorded_at));
            assert!(whole.iter().all(|change| change.recorded_at < today && change.effective.day() >= birth));
            assert_eq!(whole.iter().filter(|change| change.kind == ChangeKind::Issued).count(), 1);
        }
        assert!(changes >= 6 * 20_000, "mean {}", changes as f64 / 20_000.0);
    }

    #[test]
    fn every_fixed_driver_with_a_record_comes_along() {
        let recorded = test_drivers(AS_OF).into_iter().filter(|driver| !driver.changes.is_empty()).count();
        assert!(recorded > 0);
        assert_eq!(fixed_drivers(AS_OF).count(), recorded);
    }
}
