//! Why a backup cannot be made or restored.

use std::path::PathBuf;

use crate::registry::embedded::error::RegistryError;

/// Why a backup cannot be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be written: disk full, pipe closed.
    #[error("cannot write the backup")]
    Write(#[source] std::io::Error),
    /// The file cannot be read.
    #[error("cannot read the backup")]
    Read(#[source] std::io::Error),
    /// The file is something else.
    #[error("this is no backup of a registry")]
    NoBackup,
    /// The file was made by a newer version of this program.
    #[error("the backup is of a newer format than this program knows (it knows 1)")]
    NewerFormat,
    /// The file ends too early: it was cut off while it was copied or made. Take another copy.
    #[error("the backup ends early, after {offset} bytes")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// The file is not what was written. Take another copy.
    #[error("the backup is damaged in the {length} bytes from {offset} on")]
    Rotten {
        /// Where the block with the damage begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// Every block is as it was written, but not by somebody who had the registry's keys, or not together.
    #[error("the backup was put together by somebody without the registry's keys")]
    NotGenuine,
    /// The keys are not the ones the registry was made with. Restore them first: without them the backup is noise.
    #[error("the keys are not those this backup was made with")]
    WrongKeys,
    /// A registry is already there. Nothing is ever overwritten.
    #[error("there is already a registry at {path}", path = .0.display())]
    Exists(PathBuf),
    /// The registry cannot be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
