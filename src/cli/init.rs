//! `drivegate init`: writes a ready sandbox deployment into a folder.

use std::process::ExitCode;

use clap::Args;

/// Writes a ready sandbox deployment into a folder.
#[derive(Debug, Args)]
pub struct InitCommand {}

impl InitCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
