//! Who a synthetic driver is: a birth date, a number nobody can have, a test name.

use super::calendar::Day;
use super::chance::Chance;
use super::numbers::{Place, Which};
use super::tables::{AGES, DOCUMENTS, DOTTED, GIVEN, LATIN, SURNAME};
use crate::domain::licence::{DocumentKind, FullName, LicenceNumber};

/// Nobody is younger on the as-of day than 18 years and this many days: time enough to have been issued something.
const DAYS_BEYOND_18: i32 = 60;

/// A synthetic person.
pub(super) struct Person {
    pub(super) birth: Day,
    pub(super) document: DocumentKind,
    place: Place,
}

impl Person {
    /// Makes the person of a place, as old as chance says on a day.
    pub(super) fn at(place: Place, as_of: Day, chance: &mut Chance) -> Self {
        let (from, to) = *chance.weighed(&AGES);
        let oldest = as_of.years_after(-(to + 1)).plus(1);
        let youngest = as_of.years_after(-from).plus(if from == 18 { -DAYS_BEYOND_18 } else { 0 });
        let wanted = oldest.plus(chance.between(0, youngest.since(oldest)));
        Self { birth: place.birth_day(wanted), document: *chance.weighed(&DOCUMENTS), place }
    }

    /// Returns the number the person is first known by, or the one it changes to.
    pub(super) fn number(&self, which: Which) -> Option<LicenceNumber> {
        self.place.number(self.document, self.birth, which)
    }

    /// Makes up a name.
    pub(super) fn name(&self, chance: &mut Chance) -> Option<FullName> {
        let mut name = String::with_capacity(32);
        match self.document {
            DocumentKind::Passport => {
                name.push_str("TEST ");
                name.push_str(chance.pick(&LATIN));
            }
            _ if chance.permille(DOTTED) => {
                push_given(&mut name, chance);
                name.push('·');
                push_given(&mut name, chance);
            }
            _ => push_given(&mut name, chance),
        }
        FullName::parse(&name).ok()
    }
}

fn push_given(name: &mut String, chance: &mut Chance) {
    name.push_str(SURNAME);
    name.push_str(chance.pick(&GIVEN));
    if chance.permille(700) {
        name.push_str(chance.pick(&GIVEN));
    }
}
