//! What a fold costs: a career of 50 changes, folded into what held at a moment, and into the e-licence's stage.
//!
//! ```text
//! cargo run --profile dist --example fold
//! ```
//!
//! Prints the median and the spread of batches, so that a machine that does something else shows.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a measurement for people to read"
)]

use std::hint::black_box;
use std::time::Instant;

use drivegate::domain::elicence::ELicence;
use drivegate::domain::licence::{
    AsOf, Change, ChangeKind, ELicenceEvent, ELicencePath, FullName, History, Known, Validity, ValidityTerm,
    VehicleClass,
};
use drivegate::domain::subject::Position;
use drivegate::domain::time::{Effective, start_of};
use jiff::ToSpan as _;
use jiff::civil::{Date, date};

/// Changes of the history measured.
const CHANGES: usize = 50;
const BATCHES: usize = 200;
const FOLDS_PER_BATCH: u32 = 5_000;

fn main() {
    let history = career();
    assert_eq!(history.changes().len(), CHANGES);
    let now = start_of(date(2026, 11, 22));
    let latest = AsOf::new(now, now);
    let middle = history.changes()[CHANGES / 2].recorded_at;
    let earlier = AsOf { moment: middle, known: Known { at: middle, position: Position::LAST } };
    measure("fold, now", || drop(black_box(black_box(&history).fold(black_box(latest)))));
    measure("fold, as known halfway", || drop(black_box(black_box(&history).fold(black_box(earlier)))));
    measure("e-licence, now", || {
        black_box(ELicence::of(black_box(&history), black_box(latest)));
    });
}

fn measure(what: &str, mut once: impl FnMut()) {
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..FOLDS_PER_BATCH {
                once();
            }
            begun.elapsed().as_secs_f64() * 1e9 / f64::from(FOLDS_PER_BATCH)
        })
        .collect();
    batches.sort_unstable_by(f64::total_cmp);
    let at = |share: usize| batches[(BATCHES - 1) * share / 100];
    println!("{what}: {CHANGES} changes, median {:.0} ns, 5 % {:.0}, 95 % {:.0}", at(50), at(5), at(95));
}

/// A driver of many years: upgrades, renewals, points, letters that came and went, an e-licence.
fn career() -> History {
    let first = date(2004, 3, 1);
    let mut told: Vec<(Date, ChangeKind)> = vec![
        (first, ChangeKind::Issued),
        (first, ChangeKind::NameSet { name: FullName::parse("测试甲").expect("a name") }),
        (first, ChangeKind::BirthDaySet { day: date(1984, 1, 1) }),
        (first, ChangeKind::AuthoritySet { code: "测A".to_owned() }),
        (first, ChangeKind::ClassAdded { class: VehicleClass::C1 }),
    ];
    for (years, term, until) in [
        (0, ValidityTerm::SixYears, Some(6)),
        (6, ValidityTerm::TenYears, Some(16)),
        (16, ValidityTerm::LongTerm, None),
    ] {
        let last_day = until.map(|years: i64| first.saturating_add(years.years()));
        let validity = Validity { term, last_day };
        told.push((first.saturating_add(i64::from(years).years()), ChangeKind::ValidityRenewed { validity }));
    }
    for (years, class) in [(4, VehicleClass::B2), (9, VehicleClass::A2), (12, VehicleClass::D)] {
        told.push((first.saturating_add(i64::from(years).years()), ChangeKind::ClassAdded { class }));
    }
    let issued = date(2021, 12, 10);
    let path = ELicencePath::StoredPhoto;
    told.push((issued, ChangeKind::ELicence(ELicenceEvent::Applied { path })));
    told.push((issued, ChangeKind::ELicence(ELicenceEvent::Issued)));
    // Points and letters, year by year, until there are enough.
    for year in 0_i64.. {
        let day = first.saturating_add(year.years()).saturating_add(100.days());
        for kind in [
            ChangeKind::PointsSet { points: if year == 5 { 12 } else { 3 } },
            ChangeKind::StateSet { letter: if year == 5 { b'B' } else { b'H' }, original_end: None },
            ChangeKind::StateLifted { letter: if year == 5 { b'B' } else { b'H' } },
            ChangeKind::PointsCleared,
        ] {
            if told.len() < CHANGES {
                told.push((day.saturating_add((told.len() as i64).days()), kind));
            }
        }
        if told.len() == CHANGES {
            break;
        }
    }
    told.sort_by_key(|(day, _)| *day);
    let change = |(seq, (day, kind))| Change {
        effective: Effective::On(day),
        recorded_at: start_of(day) + 10.hours(),
        position: Position { epoch: 1, partition: 0, seq },
        kind,
    };
    History::from_changes((1..).zip(told).map(change).collect())
}
