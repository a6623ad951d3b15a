//! `drivegate receipt`: fetches the receipt of an answer, and says, without any gateway, what it proves.

mod get;
mod opened;
mod strike;
mod verify;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::audit::receipt::{RECEIPT_BYTES_MAX, Receipt};

const EXAMPLES: &str = "\
Examples:
  drivegate receipt get --dir DIR --as rental-demo --request-id 0192f0c1-7a1e-7b6c-9c51-0a4f0b0d8a11
  drivegate receipt get --dir DIR --as rental-demo --origin gw-1-6f0c2a9d1e7b4835 --index 42
  drivegate receipt verify gw-1-6f0c2a9d1e7b4835-42.tlog-proof --key \"$(drivegate audit key DIR)\"
  drivegate receipt verify FILE --key KEY --open full-name=@name.txt --open case-reference=RA-2026-0004711 …
  drivegate receipt strike FILE --out SHOWN --open … --keep case-reference";

/// Fetches, checks and prepares receipts: what proves an answer without the gateway.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReceiptCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fetches the receipt of an answer you were given, and writes it to a file.
    Get(Box<get::Get>),
    /// Says what a receipt proves: offline, from the file and the log's key alone. Exit code 1: it proves nothing.
    Verify(verify::Verify),
    /// Makes the receipt you show on: salts are replaced by hashes, so that only what you keep open can be looked at.
    Strike(strike::Strike),
}

impl ReceiptCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.task {
            Task::Get(get) => get.run(),
            Task::Verify(verify) => verify.run(),
            Task::Strike(strike) => strike.run(),
        }
    }
}

/// Reads a receipt's file, no more of it than a receipt can have.
fn read_receipt(path: &Path) -> miette::Result<Vec<u8>> {
    use std::io::Read as _;

    let file = std::fs::File::open(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let mut bytes = Vec::new();
    let bytes_max = RECEIPT_BYTES_MAX as u64 + 1;
    file.take(bytes_max)
        .read_to_end(&mut bytes)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Writes a new file, readable by its owner alone: salts let values be tried out. Nothing is written over.
fn write_receipt(path: &Path, text: &str) -> miette::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(miette!(
                help = "name another file with --out, or move this one away",
                "{} exists",
                path.display()
            ));
        }
        other => other.into_diagnostic().wrap_err_with(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).into_diagnostic()
}

fn parse(bytes: &[u8], path: &Path) -> miette::Result<Receipt> {
    Receipt::parse(bytes).into_diagnostic().wrap_err_with(|| format!("{} is no receipt", path.display()))
}
