//! All logs of a folder: the one in force, and those that no longer are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::stored::{StoredLog, StoredLogError};
use crate::audit::journal::{ReadError, is_origin};

/// The signed logs of a folder, by name.
#[derive(Debug, Default)]
pub struct Shelf {
    logs: BTreeMap<String, Arc<StoredLog>>,
}

impl Shelf {
    /// Opens every log of a folder that was ever signed; `own` is the one in force, open already. One that cannot be read is
    /// left out with a line in the log: it must not keep the others from being read.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the folder cannot be listed.
    pub fn open(folder: &Path, own: Option<&Arc<StoredLog>>) -> Result<Self, ReadError> {
        let mut shelf = Self::default();
        if let Some(own) = own {
            shelf.logs.insert(own.origin().to_string(), Arc::clone(own));
        }
        for file in std::fs::read_dir(folder).map_err(ReadError::Io)? {
            let name = file.map_err(ReadError::Io)?.file_name().to_string_lossy().into_owned();
            if !is_origin(&name) || shelf.logs.contains_key(&name) {
                continue;
            }
            match StoredLog::open(folder, &name) {
                Ok(log) => {
                    shelf.logs.insert(name, Arc::new(log));
                }
                Err(StoredLogError::NotSigned) => {}
                Err(error) => {
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(origin = name, %error, why, "a log that is no longer in force cannot be read");
                }
            }
        }
        Ok(shelf)
    }

    /// Returns the log of this name.
    pub fn log(&self, origin: &str) -> Option<&Arc<StoredLog>> {
        self.logs.get(origin)
    }

    /// Names the logs.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.logs.keys().map(String::as_str)
    }
}
