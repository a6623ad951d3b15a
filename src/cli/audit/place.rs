//! Which log is meant.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{Context as _, IntoDiagnostic as _, Report, miette};

use crate::audit::{LogWalk, ReadError};
use crate::config::GatewayConfig;
use crate::config::gateway::EvidenceConfig;

/// A log, as arguments name it.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The deployment folder, or the folder of a log (where the files `origin` and `secret` lie).
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// The log of this name, instead of the one in force: one that was written before a restore, or on another machine.
    #[arg(long, value_name = "NAME")]
    pub(super) origin: Option<String>,
}

impl Place {
    /// Returns the folder of the logs.
    ///
    /// # Errors
    /// A configuration that is there and cannot be used: to guess would be to check another log.
    pub(super) fn folder(&self) -> miette::Result<PathBuf> {
        let config = self.dir.join("config.toml");
        if config.symlink_metadata().is_ok() {
            let config = GatewayConfig::read(&config).into_diagnostic().wrap_err(
                "the deployment's configuration cannot be used; `drivegate check --config FILE` says why",
            )?;
            return Ok(config.evidence.folder);
        }
        if self.dir.join("origin").exists()
            || self.origin.as_ref().is_some_and(|name| self.dir.join(name).is_dir())
        {
            return Ok(self.dir.clone());
        }
        Ok(self.dir.join(EvidenceConfig::default().folder))
    }

    /// Opens the log, and says how large it is.
    ///
    /// # Errors
    /// Says where it was looked for.
    pub(super) fn open(&self) -> miette::Result<(PathBuf, LogWalk, u64)> {
        let folder = self.folder()?;
        let log =
            LogWalk::open(&folder, self.origin.as_deref()).map_err(|error| unreadable(&folder, error))?;
        let bytes = log.bytes().map_err(|error| unreadable(&folder, error))?;
        Ok((folder, log, bytes))
    }
}

/// Says what to do about a log that cannot be read.
pub(super) fn unreadable(folder: &Path, error: ReadError) -> Report {
    match error {
        ReadError::NoLog => miette!(
            help = "name a deployment folder, or the folder with the file `origin`; with --origin, one of the folders beside it",
            "there is no such log in {}",
            folder.display()
        ),
        ReadError::Io(error) => Err::<(), _>(error)
            .into_diagnostic()
            .wrap_err(format!(
                "cannot read the log in {}: run this as the gateway's user, or root",
                folder.display()
            ))
            .err()
            .unwrap_or_else(|| miette!("cannot read the log")),
        other => Report::msg(other),
    }
}
