//! Measures how many uses of presentations the embedded book spends a second, each durable before it counts.
//!
//! ```text
//! cargo run --release --example book_bench -- --dir DIR
//! ```
//!
//! One core's loop keeps `--in-flight` redemptions under way, each of another QR code, for `--seconds` after one of warming up. Before
//! and after, 300 appends of 4 KiB are synced to a file in the same folder: no figure can be read without what the disk does.
#![allow(clippy::print_stdout, reason = "a program of its own that prints figures")]

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use drivegate::app::SystemClock;
use drivegate::domain::presentation::PresentationId;
use drivegate::domain::time::Clock as _;
use drivegate::registry::{EmbeddedRegistry, RegistryKeys, RegistryOptions};
use drivegate::verification::ports::{QuestionDigest, Redeemed, Redemption, Redemptions as _};
use hdrhistogram::Histogram;
use jiff::SignedDuration;
use miette::{IntoDiagnostic as _, miette};
use serde_json::json;

const SYNCS: usize = 300;
const SYNC_BYTES: usize = 4_096;

#[derive(Parser)]
struct Options {
    /// A folder on the disk to be measured; a registry is made in it.
    #[arg(long)]
    dir: PathBuf,
    /// Redemptions under way at once.
    #[arg(long, default_value_t = 128)]
    in_flight: usize,
    /// Seconds measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Uses spent before: a book that has been used for a while.
    #[arg(long, default_value_t = 0)]
    spent_before: usize,
    /// What is spent is long over, so that as much is swept as is spent: a book that neither grows nor shrinks.
    #[arg(long)]
    sweeping: bool,
}

fn main() -> miette::Result<()> {
    let options = Options::parse();
    let keys = Arc::new(RegistryKeys::ephemeral().into_diagnostic()?);
    let registry = EmbeddedRegistry::open(&options.dir, keys, RegistryOptions::default());
    let registry = Rc::new(registry.into_diagnostic()?);
    let runtime = tokio::runtime::Builder::new_current_thread().build().into_diagnostic()?;
    let local = tokio::task::LocalSet::new();
    let before = sync_p50_us(&options.dir)?;
    let (count, took) = local.block_on(&runtime, measure(&options, Rc::clone(&registry)))?;
    let after = sync_p50_us(&options.dir)?;
    #[allow(clippy::cast_precision_loss, reason = "a figure for people to read")]
    let per_second = count as f64 / options.seconds as f64;
    let told = json!({
        "in_flight": options.in_flight,
        "spent_before": options.spent_before,
        "sweeping": options.sweeping,
        "redemptions_per_second": per_second.round(),
        "p50_us": took.value_at_quantile(0.5),
        "p99_us": took.value_at_quantile(0.99),
        "fdatasync_4k_p50_us": [before, after],
    });
    println!("{told}");
    Ok(())
}

async fn measure(options: &Options, registry: Rc<EmbeddedRegistry>) -> miette::Result<(u64, Histogram<u64>)> {
    tokio::task::spawn_local(registry.core_task());
    let lives = SignedDuration::from_secs(if options.sweeping { -3_600 } else { 60 });
    let spend = |until| spend(options.in_flight, &registry, until, lives);
    spend(Until::Count(options.spent_before)).await?;
    let clock = SystemClock;
    let begin = clock.since_boot();
    spend(Until::Moment(begin + Duration::from_secs(1))).await?;
    let until = clock.since_boot() + Duration::from_secs(options.seconds);
    spend(Until::Moment(until)).await
}

#[derive(Clone, Copy)]
enum Until {
    Count(usize),
    Moment(Duration),
}

/// Keeps redemptions under way; returns how many ended, and the microseconds each took.
async fn spend(
    in_flight: usize,
    registry: &Rc<EmbeddedRegistry>,
    until: Until,
    lives: SignedDuration,
) -> miette::Result<(u64, Histogram<u64>)> {
    let begun = Rc::new(Cell::new(0_usize));
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let one_by_one = spend_one_by_one(Rc::clone(registry), Rc::clone(&begun), until, lives);
            tokio::task::spawn_local(one_by_one)
        })
        .collect();
    let mut all = Histogram::new(3).into_diagnostic()?;
    for task in tasks {
        all.add(task.await.into_diagnostic()??).into_diagnostic()?;
    }
    Ok((all.len(), all))
}

async fn spend_one_by_one(
    registry: Rc<EmbeddedRegistry>,
    begun: Rc<Cell<usize>>,
    until: Until,
    lives: SignedDuration,
) -> miette::Result<Histogram<u64>> {
    let clock = SystemClock;
    let mut took = Histogram::new(3).into_diagnostic()?;
    loop {
        let begin = clock.since_boot();
        let is_over = match until {
            Until::Count(count) => begun.get() >= count,
            Until::Moment(moment) => begin >= moment,
        };
        if is_over {
            return Ok(took);
        }
        begun.set(begun.get() + 1);
        let now = clock.now();
        let redemption = Redemption {
            id: PresentationId::of_qr(now, rand::random()),
            uses_max: 1,
            issued_at: now,
            expires_at: now + lives,
            may_spend: true,
            partner: "rental-demo".parse().into_diagnostic()?,
            request_id: "01J9ZW7Q8R5T3V1X".to_owned(),
            digest: QuestionDigest([7; 16]),
            at: now,
        };
        let told = registry.redeem(redemption).await.into_diagnostic()?;
        if told != (Redeemed::Now { use_number: 1 }) {
            return Err(miette!("a use that was free was not spent"));
        }
        let micros = (clock.since_boot() - begin).as_micros();
        took.record(u64::try_from(micros).into_diagnostic()?).into_diagnostic()?;
    }
}

/// Appends and syncs; returns the median in microseconds.
fn sync_p50_us(folder: &Path) -> miette::Result<u128> {
    let (clock, path) = (SystemClock, folder.join("synced"));
    let mut file = File::create(&path).into_diagnostic()?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; SYNC_BYTES]).into_diagnostic()?;
        let begin = clock.since_boot();
        file.sync_data().into_diagnostic()?;
        took.push((clock.since_boot() - begin).as_micros());
    }
    std::fs::remove_file(&path).into_diagnostic()?;
    took.sort_unstable();
    took.get(SYNCS / 2).copied().ok_or_else(|| miette!("nothing was synced"))
}
