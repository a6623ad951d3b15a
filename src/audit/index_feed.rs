//! Feeds the index of look-ups from the log: what is durable is found within a second, and no answer waits for it.
//!
//! The index's cursor is the only memory: whatever was lost, or taken in by somebody else, the feed goes on from where the index
//! says it is. Under more load than the index bears the feed lags and catches up; what waits lies in the log.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::entry::look_up;
use super::journal::{EntryFiles, Journal, Place, ReadError};
use super::keys::LogSecret;
use crate::evidence::ports::{IndexUnavailable, LookUp, LookUpIndex};

/// How often the feed looks for new entries: a quarter of the second within which they are to be found.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Entries taken in at once: some hundred kilobytes, some milliseconds.
pub const BATCH_ENTRIES_MAX: u64 = 4_096;
/// How long the feed waits after a failure, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What the feed tells operators.
pub trait FeedObserver: Send + Sync + 'static {
    /// So many look-ups were taken in; so many durable entries are still to be read.
    fn fed(&self, look_ups: u64, behind: u64);

    /// A batch could not be taken in; it is tried again.
    fn failed(&self, fault: &FeedFault);
}

/// Why a batch could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum FeedFault {
    /// The log's files cannot be read.
    #[error("cannot read the log for the index of look-ups")]
    Log(#[from] ReadError),
    /// The index cannot be written now.
    #[error(transparent)]
    Index(#[from] IndexUnavailable),
    /// The index has read more entries than there are: the log was rolled back. It is forgotten and fed anew.
    #[error("the index of look-ups knows {indexed} entries of the log, which has {durable}")]
    Ahead {
        /// Entries the index has read.
        indexed: u64,
        /// Entries there are.
        durable: u64,
    },
}

/// Feeds the index with one replica's own log.
pub struct IndexFeed {
    journal: Arc<Journal>,
    index: Arc<dyn LookUpIndex>,
    observer: Arc<dyn FeedObserver>,
    files: Option<Arc<EntryFiles>>,
    /// Where the entry at the cursor lies, as far as known.
    near: Option<(u64, Place)>,
}

impl IndexFeed {
    /// Prepares the feed.
    pub fn new(journal: Arc<Journal>, index: Arc<dyn LookUpIndex>, observer: Arc<dyn FeedObserver>) -> Self {
        Self { journal, index, observer, files: None, near: None }
    }

    /// Feeds until it is told to stop; then what is durable goes in, unless the index cannot be written. Whoever stops it closes
    /// the journal first, and need not wait: the rest is fed at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        loop {
            let is_last = stop.is_cancelled();
            let wait = match self.catch_up().await {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    LOOK_EVERY
                }
                Err(fault) => {
                    self.observer.failed(&fault);
                    let wait = pause;
                    pause = (pause * 2).min(PAUSE_MAX);
                    wait
                }
            };
            if is_last {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes in batch after batch until the index has read what was durable.
    async fn catch_up(&mut self) -> Result<(), FeedFault> {
        let origin = Arc::clone(self.journal.origin());
        let mut cursor = self.index.cursor(&origin).await?;
        loop {
            let durable = self.journal.durable();
            if cursor > durable {
                self.index.forget(&origin).await?;
                return Err(FeedFault::Ahead { indexed: cursor, durable });
            }
            if cursor == durable {
                self.observer.fed(0, 0);
                return Ok(());
            }
            let end = durable.min(cursor + BATCH_ENTRIES_MAX);
            let (look_ups, near) = self.read(cursor, end).await?;
            let count = look_ups.len() as u64;
            let taken_to = self.index.take_in(&origin, cursor, end, look_ups).await?;
            if taken_to == end {
                self.near = near.map(|place| (end, place));
                self.observer.fed(count, durable - end);
            }
            cursor = taken_to;
        }
    }

    /// Reads and opens entries where it may block.
    async fn read(&mut self, from: u64, end: u64) -> Result<(Vec<LookUp>, Option<Place>), FeedFault> {
        let (journal, files, near) = (Arc::clone(&self.journal), self.files.clone(), self.near);
        let reading = tokio::task::spawn_blocking(move || {
            let files = match files {
                Some(files) => files,
                None => Arc::new(EntryFiles::open(journal.folder(), journal.origin())?),
            };
            // After the end was asked for: every segment that holds entries before it is listed then.
            files.refresh()?;
            let read = read(&files, journal.secret(), from, end, near)?;
            Ok::<_, ReadError>((files, read))
        });
        // A reading that ended without an answer is as good as a file that cannot be read.
        let done = reading.await.map_err(|lost| ReadError::Io(std::io::Error::other(lost)))?;
        let (files, read) = done?;
        self.files = Some(files);
        Ok(read)
    }
}

/// Reads the look-ups among entries; those that were removed are none.
fn read(
    files: &EntryFiles,
    secret: &LogSecret,
    from: u64,
    end: u64,
    near: Option<(u64, Place)>,
) -> Result<(Vec<LookUp>, Option<Place>), ReadError> {
    let first = files.segments().first().copied().unwrap_or(from);
    let mut walk = files.walk(from.max(first), end, near);
    let mut look_ups = Vec::new();
    while let Some((_, entry)) = walk.next_entry()? {
        look_ups.extend(look_up_in(entry.index, &entry.bytes, secret));
    }
    Ok((look_ups, walk.place()))
}

/// Opens an entry's look-up. An entry that cannot be read is left out and told: the log is checked by `audit fsck`, and the
/// index must not stand still for it.
pub fn look_up_in(index: u64, bytes: &[u8], secret: &LogSecret) -> Option<LookUp> {
    look_up(index, bytes, secret).unwrap_or_else(|error| {
        tracing::error!(index, %error, "an entry of the log cannot be read: it is not in the index of look-ups");
        None
    })
}

#[cfg(test)]
mod tests;
