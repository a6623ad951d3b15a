//! `drivegate serve`: runs the gateway until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::{Context as _, IntoDiagnostic as _};
use tokio::signal::unix::{SignalKind, signal};

use super::terminal::say;
use crate::app::RunningGateway;
use crate::config::GatewayConfig;
use crate::config::gateway::LogFormat;

/// Runs the gateway.
///
/// Prints one JSON line to standard output when it serves; everything else goes to the log on standard error.
/// SIGHUP reads contracts, certificates and revocation lists again (changed files are noticed within a second anyway).
/// SIGTERM or Ctrl-C drains: no new connections, open calls finish, the log is closed. A second one stops at once.
#[derive(Debug, Args)]
pub struct ServeCommand {
    /// The configuration, as `drivegate init` writes it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where partners connect; port 0 picks a free one. Overrides `listen.partners`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the operator reads health and metrics. Overrides `listen.admin`.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Cores that serve connections. Overrides `listen.cores`.
    #[arg(long, value_name = "N")]
    cores: Option<usize>,
    /// How log lines look: pretty or json. Overrides `telemetry.log_format`.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl ServeCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what could not be started, and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        let mut config = GatewayConfig::read(&self.config).into_diagnostic().wrap_err(
            "the gateway was not started; `drivegate check --config FILE` lists everything that is wrong",
        )?;
        config.listen.partners = self.listen.unwrap_or(config.listen.partners);
        config.listen.admin = self.admin.unwrap_or(config.listen.admin);
        config.listen.cores = self.cores.unwrap_or(config.listen.cores);
        config.telemetry.log_format = self.log_format.unwrap_or(config.telemetry.log_format);
        crate::app::start_logging(&config.telemetry).into_diagnostic()?;
        crate::app::harden(&mut config.bounds);

        let signals = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
        let ended = signals.block_on(run(config))?;
        if ended == Ended::AtOnce {
            // The drain still runs on a thread of that runtime: waiting for it is what the operator did not want.
            signals.shutdown_background();
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How serving ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Open calls were answered, the log was closed.
    Drained,
    /// A second signal came: open calls were dropped.
    AtOnce,
}

async fn run(config: GatewayConfig) -> miette::Result<Ended> {
    // Before the start: a signal that comes in the middle of it must not be lost.
    let mut stop = signal(SignalKind::terminate()).into_diagnostic()?;
    let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
    let mut hangup = signal(SignalKind::hangup()).into_diagnostic()?;
    let gateway = start(config).await?;
    announce(&gateway);
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => gateway.reload(),
        }
    }
    let _unsupervised = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let drained = tokio::task::spawn_blocking(move || gateway.stop());
    tokio::select! {
        stopped = drained => stopped.into_diagnostic().map(|()| Ended::Drained),
        _ = stop.recv() => Ok(Ended::AtOnce),
        _ = interrupt.recv() => Ok(Ended::AtOnce),
    }
}

async fn start(config: GatewayConfig) -> miette::Result<RunningGateway> {
    tokio::task::spawn_blocking(move || RunningGateway::start(&config))
        .await
        .into_diagnostic()?
        .into_diagnostic()
        .wrap_err("the gateway was not started")
}

fn announce(gateway: &RunningGateway) {
    let ready = serde_json::json!({
        "event": "ready",
        "partners": gateway.partner_addr().to_string(),
        "admin": gateway.admin_addr().to_string(),
        "auditor": gateway.auditor_addr().map(|address| address.to_string()),
        "admin_socket": gateway.admin_socket(),
    });
    say(&ready.to_string());
    let _unsupervised = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}
