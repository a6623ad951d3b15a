//! Telling a driver's history in few words.

use jiff::civil::{Date, time};
use jiff::{Timestamp, ToSpan as _};

use super::{ELicenceExpectation, Expectation, TestDriver};
use crate::domain::elicence::{Display, Groups, NotShown, Shown};
use crate::domain::licence::{
    ChangeKind, DocumentKind, ELicenceEvent, ELicencePath, FileNumber, FullName, LicenceNumber, NumberRules,
    Validity, ValidityTerm, VehicleClass,
};
use crate::domain::time::{Effective, start_of};

/// A test driver in the making. The methods record in the order they are called.
pub(super) struct Story {
    driver: TestDriver,
    as_of: Date,
    /// What the e-licence must show all day long; `None`: nobody looks.
    e_licence: Option<Result<Shown, NotShown>>,
    /// Whether the story tells the e-licence's life itself.
    is_e_licence_told: bool,
}

/// What most e-licences show.
pub(super) const NORMAL: Shown =
    Shown { display: Display::Normal, deferred: false, groups: Groups { car: true, motorcycle: false } };

/// E-licences are issued from here on nationwide (`docs/domain.md` §0 no. 1).
const ROLLED_OUT: Date = jiff::civil::date(2021, 12, 10);

/// Everybody's birthday, but for drivers whose row is about an age.
const BIRTH_DAY: Date = jiff::civil::date(1990, 1, 1);

/// Authorities record at this hour.
const RECORDING_HOUR: i64 = 10;

impl Story {
    /// Begins a story about somebody of whom nothing is recorded yet.
    pub(super) fn about(as_of: Date, row: u8, twin: &'static str, number: &'static str) -> Self {
        let name = if twin.is_empty() { "测试甲" } else { "测试乙" };
        let driver = TestDriver {
            row,
            twin,
            situation: "",
            document: DocumentKind::ResidentId,
            number,
            old_number: None,
            name,
            claimed_name: name,
            changes: Vec::new(),
            expectations: Vec::new(),
            e_licence: Vec::new(),
        };
        Self { driver, as_of, e_licence: Some(Ok(NORMAL)), is_e_licence_told: false }
    }

    /// Says in a few words what the story is about.
    pub(super) fn situation(mut self, situation: &'static str) -> Self {
        self.driver.situation = situation;
        self
    }

    /// The driver is called otherwise than the others.
    pub(super) fn named(mut self, name: &'static str) -> Self {
        self.driver.name = name;
        self.driver.claimed_name = name;
        self
    }

    /// Claims assert this name.
    pub(super) fn claimed_as(mut self, name: &'static str) -> Self {
        self.driver.claimed_name = name;
        self
    }

    /// The number comes from another document.
    pub(super) fn with(mut self, document: DocumentKind) -> Self {
        self.driver.document = document;
        self
    }

    /// The licence was issued under this number, which changed later.
    pub(super) fn formerly(mut self, number: &'static str) -> Self {
        self.driver.old_number = Some(number);
        self
    }

    /// First issue that many years ago, with classes, born on the usual day.
    pub(super) fn licensed(self, years: i32, classes: &[VehicleClass]) -> Self {
        let first = self.years_ago(years);
        self.licensed_on(first, BIRTH_DAY, classes)
    }

    /// First issue on a day, with classes; renewed in time ever since: six years, then ten, then long-term.
    pub(super) fn licensed_on(self, first: Date, birth_day: Date, classes: &[VehicleClass]) -> Self {
        self.issued(first, birth_day, classes).renewed(first)
    }

    /// First issue on a day, with classes, and no word on validity.
    pub(super) fn issued(mut self, first: Date, birth_day: Date, classes: &[VehicleClass]) -> Self {
        let number = self.driver.old_number.unwrap_or(self.driver.number);
        let document = self.driver.document;
        self.record(first, first, ChangeKind::Issued);
        self.set_number(first, document, number);
        if let Ok(name) = FullName::parse(self.driver.name) {
            self.record(first, first, ChangeKind::NameSet { name });
        }
        self.record(first, first, ChangeKind::BirthDaySet { day: birth_day });
        let file_number = format!("0000{:06}{:02}", self.driver.row, self.driver.twin.len());
        if let Ok(number) = FileNumber::parse(&file_number) {
            self.record(first, first, ChangeKind::FileNumberSet { number });
        }
        self.record(first, first, ChangeKind::AuthoritySet { code: "测A".to_owned() });
        for &class in classes {
            self.record(first, first, ChangeKind::ClassAdded { class });
        }
        self
    }

    /// Validity from the first issue on: six years, then ten, then long-term, each set when the last one ends.
    fn renewed(self, first: Date) -> Self {
        let (sixth, sixteenth) = (years_after(first, 6), years_after(first, 16));
        let as_of = self.as_of;
        let mut story = self.valid_until(first, ValidityTerm::SixYears, Some(sixth));
        if sixth <= as_of {
            story = story.valid_until(sixth, ValidityTerm::TenYears, Some(sixteenth));
        }
        if sixteenth <= as_of {
            story = story.valid_until(sixteenth, ValidityTerm::LongTerm, None);
        }
        story
    }

    /// Validity set on a day.
    pub(super) fn valid_until(mut self, on: Date, term: ValidityTerm, last_day: Option<Date>) -> Self {
        self.record(on, on, ChangeKind::ValiditySet { validity: Validity { term, last_day } });
        self
    }

    /// A class added on a day.
    pub(super) fn class_added(mut self, on: Date, class: VehicleClass) -> Self {
        self.record(on, on, ChangeKind::ClassAdded { class });
        self
    }

    /// State letters set that many days after the as-of day, recorded the same day.
    pub(super) fn states(mut self, day: i32, letters: &str) -> Self {
        for letter in letters.bytes() {
            self.push(day, day, ChangeKind::StateSet { letter, original_end: None });
        }
        self
    }

    /// A change by days counted from the as-of day: effective on one, recorded on the other.
    pub(super) fn then(mut self, effective: i32, recorded: i32, kind: ChangeKind) -> Self {
        self.push(effective, recorded, kind);
        self
    }

    /// The number changes to the one the driver has now.
    pub(super) fn renumbered(mut self, day: i32) -> Self {
        let (document, number) = (self.driver.document, self.driver.number);
        let on = days_after(self.as_of, day);
        self.set_number(on, document, number);
        self
    }

    /// What is asked and must come out.
    pub(super) fn expect(mut self, expectations: impl IntoIterator<Item = Expectation>) -> Self {
        self.driver.expectations.extend(expectations);
        self
    }

    /// The e-licence shows something else than 正常, all day long.
    pub(super) fn shows(mut self, shown: Shown) -> Self {
        self.e_licence = Some(Ok(shown));
        self
    }

    /// The code is red.
    pub(super) fn red(self) -> Self {
        self.shows(Shown { display: Display::Red, ..NORMAL })
    }

    /// No QR code is issued.
    pub(super) fn not_shown(mut self, why: NotShown) -> Self {
        self.e_licence = Some(Err(why));
        self
    }

    /// Nobody looks at the e-licence.
    pub(super) fn unseen(mut self) -> Self {
        self.e_licence = None;
        self
    }

    /// At this moment the e-licence shows something else than at others.
    pub(super) fn shows_at(mut self, moment: Timestamp, expected: Result<Shown, NotShown>) -> Self {
        self.driver.e_licence.push(ELicenceExpectation { asked_at: Some(moment), expected });
        self
    }

    /// Tells the e-licence's life: steps by days counted from the as-of day. None at all: it was never issued.
    pub(super) fn e_licence(mut self, steps: &[(i32, ELicenceEvent)]) -> Self {
        self.is_e_licence_told = true;
        for (day, event) in steps {
            self.push(*day, *day, ChangeKind::ELicence(*event));
        }
        self
    }

    /// An e-licence of the stored photo, issued after the last exchange of the licence.
    fn e_licence_of_its_time(&mut self) {
        let exchanges = |kind: &ChangeKind| {
            matches!(
                kind,
                ChangeKind::ClassAdded { .. }
                    | ChangeKind::ClassRemoved { .. }
                    | ChangeKind::ValiditySet { .. }
                    | ChangeKind::AuthoritySet { .. }
            )
        };
        let exchanged = self.driver.changes.iter().filter(|(_, _, kind)| exchanges(kind));
        let Some(last) = exchanged.map(|(effective, _, _)| effective.day()).max() else { return };
        let on = last.max(ROLLED_OUT);
        let path = ELicencePath::StoredPhoto;
        for event in [ELicenceEvent::Applied { path }, ELicenceEvent::Issued] {
            self.record(on, on, ChangeKind::ELicence(event));
        }
    }

    /// Ends the story: what happened elsewhere in between falls into its place.
    pub(super) fn told(mut self) -> TestDriver {
        if !self.is_e_licence_told {
            self.e_licence_of_its_time();
        }
        if let Some(expected) = self.e_licence.filter(|_| self.driver.e_licence.is_empty()) {
            self.driver.e_licence.push(ELicenceExpectation { asked_at: None, expected });
        }
        self.driver.changes.sort_by_key(|(_, recorded_at, _)| *recorded_at);
        self.driver
    }

    /// A day so many years before the as-of day.
    pub(super) fn years_ago(&self, years: i32) -> Date {
        years_after(self.as_of, -years)
    }

    fn set_number(&mut self, on: Date, document: DocumentKind, number: &str) {
        let rules = NumberRules { accept_test_numbers: true };
        if let Ok(number) = LicenceNumber::parse(document, number, rules) {
            self.record(on, on, ChangeKind::NumberSet { document, number });
        }
    }

    fn push(&mut self, effective: i32, recorded: i32, kind: ChangeKind) {
        let (effective, recorded) = (days_after(self.as_of, effective), days_after(self.as_of, recorded));
        self.record(effective, recorded, kind);
    }

    fn record(&mut self, effective: Date, recorded: Date, kind: ChangeKind) {
        self.driver.changes.push((Effective::On(effective), recorded_on(recorded), kind));
    }
}

/// When an authority records something on a day.
pub(super) fn recorded_on(day: Date) -> Timestamp {
    start_of(day) + RECORDING_HOUR.hours()
}

/// The day so many days later.
pub(super) fn days_after(day: Date, days: i32) -> Date {
    day.saturating_add(days.days())
}

/// The day so many years later.
pub(super) fn years_after(day: Date, years: i32) -> Date {
    day.saturating_add(years.years())
}

/// A moment on a day.
pub(super) fn at_hour(day: Date, hour: i8) -> Timestamp {
    let since_midnight = time(hour, 0, 0, 0).duration_since(time(0, 0, 0, 0));
    start_of(day) + since_midnight
}
