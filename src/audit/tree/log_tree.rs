//! The tree as the rest of the process sees it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::{FlockOperation, flock};

use super::follower::{Follower, Shared, TreeHealth, TreeOptions, TreeStats};
use super::stored::StoredLog;
use crate::audit::journal::{Journal, ReadError, sync_folder};
use crate::audit::note::{LogSigner, LogVerifier, NoteFault, last_checkpoint};
use crate::domain::time::Clock;

/// The tree over the log in force, growing. Dropping it closes it.
pub struct LogTree {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why a tree cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The folder cannot be used.
    #[error("cannot use the folder of the log's tree")]
    Folder(#[source] io::Error),
    /// Another process keeps it.
    #[error("the log's tree is in use by another process")]
    Locked,
    /// A key or the checkpoint cannot be used.
    #[error("cannot use the log's keys or checkpoint")]
    Note(#[from] NoteFault),
    /// Entries cannot be read.
    #[error("cannot read the log's entries")]
    Entries(#[from] ReadError),
    /// The thread cannot be started.
    #[error("cannot start the tree's thread")]
    Thread(#[source] io::Error),
}

impl LogTree {
    /// Opens or begins the tree beside a journal, and follows it. Reads O(log n); whatever must be made again is made by the
    /// thread.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub fn open(
        journal: &Arc<Journal>,
        options: TreeOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TreeError> {
        let origin = journal.origin();
        let folder = journal.folder().join(&**origin);
        let lock = open_folder(&folder)?;
        let signer = LogSigner::open(&folder, origin)?;
        let log = StoredLog::new(journal.folder(), origin, signer.verifier().clone())?;
        if let Some(checkpoint) = last_checkpoint(&folder, origin)? {
            log.publish(checkpoint);
        }
        let shared = Arc::new(Shared::new(Arc::new(log), Arc::clone(journal)));
        let follower = Follower {
            shared: Arc::clone(&shared),
            signer,
            folder,
            options,
            clock: Arc::clone(&clock),
            growing: None,
        };
        let guard = StopOnExit(Arc::clone(&shared));
        let thread = thread::Builder::new().name("tree".into()).spawn(move || {
            let _held = (lock, guard);
            follower.run();
        });
        let thread = thread.map_err(TreeError::Thread)?;
        Ok(Self { shared, clock, thread: Mutex::new(Some(thread)) })
    }

    /// Returns the log, for reading.
    pub fn log(&self) -> &Arc<StoredLog> {
        &self.shared.log
    }

    /// Returns the log's public key.
    pub fn verifier(&self) -> &LogVerifier {
        self.shared.log.verifier()
    }

    /// Says whether the tree keeps up.
    pub fn health(&self) -> TreeHealth {
        self.shared.health()
    }

    /// Returns how far the tree is.
    pub fn stats(&self) -> TreeStats {
        self.shared.stats(self.clock.since_boot())
    }

    /// Catches up, signs the last checkpoint and ends. Close the journal first. Blocks: not on a core's loop.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the thread of the evidence log's tree died");
        }
    }
}

impl Drop for LogTree {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for LogTree {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LogTree").field("origin", self.shared.log.origin()).finish_non_exhaustive()
    }
}

/// However the thread ends, nobody believes that it still signs.
struct StopOnExit(Arc<Shared>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stopped("the tree's thread died of a defect: restart, and tell a developer");
        }
    }
}

/// Makes the folder, and takes it for this process.
fn open_folder(folder: &Path) -> Result<File, TreeError> {
    let tree = folder.join("tree");
    DirBuilder::new().recursive(true).mode(0o700).create(&tree).map_err(TreeError::Folder)?;
    sync_folder(folder).map_err(TreeError::Folder)?;
    let mut options = OpenOptions::new();
    let lock = options.write(true).create(true).truncate(false).mode(0o600).open(tree.join("lock"));
    let lock = lock.map_err(TreeError::Folder)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(TreeError::Locked),
        Err(error) => Err(TreeError::Folder(error.into())),
    }
}
