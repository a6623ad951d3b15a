//! The ports: logs on this machine's disk, read on threads that may block.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::peer::PeerLog;
use super::shelf::Shelf;
use super::stored::{StoredLog, StoredLogError};
use crate::audit::journal::Journal;
use crate::evidence::ports::{LogSource, LogUnavailable, Logs, SignedCheckpoint, Stretch};
use crate::verification::ports::Later;

/// A log on disk. File reads run on the runtime's blocking threads, never on a core's loop.
pub struct DiskLog {
    log: Arc<StoredLog>,
    /// Who writes it, if this process does.
    journal: Option<Arc<Journal>>,
    runtime: Handle,
}

impl DiskLog {
    /// Reads a log on a runtime's blocking threads.
    pub fn new(log: Arc<StoredLog>, runtime: Handle) -> Self {
        Self { log, journal: None, runtime }
    }

    /// Returns how many entries are durable, as far as known here.
    fn durable(&self) -> u64 {
        let signed = self.log.checkpoint().map_or(0, |checkpoint| checkpoint.size);
        self.journal.as_ref().map_or(0, |journal| journal.durable()).max(signed)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&StoredLog) -> Result<T, StoredLogError> + Send + 'static,
    ) -> Later<'_, Result<T, LogUnavailable>> {
        let log = Arc::clone(&self.log);
        let answer = self.runtime.spawn_blocking(move || question(&log));
        Box::pin(async move {
            match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(StoredLogError::NotYet)) | Err(_) => Err(LogUnavailable),
                Ok(Err(error)) => {
                    tracing::warn!(origin = %self.log.origin(), %error, "the evidence log cannot be read");
                    Err(LogUnavailable)
                }
            }
        })
    }
}

impl LogSource for DiskLog {
    fn origin(&self) -> &str {
        self.log.origin()
    }

    fn checkpoint(&self) -> Later<'_, Result<Option<SignedCheckpoint>, LogUnavailable>> {
        let checkpoint = self.log.checkpoint().map(|checkpoint| checkpoint.as_ref().clone());
        Box::pin(std::future::ready(Ok(checkpoint)))
    }

    fn entry(&self, index: u64) -> Later<'_, Result<Option<Vec<u8>>, LogUnavailable>> {
        self.ask(move |log| log.entry(index))
    }

    fn stretch(&self, from: u64, count_max: u64) -> Later<'_, Result<Stretch, LogUnavailable>> {
        let durable = self.durable();
        self.ask(move |log| log.stretch(from, count_max, durable))
    }

    fn length(&self) -> Later<'_, Result<u64, LogUnavailable>> {
        Box::pin(std::future::ready(Ok(self.durable())))
    }

    fn inclusion(&self, index: u64, size: u64) -> Later<'_, Result<Vec<[u8; 32]>, LogUnavailable>> {
        self.ask(move |log| log.inclusion(index, size))
    }
}

/// All logs a replica can read: those of its folder, and its peers'.
pub struct AllLogs {
    shelf: Shelf,
    logs: Vec<Arc<dyn LogSource>>,
    growing: Vec<Arc<dyn LogSource>>,
}

impl AllLogs {
    /// Collects them; of two with one name the one on disk counts. Files are read on the runtime's blocking threads.
    /// `journal` writes the one in force, if this process does.
    pub fn new(shelf: Shelf, peers: Vec<PeerLog>, journal: Option<&Arc<Journal>>, runtime: &Handle) -> Self {
        let mut logs: Vec<Arc<dyn LogSource>> = Vec::new();
        let mut growing = Vec::new();
        for log in shelf.origins().filter_map(|origin| shelf.log(origin)) {
            let writer = journal.filter(|journal| journal.origin() == log.origin()).cloned();
            let is_written = writer.is_some();
            let disk = DiskLog { journal: writer, ..DiskLog::new(Arc::clone(log), runtime.clone()) };
            logs.push(Arc::new(disk));
            growing.extend(logs.last().filter(|_| is_written).cloned());
        }
        for peer in peers {
            if shelf.log(peer.origin()).is_none() {
                logs.push(Arc::new(peer));
                growing.extend(logs.last().cloned());
            }
        }
        Self { shelf, logs, growing }
    }

    /// Returns the logs on disk.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }
}

impl Logs for AllLogs {
    fn log(&self, origin: &str) -> Option<Arc<dyn LogSource>> {
        self.logs.iter().find(|log| log.origin() == origin).cloned()
    }

    fn all(&self) -> Vec<Arc<dyn LogSource>> {
        self.logs.clone()
    }

    fn growing(&self) -> Vec<Arc<dyn LogSource>> {
        self.growing.clone()
    }
}
