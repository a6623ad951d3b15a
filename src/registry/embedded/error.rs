//! Why the store cannot do what it was asked.

use std::path::PathBuf;

/// Why the embedded registry cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Another process has the file open: a running gateway, or another command.
    #[error("{path} is in use by another process", path = .0.display())]
    Locked(PathBuf),
    /// The file was written by a newer version of this program.
    #[error("registry is of format {found}; this program knows up to {known}")]
    NewerFormat {
        /// The file's format.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// The keys are not the ones the registry was made with.
    #[error("the keys are not those this registry was made with")]
    WrongKeys,
    /// A part of the store is not what it should be: restore from backup.
    #[error("registry is damaged: {0}")]
    Damaged(&'static str),
    /// A first load was begun over subjects already on record: import instead, or take another folder.
    #[error("the registry already holds subjects or changes")]
    NotEmpty,
    /// A first load met too many numbers twice: is the same file in it twice? Nothing was taken.
    #[error("more than {count_max} numbers came twice; nothing was taken")]
    TooManyDuplicates {
        /// How many are borne.
        count_max: usize,
    },
    /// A store in memory has no folder to do it in.
    #[error("a registry in memory cannot do this")]
    InMemory,
    /// The engine failed: disk full, I/O error, damage.
    #[error("cannot {action} the registry")]
    Store {
        /// What was tried.
        action: &'static str,
        /// What the engine said.
        source: StoreError,
    },
    /// The file cannot be made or inspected.
    #[error("cannot {action} {path}", path = .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Reader threads cannot be started.
    #[error("cannot start reader threads")]
    Threads(#[source] std::io::Error),
    /// The machine has no randomness to give.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// What the storage engine said. Opaque: which engine it is may change.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Box<redb::Error>);

/// Names what was tried when the engine failed.
pub(super) trait Trying<T> {
    fn trying_to(self, action: &'static str) -> Result<T, RegistryError>;
}

impl<T, E: Into<redb::Error>> Trying<T> for Result<T, E> {
    fn trying_to(self, action: &'static str) -> Result<T, RegistryError> {
        self.map_err(|error| RegistryError::Store { action, source: StoreError(Box::new(error.into())) })
    }
}
