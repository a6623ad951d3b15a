//! Measures the embedded registry of a folder in process: look-ups warm and cold, changes, memory. For
//! `scripts/bench-registry`, which fills the folder first.
//!
//! ```text
//! cargo run --profile dist --example registry_bench -- --dir DIR --count 1000000 --as-of 2026-11-01
//! ```
#![allow(
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a program of its own that prints figures"
)]

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use drivegate::app::SystemClock;
use drivegate::domain::licence::{ChangeKind, DocumentKind, LicenceNumber};
use drivegate::domain::time::{Clock as _, Effective, civil_day};
use drivegate::intake::ports::{ChangeId, ChangeStore as _, FeedName, IncomingChange, StatedChange};
use drivegate::registry::embedded::{Reader, STORE_FILE};
use drivegate::registry::generator::Population;
use drivegate::registry::{
    EmbeddedRegistry, Extent, NewChange, Outcome, RegistryKeys, RegistryOptions, Submission,
};
use drivegate::verification::ports::{Pseudonyms as _, RecordSource as _};
use jiff::civil::Date;
use miette::{IntoDiagnostic as _, miette};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::fs::{Advice, OFlags, fadvise};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Numbers asked about that were asked about before, so that what is warm stays warm.
const WARM_SET: usize = 100_000;
const WARM_READS: usize = 200_000;
const COLD_READS: usize = 400;
const DIRECT_READS: usize = 400;
/// Durable changes measured at each number of them in a commit.
const CHANGES: usize = 64_000;
const CHANGES_PER_COMMIT: [usize; 3] = [4_000, 8_000, 16_000];
const LONE_CHANGES: usize = 1_000;
/// Changes of the authority, and in one transaction: what two streams have unacknowledged.
const INCOMING: usize = 64_000;
const INCOMING_PER_COMMIT: usize = 8_192;
const PAGE: usize = 4_096;

#[derive(Parser)]
struct Options {
    /// The folder the registry lies in, with its keys.
    #[arg(long)]
    dir: PathBuf,
    /// How many drivers were generated into it.
    #[arg(long)]
    count: u64,
    /// With which seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// As of which day.
    #[arg(long)]
    as_of: Date,
    /// Memory the engine may use for pages, in MiB; the gateway's default unless given.
    #[arg(long)]
    cache_mib: Option<usize>,
    /// Also measures the intake: changes of the authority, by (source, id, sequence).
    #[arg(long)]
    intake: bool,
}

fn main() -> miette::Result<()> {
    let options = Options::parse();
    let keys = RegistryKeys::load(&options.dir.join("registry.keys")).into_diagnostic()?;
    let store = options.dir.join(STORE_FILE);
    let clock = SystemClock;
    let begin = clock.since_boot();
    let mut wanted = RegistryOptions::default();
    wanted.cache_size = options.cache_mib.map_or(wanted.cache_size, |mebibytes| mebibytes << 20);
    let registry = EmbeddedRegistry::open(&options.dir, Arc::new(keys), wanted).into_diagnostic()?;
    let opened = since(&clock, begin);
    let bench = Bench {
        population: Population::new(options.seed, options.as_of),
        runtime: tokio::runtime::Builder::new_current_thread().build().into_diagnostic()?,
        count: options.count,
        registry,
        clock,
    };
    let mut chance = StdRng::seed_from_u64(7);
    let [warm, there] = bench.warm(&mut chance)?;
    let rss = rss_anon_mib()?;
    let mut round = 0;
    let mut changes = serde_json::Map::new();
    for per_commit in CHANGES_PER_COMMIT {
        let rate = bench.changes(&mut chance, per_commit, &mut round)?;
        changes.insert(per_commit.to_string(), rate.into());
    }
    let [lone, seen] = bench.lone_changes(&mut chance, &mut round)?;
    let intake = if options.intake { Some(bench.intake(&mut chance)?) } else { None };
    let cold = bench.cold(&store, &mut chance)?;
    let direct = direct_pairs(&store, &bench.clock, &mut chance)?;
    let changes_cold = bench.changes(&mut chance, CHANGES_PER_COMMIT[0], &mut round)?;
    let told = json!({
        "open_ms": opened.as_millis(),
        "file_bytes": store.metadata().into_diagnostic()?.len(),
        "warm_us": percentiles(warm),
        "warm_over_there_us": percentiles(there),
        "cold_us": percentiles(cold),
        "two_direct_4k_us": percentiles(direct),
        "rss_anon_mib_reading": rss,
        "rss_anon_mib_in_all": rss_anon_mib()?,
        "changes_per_second": changes,
        "changes_per_second_cold": changes_cold,
        "lone_change_us": percentiles(lone),
        "acknowledged_to_seen_in_feed_us": percentiles(seen),
        "intake_changes_per_second": intake,
    });
    println!("{told}");
    Ok(())
}

/// Whom a look-up or a change is about.
struct Driver {
    document: DocumentKind,
    number: LicenceNumber,
}

struct Bench {
    registry: EmbeddedRegistry,
    population: Population,
    runtime: Runtime,
    count: u64,
    clock: SystemClock,
}

impl Bench {
    /// Picks a driver. The number alone is kept: a hundred thousand histories would be counted as the registry's memory.
    fn pick(&self, chance: &mut StdRng) -> miette::Result<Driver> {
        let index = chance.random_range(0..self.count);
        let driver = self.population.part(index..index + 1).next();
        let driver = driver.ok_or_else(|| miette!("the population ends before {index}"))?;
        Ok(Driver { document: driver.document, number: driver.number })
    }

    /// One look-up by number on this thread: pseudonym, index, record, unsealing, decoding.
    fn look_up(&self, reader: &mut Reader, driver: &Driver) -> miette::Result<Duration> {
        let begin = self.clock.since_boot();
        let pseudonym = self.registry.keys().pseudonym(driver.document, &driver.number);
        let reading = reader.look_up(pseudonym).into_diagnostic()?;
        let took = since(&self.clock, begin);
        reading.record.map(|_| took).ok_or_else(|| miette!("a generated driver is not there"))
    }

    /// The same through the gateway's port: a reader thread is woken, and this one when it has the answer.
    fn look_up_over_there(&self, driver: &Driver) -> miette::Result<Duration> {
        let begin = self.clock.since_boot();
        let pseudonym = self.registry.keys().pseudonym(driver.document, &driver.number);
        let reading = self.runtime.block_on(self.registry.read(pseudonym)).into_diagnostic()?;
        let took = since(&self.clock, begin);
        reading.record.map(|_| took).ok_or_else(|| miette!("a generated driver is not there"))
    }

    fn warm(&self, chance: &mut StdRng) -> miette::Result<[Vec<Duration>; 2]> {
        let drivers = (0..WARM_SET).map(|_| self.pick(chance)).collect::<miette::Result<Vec<_>>>()?;
        let mut reader = self.registry.reader();
        for driver in &drivers {
            self.look_up(&mut reader, driver)?;
        }
        let mut any = || &drivers[chance.random_range(0..WARM_SET)];
        let here = (0..WARM_READS).map(|_| self.look_up(&mut reader, any()));
        let here = here.collect::<miette::Result<_>>()?;
        let there = (0..WARM_READS / 4).map(|_| self.look_up_over_there(any()));
        Ok([here, there.collect::<miette::Result<_>>()?])
    }

    /// Look-ups of numbers nobody asked about before, with nothing of the file in the page cache.
    fn cold(&self, store: &Path, chance: &mut StdRng) -> miette::Result<Vec<Duration>> {
        let file = File::open(store).into_diagnostic()?;
        let drivers = (0..COLD_READS).map(|_| self.pick(chance)).collect::<miette::Result<Vec<_>>>()?;
        let mut reader = self.registry.reader();
        let look_up = |driver: &Driver| {
            fadvise(&file, 0, None, Advice::DontNeed).into_diagnostic()?;
            self.look_up(&mut reader, driver)
        };
        drivers.iter().map(look_up).collect()
    }

    /// Durable changes a second, so many to a commit. No two of one subject say the same: `round` counts on.
    fn changes(&self, chance: &mut StdRng, per_commit: usize, round: &mut usize) -> miette::Result<u64> {
        let (mut took, mut done) = (Duration::ZERO, 0);
        while done < CHANGES {
            let batch = (0..per_commit)
                .map(|_| Ok(points(self.pick(chance)?, &self.clock, *round)))
                .collect::<miette::Result<Vec<_>>>()?;
            took += self.apply(&batch)?;
            (done, *round) = (done + per_commit, *round + 1);
        }
        Ok(done as u64 * 1_000_000 / took.as_micros().max(1) as u64)
    }

    /// Changes alone in their commit: until each is acknowledged, and from then until a reader of the feed has it.
    fn lone_changes(&self, chance: &mut StdRng, round: &mut usize) -> miette::Result<[Vec<Duration>; 2]> {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..LONE_CHANGES {
            times[0].push(self.apply(&[points(self.pick(chance)?, &self.clock, *round)])?);
            *round += 1;
            let (acknowledged, head) = (self.clock.since_boot(), self.registry.head());
            let rows = self.registry.feed_after(head.seq - 1, 10).into_diagnostic()?;
            times[1].push(since(&self.clock, acknowledged));
            if rows.last().map(|row| row.position) != Some(head) {
                return Err(miette!("an acknowledged change is not in the feed"));
            }
        }
        Ok(times)
    }

    /// Changes of the authority a second, durable and acknowledged, of subjects it speaks of for the first time.
    fn intake(&self, chance: &mut StdRng) -> miette::Result<u64> {
        let source = FeedName::parse("authority-demo/bench").ok_or_else(|| miette!("a feed's name"))?;
        let mut seen = HashSet::new();
        let mut took = Duration::ZERO;
        let mut done = 0;
        while done < INCOMING.min(self.count as usize / 2) {
            let mut batch = Vec::with_capacity(INCOMING_PER_COMMIT);
            while batch.len() < INCOMING_PER_COMMIT.min(self.count as usize / 4) {
                let Driver { document, number } = self.pick(chance)?;
                if seen.insert(number.expose().to_owned()) {
                    let id = ChangeId::parse(&format!("bench-{}", seen.len())).into_diagnostic()?;
                    let now = self.clock.now();
                    let kind = ChangeKind::PointsSet { points: 7 };
                    let content =
                        StatedChange { effective: Effective::On(civil_day(now)), recorded_at: now, kind };
                    let (source, content) = (source.clone(), Some(content));
                    batch.push(IncomingChange { source, id, sequence: 1, document, number, content });
                }
            }
            let (count, begin) = (batch.len(), self.clock.since_boot());
            let taken =
                self.runtime.block_on(self.registry.take(batch, self.clock.now())).into_diagnostic()?;
            took += since(&self.clock, begin);
            if taken.applied != count as u64 {
                return Err(miette!("of {count} changes {} were applied", taken.applied));
            }
            done += count;
        }
        Ok(done as u64 * 1_000_000 / took.as_micros().max(1) as u64)
    }

    fn apply(&self, batch: &[Submission]) -> miette::Result<Duration> {
        let begin = self.clock.since_boot();
        let outcomes = self.registry.apply(batch).into_diagnostic()?;
        let took = since(&self.clock, begin);
        match outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Appended(_))) {
            None => Ok(took),
            Some(outcome) => Err(miette!("a change was not taken: {outcome:?}")),
        }
    }
}

fn points(driver: Driver, clock: &SystemClock, round: usize) -> Submission {
    let now = clock.now();
    let change = NewChange {
        effective: Effective::On(civil_day(now)),
        recorded_at: now,
        kind: ChangeKind::PointsSet { points: (round % 11) as u8 },
    };
    let Driver { document, number } = driver;
    Submission { document, number, extent: Extent::Continuation, changes: vec![change] }
}

/// Two direct reads of 4 KiB at random places of the same file: what the disk costs a look-up of two pages.
fn direct_pairs(store: &Path, clock: &SystemClock, chance: &mut StdRng) -> miette::Result<Vec<Duration>> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).into_diagnostic()?;
    let file = File::options().read(true).custom_flags(flags).open(store).into_diagnostic()?;
    let pages = file.metadata().into_diagnostic()?.len() / PAGE as u64;
    let mut buffer = vec![0; PAGE * 2];
    let aligned = buffer.as_ptr().align_offset(PAGE);
    let page = &mut buffer[aligned..aligned + PAGE];
    let mut pair = || {
        let begin = clock.since_boot();
        for _ in 0..2 {
            file.read_exact_at(page, chance.random_range(0..pages) * PAGE as u64).into_diagnostic()?;
        }
        Ok(since(clock, begin))
    };
    (0..DIRECT_READS).map(|_| pair()).collect()
}

fn since(clock: &SystemClock, begin: Duration) -> Duration {
    clock.since_boot().saturating_sub(begin)
}

fn percentiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_nanos() as f64 / 1_000.0;
    json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99) })
}

fn rss_anon_mib() -> miette::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").into_diagnostic()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>().into_diagnostic()? / 1_024)
}
