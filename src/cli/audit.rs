//! `drivegate audit`: what an auditor does with a log, from its files alone. Reads, and never writes a log; a gateway may be running, but for
//! `reindex` of an embedded registry.

mod export;
mod fsck;
mod key;
mod place;
mod progress;
mod prove;
mod reindex;
mod stats;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Checks and reads the evidence log: is it whole, what does it say, and does a bill agree with it?
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  drivegate audit fsck DIR\n  drivegate audit stats DIR --bill bill.csv\n  drivegate audit export DIR --partner rental-demo --from 2026-11-01T00:00:00Z > entries.ndjson\n  drivegate audit prove 1000 2000 DIR\nDIR is a deployment folder, or the folder of a log. All of them may run beside a gateway; `reindex` only where the registry is on PostgreSQL."
)]
pub struct AuditCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Reads every byte, decodes every entry, rebuilds the tree and holds it against what was signed. Says the first bad index.
    /// Exit code 2: something is wrong.
    Fsck(fsck::Fsck),
    /// Writes entries as NDJSON: what they hold in the clear, and their commitments. No identifier is in a log.
    Export(export::Export),
    /// Proves that the log of A entries is the beginning of the log of B entries (RFC 6962), and checks the proof.
    Prove(prove::Prove),
    /// Prints the log's public key line: what whoever verifies receipts and checkpoints needs, once.
    Key(key::Key),
    /// Makes the index of look-ups again from the logs: forgets what it knew of them, and feeds it with every entry.
    Reindex(reindex::Reindex),
    /// Counts answers and refusals by partner and purpose, and holds a bill against the counts. Exit code 2: too much was billed.
    Stats(stats::Stats),
}

impl AuditCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Says what failed and what to do next.
    pub fn run(self) -> miette::Result<ExitCode> {
        match self.task {
            Task::Fsck(fsck) => fsck.run(),
            Task::Export(export) => export.run(),
            Task::Prove(prove) => prove.run(),
            Task::Key(key) => key.run(),
            Task::Reindex(reindex) => reindex.run(),
            Task::Stats(stats) => stats.run(),
        }
    }
}
