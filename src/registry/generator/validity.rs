//! Six years, then ten, then long-term (Order 162 arts. 62–63); some forget, some defer.

use super::calendar::Day;
use super::life::Life;
use super::tables::{DEFERRED_RENEWALS, MISSED_RENEWALS};
use crate::domain::licence::{ChangeKind, Validity, ValidityTerm};

/// Days before the end within which one renews.
const RENEWAL_DAYS: i32 = 90;
/// What never ends.
const NEVER: Day = Day::new(9_000, 1, 1);

/// A term that has been granted.
struct Term {
    kind: ValidityTerm,
    granted: Day,
    begins: Day,
    last_day: Day,
}

impl Life<'_> {
    /// Renews in time, late, or not at all, until a term lasts beyond the life.
    pub(super) fn renew(&mut self) {
        let mut term = Term::of(ValidityTerm::SixYears, self.first_issue, self.first_issue);
        self.record_at(
            self.first_issue,
            self.issued_at,
            ChangeKind::ValiditySet { validity: term.validity() },
        );
        while let Some(renewed) = self.day_of_renewal(&term) {
            let next = self.next_kind(&term, renewed);
            self.exchanges.push(renewed);
            if next == ValidityTerm::LongTerm {
                let validity = Validity { term: next, last_day: None };
                return self.record(renewed, ChangeKind::ValidityRenewed { validity });
            }
            term = Term::of(next, renewed, term.last_day);
            self.record(renewed, ChangeKind::ValidityRenewed { validity: term.validity() });
        }
    }

    /// Returns when a term is renewed; `None`: not yet, or never.
    fn day_of_renewal(&mut self, term: &Term) -> Option<Day> {
        let wanted = term.last_day.plus(-self.chance.between(0, RENEWAL_DAYS - 1));
        if wanted > self.last_day {
            return None;
        }
        if self.chance.permille(DEFERRED_RENEWALS) {
            return self.defer(term);
        }
        if self.chance.permille(MISSED_RENEWALS.0) || self.is_in_trouble(wanted) {
            return self.miss(term);
        }
        Some(wanted)
    }

    /// N, until somebody is back from service or abroad; nobody drives between the old end and the renewal.
    fn defer(&mut self, term: &Term) -> Option<Day> {
        let applied = term.last_day.plus(-self.chance.between(10, 60)).max(term.begins);
        let deferred = ChangeKind::StateSet { letter: b'N', original_end: Some(term.last_day.date()) };
        self.record(applied, deferred);
        let back = term.last_day.plus(self.chance.between(60, 1_000));
        let is_back = back <= self.last_day;
        self.troubles.push((applied, if is_back { back } else { NEVER }));
        if is_back {
            self.record(back, ChangeKind::StateLifted { letter: b'N' });
        }
        is_back.then_some(back.plus(1)).filter(|day| *day <= self.last_day)
    }

    /// M from the day after. Most renew within the year; for the others the licence is cancelled after it.
    fn miss(&mut self, term: &Term) -> Option<Day> {
        let expired = term.last_day.plus(1);
        if expired > self.last_day {
            return None;
        }
        self.record(expired, ChangeKind::StateSet { letter: b'M', original_end: None });
        let back = expired.plus(self.chance.between(5, 350));
        let comes_back = self.chance.permille(MISSED_RENEWALS.1) && !self.is_in_trouble(back);
        if comes_back && back < self.last_day {
            self.troubles.push((expired, back));
            self.record(back, ChangeKind::StateLifted { letter: b'M' });
            return Some(back.plus(1));
        }
        self.troubles.push((expired, NEVER));
        self.lapse(expired);
        None
    }

    /// R for two years from the cancellation, G after that (Order 162 art. 79).
    fn lapse(&mut self, expired: Day) {
        let (cancelled, gone) = (expired.years_after(1), expired.years_after(3));
        if cancelled > self.last_day {
            return;
        }
        self.finish(cancelled);
        for (day, from, to) in [(cancelled, b'M', b'R'), (gone, b'R', b'G')] {
            if day <= self.yesterday {
                let recorded = self.evening(day);
                self.record_at(day, recorded, ChangeKind::StateLifted { letter: from });
                self.record_at(day, recorded, ChangeKind::StateSet { letter: to, original_end: None });
            }
        }
    }

    /// The next step, unless 12 points were reached since the term was granted.
    fn next_kind(&self, term: &Term, renewed: Day) -> ValidityTerm {
        let is_clean = !self.twelves.iter().any(|day| (term.granted..=renewed).contains(day));
        match term.kind {
            ValidityTerm::SixYears if is_clean => ValidityTerm::TenYears,
            ValidityTerm::TenYears if is_clean => ValidityTerm::LongTerm,
            kind => kind,
        }
    }
}

impl Term {
    fn of(kind: ValidityTerm, granted: Day, begins: Day) -> Self {
        let years = if kind == ValidityTerm::SixYears { 6 } else { 10 };
        Self { kind, granted, begins, last_day: begins.years_after(years) }
    }

    fn validity(&self) -> Validity {
        Validity { term: self.kind, last_day: Some(self.last_day.date()) }
    }
}
