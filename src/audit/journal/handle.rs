//! The journal as the rest of the process sees it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::folder::LogFolder;
use super::options::{JournalOptions, OpenError};
use super::queue::{Durable, Extent, Queue};
use super::stats::{JournalHealth, JournalObserver, JournalStats};
use super::storage::{FolderStorage, Storage};
use super::writer::Writer;
use crate::admission::RefusalNote;
use crate::audit::keys::LogSecret;
use crate::audit::note;
use crate::domain::time::Clock;
use crate::verification::ports::EvidenceUnavailable;
use crate::waking::CoreTask;

/// The replica's log, open for writing. Dropping it closes it.
pub struct Journal {
    queue: Arc<Queue>,
    folder: PathBuf,
    secret: Arc<LogSecret>,
    clock: Arc<dyn Clock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens or begins the log: takes the folder's lock, recovers the last segment, starts the thread. Blocks for some syncs.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        options: JournalOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn JournalObserver>,
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_with(options, clock, observer, |folder| Box::new(FolderStorage::new(folder)))
    }

    pub(super) fn open_with(
        options: JournalOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn JournalObserver>,
        storage: impl FnOnce(&Path) -> Box<dyn Storage>,
    ) -> Result<Arc<Self>, OpenError> {
        check(&options)?;
        let LogFolder { origin, segments, secret, lock } =
            LogFolder::open(&options.folder, &options.name, options.secret.as_deref())?;
        let signed = note::last_checkpoint(&segments, &origin).map_err(OpenError::Checkpoint)?;
        let signed = signed.map_or(0, |checkpoint| checkpoint.size);
        let folder = options.folder.clone();
        let queue = Arc::new(Queue::new(origin.into(), &options));
        let storage = storage(&segments);
        let writer = Writer::recover(
            Arc::clone(&queue),
            storage,
            options,
            Arc::clone(&clock),
            observer,
            lock,
            signed,
        )?;
        let thread = thread::Builder::new().name("journal".into()).spawn(move || writer.run());
        let thread = thread.map_err(OpenError::Thread)?;
        queue.serve_by(thread.thread().clone());
        Ok(Arc::new(Self { queue, folder, secret, clock, thread: Mutex::new(Some(thread)) }))
    }

    /// Returns the log's name.
    pub fn origin(&self) -> &Arc<str> {
        self.queue.origin()
    }

    /// Appends an entry's bytes; the future completes when they are durable. Does not block: encode first, then call.
    ///
    /// # Errors
    /// [`EvidenceUnavailable`] at once when the journal is closed or too many bytes are waiting.
    pub fn append(&self, entry: &[u8]) -> Result<Durable, EvidenceUnavailable> {
        self.queue.append(entry)
    }

    /// Returns the task that wakes a core's waiters, once per sync, and hands over what its turns append, once per turn. Spawn one on each core's own current-thread runtime; waiters
    /// of other threads are woken by the journal's thread itself. Dropping the task detaches the core.
    pub fn core_task(&self) -> impl Future<Output = ()> + Send + 'static {
        let queue = Arc::clone(&self.queue);
        CoreTask::new(Arc::clone(&self.queue.waiters), Arc::new(move || queue.hand_over()))
    }

    /// Says whether answers can be put on record now.
    pub fn health(&self) -> JournalHealth {
        self.queue.health()
    }

    /// Returns how many entries are gathered for the next sync.
    pub fn waiting(&self) -> u64 {
        self.queue.waiting()
    }

    /// Returns how many entries are durable: those with an index below.
    pub fn durable(&self) -> u64 {
        self.queue.extent().entries
    }

    /// Returns the folder of the logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns counts since start.
    pub fn stats(&self) -> JournalStats {
        self.queue.counters.read()
    }

    /// Takes no more entries, makes durable what was taken, and gives the folder free. Blocks: not on a core's loop.
    pub fn close(&self) {
        self.queue.shut_down();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("journal thread died");
        }
    }

    pub(in crate::audit) fn extent(&self) -> Extent {
        self.queue.extent()
    }

    /// Returns the log's secret.
    pub fn secret(&self) -> &Arc<LogSecret> {
        &self.secret
    }

    pub(in crate::audit) fn note_refusal(&self, refusal: RefusalNote<'_>) {
        self.queue.note(self.clock.now(), refusal);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Journal").field("origin", self.origin()).finish_non_exhaustive()
    }
}

fn check(options: &JournalOptions) -> Result<(), OpenError> {
    let sizes = [
        ("segment_bytes", options.segment_bytes == 0),
        ("step_bytes", options.step_bytes == 0),
        ("buffer_bytes", options.buffer_bytes == 0),
        ("refusals_max", options.refusals_max == 0),
    ];
    match sizes.into_iter().find(|(_, missing)| *missing) {
        Some((name, _)) => Err(OpenError::Option(name)),
        None => Ok(()),
    }
}
