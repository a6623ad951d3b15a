//! The e-licence: applied for since 2021, out of date after every exchange, applied for anew by most.

use super::calendar::Day;
use super::life::Life;
use super::tables::{
    CHANGED_PHOTOS, E_LICENCE_PATHS, E_LICENCES, E_LICENCES_BEGIN, PHOTO_FAULTS, REAPPLIED, REFUSED_PHOTOS,
    WITHDRAWN,
};
use crate::domain::licence::{ChangeKind, ELicenceEvent, ELicencePath};

/// A photo may be changed so many days after the last one: six calendar months at the longest.
const PHOTO_DAYS: i32 = 190;
/// One applies anew within so many days of an exchange.
const SOON_DAYS: i32 = 60;

impl Life<'_> {
    pub(super) fn carry_e_licence(&mut self) {
        let (permille, within) = E_LICENCES;
        if !self.chance.permille(permille) {
            return;
        }
        let begins = self.first_issue.plus(1).max(E_LICENCES_BEGIN);
        let Some(day) = self.day_between(begins, begins.plus(within)) else { return };
        self.exchanges.sort_unstable();
        let mut issued = self.apply(day, true);
        let exchanges = std::mem::take(&mut self.exchanges);
        for exchange in &exchanges {
            let Some(since) = issued.filter(|issued| issued < exchange) else { continue };
            let next =
                exchanges.iter().find(|next| *next > exchange).map_or(self.last_day, |next| next.plus(-5));
            self.change_photo(since, *exchange);
            issued = None;
            let soon = exchange.plus(self.chance.between(1, SOON_DAYS)).min(next);
            if soon > *exchange && self.chance.permille(REAPPLIED) {
                issued = self.apply(soon, false);
            }
        }
        if let Some(since) = issued {
            self.end_of_service(since);
        }
    }

    /// Applies on a day, unless the licence's state would bar it or it is exchanged just then; returns the day of issue.
    fn apply(&mut self, day: Day, is_first: bool) -> Option<Day> {
        let ready = day.plus(5);
        let is_disturbed = self.is_in_trouble(day)
            || self.is_in_trouble(ready)
            || self.exchanges.iter().any(|exchange| (day..=ready).contains(exchange));
        if is_disturbed || ready > self.last_day {
            return None;
        }
        let path = *self.chance.weighed(&E_LICENCE_PATHS);
        let applied =
            if is_first { ELicenceEvent::Applied { path } } else { ELicenceEvent::Reapplied { path } };
        let told = ChangeKind::ELicence;
        if path == ELicencePath::StoredPhoto {
            self.record_late(day, 0, [told(applied), told(ELicenceEvent::Issued)]);
            return Some(day);
        }
        self.record_late(day, 0, [told(applied), told(ELicenceEvent::UnderReview)]);
        let mut reviewed = day.plus(self.chance.between(1, 2));
        if self.chance.permille(REFUSED_PHOTOS) {
            let ground = self.chance.pick(&PHOTO_FAULTS);
            self.record(reviewed, told(ELicenceEvent::Refused { ground }));
            let again = told(ELicenceEvent::Applied { path });
            let applied = reviewed.plus(1);
            self.record_late(applied, 0, [again, told(ELicenceEvent::UnderReview)]);
            reviewed = applied.plus(1);
        }
        self.record(reviewed, told(ELicenceEvent::Issued));
        Some(reviewed)
    }

    /// Another photo, not before six months have passed and not after the e-licence was out of date.
    fn change_photo(&mut self, since: Day, until: Day) {
        if self.chance.permille(CHANGED_PHOTOS)
            && let Some(day) = self.day_between(since.plus(PHOTO_DAYS), until.plus(-1))
        {
            self.record(day, ChangeKind::ELicence(ELicenceEvent::PhotoChanged));
        }
    }

    fn end_of_service(&mut self, since: Day) {
        let last = self.last_day;
        if self.chance.permille(WITHDRAWN)
            && let Some(day) = self.day_between(since.plus(1), last)
        {
            return self.record(day, ChangeKind::ELicence(ELicenceEvent::Withdrawn));
        }
        self.change_photo(since, last.plus(1));
    }
}
