//! `drivegate load`: puts load on a gateway and measures it.

use std::process::ExitCode;

use clap::Args;

/// Puts load on a gateway and measures it.
#[derive(Debug, Args)]
pub struct LoadCommand {}

impl LoadCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
