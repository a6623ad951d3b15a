//! `drivegate audit export`: entries as NDJSON.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::place::{Place, unreadable};
use super::progress::LogBar;
use crate::audit::LogWalk;
use crate::audit::check::{ExportLine, Selection};
use crate::audit::entry::Entry;
use crate::cli::terminal::tell;
use crate::domain::partner::PartnerId;

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    chosen: Chosen,
    /// Writes to this file, mode 0600; standard output unless given.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

/// Which entries, as arguments say it.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Entries dated at this moment or later: 2026-11-01T00:00:00+08:00.
    #[arg(long, value_name = "MOMENT")]
    from: Option<Timestamp>,
    /// Entries dated before this moment.
    #[arg(long, value_name = "MOMENT")]
    to: Option<Timestamp>,
    /// Entries of this partner.
    #[arg(long, value_name = "ID")]
    partner: Option<PartnerId>,
}

impl Chosen {
    pub(super) fn selection(self) -> Selection {
        Selection { from: self.from, to: self.to, partner: self.partner }
    }
}

/// What an export came to.
#[derive(Default)]
struct Exported {
    lines: u64,
    undecodable: u64,
    failed: Option<io::Error>,
}

impl Export {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let (folder, mut log, bytes) = self.place.open()?;
        let mut bar = LogBar::new(bytes);
        let selection = self.chosen.selection();
        let mut out: Box<dyn Write> = match &self.into {
            Some(file) => Box::new(create(file)?),
            None => Box::new(io::stdout().lock()),
        };
        let mut out = BufWriter::new(&mut *out);
        let mut exported = Exported::default();
        let walked = write(&mut log, &selection, &mut out, &mut exported, &mut bar);
        bar.finish();
        let walked = walked.map_err(|error| unreadable(&folder, error))?;
        match exported.failed.map_or_else(|| out.flush(), Err) {
            // Whoever read has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written.into_diagnostic().wrap_err("the export ended early and is not whole")?,
        }
        tell(&format!("exported {} of {} entries", exported.lines, walked.next_index - walked.first_index));
        if let Some(flaw) = walked.flaw {
            tell(&format!("the log is damaged: {flaw}; `drivegate audit fsck` says more"));
            return Ok(ExitCode::from(2));
        }
        if exported.undecodable > 0 {
            tell(&format!("{} entries cannot be read and were left out", exported.undecodable));
            return Ok(ExitCode::from(2));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn create(file: &Path) -> miette::Result<std::fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|error| {
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                miette!(help = "choose another name", "{} is already there", file.display())
            }
            _ => miette!("cannot make {}: {error}", file.display()),
        }
    })
}

fn write(
    log: &mut LogWalk,
    selection: &Selection,
    out: &mut impl Write,
    exported: &mut Exported,
    bar: &mut LogBar,
) -> Result<crate::audit::Walked, crate::audit::ReadError> {
    let origin = log.origin().to_owned();
    log.walk(|index, bytes| {
        bar.entry(bytes.len() as u64);
        let Ok(entry) = Entry::decode(bytes) else {
            exported.undecodable += 1;
            return ControlFlow::Continue(());
        };
        if !selection.wants(&entry) {
            return ControlFlow::Continue(());
        }
        let line = ExportLine::of(&origin, index, bytes, &entry);
        let written = serde_json::to_writer(&mut *out, &line).map_err(io::Error::from);
        match written.and_then(|()| out.write_all(b"\n")) {
            Ok(()) => {
                exported.lines += 1;
                ControlFlow::Continue(())
            }
            Err(error) => {
                exported.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })
}
