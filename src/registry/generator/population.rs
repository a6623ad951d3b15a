//! The population as a stream, and the fixed test drivers in the same form.

use std::ops::Range;

use jiff::civil::Date;

use super::calendar::{Day, Moments};
use super::chance::Chance;
use super::life::{Life, Who};
use super::numbers::{Numbers, POPULATION_MAX, Which};
use super::person::Person;
use crate::domain::catalogue::test_drivers;
use crate::domain::licence::{FullName, LicenceNumber, NumberRules};
use crate::registry::submission::{NewChange, NewSubject};

const RULES: NumberRules = NumberRules { accept_test_numbers: true };

/// An endless-looking, repeatable population, or a part of one. `take(n)` of the whole is the population of size n.
///
/// Driver `i` depends on seed, day and `i` alone: parts can be made side by side, in any order, and none is held.
#[derive(Clone, Debug)]
pub struct Population {
    seed: u64,
    as_of: Day,
    numbers: Numbers,
    moments: Moments,
    indices: Range<u64>,
}

impl Population {
    /// Begins the population of a seed, as it stands on a day.
    pub fn new(seed: u64, as_of: Date) -> Self {
        Self {
            seed,
            as_of: Day::of(as_of),
            numbers: Numbers::new(Chance::of(seed, u64::MAX).next()),
            moments: Moments::new(),
            indices: 0..POPULATION_MAX,
        }
    }

    /// Returns a part of it, to be gone through by somebody else.
    pub fn part(&self, indices: Range<u64>) -> Self {
        let indices = indices.start.min(POPULATION_MAX)..indices.end.min(POPULATION_MAX);
        Self { indices, ..self.clone() }
    }

    /// Cuts the population of size `count` into that many consecutive parts, of sizes that differ by one at most.
    pub fn parts(&self, count: u64, parts: u64) -> impl Iterator<Item = Self> {
        let parts = parts.max(1);
        let start = move |part: u64| part * (count / parts) + part.min(count % parts);
        (0..parts).map(move |part| self.part(start(part)..start(part + 1)))
    }

    /// Makes one driver.
    pub fn driver(&self, index: u64) -> Option<NewSubject> {
        let mut chance = Chance::of(self.seed, index);
        let person = Person::at(self.numbers.place(index), self.as_of, &mut chance);
        // Neither can fail for what `Person` makes; a test walks through a population to show it.
        let (number, name) = (person.number(Which::First)?, person.name(&mut chance)?);
        let who = Who { person: &person, number: &number, name: &name };
        let changes = Life::of(&who, self.as_of, self.moments, chance);
        Some(NewSubject { document: person.document, number, name, changes })
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
    use std::collections::HashSet;

    use jiff::civil::date;

    use super::*;

    const AS_OF: Date = date(2026, 11, 1);

    #[test]
    fn the_same_seed_makes_the_same_people_and_another_seed_others() {
        let changes =
            |seed| Population::new(seed, AS_OF).take(200).map(|driver| driver.changes).collect::<Vec<_>>();
        assert_eq!(changes(7), changes(7));
        assert_ne!(changes(7), changes(8));
    }

    #[test]
    fn it_does_not_matter_how_a_population_is_cut() {
        let whole: Vec<_> = Population::new(3, AS_OF).take(1_001).collect();
        for parts in [1, 2, 7, 1_001, 2_000] {
            let population = Population::new(3, AS_OF);
            let cut: Vec<_> = population.parts(1_001, parts).flatten().collect();
            assert_eq!(cut.len(), whole.len(), "{parts} parts");
            for (one, other) in cut.iter().zip(&whole) {
                assert!(one.number == other.number && one.changes == other.changes);
            }
        }
        let last = Population::new(3, AS_OF).driver(POPULATION_MAX - 1);
        assert!(last.is_some_and(|driver| driver.number.expose().starts_with('0')));
    }

    #[test]
    fn a_hundred_thousand_of_fifty_million_share_no_number() {
        let population = Population::new(5, AS_OF);
        let mut seen = HashSet::new();
        for index in (0..50_000_000).step_by(500) {
            let driver = population.driver(index).unwrap();
            assert!(seen.insert((driver.document, driver.number)), "{index}");
        }
        assert_eq!(seen.len(), 100_000);
    }

    #[test]
    fn every_fixed_driver_with_a_record_comes_along_whatever_the_population() {
        let recorded: Vec<_> =
            test_drivers(AS_OF).into_iter().filter(|driver| !driver.changes.is_empty()).collect();
        assert!(!recorded.is_empty());
        let fixed: Vec<_> = fixed_drivers(AS_OF).collect();
        assert_eq!(fixed.len(), recorded.len());
        for (driver, row) in fixed.iter().zip(recorded) {
            assert_eq!((driver.number.expose(), driver.name.expose()), (row.number, row.name));
            // Region 000000, or the six zeros of another document: nobody of a population has either.
            for number in [Some(row.number), row.old_number].into_iter().flatten() {
                assert!(
                    number.starts_with("000000") && !number[6..].starts_with(['V', 'W']),
                    "row {}",
                    row.row
                );
            }
        }
    }
}
