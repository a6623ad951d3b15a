//! What the journal tells operators: health, counts, and a place to hang histograms.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::closed_set::closed_set;

closed_set! {
    /// A step of the journal that can fail.
    pub enum JournalStep {
        /// Making the next segment's file.
        Create = 1, "create";
        /// Writing a segment's header or entries.
        Write = 2, "write";
        /// Syncing a segment.
        Sync = 3, "sync";
        /// Giving a segment its name.
        Rename = 4, "rename";
        /// Syncing the folder.
        SyncFolder = 5, "sync-folder";
        /// Cutting a segment.
        Truncate = 6, "truncate";
        /// Reading a segment back from the disk: at start, and after a step failed.
        Read = 7, "read";
    }
}

/// A step failed.
#[derive(Debug, thiserror::Error)]
#[error("journal step `{step}` failed")]
pub struct StepFailure {
    /// Which.
    pub step: JournalStep,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Attaches the step to an I/O error.
pub(super) trait At<T> {
    fn at(self, step: JournalStep) -> Result<T, StepFailure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: JournalStep) -> Result<T, StepFailure> {
        self.map_err(|source| StepFailure { step, source })
    }
}

/// Whether answers can be put on record now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalHealth {
    /// Entries become durable.
    Writing,
    /// They do not: no record, no disclosure.
    Closed(ClosedReason),
}

/// Why the journal takes no entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedReason {
    /// It was shut down.
    ShutDown,
    /// Its thread died of a defect. Restart, and tell a developer.
    ThreadDied,
    /// A step failed, and so far every attempt to go on in a new segment. It tries again every second.
    Failed {
        /// The step that failed last.
        step: JournalStep,
        /// How: `StorageFull`, `ReadOnlyFilesystem`, …
        error: io::ErrorKind,
    },
}

impl std::fmt::Display for ClosedReason {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ShutDown => out.write_str("shut down"),
            Self::ThreadDied => out.write_str("journal thread died"),
            Self::Failed { step, error } => write!(out, "journal step `{step}` failed: {error}"),
        }
    }
}

/// Counts since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Entries made durable.
    pub entries: u64,
    /// Bytes made durable, frames included.
    pub bytes: u64,
    /// Syncs that covered entries.
    pub syncs: u64,
    /// Failures of any step. Should always be zero.
    pub failures: u64,
    /// Entries refused because too many bytes were waiting. Should be zero.
    pub overflows: u64,
    /// Refusals not put on record because too many different ones were waiting. Should be zero.
    pub refusals_dropped: u64,
}

/// Hears of every sync and failure, on the journal's thread: must not block.
pub trait JournalObserver: Send + Sync + 'static {
    /// A batch is durable.
    fn synced(&self, entries: u64, bytes: u64, elapsed: Duration);
    /// A step failed.
    fn failed(&self, step: JournalStep, error: io::ErrorKind);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl JournalObserver for NoObserver {
    fn synced(&self, _entries: u64, _bytes: u64, _elapsed: Duration) {}
    fn failed(&self, _step: JournalStep, _error: io::ErrorKind) {}
}

/// The counters behind [`JournalStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) entries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) overflows: AtomicU64,
    pub(super) refusals_dropped: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> JournalStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalStats {
            entries: read(&self.entries),
            bytes: read(&self.bytes),
            syncs: read(&self.syncs),
            failures: read(&self.failures),
            overflows: read(&self.overflows),
            refusals_dropped: read(&self.refusals_dropped),
        }
    }

    pub(super) fn synced(&self, entries: u64, bytes: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}
