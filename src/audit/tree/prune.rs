//! Pruning (C2SP `tlog-tiles`): whole segments of old entries go, from the beginning on; hashes stay, so that every proof of a
//! later entry, and every receipt already given, still verifies.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::stored::{StoredLog, StoredLogError};
use crate::audit::entry::Entry;
use crate::audit::journal::{segment_path, sync_folder};

/// What may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prunable {
    origin_folder: PathBuf,
    segments: Vec<PathBuf>,
    /// Bytes on disk.
    pub bytes: u64,
    /// The lowest entry there was.
    pub from: u64,
    /// The lowest entry there will be.
    pub minimum_index: u64,
}

impl Prunable {
    /// Finds the segments of a log in which every entry is older than `before` and covered by the checkpoint. The last
    /// segment always stays.
    ///
    /// # Errors
    /// See [`StoredLogError`]: a log that is not whole is not pruned.
    pub fn find(folder: &Path, origin: &str, before: Timestamp) -> Result<Self, StoredLogError> {
        let log = StoredLog::open(folder, origin)?;
        let signed = log.checkpoint().map_or(0, |checkpoint| checkpoint.size);
        let segments = log.entry_files().segments();
        let from = segments.first().copied().unwrap_or(0);
        let mut found = Self {
            origin_folder: folder.join(origin),
            segments: Vec::new(),
            bytes: 0,
            from,
            minimum_index: from,
        };
        // Entries stand in order of time but for seconds: where the next segment begins a day earlier, this one ended before.
        let before = before.saturating_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        for pair in segments.windows(2) {
            let [first, next] = *pair else { break };
            let first_of_next = if next < signed { log.entry(next)? } else { None };
            let is_old = first_of_next.and_then(|bytes| at_of(&bytes)).is_some_and(|at| at < before);
            if !is_old {
                break;
            }
            let path = segment_path(&found.origin_folder, first);
            found.bytes += std::fs::metadata(&path)?.len();
            found.segments.push(path);
            found.minimum_index = next;
        }
        Ok(found)
    }

    /// Returns how many segments may go.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Removes them, the oldest first: a stop in between leaves a log without its beginning, never one with a gap.
    ///
    /// # Errors
    /// [`StoredLogError::Io`]; what is gone is gone, and the rest can be pruned again.
    pub fn remove(self) -> Result<(), StoredLogError> {
        for path in &self.segments {
            std::fs::remove_file(path)?;
            sync_folder(&self.origin_folder)?;
        }
        Ok(())
    }
}

fn at_of(bytes: &[u8]) -> Option<Timestamp> {
    // Version and kind, then the moment: so in every kind of entry.
    Entry::decode(bytes).ok()?;
    let micros = bytes.get(2..)?.first_chunk::<8>()?;
    Timestamp::from_microsecond(i64::from_be_bytes(*micros)).ok()
}
