//! `drivegate log`: the evidence log of a folder, apart from a running gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use miette::IntoDiagnostic as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::terminal::say;
use crate::app::{SystemClock, serve_folder};
use crate::audit::{Prunable, Shelf};
use crate::config::gateway::TelemetryConfig;
use crate::domain::time::{Clock as _, civil_day, months_after, start_of};

/// The evidence log of a folder, apart from a running gateway.
#[derive(Debug, Args)]
pub struct LogCommand {
    #[command(subcommand)]
    action: LogAction,
}

#[derive(Debug, Subcommand)]
enum LogAction {
    Serve(ServeArgs),
    Prune(PruneArgs),
}

/// Months entries are kept unless told otherwise: the three years an answer can be asked about.
const KEEP_MONTHS: u16 = 36;

/// Removes old entries of the logs of a folder; the tree stays, so that later entries and receipts already given still verify.
///
/// Removes whole segments from the beginning of each log, those in which every entry is older than the date. Copy them away first:
/// a segment that is put back is served again. The gateway may run.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  drivegate log prune --dir data/log --before 2023-01-01 --yes")]
struct PruneArgs {
    /// The log folder, as `evidence.folder` names it.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Entries before this day go (China Standard Time).
    #[arg(long, value_name = "DATE")]
    before: jiff::civil::Date,
    /// The least age in months. Below 36 only where the log is nothing but a network log, which the law keeps for 6.
    #[arg(long, value_name = "N", default_value_t = KEEP_MONTHS, value_parser = clap::value_parser!(u16).range(6..))]
    keep_months: u16,
    /// Remove; without it, only what would go is said.
    #[arg(long)]
    yes: bool,
}

impl PruneArgs {
    fn run(self) -> miette::Result<ExitCode> {
        let today = civil_day(SystemClock.now());
        let latest = months_after(today, -i32::from(self.keep_months));
        if self.before > latest {
            miette::bail!(
                "entries must be kept for {} months: --before may be {latest} at the latest",
                self.keep_months
            );
        }
        let shelf = Shelf::open(&self.dir, None).into_diagnostic()?;
        for origin in shelf.origins() {
            let found = Prunable::find(&self.dir, origin, start_of(self.before)).into_diagnostic()?;
            let (count, from, end) = (found.segments(), found.from, found.minimum_index);
            let mib = found.bytes >> 20;
            if count == 0 {
                say(&format!("{origin}: nothing before {}", self.before));
            } else if self.yes {
                found.remove().into_diagnostic()?;
                say(&format!("{origin}: entries {from} to {} removed, {count} segments, {mib} MiB", end - 1));
            } else {
                say(&format!(
                    "{origin}: entries {from} to {} would go, {count} segments, {mib} MiB",
                    end - 1
                ));
            }
        }
        if !self.yes {
            say("nothing was removed: say --yes");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Serves the signed logs of a folder to auditors, witnesses and peers, read-only (C2SP tlog-tiles).
///
/// For the logs of replicas that are no more. A running gateway serves its own: `listen.auditor` in its configuration.
/// Prints one JSON line to standard output when it serves. SIGTERM or Ctrl-C stops it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  drivegate log serve --dir old-replica/data/log --listen 10.0.0.7:9099")]
struct ServeArgs {
    /// The log folder, as `evidence.folder` names it.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where auditors connect; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
}

impl LogCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.action {
            LogAction::Serve(args) => args.run(),
            LogAction::Prune(args) => args.run(),
        }
    }
}

impl ServeArgs {
    fn run(self) -> miette::Result<ExitCode> {
        crate::app::start_logging(&TelemetryConfig::default()).into_diagnostic()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> miette::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
        let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stopping.cancel();
        });
        let announce = |address: SocketAddr, origins: Vec<String>| {
            let ready =
                serde_json::json!({ "event": "ready", "auditor": address.to_string(), "origins": origins });
            say(&ready.to_string());
        };
        serve_folder(&self.dir, self.listen, stop, announce).await.into_diagnostic()?;
        Ok(ExitCode::SUCCESS)
    }
}
