//! `drivegate registry compact`: every page full again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use miette::IntoDiagnostic as _;

use super::opening::{load_keys, must_exist};
use super::progress::StageBar;
use crate::cli::deployment::Places;
use crate::cli::terminal::say;
use crate::registry::embedded::compact;

#[derive(Debug, Args)]
pub(super) struct Compact {
    /// The deployment folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl Compact {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let places = Places::of(&self.dir)?;
        must_exist(&places)?;
        let keys = Arc::new(load_keys(&places)?);
        let mut bar = StageBar::new();
        let report = compact(&places.registry, keys, &mut |progress| bar.show(progress));
        bar.finish();
        let report = report.into_diagnostic()?;
        say(&format!("{} bytes before, {} bytes now", report.bytes_before, report.bytes_after));
        Ok(ExitCode::SUCCESS)
    }
}
