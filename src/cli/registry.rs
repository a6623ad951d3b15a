//! `drivegate registry`: fills and inspects the licence registry.

mod backup;
mod compact;
mod export;
mod generate;
mod import;
mod interrupt;
mod new_epoch;
mod opening;
mod progress;
mod quarantine;
mod restore;
mod stats;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Fills and inspects the licence registry.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  drivegate registry generate --count 10000 --seed 1 --into DIR\n  drivegate registry generate --count 1000 --out drivers.ndjson\n  drivegate registry import drivers.ndjson --dir DIR\n  drivegate registry export DIR --to drivers.ndjson --with-identifiers\n  drivegate registry stats --dir DIR\n  drivegate registry backup DIR --to FILE\n  drivegate registry restore FILE --into DIR"
)]
pub struct RegistryCommand {
    #[command(subcommand)]
    task: Task,
}
#[derive(Debug, Subcommand)]
enum Task {
    /// Makes synthetic licences whose numbers nobody can have.
    Generate(generate::Generate),
    /// Imports licences from NDJSON or CSV; bad lines go to a rejects file, the rest goes in. Safe to repeat.
    Import(import::Import),
    /// Writes every licence as NDJSON that import takes back. Numbers and names leave the registry: say so.
    Export(export::Export),
    /// Counts what the registry holds.
    Stats(stats::Stats),
    /// Opens every record and compares index and feed with what they say. Exit code 2: something is wrong.
    Verify(verify::Verify),
    /// Writes everything to one file, sealed as the registry is. Works while a gateway serves.
    Backup(backup::Backup),
    /// Brings a backup back into a folder that holds no registry, and begins a new epoch.
    Restore(restore::Restore),
    /// Writes the registry anew with every page full. Needs room for a second copy, and no gateway running.
    Compact(compact::Compact),
    /// Begins a new epoch: every reading taken before counts as outdated. Needed after a restore that the registry could
    /// not notice itself: its folder, or its database's folder, was copied back.
    NewEpoch(new_epoch::NewEpoch),
    /// Shows and settles changes of the authority that wait; their subjects' answers are in dispute.
    Quarantine(quarantine::QuarantineCommand),
}

impl RegistryCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.task {
            Task::Generate(generate) => generate.run(),
            Task::Import(import) => import.run(),
            Task::Export(export) => export.run(),
            Task::Stats(stats) => stats.run(),
            Task::Verify(verify) => verify.run(),
            Task::Backup(backup) => backup.run(),
            Task::Restore(restore) => restore.run(),
            Task::Compact(compact) => compact.run(),
            Task::NewEpoch(new_epoch) => new_epoch.run(),
            Task::Quarantine(quarantine) => quarantine.run(),
        }
    }
}
