//! What happened to a synthetic driver, in the order it was recorded.
//!
//! A life is told part by part, each in its own file. What bounds the others comes first: when the licence ended, when 12
//! points were reached, until when it was valid. Whatever is told must be possible: `possible` in the tests replays it.

use jiff::Timestamp;

use super::calendar::{Day, Moments};
use super::chance::Chance;
use super::person::Person;
use super::tables::{
    ALONE, AUTHORITIES, ENDINGS, FIRST_CLASSES, NO_MEDICAL, TENURES, application_ages, ceiling,
};
use crate::domain::licence::{ChangeKind, FileNumber, FullName, LicenceNumber, VehicleClass};
use crate::domain::time::Effective;
use crate::registry::submission::NewChange;

/// Most lives have fewer changes.
const CHANGES_USUAL: usize = 16;
/// How long after coming of age the young get their licence, at most.
const SOON_DAYS: i32 = 5 * 365;

/// A class held, from one day until another, exclusive.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) class: VehicleClass,
    pub(super) since: Day,
    pub(super) until: Option<Day>,
}

/// Whose life it is: who, and by which number and name first.
pub(super) struct Who<'p> {
    pub(super) person: &'p Person,
    pub(super) number: &'p LicenceNumber,
    pub(super) name: &'p FullName,
}

/// A life in the making.
pub(super) struct Life<'p> {
    pub(super) person: &'p Person,
    pub(super) number: &'p LicenceNumber,
    pub(super) name: &'p FullName,
    pub(super) first_issue: Day,
    /// The authority that holds the file.
    authority: &'static str,
    /// When the first issue was recorded, with all that came with it.
    pub(super) issued_at: Timestamp,
    /// The day before the as-of day.
    pub(super) yesterday: Day,
    /// The last day on which anything may happen or be recorded: the day before the as-of day, or that of the licence's end.
    pub(super) last_day: Day,
    /// Whether the licence is over: nobody carries letters, or changes, after that.
    pub(super) is_over: bool,
    pub(super) classes: Vec<Held>,
    /// Days on which 12 points were reached.
    pub(super) twelves: Vec<Day>,
    /// Spans, both ends included, in which nothing is granted: suspended, held, expired, violations on hand.
    pub(super) troubles: Vec<(Day, Day)>,
    /// Days on which the licence was exchanged (换证): class, validity or authority changed.
    pub(super) exchanges: Vec<Day>,
    pub(super) chance: Chance,
    moments: Moments,
    changes: Vec<NewChange>,
}

impl<'p> Life<'p> {
    /// Tells a life up to the day before `as_of`.
    pub(super) fn of(who: &Who<'p>, as_of: Day, moments: Moments, chance: Chance) -> Vec<NewChange> {
        let yesterday = as_of.plus(-1);
        let mut life = Self {
            person: who.person,
            number: who.number,
            name: who.name,
            first_issue: yesterday,
            authority: "",
            issued_at: Timestamp::default(),
            yesterday,
            last_day: yesterday,
            is_over: false,
            classes: Vec::with_capacity(4),
            twelves: Vec::new(),
            troubles: Vec::new(),
            exchanges: Vec::new(),
            chance,
            moments,
            changes: Vec::with_capacity(CHANGES_USUAL),
        };
        life.issue();
        life.end();
        life.reach_twelve_points();
        life.renew();
        life.carry_letters();
        life.add_classes();
        life.lose_classes();
        life.earn_points();
        life.move_on();
        life.carry_e_licence();
        // Each part was told in its own order; what was recorded earlier stands earlier.
        life.changes.sort_by_key(|change| change.recorded_at);
        life.changes
    }

    fn issue(&mut self) {
        let came_of_age = self.person.birth.years_after(18);
        let (from, to) = *self.chance.weighed(&TENURES);
        let wanted = self.chance.between(from * 365, to * 365);
        let possible = self.last_day.since(came_of_age);
        // Who cannot have been a driver that long became one soon after coming of age.
        let soon = self.chance.between(0, possible.min(SOON_DAYS));
        let tenure = if wanted < possible { wanted } else { possible - soon };
        self.first_issue = self.last_day.plus(-tenure);
        let class = self.first_class();
        let (day, recorded) = (self.first_issue, self.office_hour(self.first_issue));
        self.issued_at = recorded;
        self.record_at(day, recorded, ChangeKind::Issued);
        self.file(day, recorded);
        self.record_at(day, recorded, ChangeKind::ClassAdded { class });
        self.classes.push(Held { class, since: day, until: None });
    }

    /// Opens a file with an authority.
    pub(super) fn file(&mut self, day: Day, recorded: Timestamp) {
        let mut digits = *b"000000000000";
        let mut number = self.chance.below(100_000_000);
        for digit in digits[4..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        if let Ok(number) = FileNumber::parse(std::str::from_utf8(&digits).unwrap_or_default()) {
            self.record_at(day, recorded, ChangeKind::FileNumberSet { number });
        }
        let mut authority = *self.chance.weighed(&AUTHORITIES);
        if authority == self.authority {
            // Nobody moves to where they are.
            let others = AUTHORITIES.iter().map(|(other, _)| *other);
            authority = others.into_iter().find(|other| *other != authority).unwrap_or(authority);
        }
        self.authority = authority;
        self.record_at(day, recorded, ChangeKind::AuthoritySet { code: authority.to_owned() });
    }

    /// Picks the first class; a small car's if the age does not fit.
    fn first_class(&mut self) -> VehicleClass {
        let class = *self.chance.weighed(&FIRST_CLASSES);
        if self.is_of_age_for(class, self.first_issue) { class } else { VehicleClass::C1 }
    }

    /// Says whether the age on a day lets somebody apply for a class. The ends are taken a year narrower at the top.
    pub(super) fn is_of_age_for(&self, class: VehicleClass, day: Day) -> bool {
        let (from, to) = application_ages(class, day);
        let birth = self.person.birth;
        birth.years_after(from) <= day && to.is_none_or(|to| day < birth.years_after(to))
    }

    /// Some licences have ended: given back, cancelled, revoked, annulled. Nothing happens after that.
    fn end(&mut self) {
        if self.end_by_age() {
            return;
        }
        let is_old = self.person.birth.years_after(71) <= self.last_day;
        let mut letter = *self.chance.weighed(&ENDINGS);
        if is_old && self.chance.permille(NO_MEDICAL) {
            letter = b'R';
        }
        let latest = self.last_day;
        let earliest = match letter {
            b' ' => return,
            b'R' => self.person.birth.years_after(71),
            _ => self.first_issue.plus(30),
        };
        let earliest = earliest.max(latest.plus(-1_500)).max(self.first_issue.plus(1));
        if earliest > latest {
            return;
        }
        let day = earliest.plus(self.chance.between(0, latest.since(earliest)));
        // What was got by deceit is annulled from the beginning (Order 162 art. 79): known now, true then.
        let effective = if letter == b'E' { self.first_issue } else { day };
        let recorded = self.evening(day);
        self.finish(day);
        self.record_at(effective, recorded, ChangeKind::StateSet { letter, original_end: None });
    }

    /// Who holds nothing but a class with a ceiling loses the licence with it (Order 162 art. 79(10)).
    fn end_by_age(&mut self) -> bool {
        let Some(held) = self.classes.first().copied() else { return false };
        let ceiling = ceiling(held.class, self.person.birth).filter(|day| *day <= self.last_day);
        let Some(day) = ceiling.filter(|_| ALONE.contains(&held.class)) else { return false };
        let late = self.chance.between(0, 30);
        let recorded = self.evening(day.plus(late).min(self.last_day));
        self.finish(day);
        self.record_at(day, recorded, ChangeKind::StateSet { letter: b'G', original_end: None });
        true
    }

    /// The licence is over from a day on: what was recorded since is taken back, and nothing more happens.
    pub(super) fn finish(&mut self, day: Day) {
        let over = self.moments.at(day, 0);
        self.changes.retain(|change| change.recorded_at < over);
        self.last_day = day.plus(-1);
        self.is_over = true;
    }

    /// Says whether a day lies in a span in which nothing is granted.
    pub(super) fn is_in_trouble(&self, day: Day) -> bool {
        self.troubles.iter().any(|(from, to)| (*from..=*to).contains(&day))
    }

    /// Returns a holding on a day.
    pub(super) fn held_on(&self, class: VehicleClass, day: Day) -> Option<Held> {
        let holds = |held: &&Held| {
            held.class == class && held.since <= day && held.until.is_none_or(|until| day < until)
        };
        self.classes.iter().find(holds).copied()
    }

    /// Picks a day in a span that has one; `None` if it has none, or ends beyond the life.
    pub(super) fn day_between(&mut self, from: Day, to: Day) -> Option<Day> {
        let to = to.min(self.last_day);
        (from <= to).then(|| from.plus(self.chance.between(0, to.since(from))))
    }

    /// Records something on the day it takes effect, if the life has that day.
    pub(super) fn record(&mut self, day: Day, kind: ChangeKind) {
        self.record_late(day, 0, [kind]);
    }

    /// Records things at one moment some days after they took effect; at the latest on the last day.
    pub(super) fn record_late<const COUNT: usize>(
        &mut self,
        day: Day,
        days: i32,
        kinds: [ChangeKind; COUNT],
    ) {
        if day <= self.last_day {
            let recorded = self.office_hour(day.plus(days).min(self.last_day));
            for kind in kinds {
                self.record_at(day, recorded, kind);
            }
        }
    }

    /// Records at a moment.
    pub(super) fn record_at(&mut self, day: Day, recorded_at: Timestamp, kind: ChangeKind) {
        self.changes.push(NewChange { effective: Effective::On(day.date()), recorded_at, kind });
    }

    /// Records what holds from birth on.
    pub(super) fn record_identity(&mut self, kind: ChangeKind) {
        self.record_at(self.person.birth, self.issued_at, kind);
    }

    /// Picks the moment of a day at which the authority records: a full minute between 9 and 17 o'clock.
    pub(super) fn office_hour(&mut self, day: Day) -> Timestamp {
        let minute = 9 * 60 + self.chance.between(0, 8 * 60);
        self.moments.at(day, minute)
    }

    /// Returns a moment after office hours: what ends a licence is the last that is recorded on its day.
    pub(super) fn evening(&self, day: Day) -> Timestamp {
        self.moments.at(day, 18 * 60)
    }
}
