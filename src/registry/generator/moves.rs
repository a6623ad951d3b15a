//! Another authority, another name, another number.

use super::life::Life;
use super::numbers::Which;
use super::tables::{MOVED, RENAMED, RENUMBERED};
use crate::domain::licence::{ChangeKind, DocumentKind};

/// Nobody moves with a licence younger than this, in days.
const SETTLED_DAYS: i32 = 150;

impl Life<'_> {
    pub(super) fn move_on(&mut self) {
        if self.person.document != DocumentKind::ResidentId {
            // The number does not hold it.
            self.record_identity(ChangeKind::BirthDaySet { day: self.person.birth.date() });
        }
        if self.chance.permille(MOVED) {
            self.change_authority();
        }
        if self.chance.permille(RENAMED) {
            self.change_name();
        }
        let (corrected, renewed) = RENUMBERED;
        let often = if self.person.document == DocumentKind::ResidentId { corrected } else { renewed };
        if self.chance.permille(often) {
            self.change_number();
        }
    }

    fn change_authority(&mut self) {
        let day = self.day_between(self.first_issue.plus(SETTLED_DAYS), self.last_day);
        if let Some(day) = day.filter(|day| !self.is_in_trouble(*day)) {
            let recorded = self.office_hour(day);
            self.exchanges.push(day);
            self.file(day, recorded);
        }
    }

    fn change_name(&mut self) {
        let day = self.day_between(self.first_issue.plus(SETTLED_DAYS), self.last_day);
        if let (Some(day), Some(name)) = (day, self.person.name(&mut self.chance)) {
            self.record_identity(ChangeKind::NameSet { name: self.name.clone() });
            self.record(day, ChangeKind::NameSet { name });
        }
    }

    /// The subject stays known by the first number, too.
    fn change_number(&mut self) {
        let day = self.day_between(self.first_issue.plus(SETTLED_DAYS), self.last_day);
        if let (Some(day), Some(number)) = (day, self.person.number(Which::Later)) {
            let document = self.person.document;
            self.record_identity(ChangeKind::NumberSet { document, number: self.number.clone() });
            self.record(day, ChangeKind::NumberSet { document, number });
        }
    }
}
