//! `drivegate registry`: fills and inspects the licence registry.

mod quarantine;

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::deployment::Places;
use super::terminal::say;
use crate::admin::client::{AdminClient, AdminClientError};
use crate::admin::report;
use crate::app::SystemClock;
use crate::domain::licence::NumberRules;
use crate::domain::time::{Clock as _, civil_day};
use crate::registry::generator::{POPULATION_MAX, Population, fixed_drivers};
use crate::registry::import::{
    ImportFormat, ImportOptions, ImportProgress, ImportReport, Importer, RejectsFile, write_line,
};
use crate::registry::{
    EmbeddedRegistry, NewSubject, Outcome, RegistryError, RegistryKeys, RegistryOptions, Submission,
};

/// Subjects per commit when generating straight into a store.
const GENERATE_BATCH: usize = 4_000;

/// Fills and inspects the licence registry.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  drivegate registry generate --count 10000 --seed 1 --into DIR\n  drivegate registry generate --count 1000 --out drivers.ndjson\n  drivegate registry import drivers.ndjson --dir DIR\n  drivegate registry stats --dir DIR"
)]
pub struct RegistryCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Makes synthetic licences whose numbers nobody can have.
    Generate(Generate),
    /// Imports licences from NDJSON or CSV; bad lines go to a rejects file, the rest goes in. Safe to repeat.
    Import(Import),
    /// Counts what the registry holds.
    Stats(Stats),
    /// Shows and settles changes of the authority that wait; their subjects' answers are in dispute.
    Quarantine(quarantine::QuarantineCommand),
}

#[derive(Debug, Args)]
struct Generate {
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
    #[arg(long)]
    with_test_drivers: bool,
    /// Writes NDJSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-", conflicts_with = "into")]
    out: PathBuf,
    /// Loads straight into the registry of this deployment folder.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Import {
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How the input is written; by the file's ending unless given (NDJSON for standard input).
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The day a CSV snapshot is true for; today unless given. Nothing is known from before it.
    #[arg(long, value_name = "DATE")]
    as_of: Option<Date>,
    /// Where refused lines are named; FILE.rejects.ndjson unless given. Made only if there are any.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Accepts test numbers (first digit 0), as a deployment whose configuration says sandbox does anyway.
    #[arg(long)]
    accept_test_numbers: bool,
}

#[derive(Debug, Args)]
struct Stats {
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

impl RegistryCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.task {
            Task::Generate(generate) => generate.run(),
            Task::Import(import) => import.run(),
            Task::Stats(stats) => stats.run(),
            Task::Quarantine(quarantine) => quarantine.run(),
        }
    }
}

impl Generate {
    fn run(self) -> miette::Result<ExitCode> {
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
    let written = drivers
        .inspect(|_| bar.inc(1))
        .try_for_each(|driver| write_line(&driver, &mut writer))
        .and_then(|()| writer.flush());
    match written {
        // Whoever read the pipe has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.into_diagnostic().wrap_err_with(|| format!("cannot write {}", out.display())),
    }
}

impl Import {
    fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        let options = ImportOptions::new(
            self.format(),
            NumberRules { accept_test_numbers: self.accept_test_numbers || places.is_sandbox },
            self.as_of.unwrap_or_else(today),
        );
        let (input, bar) = self.input()?;
        let input = bar.wrap_read(input);
        let path = self.rejects_path();
        let rejects = RejectsFile::at(&path).into_diagnostic();
        let rejects = rejects.wrap_err_with(|| format!("cannot replace {}", path.display()))?;
        let mut watch = Watch { bar, rejects, unwritten: None };
        let told = match open_store(&places) {
            Ok(registry) => import_here(&registry, input, options, &mut watch)?,
            Err(OpenFault::Registry(RegistryError::Locked(_))) => {
                if options.format == ImportFormat::Csv && self.as_of.is_some() {
                    return Err(miette!(
                        help = "leave --as-of out (the gateway takes today), or stop the gateway first",
                        "a running gateway imports snapshots as of today only"
                    ));
                }
                import_through_gateway(&places.admin_socket, input, options.format, &mut watch)?
            }
            Err(fault) => return Err(fault.into()),
        };
        watch.finish(&told)
    }

    fn format(&self) -> ImportFormat {
        let csv = |path: &Path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        match self.format {
            Some(Format::Csv) => ImportFormat::Csv,
            Some(Format::Ndjson) => ImportFormat::Ndjson,
            None if csv(&self.file) => ImportFormat::Csv,
            None => ImportFormat::Ndjson,
        }
    }

    fn input(&self) -> miette::Result<(Box<dyn Read + Send>, ProgressBar)> {
        if self.file == Path::new("-") {
            return Ok((Box::new(std::io::stdin()), byte_bar(None)));
        }
        let file = File::open(&self.file).into_diagnostic();
        let file = file.wrap_err_with(|| format!("cannot open {}", self.file.display()))?;
        let size = file.metadata().into_diagnostic()?.len();
        Ok((Box::new(file), byte_bar(Some(size))))
    }

    fn rejects_path(&self) -> PathBuf {
        if let Some(path) = &self.rejects {
            return path.clone();
        }
        let mut path =
            if self.file == Path::new("-") { "stdin".into() } else { self.file.clone().into_os_string() };
        path.push(".rejects.ndjson");
        path.into()
    }
}

/// What is shown and kept of an import while it runs.
struct Watch {
    bar: ProgressBar,
    rejects: RejectsFile,
    unwritten: Option<std::io::Error>,
}

/// How an import came out, here or in the gateway.
struct Told {
    summary: String,
    rejected: u64,
}

impl Watch {
    fn advanced(&self, summary: String) {
        self.bar.set_message(summary);
    }

    fn rejected(&mut self, line: u64, reason: &str) {
        if let Err(error) = self.rejects.add(line, reason) {
            self.unwritten.get_or_insert(error);
        }
    }

    /// Says how it came out. Exit code 2: the import is done, but lines were refused.
    fn finish(self, told: &Told) -> miette::Result<ExitCode> {
        self.bar.finish_and_clear();
        let path = self.rejects.finish().and_then(|path| self.unwritten.map_or(Ok(path), Err));
        say(&told.summary);
        if let Some(path) = path.into_diagnostic().wrap_err("cannot write the rejects file")? {
            say(&format!("refused lines and their reasons: {}", path.display()));
        }
        Ok(if told.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn import_here(
    registry: &EmbeddedRegistry,
    input: impl Read,
    options: ImportOptions,
    watch: &mut Watch,
) -> miette::Result<Told> {
    let mut progress = |progress| match progress {
        ImportProgress::Advanced(report) => watch.advanced(counts(&report)),
        ImportProgress::Rejected { line, reason } => watch.rejected(line, &reason.to_string()),
    };
    let report = Importer::new(registry, options).import(input, &mut progress).into_diagnostic();
    let report = report.wrap_err(
        "the import ended early; what was committed stays, run the same command again to finish it",
    )?;
    Ok(Told { summary: counts(&report), rejected: report.rejected })
}

/// Imports through the gateway that holds the registry open.
fn import_through_gateway(
    socket: &Path,
    input: impl Read + Send + 'static,
    format: ImportFormat,
    watch: &mut Watch,
) -> miette::Result<Told> {
    let format = match format {
        ImportFormat::Ndjson => report::ImportFormat::Ndjson,
        ImportFormat::Csv => report::ImportFormat::Csv,
    };
    let mut progress = |progress| match progress {
        report::ImportProgress::Advanced(counts) => watch.advanced(gateway_counts(&counts)),
        report::ImportProgress::Rejected { line, reason } => watch.rejected(line, &reason),
    };
    let client = AdminClient::connect(socket).map_err(|error| match error {
        AdminClientError::NotRunning { .. } => miette!(
            help = "wait for the other command to end, or name the folder of the gateway that runs",
            "another process holds the registry open, but no gateway listens on {}",
            socket.display()
        ),
        other => other.into(),
    })?;
    let counts = client.import(input, format, &mut progress)?;
    Ok(Told { summary: gateway_counts(&counts), rejected: counts.rejected })
}

fn gateway_counts(counts: &report::ImportCounts) -> String {
    let report::ImportCounts { lines, imported, unchanged, rejected } = counts;
    format!("{lines} lines: {imported} new or extended, {unchanged} unchanged, {rejected} refused")
}

impl Stats {
    fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        let store = places.store();
        if !store.exists() {
            return Err(miette!(
                help = "make one: drivegate registry generate --count 1000 --into DIR",
                "there is no registry at {}",
                store.display()
            ));
        }
        let stats = open_store(&places)?.stats().into_diagnostic()?;
        if self.json {
            let mut json = serde_json::to_value(&stats).into_diagnostic()?;
            json["sealed_bytes_mean"] = stats.sealed_bytes_mean().into();
            json["changes_mean"] = stats.changes_mean().into();
            say(&format!("{json:#}"));
        } else {
            say(table(&stats).trim_end());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(stats: &crate::registry::embedded::RegistryStats) -> String {
    let listed = |counts: Vec<(String, u64)>| {
        let parts: Vec<_> = counts.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join("  ") }
    };
    let classes = stats.classes.iter().map(|(class, count)| (class.clone(), *count)).collect();
    let letters = stats.letters.iter().map(|(letter, count)| (letter.to_string(), *count)).collect();
    let rows = [
        ("registry", stats.registry_id.clone()),
        ("feed", format!("epoch {}, head {}, {} rows kept", stats.epoch, stats.head_seq, stats.feed_rows)),
        ("subjects", stats.subjects.to_string()),
        ("numbers", stats.numbers.to_string()),
        ("changes", format!("{} ({:.1} per subject)", stats.changes, stats.changes_mean())),
        (
            "sealed records",
            format!(
                "{} bytes ({:.1} per subject, largest {})",
                stats.sealed_bytes,
                stats.sealed_bytes_mean(),
                stats.sealed_bytes_max
            ),
        ),
        ("file", format!("{} bytes", stats.file_bytes)),
        ("classes", listed(classes)),
        ("state letters", listed(letters)),
        ("unreadable", stats.unreadable.to_string()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<16}{value}\n")).collect()
}

/// Why the registry of a folder cannot be opened.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum OpenFault {
    #[error("cannot make the data folder {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Keys(crate::registry::KeyFault),
    #[error(transparent)]
    #[diagnostic(help("a running gateway holds its registry open; stop it first"))]
    Registry(RegistryError),
}

fn open_store(places: &Places) -> Result<EmbeddedRegistry, OpenFault> {
    let folder = &places.registry;
    std::fs::create_dir_all(folder).map_err(|source| OpenFault::Folder { path: folder.clone(), source })?;
    let keys =
        RegistryKeys::load_or_create(&places.registry_keys, &places.store()).map_err(OpenFault::Keys)?;
    EmbeddedRegistry::open(folder, Arc::new(keys), RegistryOptions::default()).map_err(OpenFault::Registry)
}

fn today() -> Date {
    civil_day(SystemClock.now())
}

fn counts(report: &ImportReport) -> String {
    let ImportReport { lines, created, appended, unchanged, rejected, .. } = report;
    format!("{lines} lines: {created} new, {appended} extended, {unchanged} unchanged, {rejected} refused")
}

/// A bar over drivers; hidden unless someone watches.
fn driver_bar(total: u64) -> ProgressBar {
    const STYLE: &str = "{bar:32} {human_pos}/{human_len} drivers  {per_sec}  {eta} left";
    styled(ProgressBar::new(total), STYLE)
}

/// A bar over bytes when the size is known, else a counter.
fn byte_bar(size: Option<u64>) -> ProgressBar {
    match size {
        Some(size) => styled(
            ProgressBar::new(size),
            "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
        ),
        None => styled(ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
