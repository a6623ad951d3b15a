//! `drivegate partner`: shows and changes partners and their standing.
//!
//! It works on the deployment's files; a running gateway watches the same files and follows within a second. Where replicas share a
//! registry, standing is on the record they share.

mod change;
mod records;
mod show;
mod standing;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::deployment::Places;
use crate::domain::standing::RecordedState;

/// Shows and changes partners and their standing.
///
/// Works on the files a deployment's config.toml names; a running gateway follows within a second. With a registry on PostgreSQL,
/// standing is changed on the record all replicas share.
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
    Suspend(standing::StandingArgs),
    /// Lets a suspended partner call again, as far as its contract does.
    Resume(standing::StandingArgs),
    /// Suspends a partner's claims: it is answered about QR codes and share codes alone.
    SuspendClaims(standing::StandingArgs),
    /// Lets a partner claim again.
    ///
    /// The tripwire suspends claims by itself when too many were unconfirmed; find out why before you lift it (docs/operations.md).
    ResumeClaims(standing::StandingArgs),
    /// Denies a key: within a second no certificate with it is accepted, on open connections too.
    Deny(standing::KeyArgs),
    /// Accepts a denied key again.
    Allow(standing::KeyArgs),
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
            PartnerAction::Suspend(args) => args.change(RecordedState::Suspended),
            PartnerAction::Resume(args) => args.change(RecordedState::Active),
            PartnerAction::SuspendClaims(args) => args.change_claims(RecordedState::Suspended),
            PartnerAction::ResumeClaims(args) => args.change_claims(RecordedState::Active),
            PartnerAction::Deny(args) => args.change(RecordedState::Suspended),
            PartnerAction::Allow(args) => args.change(RecordedState::Active),
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
