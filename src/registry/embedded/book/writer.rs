//! What the line's thread writes with: a transaction, the log before it, the checkpoint behind both.

use std::sync::Arc;

use redb::{Database, Durability};

use super::line::Job;
use super::log::Log;
use super::tables::{ABOUT, ABOUT_LOG_GENERATION, Tables, Walk};
use crate::registry::book::unavailable;
use crate::registry::embedded::error::{RegistryError, Trying as _};

/// Writes to the book. Nobody else does.
pub(super) struct Writer {
    database: Arc<Database>,
    /// `None` in memory: there is nothing to be durable.
    log: Option<Log>,
    walk: Walk,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, log: Option<Log>) -> Self {
        Self { database, log, walk: Walk::default() }
    }

    /// Says whether the log holds what the tree's file does not.
    pub(super) fn has_unwritten(&self) -> bool {
        self.log.as_ref().is_some_and(|log| !log.is_empty())
    }

    /// Serves everybody in one transaction, durable when this returns. Whose own row is damaged is told so alone.
    pub(super) fn serve(&mut self, together: &[Arc<Job>]) -> Result<(), RegistryError> {
        let mut transaction = self.database.begin_write().trying_to("write")?;
        if self.log.is_some() {
            transaction.set_durability(Durability::None).trying_to("write")?;
        }
        let mut is_changed = false;
        let mut tables = Tables::open(&transaction)?;
        for job in together {
            let Some(work) = job.take() else { continue };
            match work(&mut tables) {
                Ok(changed) => is_changed |= changed,
                Err(error @ RegistryError::Store { .. }) => return Err(error),
                Err(error) => {
                    unavailable(&error);
                    job.fail();
                }
            }
        }
        tables.sweep(&mut self.walk)?;
        let changes = std::mem::take(&mut tables.changes);
        drop(tables);
        if !is_changed {
            return transaction.abort().trying_to("write");
        }
        // First the log, then the tree: what can be read is durable.
        if let Some(log) = &mut self.log {
            log.append(&changes)?;
        }
        transaction.commit().trying_to("write")
    }

    /// Writes the tree out if the log is long.
    pub(super) fn checkpoint_if_due(&mut self) -> Result<(), RegistryError> {
        if self.log.as_ref().is_some_and(Log::is_long) { self.checkpoint() } else { Ok(()) }
    }

    /// Writes the tree out, with the generation of the log that it holds from then on.
    pub(super) fn checkpoint(&mut self) -> Result<(), RegistryError> {
        let Some(log) = self.log.as_mut().filter(|log| !log.is_empty()) else { return Ok(()) };
        let transaction = self.database.begin_write().trying_to("write")?;
        let mut about = transaction.open_table(ABOUT).trying_to("write")?;
        let generation = log.generation().to_be_bytes();
        about.insert(ABOUT_LOG_GENERATION, generation.as_slice()).trying_to("write")?;
        drop(about);
        transaction.commit().trying_to("write")?;
        log.restart();
        Ok(())
    }

    /// Leaves everything to the tree: a book at rest is one file.
    pub(super) fn close(&mut self) -> Result<(), RegistryError> {
        self.checkpoint()?;
        self.log.as_mut().map_or(Ok(()), Log::clear)
    }
}
