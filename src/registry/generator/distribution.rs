//! What comes out, held to the table of `docs/population.md`: the same names, the same figures, with stated tolerances.

use std::collections::BTreeMap;

use jiff::civil::{Date, date};

use super::Population;
use crate::domain::elicence::{ELicence, Stage};
use crate::domain::licence::{AsOf, ChangeKind, DocumentKind, History, ValidityTerm};
use crate::domain::subject::Position;
use crate::domain::time::{age_on, start_of};
use crate::registry::submission::NewSubject;

const AS_OF: Date = date(2026, 11, 1);
const DRIVERS: u32 = 60_000;
const PAGE: &str = include_str!("../../../docs/population.md");

/// Counts by the names of the page's table.
#[derive(Default)]
struct Counted {
    counts: BTreeMap<String, u32>,
    changes: usize,
}

impl Counted {
    fn add(&mut self, name: impl Into<String>) {
        *self.counts.entry(name.into()).or_default() += 1;
    }

    fn take(&mut self, driver: NewSubject) {
        self.add(match driver.document {
            DocumentKind::ResidentId => "resident numbers",
            _ => "other documents",
        });
        if driver.document == DocumentKind::ResidentId {
            let sequence = driver.number.expose().as_bytes()[16];
            self.add(if sequence % 2 == 1 { "men" } else { "women" });
        }
        let changes = driver.into_submission().changes;
        self.changes += changes.len();
        let place = Position { epoch: 1, partition: 0, seq: 1 };
        for name in kinds(changes.iter().map(|change| &change.kind)) {
            self.add(name);
        }
        let history = History::from_changes(changes.into_iter().map(|change| change.at(place)).collect());
        let now = start_of(AS_OF);
        let today = history.fold(AsOf::new(now, now));
        self.add(match ELicence::of(&history, AsOf::new(now, now)).stage {
            Stage::None => "e-licence never",
            Stage::Issued => "e-licence issued",
            Stage::Superseded => "e-licence out of date",
            Stage::Applied | Stage::UnderReview | Stage::Refused(_) | Stage::Withdrawn => {
                "e-licence otherwise"
            }
        });
        self.person(age_on(today.birth_day.unwrap(), AS_OF));
        self.tenure(age_on(today.first_issue.unwrap(), AS_OF));
        for holding in &today.classes {
            self.add(format!("holds {}", holding.class.word()));
        }
        for letter in b'A'..=b'Z' {
            if today.states.contains_letter(letter) {
                self.add(format!("letter {}", char::from(letter)));
            }
        }
        self.add(match today.validity.unwrap().term {
            ValidityTerm::SixYears => "term six years",
            ValidityTerm::TenYears => "term ten years",
            ValidityTerm::LongTerm => "term long",
        });
    }

    fn person(&mut self, age: i16) {
        self.add(match age {
            ..=25 => "age 18-25",
            26..=35 => "age 26-35",
            36..=50 => "age 36-50",
            51..=60 => "age 51-60",
            61..=70 => "age 61-70",
            71.. => "age 71 and more",
        });
    }

    fn tenure(&mut self, years: i16) {
        self.add(match years {
            ..=2 => "tenure below 3 years",
            3..=7 => "tenure 3-7 years",
            8..=11 => "tenure 8-11 years",
            12..=18 => "tenure 12-18 years",
            19.. => "tenure 19 years and more",
        });
    }
}

/// Names what a history holds at least once.
fn kinds<'k>(kinds: impl Iterator<Item = &'k ChangeKind>) -> Vec<&'static str> {
    let mut named: Vec<_> = Vec::new();
    let (mut authorities, mut names, mut numbers) = (0, 0, 0);
    for kind in kinds {
        match kind {
            ChangeKind::AuthoritySet { .. } => authorities += 1,
            ChangeKind::NameSet { .. } => names += 1,
            ChangeKind::NumberSet { .. } => numbers += 1,
            ChangeKind::PointsSet { points: 12 } => named.push("12 points once"),
            ChangeKind::PointsSet { .. } => named.push("points once"),
            ChangeKind::PointsReversed => named.push("points reversed"),
            ChangeKind::ClassRemoved { .. } | ChangeKind::ClassLostByAge { .. } => named.push("lost a class"),
            ChangeKind::EndorsementSet { .. } => named.push("school bus"),
            ChangeKind::AgeExtended { .. } => named.push("age extended"),
            _ => {}
        }
    }
    for (count, name) in [(authorities, "moved"), (names, "renamed"), (numbers, "renumbered")] {
        if count > 1 {
            named.push(name);
        }
    }
    named.sort_unstable();
    named.dedup();
    named
}

/// Reads the page's rows: `| name | per mille | ± |`.
fn rows() -> Vec<(String, f64, f64)> {
    let figure = |cell: &str| cell.trim().parse::<f64>().ok();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split('|');
        let name = cells.next()?.trim().to_owned();
        Some((name, figure(cells.next()?)?, figure(cells.next()?)?))
    };
    PAGE.lines().filter_map(row).collect()
}

#[test]
fn what_comes_out_is_what_the_page_says() {
    let mut counted = Counted::default();
    for driver in Population::new(11, AS_OF).take(DRIVERS as usize) {
        counted.take(driver);
    }
    let per_mille = |count: u32| f64::from(count) * 1_000.0 / f64::from(DRIVERS);
    let mean = f64::from(u32::try_from(counted.changes).unwrap()) / f64::from(DRIVERS);
    let rows = rows();
    let mut wrong = Vec::new();
    for (name, expected, tolerance) in &rows {
        let found = match name.as_str() {
            "changes a history" => mean,
            name => per_mille(counted.counts.get(name).copied().unwrap_or(0)),
        };
        if (found - expected).abs() > *tolerance {
            wrong.push(format!("{name}: {found:.2}, the page says {expected} ± {tolerance}"));
        }
    }
    for name in counted.counts.keys().filter(|name| !rows.iter().any(|(row, ..)| row == *name)) {
        wrong.push(format!("{name}: {:.2}, not on the page", per_mille(counted.counts[name])));
    }
    assert!(mean >= 6.0, "a mean of {mean:.2} changes");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
