//! `drivegate registry`: fills and inspects the licence registry.

mod export;
mod generate;
mod import;
mod interrupt;
mod opening;
mod progress;
mod stats;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Fills and inspects the licence registry.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  drivegate registry generate --count 10000 --seed 1 --into DIR\n  drivegate registry generate --count 1000 --out drivers.ndjson\n  drivegate registry import drivers.ndjson --dir DIR\n  drivegate registry export DIR --to drivers.ndjson --with-identifiers\n  drivegate registry stats --dir DIR"
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
        }
    }
}
