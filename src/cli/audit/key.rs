//! `drivegate audit key`: the log's public key.

use std::process::ExitCode;

use clap::Args;
use miette::{IntoDiagnostic as _, miette};

use super::place::Place;
use crate::audit::LogVerifier;
use crate::cli::terminal::say;

#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(flatten)]
    place: Place,
}

impl Key {
    pub(super) fn run(self) -> miette::Result<ExitCode> {
        let (folder, log, _bytes) = self.place.open()?;
        let verifier = LogVerifier::of_folder(&folder.join(log.origin())).into_diagnostic()?;
        let verifier = verifier.ok_or_else(|| {
            miette!(
                help = "the key is made when a gateway first opens the log: start it once",
                "the log {} has no key yet",
                log.origin()
            )
        })?;
        say(verifier.line());
        Ok(ExitCode::SUCCESS)
    }
}
