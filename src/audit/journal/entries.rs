//! Entries at known places: for the tree that follows the journal, and for everybody who wants one entry or a bundle.
//!
//! A segment is read in pieces of 64 KiB from where the entry is known to lie; a place is only a hint, and is believed when a
//! valid frame of the entry lies there (its checksum covers the index). Otherwise the segment is walked from its beginning.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::frame::{FRAME_BYTES_MAX, Frames, HEADER_BYTES, Header};
use super::reader::{ReadError, StoredEntry};
use super::segment::{first_index_of, name_of};
use super::storage::list_files;

/// Bytes read at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Segments kept open for the next read.
const OPEN_MAX: usize = 16;

/// The segments of one log.
pub struct EntryFiles {
    origin: String,
    folder: PathBuf,
    /// First indices, ascending.
    segments: RwLock<Arc<[u64]>>,
    open: Mutex<VecDeque<(u64, Arc<File>)>>,
}

/// Where a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first index of its segment.
    pub segment: u64,
    /// Bytes from the segment's beginning.
    pub offset: u64,
}

impl EntryFiles {
    /// Opens the log of an origin.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(folder: &Path, origin: &str) -> Result<Self, ReadError> {
        let files = Self {
            origin: origin.to_owned(),
            folder: folder.join(origin),
            segments: RwLock::default(),
            open: Mutex::default(),
        };
        files.refresh()?;
        Ok(files)
    }

    /// Looks for segments begun or removed since.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn refresh(&self) -> Result<(), ReadError> {
        let names = list_files(&self.folder).map_err(ReadError::Io)?;
        let mut found: Vec<u64> = names.iter().filter_map(|name| first_index_of(name)).collect();
        found.sort_unstable();
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = found.into();
        Ok(())
    }

    /// Returns the first indices of the segments, ascending: the first is the lowest entry there is.
    pub fn segments(&self) -> Arc<[u64]> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Walks over the entries from `from` to `end` (exclusive). `end` must not lie behind what is durable. `near` is where an
    /// entry at or before `from` lies, and its index, as far as known.
    pub fn walk(&self, from: u64, end: u64, near: Option<(u64, Place)>) -> Walk<'_> {
        let segments = self.segments();
        let of_from = segment_of(&segments, from);
        let near = near.filter(|(index, place)| Some(place.segment) == of_from && *index <= from);
        Walk { files: self, segments, from, end, near, at: None, bytes: Vec::new(), bytes_at: 0 }
    }

    fn file(&self, segment: u64) -> Result<Arc<File>, ReadError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = open.iter().find(|(first_index, _)| *first_index == segment) {
            return Ok(Arc::clone(file));
        }
        let file = File::open(self.folder.join(name_of(segment)));
        if file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            // It was pruned meanwhile.
            self.refresh()?;
            return Err(ReadError::Gap(segment));
        }
        let file = file.map_err(ReadError::Io)?;
        let mut header = [0; HEADER_BYTES];
        let expected = Header { origin: self.origin.clone(), first_index: segment };
        file.read_exact_at(&mut header, 0).map_err(|_| ReadError::Header(segment))?;
        if Header::parse(&header) != Some(expected) {
            return Err(ReadError::Header(segment));
        }
        let file = Arc::new(file);
        open.push_front((segment, Arc::clone(&file)));
        open.truncate(OPEN_MAX);
        Ok(file)
    }
}

/// Returns the segment an entry lies in.
fn segment_of(segments: &[u64], index: u64) -> Option<u64> {
    let after = segments.partition_point(|first_index| *first_index <= index);
    after.checked_sub(1).and_then(|at| segments.get(at).copied())
}

/// Walks over entries.
pub struct Walk<'a> {
    files: &'a EntryFiles,
    segments: Arc<[u64]>,
    from: u64,
    end: u64,
    near: Option<(u64, Place)>,
    at: Option<At>,
    /// A piece of the segment, and where it begins.
    bytes: Vec<u8>,
    bytes_at: u64,
}

struct At {
    file: Arc<File>,
    place: Place,
    index: u64,
}

impl Walk<'_> {
    /// Returns the next entry and its place; `None` at the end.
    ///
    /// # Errors
    /// See [`ReadError`]: [`ReadError::Gap`] when an entry before the end is damaged, missing or pruned.
    pub fn next_entry(&mut self) -> Result<Option<(Place, StoredEntry)>, ReadError> {
        if self.from >= self.end {
            return Ok(None);
        }
        if self.at.is_none() {
            self.begin()?;
        }
        loop {
            let Some((place, entry)) = self.step()? else { return Err(ReadError::Gap(self.from)) };
            if entry.index == self.from {
                self.from += 1;
                return Ok(Some((place, entry)));
            }
        }
    }

    /// Returns where the next entry begins, once something was read.
    pub fn place(&self) -> Option<Place> {
        self.at.as_ref().map(|at| at.place)
    }

    /// Stands on the entry known to be near, or on the beginning of the segment.
    fn begin(&mut self) -> Result<(), ReadError> {
        let segment = segment_of(&self.segments, self.from).ok_or(ReadError::Gap(self.from))?;
        let file = self.files.file(segment)?;
        if let Some((index, place)) = self.near.take() {
            self.at = Some(At { file: Arc::clone(&file), place, index });
            if self.frame()?.is_some() {
                return Ok(());
            }
        }
        let place = Place { segment, offset: HEADER_BYTES as u64 };
        self.at = Some(At { file, place, index: segment });
        Ok(())
    }

    /// Reads one entry and goes on behind it.
    fn step(&mut self) -> Result<Option<(Place, StoredEntry)>, ReadError> {
        self.change_segment()?;
        let Some((entry, length)) = self.frame()? else { return Ok(None) };
        let Some(at) = &mut self.at else { return Ok(None) };
        let place = at.place;
        at.place.offset += length;
        at.index += 1;
        Ok(Some((place, entry)))
    }

    /// A segment ends where the next one begins: what lies behind was never durable, and never answered.
    fn change_segment(&mut self) -> Result<(), ReadError> {
        let Some(at) = &mut self.at else { return Ok(()) };
        if at.place.segment != at.index && self.segments.binary_search(&at.index).is_ok() {
            at.file = self.files.file(at.index)?;
            at.place = Place { segment: at.index, offset: HEADER_BYTES as u64 };
            self.bytes.clear();
        }
        Ok(())
    }

    /// Reads the frame one stands on, and says how long it is.
    fn frame(&mut self) -> Result<Option<(StoredEntry, u64)>, ReadError> {
        let Some(at) = &self.at else { return Ok(None) };
        let begin = at.place.offset.checked_sub(self.bytes_at);
        let begin = begin.and_then(|begin| usize::try_from(begin).ok());
        let held = begin.filter(|begin| begin.saturating_add(FRAME_BYTES_MAX) <= self.bytes.len());
        let begin = match held {
            Some(begin) => begin,
            None => {
                self.bytes.resize(PIECE_BYTES, 0);
                let count = read_up_to(&at.file, &mut self.bytes, at.place.offset).map_err(ReadError::Io)?;
                self.bytes.truncate(count);
                self.bytes_at = at.place.offset;
                0
            }
        };
        let mut frames = Frames::at(&self.bytes, begin, at.index);
        let Some((index, bytes)) = frames.next() else { return Ok(None) };
        let entry = StoredEntry { index, bytes: bytes.to_vec() };
        Ok(Some((entry, (frames.offset() - begin) as u64)))
    }
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
