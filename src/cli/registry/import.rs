//! `drivegate registry import`: licences from a file, here or through the gateway that holds the registry open.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use jiff::civil::Date;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::interrupt::Interrupt;
use super::opening::{OpenFault, open_embedded, open_store, today};
use super::progress::{byte_bar, pace};
use crate::admin::client::{AdminClient, AdminClientError};
use crate::admin::report;
use crate::app::SystemClock;
use crate::cli::deployment::Places;
use crate::cli::lines_in;
use crate::cli::terminal::{say, tell};
use crate::domain::licence::NumberRules;
use crate::domain::time::Clock as _;
use crate::registry::import::{
    Encoding, ImportFormat, ImportOptions, ImportProgress, ImportReport, Importer, RejectsFile,
};
use crate::registry::{EmbeddedRegistry, LicenceStore, RegistryError};

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How the input is written; by the file's ending unless given (NDJSON for standard input).
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// How its characters are written; never guessed.
    #[arg(long, value_enum, value_name = "ENCODING", default_value = "utf-8")]
    encoding: Characters,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Characters {
    /// UTF-8, with or without byte order mark.
    #[value(name = "utf-8")]
    Utf8,
    /// GB 18030; GBK and GB 2312 are parts of it.
    #[value(name = "gb18030", alias = "gbk", alias = "gb2312")]
    Gb18030,
}

impl Import {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        let options = ImportOptions::new(
            self.format(),
            NumberRules { accept_test_numbers: self.accept_test_numbers || places.is_sandbox },
            self.as_of.unwrap_or_else(today),
        )
        .encoded(self.encoding());
        let (input, size) = lines_in::open(&self.file)?;
        let bar = byte_bar(size);
        let interrupt = Interrupt::listen();
        let input = interrupt.breaking(bar.wrap_read(input));
        let path = lines_in::rejects_path(self.rejects.as_deref(), &self.file);
        let rejects = RejectsFile::at(&path).into_diagnostic();
        let rejects = rejects.wrap_err_with(|| format!("cannot replace {}", path.display()))?;
        let mut watch = Watch { at_once: false, bar, rejects, unwritten: None, so_far: String::new() };
        let began = SystemClock.since_boot();
        let told = match open(&places) {
            Ok(Opened::Elsewhere(registry)) => import_here(registry.as_ref(), input, options, &mut watch),
            Ok(Opened::Here(registry)) => import_alone(registry, input, options.alone(), &mut watch),
            Err(OpenFault::Registry(RegistryError::Locked(_))) => {
                if options.format == ImportFormat::Csv && self.as_of.is_some() {
                    return Err(miette!(
                        help = "leave --as-of out (the gateway takes today), or stop the gateway first",
                        "a running gateway imports snapshots as of today only"
                    ));
                }
                import_through_gateway(&places.admin_socket, input, options, &mut watch)
            }
            Err(fault) => return Err(fault.into()),
        };
        match told {
            Ok(told) => watch.finish(&told, SystemClock.since_boot().saturating_sub(began)),
            Err(_) if interrupt.is_heard() => watch.stop(),
            Err(error) => Err(error),
        }
    }

    fn encoding(&self) -> Encoding {
        match self.encoding {
            Characters::Utf8 => Encoding::Utf8,
            Characters::Gb18030 => Encoding::Gb18030,
        }
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
}

/// A store nobody else works on, or one that others may share.
enum Opened {
    Here(EmbeddedRegistry),
    Elsewhere(Box<dyn LicenceStore>),
}

fn open(places: &Places) -> Result<Opened, OpenFault> {
    match places.postgres {
        Some(_) => open_store(places).map(Opened::Elsewhere),
        None => open_embedded(places).map(Opened::Here),
    }
}

/// What is shown and kept of an import while it runs.
struct Watch {
    /// It came in as a first load.
    at_once: bool,
    bar: ProgressBar,
    rejects: RejectsFile,
    unwritten: Option<std::io::Error>,
    so_far: String,
}

/// How an import came out, here or in the gateway.
struct Told {
    summary: String,
    lines: u64,
    rejected: u64,
}

impl Watch {
    fn advanced(&mut self, summary: String) {
        self.bar.set_message(summary.clone());
        self.so_far = summary;
    }

    fn rejected(&mut self, line: u64, reason: &str) {
        if let Err(error) = self.rejects.add(line, reason) {
            self.unwritten.get_or_insert(error);
        }
    }

    /// Says how it came out. Exit code 2: the import is done, but lines were refused.
    fn finish(self, told: &Told, took: Duration) -> miette::Result<ExitCode> {
        let bytes = self.bar.position();
        say(&format!("{}{}", told.summary, pace(told.lines, bytes, took)));
        self.name_refused()?;
        Ok(if told.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }

    /// Says how far it came when the operator had enough of it.
    fn stop(self) -> miette::Result<ExitCode> {
        let so_far = if self.so_far.is_empty() { "nothing yet" } else { &self.so_far };
        tell(&format!("stopped by Ctrl-C; durable are: {so_far}"));
        tell("run the same command again to go on: what is in is not imported twice");
        self.name_refused()?;
        Ok(Interrupt::exit_code())
    }

    fn name_refused(self) -> miette::Result<()> {
        self.bar.finish_and_clear();
        let path = self.rejects.finish().and_then(|path| self.unwritten.map_or(Ok(path), Err));
        if let Some(path) = path.into_diagnostic().wrap_err("cannot write the rejects file")? {
            say(&format!("refused lines and their reasons: {}", path.display()));
        }
        Ok(())
    }
}

fn import_here(
    registry: &dyn LicenceStore,
    input: impl Read,
    options: ImportOptions,
    watch: &mut Watch,
) -> miette::Result<Told> {
    let mut progress = |progress| match progress {
        ImportProgress::Advanced(report) => watch.advanced(counts(&report)),
        ImportProgress::Rejected { line, reason } => watch.rejected(line, &reason.to_string()),
        ImportProgress::LoadedAtOnce => watch.at_once = true,
    };
    let report = Importer::new(registry, options).import(input, &mut progress).into_diagnostic();
    let report = report.wrap_err(
        "the import ended early; what was committed stays, run the same command again to finish it",
    )?;
    Ok(Told { summary: counts(&report), lines: report.lines, rejected: report.rejected })
}

/// Imports where nobody else works. A first load leaves room behind its rows, which is given back.
fn import_alone(
    registry: EmbeddedRegistry,
    input: impl Read,
    options: ImportOptions,
    watch: &mut Watch,
) -> miette::Result<Told> {
    let told = import_here(&registry, input, options, watch)?;
    if watch.at_once {
        let shrunk = registry.close_and_shrink().into_diagnostic();
        shrunk.wrap_err("every line is in, but the room behind them cannot be given back")?;
    }
    Ok(told)
}

/// Imports through the gateway that holds the registry open.
fn import_through_gateway(
    socket: &Path,
    input: impl Read + Send + 'static,
    options: ImportOptions,
    watch: &mut Watch,
) -> miette::Result<Told> {
    let encoding = match options.encoding {
        Encoding::Utf8 => report::ImportEncoding::Utf8,
        Encoding::Gb18030 => report::ImportEncoding::Gb18030,
    };
    let format = match options.format {
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
    let counts = client.import(input, format, encoding, &mut progress)?;
    Ok(Told { summary: gateway_counts(&counts), lines: counts.lines, rejected: counts.rejected })
}

fn gateway_counts(counts: &report::ImportCounts) -> String {
    let report::ImportCounts { lines, imported, unchanged, rejected } = counts;
    format!("{lines} lines: {imported} new or extended, {unchanged} unchanged, {rejected} refused")
}

fn counts(report: &ImportReport) -> String {
    let ImportReport { lines, created, appended, unchanged, rejected, .. } = report;
    format!("{lines} lines: {created} new, {appended} extended, {unchanged} unchanged, {rejected} refused")
}
