//! `drivegate registry new-epoch`: every reading taken before counts as outdated.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::IntoDiagnostic as _;

use super::opening::open_existing;
use crate::app::SystemClock;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::domain::time::Clock as _;
use crate::registry::store::wait;

#[derive(Debug, Args)]
pub(super) struct NewEpoch {
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl NewEpoch {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let store = open_existing(&Places::of(&self.dir)?)?;
        let epoch = wait(store.new_epoch(SystemClock.now())).into_diagnostic()?;
        say(&format!("epoch {epoch} began"));
        Ok(ExitCode::SUCCESS)
    }
}
