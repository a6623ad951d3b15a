//! `drivegate partner`: shows and changes partners and their standing.

use std::process::ExitCode;

use clap::Args;

/// Shows and changes partners and their standing.
#[derive(Debug, Args)]
pub struct PartnerCommand {}

impl PartnerCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
