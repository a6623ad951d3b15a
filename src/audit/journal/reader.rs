//! Reads what is on disk: for tests, and for every tool that checks, serves or exports a log.

use std::io;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::folder::current_origin;
use super::frame::{Frames, HEADER_BYTES, Header};
use super::segment::{first_index_of, name_of};
use super::storage::list_files;
use crate::audit::entry::{DecodeError, Entry};

/// Walks over the entries of one log, from the first to the last, one segment in memory at a time.
pub struct JournalReader {
    origin: String,
    folder: PathBuf,
    /// First indices of the segments still to be read, in descending order.
    ahead: Vec<u64>,
    segment: Vec<u8>,
    offset: usize,
    next_index: u64,
}

/// An entry as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its number.
    pub index: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl StoredEntry {
    /// Reads the bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when they are none of this build's entries.
    pub fn entry(&self) -> Result<Entry, DecodeError> {
        Entry::decode(&self.bytes)
    }
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("cannot read the log")]
    Io(#[source] io::Error),
    /// The folder has no readable origin.
    #[error("the folder holds no log")]
    NoLog,
    /// A segment's header is damaged or that of another log.
    #[error("segment {0} has a damaged header, or belongs to another log")]
    Header(u64),
    /// Entries are missing or damaged before a later segment begins.
    #[error("entry {0} is missing or damaged")]
    Gap(u64),
}

impl JournalReader {
    /// Opens the log in force of a journal's folder.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        let origin = current_origin(folder).map_err(|error| match error {
            OpenError::Folder(error) => ReadError::Io(error),
            _ => ReadError::NoLog,
        })?;
        Self::open_origin(folder, &origin.ok_or(ReadError::NoLog)?)
    }

    /// Opens the log of an origin, also of one that is no longer in force.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open_origin(folder: &Path, origin: &str) -> Result<Self, ReadError> {
        let folder = folder.join(origin);
        let names = list_files(&folder).map_err(ReadError::Io)?;
        let mut ahead: Vec<u64> = names.iter().filter_map(|name| first_index_of(name)).collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        let next_index = ahead.last().copied().unwrap_or(0);
        Ok(Self { origin: origin.to_owned(), folder, ahead, segment: Vec::new(), offset: 0, next_index })
    }

    /// Returns the log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the next entry; `None` at the end, which lies before a torn tail.
    fn advance(&mut self) -> Result<Option<StoredEntry>, ReadError> {
        loop {
            // A segment ends where the next one begins: what lies behind was never durable, and never answered.
            if self.ahead.last() != Some(&self.next_index) {
                if let Some(entry) = self.entry_here() {
                    return Ok(Some(entry));
                }
                if !self.ahead.is_empty() {
                    return Err(ReadError::Gap(self.next_index));
                }
                return Ok(None);
            }
            self.open_segment()?;
        }
    }

    fn entry_here(&mut self) -> Option<StoredEntry> {
        let mut frames = Frames::at(&self.segment, self.offset, self.next_index);
        let (index, bytes) = frames.next()?;
        self.offset = frames.offset();
        self.next_index = frames.index();
        Some(StoredEntry { index, bytes: bytes.to_vec() })
    }

    fn open_segment(&mut self) -> Result<(), ReadError> {
        let first_index = self.next_index;
        self.ahead.pop();
        self.segment = std::fs::read(self.folder.join(name_of(first_index))).map_err(ReadError::Io)?;
        self.offset = HEADER_BYTES;
        let expected = Header { origin: self.origin.clone(), first_index };
        if Header::parse(&self.segment) == Some(expected) {
            Ok(())
        } else {
            Err(ReadError::Header(first_index))
        }
    }
}

impl Iterator for JournalReader {
    type Item = Result<StoredEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
