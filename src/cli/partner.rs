//! `drivegate partner`: shows and changes partners and their standing.
//!
//! It works on the deployment's files alone; a running gateway watches the same files and follows within a second.

mod change;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::deployment::Places;

/// Shows and changes partners and their standing.
///
/// Works on the files a deployment's config.toml names; a running gateway follows within a second.
#[derive(Debug, Args)]
pub struct PartnerCommand {
    #[command(subcommand)]
    action: PartnerAction,
}

#[derive(Debug, Subcommand)]
enum PartnerAction {
    List(show::ListArgs),
    Show(show::ShowArgs),
    Add(Box<change::AddArgs>),
    Rotate(change::RotateArgs),
    /// Suspends a partner: within a second it is refused, on open connections too.
    Suspend(change::StandingArgs),
    /// Lets a suspended partner call again, as far as its contract does.
    Resume(change::StandingArgs),
}

/// Where the deployment is.
#[derive(Debug, Args)]
struct Deployment {
    /// The deployment folder, as `drivegate init` makes it.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

impl Deployment {
    fn places(&self) -> miette::Result<Places> {
        Places::of(&self.dir)
    }
}

impl PartnerCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.action {
            PartnerAction::List(args) => args.run(),
            PartnerAction::Show(args) => args.run(),
            PartnerAction::Add(args) => args.run(),
            PartnerAction::Rotate(args) => args.run(),
            PartnerAction::Suspend(args) => args.suspend(),
            PartnerAction::Resume(args) => args.resume(),
        }
    }
}

/// Turns an error of the rooms into a report with a hint.
fn told(error: &dyn std::error::Error, next: &str) -> miette::Report {
    let text = crate::identity::error_chain(error);
    miette::miette!(help = next, "{text}")
}

#[cfg(test)]
mod tests;
