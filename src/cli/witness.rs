//! `drivegate witness`: watches evidence logs and cosigns what they sign.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::IntoDiagnostic as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::terminal::say;
use crate::app::{Looked, RunningWitness};
use crate::config::gateway::TelemetryConfig;
use crate::config::witness::WitnessConfig;

/// Watches evidence logs: cosigns checkpoints that continue what it has seen, and refuses all others.
///
/// Run it away from the gateways, under somebody else's hand: it finds a log that was rolled back to an older copy, or that
/// shows different people different histories. Answers `POST /add-checkpoint` (C2SP tlog-witness) and follows logs by their
/// auditor's listener. Prints one JSON line with its public key when it is ready; a log that is not what it was is said on
/// standard error, and the exit status is then 1.
#[derive(Debug, Args)]
#[command(after_help = "A witness.toml:\n  \
    name = \"witness.example/w1\"\n  listen = \"10.0.0.9:9199\"\n  \
    [[logs]]\n  verifier = \"gw-1-0123456789abcdef+…\"   # the log's file `verifier`\n  url = \"http://10.0.0.7:9099\"")]
pub struct WitnessCommand {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Look at the followed logs once, and end.
    #[arg(long)]
    once: bool,
}

impl WitnessCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        let config = WitnessConfig::read(&self.config).into_diagnostic()?;
        crate::app::start_logging(&TelemetryConfig::default()).into_diagnostic()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .into_diagnostic()?;
        let looked = runtime.block_on(self.watch(config))?;
        let is_sound = looked.broken == 0 && (looked.unread == 0 || !self.once);
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn watch(&self, config: WitnessConfig) -> miette::Result<Looked> {
        let witness = RunningWitness::open(&config).into_diagnostic()?;
        if self.once {
            return Ok(witness.look().await);
        }
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
        let verifier = witness.verifier_line();
        let announce = |address: Option<SocketAddr>| {
            let ready = serde_json::json!({
                "event": "ready",
                "listen": address.map(|address| address.to_string()),
                "verifier": verifier,
            });
            say(&ready.to_string());
        };
        witness.run(stop, announce).await.into_diagnostic()
    }
}
