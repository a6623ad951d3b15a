//! `drivegate registry generate`: a synthetic population, as a file or straight into a registry.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::ProgressBar;
use jiff::civil::Date;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::opening::{open_store, today};
use super::progress::driver_bar;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::registry::generator::{POPULATION_MAX, Population, fixed_drivers};
use crate::registry::import::{FileEnd, write_begin, write_end, write_line};
use crate::registry::{EmbeddedRegistry, NewSubject, Outcome, Submission};

/// Subjects per commit when generating straight into a store.
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
        let count = usize::try_from(self.count).into_diagnostic()?;
        let drivers = fixed.into_iter().chain(Population::new(self.seed, as_of).take(count));
        let bar = driver_bar(total);
        match &self.into {
            Some(dir) => load(&open_store(&Places::of(dir)?)?, drivers, &bar)?,
            None => write(&self.out, drivers, &bar)?,
        }
        bar.finish_and_clear();
        if self.into.is_some() || self.out != Path::new("-") {
            say(&format!("{total} drivers as of {as_of}, seed {}", self.seed));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn load(
    registry: &EmbeddedRegistry,
    mut drivers: impl Iterator<Item = NewSubject>,
    bar: &ProgressBar,
) -> miette::Result<()> {
    loop {
        let batch: Vec<Submission> =
            drivers.by_ref().take(GENERATE_BATCH).map(NewSubject::into_submission).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let outcomes = registry.apply(&batch).into_diagnostic()?;
        let rejected = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Rejected(rejection) => Some(*rejection),
            Outcome::Created(_) | Outcome::Appended(_) | Outcome::Unchanged => None,
        });
        if let Some(rejection) = rejected {
            return Err(miette!(
                help = "use the --seed and --as-of the registry was filled with, or another folder",
                "a driver was not taken: {rejection}"
            ));
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
