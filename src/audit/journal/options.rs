//! How a journal is opened, and why it may refuse.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::stats::StepFailure;
use crate::audit::keys::SecretError;
use crate::audit::note::NoteFault;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The folder of the logs: lock, secret, origin, and one folder of segments per origin.
    pub folder: PathBuf,
    /// The replica's name, from which the origin is made: 1 to 63 characters of a-z, 0-9, '.' and '-'.
    pub name: String,
    /// The file of the secret that the replicas of a deployment share, so that each can open the others' entries; `None`: the
    /// folder has one of its own.
    pub secret: Option<PathBuf>,
    /// A new segment is begun at this size: large enough to be few (a year at 100/s is some 16,000), small enough to be read
    /// whole after a crash.
    pub segment_bytes: u64,
    /// How far a segment grows at a time.
    pub step_bytes: u64,
    /// Bytes waiting for a sync; more are refused at once. At 60,000 entries/s this is 0.4 s of a disk that hangs.
    pub buffer_bytes: usize,
    /// Different refusals waiting to be written; more are dropped and counted.
    pub refusals_max: usize,
    /// How often a closed journal tries again.
    pub reopen_every: Duration,
}

impl JournalOptions {
    /// Returns the defaults for a folder and a replica's name.
    pub fn new(folder: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            name: name.into(),
            secret: None,
            segment_bytes: 64 << 20,
            step_bytes: 1 << 20,
            buffer_bytes: 8 << 20,
            refusals_max: 4096,
            reopen_every: Duration::from_secs(1),
        }
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the log folder is in use by another process")]
    Locked,
    /// The replica's name does not fit.
    #[error("the replica's name must have 1 to 63 characters of a-z, 0-9, '.' and '-'")]
    Name,
    /// Sizes of 0.
    #[error("`{0}` must be greater than 0")]
    Option(&'static str),
    /// The folder cannot be used.
    #[error("cannot use the log folder")]
    Folder(#[source] io::Error),
    /// The secret cannot be used.
    #[error("cannot use the log secret")]
    Secret(#[source] SecretError),
    /// The file `origin` is damaged. Restore it, or move the whole folder away to begin a new log.
    #[error("the file `origin` in the log folder is damaged")]
    Origin,
    /// A segment's header is damaged or that of another log. A person should look; nothing was changed.
    #[error("segment `{0}` has a damaged header, or belongs to another log")]
    Segment(String),
    /// Entries that a checkpoint covers are damaged or gone: this is no torn tail. Nothing was changed.
    #[error(
        "the log ends at entry {entries}, but its signed checkpoint covers {signed}: entries that were answered are damaged \
         or missing; nothing was changed; bring the last segment back from a copy, or move the file `origin` away to begin \
         a new log beside this one"
    )]
    BelowCheckpoint {
        /// How many entries can be read.
        entries: u64,
        /// How many the checkpoint covers.
        signed: u64,
    },
    /// The log's checkpoint cannot be used: how much of the log must be there is not known. Nothing was changed.
    #[error(
        "cannot use the log's checkpoint: bring `tree/checkpoint` back from a copy, or from a witness or auditor"
    )]
    Checkpoint(#[source] NoteFault),
    /// A step of recovery failed.
    #[error("cannot recover the log")]
    Recovery(#[source] StepFailure),
    /// The thread cannot be started.
    #[error("cannot start the journal's thread")]
    Thread(#[source] io::Error),
}
