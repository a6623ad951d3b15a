//! One segment being written.
//!
//! A segment grows by whole steps of zeros (1 MiB) ahead of its entries, so that the sync of an ordinary batch finds nothing
//! but overwritten blocks: without it every sync also commits the file's new size and blocks to the file system's journal
//! (ext4 on the build machines: 0.30 ms instead of 0.18). The price is that each byte is written twice, once as zero.

use std::io::ErrorKind;

use super::frame::{Frames, HEADER_BYTES, Header};
use super::past_cache::{Bypass, OnDisk};
use super::stats::{At as _, JournalStep, StepFailure};
use super::storage::{SegmentFile, Storage};

const UNNAMED: &str = "next.tmp";

/// The segment entries go into.
pub(super) struct Segment {
    file: Box<dyn SegmentFile>,
    header: Header,
    /// Everything before is durable.
    synced: u64,
    /// The file's size: zeros between `synced` and here.
    allocated: u64,
    /// How far the file grows at a time.
    step: u64,
}

impl Segment {
    /// Makes a segment, durable under its name before it takes an entry: a named segment always has a valid header.
    pub(super) fn create(storage: &dyn Storage, header: Header, step: u64) -> Result<Self, StepFailure> {
        let file = storage.create(UNNAMED).at(JournalStep::Create)?;
        let (bytes, name) = (header.to_bytes(), name_of(header.first_index));
        let mut segment = Self { file, header, synced: 0, allocated: 0, step };
        segment.append(&bytes)?;
        storage.rename(UNNAMED, &name).at(JournalStep::Rename)?;
        storage.sync_folder().at(JournalStep::SyncFolder)?;
        Ok(segment)
    }

    /// Goes on in a segment after its last valid frame; whatever lies behind is cut.
    pub(super) fn resume(
        mut file: Box<dyn SegmentFile>,
        header: Header,
        valid: u64,
        length: u64,
        step: u64,
    ) -> Result<Self, StepFailure> {
        if valid < length {
            file.truncate(valid).at(JournalStep::Truncate)?;
        }
        file.sync().at(JournalStep::Sync)?;
        Ok(Self { file, header, synced: valid, allocated: valid, step })
    }

    /// Returns how many bytes are in use.
    pub(super) fn bytes(&self) -> u64 {
        self.synced
    }

    /// Says whether no entry is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.synced <= HEADER_BYTES as u64
    }

    /// Writes and syncs. After an error nothing behind `bytes()` counts, and the segment must be sealed.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), StepFailure> {
        let end = self.synced + bytes.len() as u64;
        self.write(bytes, self.synced).at(JournalStep::Write)?;
        if end > self.allocated {
            self.grow_past(end).at(JournalStep::Write)?;
        }
        self.file.sync().at(JournalStep::Sync)?;
        self.synced = end;
        Ok(())
    }

    /// Cuts the segment at what is durable. A sealed segment is never written again.
    pub(super) fn seal(&mut self) -> Result<(), StepFailure> {
        self.file.truncate(self.synced).at(JournalStep::Truncate)?;
        self.file.sync().at(JournalStep::Sync)
    }

    /// Reads the segment back from the disk: header and every entry below `next_index` must be there as they were told durable.
    pub(super) fn verify(&mut self, next_index: u64) -> Result<Bypass, StepFailure> {
        let OnDisk { bytes, how } = self.file.read_from_disk().at(JournalStep::Read)?;
        let mut frames = Frames::new(&bytes, self.header.first_index);
        while frames.index() < next_index && frames.next().is_some() {}
        let is_whole = Header::parse(&bytes).as_ref() == Some(&self.header)
            && frames.index() == next_index
            && frames.offset() as u64 == self.synced;
        if is_whole { Ok(how) } else { Err(ErrorKind::InvalidData.into()).at(JournalStep::Read) }
    }

    fn grow_past(&mut self, end: u64) -> std::io::Result<()> {
        let allocated = (end / self.step + 1) * self.step;
        let zeros = vec![0; usize::try_from(allocated - end).unwrap_or(0)];
        self.write(&zeros, end)?;
        self.allocated = allocated;
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8], mut offset: u64) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write_at(bytes, offset) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or(&[]);
                    offset += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns the path of a segment in an origin's folder.
pub(in crate::audit) fn segment_path(folder: &std::path::Path, first_index: u64) -> std::path::PathBuf {
    folder.join(name_of(first_index))
}

/// Returns the name of the segment that begins with this index.
pub(super) fn name_of(first_index: u64) -> String {
    format!("{first_index:020}.seg")
}

/// Reads a segment's name; `None` for other files.
pub(super) fn first_index_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
