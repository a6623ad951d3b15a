//! `drivegate registry export`: every licence as NDJSON that `import` takes back.
//!
//! Numbers and names leave the process here, so it is asked for in so many words, never goes to a screen, and what it writes
//! is its owner's alone.

use std::fs::OpenOptions;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use super::interrupt::Interrupt;
use super::opening::{OpenFault, open_existing};
use super::progress::licence_counter;
use crate::admin::client::AdminClient;
use crate::cli::deployment::Places;
use crate::cli::terminal::tell;
use crate::registry::import::{FileEnd, read_end};
use crate::registry::{LicenceStore, RegistryError, export};

/// The longest end line.
const END_LINE_MAX: usize = 256;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The deployment folder. A running gateway is asked over its socket, unless the registry stands on PostgreSQL.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Writes to this file, mode 0600; standard output unless given, which must not be a terminal.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Says that numbers and names are to leave the registry. Nothing is exported without it.
    #[arg(long)]
    with_identifiers: bool,
    /// Writes over a file that is there.
    #[arg(long, requires = "to")]
    force: bool,
}

impl Export {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        if !self.with_identifiers {
            return Err(miette!(
                help = "if that is meant, add --with-identifiers; for a copy to restore from, use `registry backup`",
                "an export holds every licence number and name in the clear"
            ));
        }
        let places = Places::of(&self.dir)?;
        let end = match &self.to {
            Some(file) => self.to_file(&places, file)?,
            None => to_standard_output(&places)?,
        };
        let to = self.to.as_ref().map_or("standard output".to_owned(), |file| file.display().to_string());
        tell(&format!("exported {} licences, numbers and names included, to {to}", end.subjects));
        tell("keep it as you keep the registry's keys; `drivegate registry import` takes it back");
        if end.left_out > 0 {
            tell(&format!("{} records cannot be read and were left out", end.left_out));
            return Ok(ExitCode::from(2));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Writes beside the file and moves it there once it is whole and on disk.
    fn to_file(&self, places: &Places, file: &Path) -> miette::Result<FileEnd> {
        if file.symlink_metadata().is_ok() && !self.force {
            return Err(miette!(
                help = "choose another name, or pass --force to write over it",
                "{} is already there",
                file.display()
            ));
        }
        let part = part_of(file);
        let cannot = |what: &str| format!("cannot {what} {}", part.display());
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).into_diagnostic().wrap_err(cannot("replace"));
            }
            _ => {}
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let opened = opened.into_diagnostic().wrap_err_with(|| cannot("make"))?;
        // Ctrl-C must not leave half a file of numbers and names behind.
        let written = write(places, Interrupt::listen().breaking(&opened)).and_then(|end| {
            opened.sync_all().into_diagnostic().wrap_err_with(|| cannot("write"))?;
            Ok(end)
        });
        let moved = written.and_then(|end| {
            let moved = std::fs::rename(&part, file).into_diagnostic();
            moved.wrap_err_with(|| format!("cannot write {}", file.display())).map(|()| end)
        });
        if moved.is_err() {
            // Half an export is of no use, and holds numbers and names.
            let _kept = std::fs::remove_file(&part);
        }
        moved
    }
}

fn part_of(file: &Path) -> PathBuf {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

fn to_standard_output(places: &Places) -> miette::Result<FileEnd> {
    let out = std::io::stdout();
    if out.is_terminal() {
        return Err(miette!(
            help = "add --to FILE, or send it on: … | encrypt > FILE",
            "numbers and names are not written to a terminal"
        ));
    }
    write(places, out.lock())
}

/// Exports from the store, or from the gateway that holds it open.
fn write(places: &Places, out: impl Write) -> miette::Result<FileEnd> {
    match open_existing(places) {
        Ok(registry) => write_here(registry.as_ref(), out),
        Err(OpenFault::Registry(RegistryError::Locked(_))) => {
            write_through_gateway(&places.admin_socket, out)
        }
        Err(fault) => Err(fault.into()),
    }
}

fn write_here(registry: &dyn LicenceStore, out: impl Write) -> miette::Result<FileEnd> {
    let bar = licence_counter();
    let ended = export::export(registry, &mut BufWriter::new(out), &mut |_| bar.inc(1));
    bar.finish_and_clear();
    ended.into_diagnostic().wrap_err("the export ended early and is not whole")
}

fn write_through_gateway(socket: &Path, out: impl Write) -> miette::Result<FileEnd> {
    let mut out = Watched { out: BufWriter::new(out), bar: licence_counter(), last_line: Vec::new() };
    let exported = AdminClient::connect(socket).and_then(|gateway| gateway.export(&mut out));
    out.bar.finish_and_clear();
    exported?;
    read_end(&out.last_line)
        .ok_or_else(|| miette!(help = "look at the gateway's log", "the export ended early and is not whole"))
}

/// Counts lines that go by, and keeps the last.
struct Watched<W> {
    out: W,
    bar: indicatif::ProgressBar,
    last_line: Vec<u8>,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        for piece in bytes[..count].split_inclusive(|byte| *byte == b'\n') {
            if self.last_line.ends_with(b"\n") {
                self.last_line.clear();
                self.bar.inc(1);
            }
            let room = (END_LINE_MAX + 1).saturating_sub(self.last_line.len());
            let ends = piece.ends_with(b"\n");
            self.last_line.extend_from_slice(&piece[..piece.len().min(room)]);
            if ends && !self.last_line.ends_with(b"\n") {
                self.last_line.push(b'\n');
            }
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_kept_however_the_bytes_come() {
        let text = format!("begin\n{}\n{{\"end\":1}}\n", "x".repeat(5_000));
        for size in [1, 2, 7, 4_096, 10_000] {
            let mut out =
                Watched { out: Vec::new(), bar: indicatif::ProgressBar::hidden(), last_line: Vec::new() };
            for chunk in text.as_bytes().chunks(size) {
                out.write_all(chunk).unwrap();
            }
            assert_eq!(out.last_line, b"{\"end\":1}\n", "{size}");
            assert_eq!((out.out.len(), out.bar.position()), (text.len(), 2));
        }
    }

    #[test]
    fn a_part_lies_beside_the_file() {
        assert_eq!(part_of(Path::new("a/b.ndjson")), Path::new("a/b.ndjson.part"));
    }
}
