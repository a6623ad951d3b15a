//! `drivegate pki`: makes development certificates and revocation lists.

use std::process::ExitCode;

use clap::Args;

/// Makes development certificates and revocation lists.
#[derive(Debug, Args)]
pub struct PkiCommand {}

impl PkiCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        Ok(ExitCode::SUCCESS)
    }
}
