//! Walks over a log as it lies on disk: quick, without an allocation per entry, and exact about the first thing that is wrong.
//!
//! Only reads, and takes no lock: a gateway may be writing the same files. What it is writing at this moment may look torn;
//! so whatever looks torn at the end of the last segment is looked at again before it is called wrong.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::current_origin;
use super::frame::{Frames, Header};
use super::options::OpenError;
use super::reader::ReadError;
use super::segment::{first_index_of, name_of};
use super::storage::list_files;

/// How often an end that looks torn is looked at, and how far apart: a write takes microseconds, a hanging disk a second.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// One log of a journal's folder, to be walked over.
pub struct LogWalk {
    origin: String,
    folder: PathBuf,
    /// The segment being read; reused, so that a long log costs one allocation.
    segment: Vec<u8>,
    /// How often an end that looks torn is looked at again.
    looks: u32,
}

/// How far a walk came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// The first index there is; above 0, older segments were removed.
    pub first_index: u64,
    /// The index after the last entry seen.
    pub next_index: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes of the files read.
    pub bytes: u64,
    /// Bytes behind the end of a segment that was given up after a failure: never durable, never answered, void.
    pub void_bytes: u64,
    /// What is wrong, and ended the walk.
    pub flaw: Option<Flaw>,
}

/// What is wrong with a log's files. The first one ends a walk: behind it, nothing has a certain place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A segment's header.
    #[error("segment {first_index:020}.seg has a damaged header, or belongs to another log")]
    Header {
        /// The first index its name tells.
        first_index: u64,
    },
    /// An entry before the end: its checksum does not fit, or it is not there.
    #[error("entry {index} is damaged or missing: the next segment begins at {next_first_index}")]
    Gap {
        /// The entry.
        index: u64,
        /// Where the next segment begins.
        next_first_index: u64,
    },
    /// The last segment goes on with something that is no entry.
    #[error("entry {index} is damaged, or was torn by a crash: {bytes} bytes there are no entry")]
    Torn {
        /// The entry.
        index: u64,
        /// How many bytes follow that are not the zeros of a file grown ahead.
        bytes: u64,
    },
}

impl Flaw {
    /// Returns the first index that cannot be relied on.
    pub fn index(&self) -> u64 {
        match self {
            Self::Header { first_index } => *first_index,
            Self::Gap { index, .. } | Self::Torn { index, .. } => *index,
        }
    }
}

/// How a segment's frames ended.
enum Ended {
    /// At its end, with so many void bytes behind.
    Whole(u64),
    Stopped,
    Flawed(Flaw),
}

impl LogWalk {
    /// Opens the log of an origin, or the one in force.
    ///
    /// # Errors
    /// [`ReadError::NoLog`] when the folder has none, or none of this name.
    pub fn open(folder: &Path, origin: Option<&str>) -> Result<Self, ReadError> {
        let origin = match origin {
            Some(origin) => origin.to_owned(),
            None => current_origin(folder).map_err(no_log)?.ok_or(ReadError::NoLog)?,
        };
        // A folder beside the file `origin`, and no other.
        let is_name = Path::new(&origin).file_name().is_some_and(|name| *name == *origin);
        let folder = folder.join(&origin);
        if !is_name || !folder.is_dir() {
            return Err(ReadError::NoLog);
        }
        Ok(Self { origin, folder, segment: Vec::new(), looks: LOOKS })
    }

    /// Takes it that nobody writes: an end that looks torn is called so at once.
    #[must_use]
    pub fn at_rest(self) -> Self {
        Self { looks: 0, ..self }
    }

    /// Returns the log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the size of all segments now, in bytes.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn bytes(&self) -> Result<u64, ReadError> {
        let size = |first: u64| Ok(std::fs::metadata(self.path_of(first))?.len());
        self.first_indices()?.into_iter().map(size).sum::<io::Result<u64>>().map_err(ReadError::Io)
    }

    /// Returns the first index there is: above 0, older segments were removed.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn first_index(&self) -> Result<u64, ReadError> {
        Ok(self.first_indices()?.first().copied().unwrap_or(0))
    }

    /// Calls `each` with index and bytes of every entry from the first to the last, until it says to stop.
    ///
    /// # Errors
    /// [`ReadError::Io`] when a file cannot be read. What is wrong inside a file is no error but what the walk finds.
    pub fn walk(&mut self, mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>) -> Result<Walked, ReadError> {
        let mut ahead = self.first_indices()?;
        let first_index = ahead.first().copied().unwrap_or(0);
        let mut walked = Walked { first_index, next_index: first_index, ..Walked::default() };
        let mut at = 0;
        while let Some(&first_index) = ahead.get(at) {
            at += 1;
            if at == ahead.len() {
                // The last one, as far as was known: another may have been begun since.
                ahead = self.first_indices()?;
            }
            let next_first_index = ahead.iter().copied().find(|first| *first > first_index);
            let ended = self.walk_segment(first_index, next_first_index, &mut walked, &mut each)?;
            match ended {
                Ended::Whole(void_bytes) => walked.void_bytes += void_bytes,
                Ended::Stopped => return Ok(walked),
                Ended::Flawed(flaw) => {
                    walked.flaw = Some(flaw);
                    return Ok(walked);
                }
            }
        }
        Ok(walked)
    }

    fn walk_segment(
        &mut self,
        first_index: u64,
        next_first_index: Option<u64>,
        walked: &mut Walked,
        each: &mut impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<Ended, ReadError> {
        self.read_segment(first_index)?;
        walked.segments += 1;
        walked.bytes += self.segment.len() as u64;
        let expected = Header { origin: self.origin.clone(), first_index };
        if Header::parse(&self.segment) != Some(expected) {
            return Ok(Ended::Flawed(Flaw::Header { first_index }));
        }
        let mut frames = Frames::new(&self.segment, first_index);
        loop {
            if Some(frames.index()) == next_first_index {
                break;
            }
            let Some((index, bytes)) = frames.next() else { break };
            walked.next_index = index + 1;
            if each(index, bytes).is_break() {
                return Ok(Ended::Stopped);
            }
        }
        let (index, offset) = (frames.index(), frames.offset());
        let behind = used_bytes(self.segment.get(offset..).unwrap_or(&[]));
        match next_first_index {
            Some(next) if next == index => Ok(Ended::Whole(behind)),
            Some(next_first_index) => Ok(Ended::Flawed(Flaw::Gap { index, next_first_index })),
            None if behind == 0 || self.was_being_written(first_index, offset, index)? => Ok(Ended::Whole(0)),
            None => Ok(Ended::Flawed(Flaw::Torn { index, bytes: behind })),
        }
    }

    /// Looks again at an end that looks torn: was the entry there only being written?
    fn was_being_written(&mut self, first_index: u64, offset: usize, index: u64) -> Result<bool, ReadError> {
        for _ in 0..self.looks {
            std::thread::sleep(BETWEEN_LOOKS);
            self.read_segment(first_index)?;
            let rest = self.segment.get(offset..).unwrap_or(&[]);
            if Frames::at(&self.segment, offset, index).next().is_some() || used_bytes(rest) == 0 {
                return Ok(true);
            }
            if self.first_indices()?.contains(&index) {
                // The batch failed, and the log goes on in another segment: what was seen is void.
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_segment(&mut self, first_index: u64) -> Result<(), ReadError> {
        self.segment.clear();
        let file = File::open(self.path_of(first_index)).map_err(ReadError::Io)?;
        (&file).read_to_end(&mut self.segment).map_err(ReadError::Io)?;
        Ok(())
    }

    /// Returns where each segment begins, in order.
    fn first_indices(&self) -> Result<Vec<u64>, ReadError> {
        let names = list_files(&self.folder).map_err(ReadError::Io)?;
        let mut first: Vec<u64> = names.iter().filter_map(|name| first_index_of(name)).collect();
        first.sort_unstable();
        Ok(first)
    }

    fn path_of(&self, first_index: u64) -> PathBuf {
        self.folder.join(name_of(first_index))
    }
}

/// Returns how many bytes there are up to the last that is not zero.
fn used_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn no_log(error: OpenError) -> ReadError {
    match error {
        OpenError::Folder(error) => ReadError::Io(error),
        _ => ReadError::NoLog,
    }
}
