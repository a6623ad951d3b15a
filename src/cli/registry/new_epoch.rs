//! `drivegate registry new-epoch`: every reading taken before counts as outdated.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use miette::IntoDiagnostic as _;

use super::opening::open_existing;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::registry::store::wait;

#[derive(Debug, Args)]
pub(super) struct NewEpoch {
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl NewEpoch {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let epoch = wait(open_existing(&Places::of(&self.dir)?)?.new_epoch()).into_diagnostic()?;
        say(&format!("epoch {epoch} began"));
        Ok(ExitCode::SUCCESS)
    }
}
