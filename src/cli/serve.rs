//! `drivegate serve`: runs the gateway.

use std::process::ExitCode;

use clap::Args;

/// Runs the gateway.
#[derive(Debug, Args)]
pub struct ServeCommand {}

impl ServeCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
