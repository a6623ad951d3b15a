//! `drivegate log`: the evidence log of a folder, apart from a running gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use miette::IntoDiagnostic as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::terminal::say;
use crate::app::serve_folder;
use crate::config::gateway::TelemetryConfig;

/// The evidence log of a folder, apart from a running gateway.
#[derive(Debug, Args)]
pub struct LogCommand {
    #[command(subcommand)]
    action: LogAction,
}

#[derive(Debug, Subcommand)]
enum LogAction {
    Serve(ServeArgs),
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
