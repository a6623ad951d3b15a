//! A log as it lies on disk, for whoever reads it: this replica's own while it grows, or one that is no longer in force.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::tiles::{LEVELS, TILE_WIDTH, TileFiles, hashes_at};
use crate::audit::journal::{EntryFiles, ReadError};
use crate::audit::note::{LogVerifier, NoteFault, last_checkpoint};
use crate::evidence::ports::{SignedCheckpoint, Stretch};

/// A log's entries, hashes, checkpoint and public key. All reads are of files: not on a core's loop.
pub struct StoredLog {
    origin: Arc<str>,
    verifier: LogVerifier,
    tiles: TileFiles,
    entries: EntryFiles,
    checkpoint: ArcSwapOption<SignedCheckpoint>,
    /// Entries whose hashes can be read.
    hashed: AtomicU64,
}

/// Why something of a stored log cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoredLogError {
    /// No checkpoint covers what was asked, or its hashes are being made again.
    #[error("the log's tree does not reach so far yet")]
    NotYet,
    /// The log was never signed: nothing of it is published.
    #[error("the log has no checkpoint")]
    NotSigned,
    /// A key or checkpoint cannot be used.
    #[error("cannot use the log's keys or checkpoint")]
    Note(#[from] NoteFault),
    /// Entries cannot be read.
    #[error("cannot read the log's entries")]
    Entries(#[from] ReadError),
    /// Hashes cannot be read.
    #[error(
        "cannot read the log's tree: if its files are damaged, move the folder `tree` but for `checkpoint` away"
    )]
    Tree(#[source] tlog_tiles::tlog::Error),
    /// A file cannot be read.
    #[error("cannot read the log's files")]
    Io(#[from] io::Error),
}

impl StoredLog {
    /// Opens a log that does not grow: as far as its last checkpoint reaches.
    ///
    /// # Errors
    /// See [`StoredLogError`].
    pub fn open(folder: &Path, origin: &str) -> Result<Self, StoredLogError> {
        let of_origin = folder.join(origin);
        let checkpoint = last_checkpoint(&of_origin, origin)?.ok_or(StoredLogError::NotSigned)?;
        let verifier = LogVerifier::of_folder(&of_origin)?.ok_or(NoteFault::NoVerifier)?;
        let log = Self::new(folder, origin, verifier)?;
        let told = log.tiles.root(checkpoint.size).map_err(StoredLogError::Tree)?;
        if told != checkpoint.root {
            return Err(StoredLogError::Tree(tlog_tiles::tlog::Error::InconsistentTile));
        }
        log.hashed_up_to(checkpoint.size);
        log.publish(checkpoint);
        Ok(log)
    }

    /// Opens a log as of a checkpoint that somebody vouches for, for tools: it is not held against the files.
    ///
    /// # Errors
    /// [`ReadError`] when the folder cannot be listed.
    pub fn as_of(
        folder: &Path,
        origin: &str,
        verifier: LogVerifier,
        checkpoint: SignedCheckpoint,
    ) -> Result<Self, ReadError> {
        let log = Self::new(folder, origin, verifier)?;
        log.hashed_up_to(checkpoint.size);
        log.publish(checkpoint);
        Ok(log)
    }

    /// Opens a log that grows: nothing of it can be read before [`Self::hashed_up_to`] and [`Self::publish`].
    pub(super) fn new(folder: &Path, origin: &str, verifier: LogVerifier) -> Result<Self, ReadError> {
        Ok(Self {
            origin: origin.into(),
            verifier,
            tiles: TileFiles::new(&folder.join(origin).join("tree")),
            entries: EntryFiles::open(folder, origin)?,
            checkpoint: ArcSwapOption::empty(),
            hashed: AtomicU64::new(0),
        })
    }

    /// Returns the log's name.
    pub fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Returns the log's public key.
    pub fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// Returns the newest checkpoint.
    pub fn checkpoint(&self) -> Option<Arc<SignedCheckpoint>> {
        self.checkpoint.load_full()
    }

    /// Returns the lowest entry that can be read: those before were pruned.
    pub fn minimum_index(&self) -> u64 {
        self.entries.segments().first().copied().unwrap_or(0)
    }

    /// Returns the bytes of an entry; `None` when no checkpoint covers it, or it was pruned.
    ///
    /// # Errors
    /// [`StoredLogError::Entries`] when it is damaged.
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StoredLogError> {
        if index >= self.size() || index < self.minimum_index() {
            return Ok(None);
        }
        let bundle = index / TILE_WIDTH;
        let near = self.tiles.place(bundle).map(|place| (bundle * TILE_WIDTH, place));
        let mut walk = self.entries.walk(index, index + 1, near);
        Ok(walk.next_entry()?.map(|(_, entry)| entry.bytes))
    }

    /// Returns the entries from `from` to `to` (exclusive), at most `count_max`, as far as a checkpoint covers them. `from`
    /// must not lie below [`Self::minimum_index`].
    ///
    /// # Errors
    /// [`StoredLogError::Entries`] when one is damaged or pruned.
    pub fn entries(&self, from: u64, to: u64, count_max: u64) -> Result<Vec<Vec<u8>>, StoredLogError> {
        let to = to.min(self.size()).min(from.saturating_add(count_max));
        let bundle = from / TILE_WIDTH;
        let near = self.tiles.place(bundle).map(|place| (bundle * TILE_WIDTH, place));
        let mut walk = self.entries.walk(from, to, near);
        let mut found = Vec::new();
        while let Some((_, entry)) = walk.next_entry()? {
            found.push(entry.bytes);
        }
        Ok(found)
    }

    /// Returns entries from `from` on that are durable, whether a checkpoint covers them or not: those before `durable`, or before the
    /// checkpoint's size if that is larger. At most `count_max`; those that were pruned are passed over.
    ///
    /// # Errors
    /// [`StoredLogError::Entries`] when one is damaged.
    pub fn stretch(&self, from: u64, count_max: u64, durable: u64) -> Result<Stretch, StoredLogError> {
        let end = durable.max(self.size());
        if end > self.size() {
            // After the end was asked for: every segment that holds entries before it is listed then.
            self.entries.refresh()?;
        }
        match self.stretch_from(from.max(self.minimum_index()), count_max, end) {
            // Pruned while it was read: the files were listed anew then.
            Err(ReadError::Gap(_)) if self.minimum_index() > from => {
                Ok(self.stretch_from(self.minimum_index(), count_max, end)?)
            }
            other => Ok(other?),
        }
    }

    fn stretch_from(&self, first: u64, count_max: u64, end: u64) -> Result<Stretch, ReadError> {
        let bundle = first / TILE_WIDTH;
        let near = self.tiles.place(bundle).map(|place| (bundle * TILE_WIDTH, place));
        let mut walk = self.entries.walk(first, end.min(first.saturating_add(count_max)), near);
        let mut entries = Vec::new();
        while let Some((_, entry)) = walk.next_entry()? {
            entries.push(entry.bytes);
        }
        Ok(Stretch { first, entries })
    }

    /// Proves that an entry is in the tree of `size` entries (RFC 6962 §2.1.1).
    ///
    /// # Errors
    /// [`StoredLogError::NotYet`] when no checkpoint covers that size.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<[u8; 32]>, StoredLogError> {
        self.reaches(size)?;
        if index >= size {
            return Err(StoredLogError::NotYet);
        }
        self.tiles.inclusion(index, size).map_err(StoredLogError::Tree)
    }

    /// Proves that the tree of `old` entries is the beginning of that of `new` (RFC 6962 §2.1.2); empty for `old` = 0.
    ///
    /// # Errors
    /// [`StoredLogError::NotYet`] when no checkpoint covers these sizes, or `old` > `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<[u8; 32]>, StoredLogError> {
        self.reaches(new)?;
        if old > new {
            return Err(StoredLogError::NotYet);
        }
        self.tiles.consistency(old, new).map_err(StoredLogError::Tree)
    }

    /// Returns the tree hash over the first `size` entries.
    ///
    /// # Errors
    /// [`StoredLogError::NotYet`] when no checkpoint covers that size.
    pub fn root(&self, size: u64) -> Result<[u8; 32], StoredLogError> {
        self.reaches(size)?;
        self.tiles.root(size).map_err(StoredLogError::Tree)
    }

    /// Returns a tile of C2SP `tlog-tiles`, its first `width` hashes; `None` when the checkpoint has no such tile.
    ///
    /// # Errors
    /// [`StoredLogError::Io`] when it cannot be read.
    pub fn tile(&self, level: u8, number: u64, width: u16) -> Result<Option<Vec<u8>>, StoredLogError> {
        let level = usize::from(level);
        let (width, size) = (u64::from(width), self.size());
        let Some(first) = number.checked_mul(TILE_WIDTH) else { return Ok(None) };
        let in_tree = level < LEVELS && first.saturating_add(width) <= hashes_at(level, size);
        if !in_tree || !(1..=TILE_WIDTH).contains(&width) || self.reaches(size).is_err() {
            return Ok(None);
        }
        Ok(Some(self.tiles.hashes(level, first, width)?))
    }

    /// Returns an entry bundle of C2SP `tlog-tiles`: its first `width` entries, each after its length in two bytes; `None` when
    /// the checkpoint has no such bundle, or any of its entries was pruned.
    ///
    /// # Errors
    /// [`StoredLogError::Entries`] when an entry is damaged.
    pub fn bundle(&self, number: u64, width: u16) -> Result<Option<Vec<u8>>, StoredLogError> {
        let width = u64::from(width);
        let Some(first) = number.checked_mul(TILE_WIDTH) else { return Ok(None) };
        let in_tree = first.saturating_add(width) <= self.size() && first >= self.minimum_index();
        if !in_tree || !(1..=TILE_WIDTH).contains(&width) {
            return Ok(None);
        }
        let mut bundle = Vec::new();
        for entry in self.entries(first, first + width, TILE_WIDTH)? {
            let length = u16::try_from(entry.len()).map_err(|_| ReadError::Gap(first))?;
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend_from_slice(&entry);
        }
        Ok(Some(bundle))
    }

    /// Makes a checkpoint the newest.
    pub(super) fn publish(&self, checkpoint: SignedCheckpoint) {
        self.checkpoint.store(Some(Arc::new(checkpoint)));
    }

    /// Adds a witness' line to a checkpoint, if it is still the newest.
    pub(super) fn add_cosignature(&self, checkpoint: &SignedCheckpoint, line: &[u8]) {
        loop {
            let current = self.checkpoint.load_full();
            let is_same =
                |now: &&Arc<SignedCheckpoint>| now.size == checkpoint.size && now.root == checkpoint.root;
            let Some(now) = current.as_ref().filter(is_same) else { return };
            let note = [&now.note, line].concat().into();
            let cosigned = SignedCheckpoint { note, ..now.as_ref().clone() };
            let before = self.checkpoint.compare_and_swap(&current, Some(Arc::new(cosigned)));
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, now)) {
                return;
            }
        }
    }

    /// Says how far hashes can be read.
    pub(super) fn hashed_up_to(&self, size: u64) {
        self.hashed.store(size, Ordering::Release);
    }

    /// Returns how far hashes can be read.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Acquire)
    }

    pub(super) fn tiles(&self) -> &TileFiles {
        &self.tiles
    }

    pub(super) fn entry_files(&self) -> &EntryFiles {
        &self.entries
    }

    fn size(&self) -> u64 {
        self.checkpoint.load().as_ref().map_or(0, |checkpoint| checkpoint.size)
    }

    fn reaches(&self, size: u64) -> Result<(), StoredLogError> {
        if size <= self.size() && size <= self.hashed() { Ok(()) } else { Err(StoredLogError::NotYet) }
    }
}

impl std::fmt::Debug for StoredLog {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("StoredLog").field("origin", &self.origin).finish_non_exhaustive()
    }
}
