//! Measures how fast a synthetic population is made, and how fast it is written as lines.
//!
//! ```text
//! cargo run --profile dist --example population -- 2000000 2
//! ```
//!
//! The first number is how many drivers, the second how many threads. Nothing is stored: to measure an import, run
//! `drivegate registry generate --count N --out FILE` and `drivegate registry import FILE`, which says its own rate.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "an example measures and prints")]
#![allow(clippy::cast_precision_loss, reason = "rates for people to read")]

use std::time::{Duration, Instant};

use drivegate::registry::generator::Population;
use drivegate::registry::import::write_line;
use jiff::civil::date;

fn main() {
    let mut words = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let (count, threads) = (words.next().unwrap_or(1_000_000), words.next().unwrap_or(1));
    let population = Population::new(1, date(2026, 11, 1));
    let mut made = (0, 0);
    let took = measure(|| {
        made = std::thread::scope(|scope| {
            let work = population.parts(count, threads).map(|part| scope.spawn(|| histories(part)));
            let work: Vec<_> = work.collect();
            let sums = work.into_iter().filter_map(|thread| thread.join().ok());
            sums.fold((0, 0), |(drivers, changes), part| (drivers + part.0, changes + part.1))
        });
    });
    let (drivers, changes) = made;
    println!(
        "{drivers} histories of {:.2} changes in {:.2} s: {:.0} a second on {threads} threads",
        changes as f64 / drivers as f64,
        took.as_secs_f64(),
        drivers as f64 / took.as_secs_f64(),
    );
    let mut bytes = Counted(0);
    let lines = count.min(500_000);
    let took = measure(|| {
        for driver in population.part(0..lines) {
            // Counting cannot fail.
            let _written = write_line(&driver, &mut bytes);
        }
    });
    println!(
        "{lines} lines of {:.0} bytes in {:.2} s: {:.0} lines a second, {:.0} MB/s, making them included",
        bytes.0 as f64 / lines as f64,
        took.as_secs_f64(),
        lines as f64 / took.as_secs_f64(),
        bytes.0 as f64 / took.as_secs_f64() / 1e6,
    );
}

/// Makes a part, identity spelled out as a store takes it; returns drivers and changes.
fn histories(part: Population) -> (u64, u64) {
    part.map(|driver| driver.into_submission().changes.len() as u64)
        .fold((0, 0), |(drivers, changes), more| (drivers + 1, changes + more))
}

fn measure(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

struct Counted(u64);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
