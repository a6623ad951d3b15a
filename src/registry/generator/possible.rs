//! Replays a generated history and says what in it could not have been. Written from the orders' text, not from the tables.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::{Date, date};

use super::Population;
use crate::domain::elicence::ELicence;
use crate::domain::licence::{AsOf, ChangeKind, ELicenceEvent, History, ValidityTerm, VehicleClass};
use crate::domain::subject::Position;
use crate::domain::time::{Effective, civil_day, start_of};
use crate::registry::submission::{NewChange, NewSubject};

const ORDER_162: Date = date(2022, 4, 1);
const ORDER_172: Date = date(2025, 1, 1);

/// What holds while a history is replayed in the order of recording.
#[derive(Default)]
struct Replay {
    birth: Date,
    issued: Option<Date>,
    /// Every class ever held: from, until.
    classes: BTreeMap<VehicleClass, (Date, Option<Date>)>,
    letters: Vec<u8>,
    twelves: Vec<Date>,
    points: BTreeMap<Date, u8>,
    term: Option<(ValidityTerm, Date, Option<Date>)>,
    endorsed: bool,
    last_removed: Option<NewChange>,
    told: Vec<NewChange>,
    is_over: bool,
}

/// Checks one driver.
fn check(driver: NewSubject, as_of: Date) -> Result<(), String> {
    let birth = driver.changes.iter().find_map(|change| match change.kind {
        ChangeKind::BirthDaySet { day } => Some(day),
        _ => None,
    });
    let birth = birth.or_else(|| driver.number.birth_day(driver.document)).ok_or("no birth day")?;
    let mut replay = Replay { birth, ..Replay::default() };
    let whole = driver.into_submission().changes;
    if !whole.is_sorted_by_key(|change| change.recorded_at) {
        return Err("recorded time runs back".to_owned());
    }
    for change in &whole {
        let on = change.effective.day();
        let says =
            |fault: &str| format!("{fault}: {:?} on {on}, recorded {}", change.kind, change.recorded_at);
        if on < birth || on > civil_day(change.recorded_at) || change.recorded_at >= start_of(as_of) {
            return Err(says("before birth, ahead of its recording, or in the future"));
        }
        replay.take(change, on).map_err(says)?;
        replay.told.push(change.clone());
    }
    if replay.issued.is_none() { Err("never issued".to_owned()) } else { Ok(()) }
}

fn must(holds: bool, fault: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(fault) }
}

impl Replay {
    fn take(&mut self, change: &NewChange, on: Date) -> Result<(), &'static str> {
        let ends = matches!(
            change.kind,
            ChangeKind::StateSet { letter: b'G', .. } | ChangeKind::StateLifted { letter: b'M' | b'R' }
        );
        must(!self.is_over || ends, "the licence is over")?;
        match &change.kind {
            ChangeKind::Issued => {
                must(self.issued.replace(on).is_none(), "issued twice")?;
                must(self.reached(18) <= on, "issued to a child")
            }
            ChangeKind::ClassAdded { class } => self.add(*class, change, on),
            ChangeKind::ClassRemoved { class } => {
                let held = self.classes.get_mut(class).filter(|(_, until)| until.is_none());
                held.ok_or("loses a class it does not hold")?.1 = Some(on);
                self.last_removed = Some(change.clone());
                Ok(())
            }
            ChangeKind::ClassLostByAge { class } => {
                let held = self.classes.get_mut(class).filter(|(_, until)| until.is_none());
                held.ok_or("loses a class it does not hold")?.1 = Some(on);
                Ok(())
            }
            ChangeKind::AgeExtended { class, ceiling_years } => {
                must(self.holds(*class, on), "extends a class it does not hold")?;
                must(on >= ORDER_172.saturating_sub(60.days()), "extended before Order 172")?;
                must(on < self.reached(*ceiling_years), "extended too late")
            }
            ChangeKind::StateSet { letter, .. } => {
                must(!self.letters.contains(letter), "carries the letter already")?;
                self.letters.push(*letter);
                self.is_over |= b"EFGR".contains(letter);
                Ok(())
            }
            ChangeKind::StateLifted { letter } => {
                let place = self.letters.iter().position(|held| held == letter);
                self.letters.remove(place.ok_or("does not carry the letter")?);
                Ok(())
            }
            ChangeKind::PointsSet { points } => {
                must((1..=12).contains(points), "points of another world")?;
                if *points == 12 {
                    self.twelves.push(on);
                }
                must(self.points.insert(on, *points).is_none(), "points set twice at one moment")
            }
            ChangeKind::PointsCleared => {
                must(self.points.range(..=on).next().is_some(), "clears points that never were")
            }
            ChangeKind::PointsReversed => {
                must(self.points.remove(&on).is_some(), "reverses points that never were")
            }
            ChangeKind::ELicence(event) => self.step(*event, change),
            ChangeKind::ValiditySet { validity } | ChangeKind::ValidityRenewed { validity } => {
                self.renew(validity.term, validity.last_day, on)
            }
            ChangeKind::EndorsementSet { .. } => {
                use VehicleClass::{A1, A3, B1};
                must([A1, A3, B1].iter().any(|class| self.holds(*class, on)), "no bus class")?;
                must(self.reached(25) <= on && on < self.reached(61), "no age for a school bus")?;
                self.endorsed = true;
                Ok(())
            }
            ChangeKind::EndorsementLifted { .. } => must(std::mem::take(&mut self.endorsed), "not endorsed"),
            ChangeKind::NumberSet { .. }
            | ChangeKind::NameSet { .. }
            | ChangeKind::BirthDaySet { .. }
            | ChangeKind::FileNumberSet { .. }
            | ChangeKind::AuthoritySet { .. } => Ok(()),
            _ => Err("a change this population does not tell"),
        }
    }

    fn add(&mut self, class: VehicleClass, change: &NewChange, on: Date) -> Result<(), &'static str> {
        use VehicleClass::{A1, A2, A3, B1, B2, C1, C2, C3, C4, C5, C6, D, E, F, M, N, P};
        must(!self.holds(class, on), "holds the class already")?;
        let is_downgrade = self.last_removed.as_ref().is_some_and(|removed| {
            removed.effective == change.effective && removed.recorded_at == change.recorded_at
        });
        let is_first = self.classes.is_empty();
        must(self.letters.is_empty() || is_downgrade, "a class added while something is on hand")?;
        if !is_downgrade {
            let (from, to) = match class {
                A1 | A2 => (22, 63),
                A3 | B1 | B2 | N | P => (20, 63),
                C3 | C4 | M => (18, 63),
                C6 => (20, 70),
                D | E => (18, 70),
                C1 | C2 | C5 | F => (18, 150),
            };
            must(self.reached(from) <= on && on < self.reached(to), "not of age for the class")?;
            if is_first {
                must(Some(on) == self.issued && ![A1, A2, B1, C6].contains(&class), "no first class")?;
            } else {
                self.check_addition(class, on)?;
            }
        }
        self.classes.insert(class, (on, None));
        Ok(())
    }

    /// Order 162 art. 17; what was in force before was stricter.
    fn check_addition(&self, class: VehicleClass, on: Date) -> Result<(), &'static str> {
        use VehicleClass::{A1, A2, A3, B1, B2, C1, C2, C3, C4, C6};
        let (bases, clean_periods): (&[(VehicleClass, i32)], i32) = match class {
            C6 => (&[(C1, 1), (C2, 1)], 1),
            B1 => (&[(A3, 2), (B2, 2), (C1, 2), (C2, 2), (C3, 2), (C4, 2)], 2),
            A2 => (&[(B1, 2), (B2, 2), (A1, 1)], 2),
            A1 => (&[(A3, 2), (B1, 2), (B2, 3), (A2, 1)], 3),
            _ => (&[], 1),
        };
        must(class != C6 || on >= ORDER_162, "C6 before there was one")?;
        let is_met = |(base, years): &(VehicleClass, i32)| {
            self.holds(*base, on)
                && self.classes.get(base).is_some_and(|(since, _)| since.saturating_add(years.years()) <= on)
        };
        must(
            bases.is_empty() || bases.iter().any(is_met),
            "the class it builds on was not held long enough",
        )?;
        let clean_from = on.saturating_sub((clean_periods + 1).years());
        must(self.twelves.iter().all(|day| *day < clean_from), "12 points in a period that must be clean")
    }

    fn renew(&mut self, term: ValidityTerm, last_day: Option<Date>, on: Date) -> Result<(), &'static str> {
        use ValidityTerm::{LongTerm, SixYears, TenYears};
        must((term == LongTerm) == last_day.is_none(), "a term without its end, or with one too many")?;
        must(last_day.is_none_or(|end| end > on), "ends before it begins")?;
        if let Some((held, since, end)) = self.term {
            let is_clean = !self.twelves.iter().any(|day| (since..=on).contains(day));
            let step = match held {
                SixYears if is_clean => TenYears,
                TenYears if is_clean => LongTerm,
                held => held,
            };
            must(term == step, "not the next term")?;
            let end = end.ok_or("renewed although long-term")?;
            must(on >= end.saturating_sub(90.days()), "renewed too early")?;
            must(on <= end.saturating_add(4.years()), "renewed although long over")?;
        } else {
            must(term == SixYears && Some(on) == self.issued, "the first term has six years")?;
        }
        self.term = Some((term, on.max(self.issued.unwrap_or(on)), last_day));
        Ok(())
    }

    /// The e-licence's own rules, given what was told before; none is issued while a state bars it.
    fn step(&self, event: ELicenceEvent, change: &NewChange) -> Result<(), &'static str> {
        let place = Position { epoch: 1, partition: 0, seq: 1 };
        let told = self.told.iter().cloned().map(|change| change.at(place)).collect();
        let moment = change.effective.moment();
        let known = ELicence::of(&History::from_changes(told), AsOf::new(moment, change.recorded_at));
        must(known.admits(event).is_ok(), "does not follow on the e-licence's stage")?;
        let may_be_issued = self.letters.iter().all(|letter| b"AHI".contains(letter));
        must(event != ELicenceEvent::Issued || may_be_issued, "an e-licence issued while its state bars it")
    }

    fn holds(&self, class: VehicleClass, on: Date) -> bool {
        self.classes
            .get(&class)
            .is_some_and(|(since, until)| *since <= on && until.is_none_or(|until| on < until))
    }

    fn reached(&self, years: impl Into<i32>) -> Date {
        self.birth.saturating_add(years.into().years())
    }
}

#[test]
fn every_history_could_have_been() {
    let mut impossible = Vec::new();
    for (seed, as_of) in [(1, date(2026, 11, 1)), (2, date(2024, 2, 29)), (3, date(2022, 3, 31))] {
        for (index, driver) in Population::new(seed, as_of).take(20_000).enumerate() {
            if let Err(fault) = check(driver, as_of) {
                impossible.push(format!("seed {seed}, driver {index}: {fault}"));
            }
        }
    }
    let some = impossible.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(impossible.is_empty(), "{} impossible:\n{some}", impossible.len());
}

#[test]
fn the_replay_finds_what_could_not_have_been() {
    let as_of = date(2026, 11, 1);
    let spoilt = |spoil: Spoil| {
        let mut driver = Population::new(1, as_of).driver(0).unwrap();
        spoil(&mut driver.changes);
        check(driver, as_of)
    };
    assert_eq!(spoilt(|_| {}), Ok(()));
    let faults: [(&str, Spoil); 7] = [
        ("no first class", |changes| changes.retain(|change| change.kind != ChangeKind::Issued)),
        ("recorded time runs back", |changes| changes[0].recorded_at += 100_000.hours()),
        ("issued twice", |changes| say(changes, ChangeKind::Issued)),
        ("does not carry the letter", |changes| say(changes, ChangeKind::StateLifted { letter: b'K' })),
        ("a change this population does not tell", |changes| say(changes, ChangeKind::ProtectionSet)),
        ("before birth", |changes| changes[0].effective = Effective::On(date(1900, 1, 1))),
        ("not of age for the class", |changes| {
            say(changes, ChangeKind::ClassAdded { class: VehicleClass::A1 });
        }),
    ];
    for (fault, spoil) in faults {
        let said = spoilt(spoil).unwrap_err();
        assert!(said.contains(fault), "{said}");
    }
}

type Spoil = fn(&mut Vec<NewChange>);

/// Says one thing more, with the last change's times.
fn say(changes: &mut Vec<NewChange>, kind: ChangeKind) {
    let last = changes.last().unwrap().clone();
    changes.push(NewChange { kind, ..last });
}
