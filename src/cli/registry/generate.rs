//! `drivegate registry generate`: a synthetic population, as a file or straight into a registry.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use indicatif::ProgressBar;
use jiff::civil::Date;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::opening::{open_embedded, open_store, today};
use super::progress::{StageBar, driver_bar};
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::registry::embedded::{BulkLoad, BulkWorker};
use crate::registry::generator::{POPULATION_MAX, Population, fixed_drivers};
use crate::registry::import::{FileEnd, write_begin, write_end, write_line};
use crate::registry::store::wait;
use crate::registry::{LicenceStore, NewSubject, Outcome, RegistryError, Rejection, Submission};

/// Drivers a core makes before it asks for more.
const AT_ONCE: u64 = 4_096;
/// Subjects per commit when generating into a store that holds some already.
const GENERATE_BATCH: usize = 4_000;

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// How many drivers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=POPULATION_MAX))]
    count: u64,
    /// The same seed and day make the same drivers.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The day the population is made for; today unless given.
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
    /// Adds the fixed test drivers of docs/test-drivers.md, beyond the count.
    #[arg(long, visible_alias = "test-drivers")]
    with_test_drivers: bool,
    /// Writes NDJSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-", conflicts_with = "into")]
    out: PathBuf,
    /// Loads straight into the registry of this deployment folder.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

impl Generate {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let as_of = self.as_of.unwrap_or_else(today);
        let fixed: Vec<_> = if self.with_test_drivers { fixed_drivers(as_of).collect() } else { Vec::new() };
        let total = self.count + fixed.len() as u64;
        let population = Population::new(self.seed, as_of);
        match &self.into {
            Some(dir) => self.load(&Places::of(dir)?, fixed, &population, total)?,
            None => {
                let bar = driver_bar(total);
                let drivers = fixed.into_iter().chain(population.part(0..self.count));
                write(&self.out, drivers, &bar)?;
                bar.finish_and_clear();
            }
        }
        if self.into.is_some() || self.out != Path::new("-") {
            say(&format!("{total} drivers as of {as_of}, seed {}", self.seed));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// An empty registry is loaded at once; into another the drivers go batch by batch, as an import would.
    fn load(
        &self,
        places: &Places,
        fixed: Vec<NewSubject>,
        population: &Population,
        total: u64,
    ) -> miette::Result<()> {
        let bar = driver_bar(total);
        if places.postgres.is_some() {
            let drivers = fixed.into_iter().chain(population.part(0..self.count));
            load_in_batches(open_store(places)?.as_ref(), drivers, &bar)?;
            bar.finish_and_clear();
            return Ok(());
        }
        let registry = open_embedded(places)?;
        let load = match registry.bulk_load() {
            Ok(load) => load,
            Err(RegistryError::NotEmpty) => {
                load_in_batches(&registry, fixed.into_iter().chain(population.part(0..self.count)), &bar)?;
                bar.finish_and_clear();
                return Ok(());
            }
            Err(error) => return Err(error).into_diagnostic(),
        };
        load_at_once(&load, fixed, population, self.count, &bar)?;
        bar.finish_and_clear();
        let mut stages = StageBar::new();
        let report = load.finish(&mut |progress| stages.show(progress));
        stages.finish();
        let report = report.into_diagnostic()?;
        if !report.duplicates.is_empty() || !report.numbers_taken.is_empty() {
            return Err(not_taken(Rejection::DuplicateNumber));
        }
        registry.close_and_shrink().into_diagnostic()
    }
}

/// Makes and seals drivers on every core.
fn load_at_once(
    load: &BulkLoad<'_>,
    fixed: Vec<NewSubject>,
    population: &Population,
    count: u64,
    bar: &ProgressBar,
) -> miette::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicU64::new(0);
    let ahead = fixed.len() as u64;
    let mut first = load.worker();
    take_all(&mut first, 0, fixed.into_iter())?;
    first.finish().into_diagnostic()?;
    std::thread::scope(|scope| {
        let next = &next;
        let work = move || {
            let mut worker = load.worker();
            loop {
                let begin = next.fetch_add(AT_ONCE, Ordering::Relaxed);
                if begin >= count {
                    return worker.finish().into_diagnostic();
                }
                let end = count.min(begin + AT_ONCE);
                take_all(&mut worker, ahead + begin, population.part(begin..end))?;
                bar.inc(end - begin);
            }
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn take_all(
    worker: &mut BulkWorker<'_>,
    ordinal: u64,
    drivers: impl Iterator<Item = NewSubject>,
) -> miette::Result<()> {
    for (ordinal, driver) in (ordinal..).zip(drivers) {
        let taken = worker.take(ordinal, &driver.into_submission()).into_diagnostic()?;
        taken.map_err(not_taken)?;
    }
    Ok(())
}

fn not_taken(rejection: Rejection) -> miette::Report {
    miette!(
        help = "use the --seed and --as-of the registry was filled with, or another folder",
        "a driver was not taken: {rejection}"
    )
}

fn load_in_batches(
    registry: &dyn LicenceStore,
    mut drivers: impl Iterator<Item = NewSubject>,
    bar: &ProgressBar,
) -> miette::Result<()> {
    loop {
        let batch: Vec<Submission> =
            drivers.by_ref().take(GENERATE_BATCH).map(NewSubject::into_submission).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let outcomes = wait(registry.apply(&batch)).into_diagnostic()?;
        let rejected = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Rejected(rejection) => Some(*rejection),
            Outcome::Created(_) | Outcome::Appended(_) | Outcome::Unchanged => None,
        });
        if let Some(rejection) = rejected {
            return Err(not_taken(rejection));
        }
        bar.inc(batch.len() as u64);
    }
}

fn write(out: &Path, drivers: impl Iterator<Item = NewSubject>, bar: &ProgressBar) -> miette::Result<()> {
    let mut writer: Box<dyn Write> = if out == Path::new("-") {
        Box::new(BufWriter::new(std::io::stdout().lock()))
    } else {
        let file = File::create(out).into_diagnostic();
        Box::new(BufWriter::new(file.wrap_err_with(|| format!("cannot create {}", out.display()))?))
    };
    match write_all(drivers.inspect(|_| bar.inc(1)), &mut writer) {
        // Whoever read the pipe has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.into_diagnostic().wrap_err_with(|| format!("cannot write {}", out.display())),
    }
}

fn write_all(drivers: impl Iterator<Item = NewSubject>, out: &mut impl Write) -> std::io::Result<()> {
    let mut end = FileEnd { subjects: 0, left_out: 0 };
    write_begin(out)?;
    for driver in drivers {
        write_line(&driver, out)?;
        end.subjects += 1;
    }
    write_end(end, out)?;
    out.flush()
}
