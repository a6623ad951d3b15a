//! The log before the book's tree: what a commit changed, in one piece, synced.
//!
//! The tree copies every page it touches, and the uses of presentations touch pages all over it: a hundred of them, written out one by
//! one, take ten times as long as in a row. So a commit is durable once it is here; the tree takes it in memory, and is written out
//! when the log is long or nobody comes for a while (a *checkpoint*). Opening the book puts in what the tree lacks.
//!
//! ```text
//! batch    magic (8) · registry (16) · generation u64 · number u64 · length u32 · digest (16) · payload · zeros up to a block
//! payload  table u8 · key · length u32 · row      a row that was put in
//!          table u8 with its highest bit · key    a row that was removed
//! ```
//!
//! A generation is what was logged between two checkpoints, numbered from 0 and from the file's beginning; the tree names the last one it
//! holds whole. Of the next the first batch that is not whole ends the log: it was acknowledged to nobody. A whole one *behind* it, or
//! one of a later generation, says that something acknowledged is missing: then the book is not opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::hashing::{first_half, sha256};
use crate::registry::embedded::error::RegistryError;

const MAGIC: &[u8; 8] = b"DGbook1\n";
/// Magic, registry, generation, number, length; the digest follows.
const HEAD: usize = 8 + 16 + 8 + 8 + 4;
const DIGEST: usize = 16;
/// Batches begin at multiples of this, so that they can be found behind a torn one, and no write tears its neighbour.
const BLOCK: usize = 4_096;
/// The file grows by zeros in such pieces: a sync of bytes that were there before costs half of one that makes the file longer.
const ROOM: usize = 1 << 20;
/// A log this long is followed by a checkpoint: some 4,000 lone commits or 100,000 uses, put in again within two seconds.
const LONG: u64 = 16 << 20;

/// The log, open for appending.
pub(super) struct Log {
    file: File,
    path: PathBuf,
    registry: [u8; 16],
    generation: u64,
    number: u64,
    end: u64,
    room: u64,
}

impl Log {
    /// Opens the log, and returns what the tree lacks: the payloads of the generation after `held`, in order. Makes the log if the tree
    /// has not held anything of one.
    pub(super) fn open(
        path: &Path,
        registry: [u8; 16],
        held: u64,
    ) -> Result<(Self, Vec<Vec<u8>>), RegistryError> {
        let failed = |source| RegistryError::File { action: "open", path: path.to_owned(), source };
        let is_new = !path.try_exists().map_err(failed)?;
        if is_new && held > 0 {
            return Err(RegistryError::Damaged("the log beside the book is gone"));
        }
        let options =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).clone();
        let mut file = options.open(path).map_err(failed)?;
        if is_new && let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let found = gather(&bytes, registry, held + 1)?;
        let log = Self {
            file,
            path: path.to_owned(),
            registry,
            generation: held + 1,
            number: found.len() as u64,
            end: 0,
            room: bytes.len() as u64,
        };
        Ok((log, found))
    }

    /// Returns the generation that is being written.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Says whether a checkpoint is due.
    pub(super) fn is_long(&self) -> bool {
        self.end >= LONG
    }

    /// Says whether nothing was logged since the last checkpoint.
    pub(super) fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// Appends a batch; durable when this returns. After an error the next one takes its place.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), RegistryError> {
        let batch = self.batch(payload);
        let end = self.end + batch.len() as u64;
        self.make_room(end)
            .and_then(|()| self.file.write_all_at(&batch, self.end))
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.failed(source))?;
        self.end = end;
        self.number += 1;
        Ok(())
    }

    /// Begins the next generation: the tree holds this one.
    pub(super) fn restart(&mut self) {
        self.generation += 1;
        self.number = 0;
        self.end = 0;
    }

    /// Gives the file's bytes back. The tree must hold everything.
    pub(super) fn clear(&mut self) -> Result<(), RegistryError> {
        self.file.set_len(0).map_err(|source| self.failed(source))?;
        self.room = 0;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> RegistryError {
        RegistryError::File { action: "write", path: self.path.clone(), source }
    }

    fn batch(&self, payload: &[u8]) -> Vec<u8> {
        let length = HEAD + DIGEST + payload.len();
        let mut batch = Vec::with_capacity(length.next_multiple_of(BLOCK));
        batch.extend_from_slice(MAGIC);
        batch.extend_from_slice(&self.registry);
        batch.extend_from_slice(&self.generation.to_be_bytes());
        batch.extend_from_slice(&self.number.to_be_bytes());
        batch.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        batch.extend_from_slice(&digest(&batch, payload));
        batch.extend_from_slice(payload);
        batch.resize(length.next_multiple_of(BLOCK), 0);
        batch
    }

    fn make_room(&mut self, end: u64) -> io::Result<()> {
        while self.room < end {
            self.file.write_all_at(&vec![0; ROOM], self.room)?;
            self.file.sync_all()?;
            self.room += ROOM as u64;
        }
        Ok(())
    }
}

fn digest(head: &[u8], payload: &[u8]) -> [u8; DIGEST] {
    first_half(&sha256(&[head, &sha256(payload)].concat()))
}

/// A whole batch, as read.
struct Batch<'b> {
    registry: [u8; 16],
    generation: u64,
    number: u64,
    payload: &'b [u8],
}

/// Reads the batch that begins here; `None` if no whole one does.
fn batch_at(bytes: &[u8]) -> Option<Batch<'_>> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (told, rest) = rest.split_first_chunk::<DIGEST>()?;
    let (magic, fields) = head.split_first_chunk::<8>()?;
    let (registry, fields) = fields.split_first_chunk::<16>()?;
    let (generation, fields) = fields.split_first_chunk::<8>()?;
    let (number, length) = fields.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_be_bytes(*length.first_chunk::<4>()?)).ok()?;
    let payload = rest.get(..length).filter(|_| magic == MAGIC)?;
    (digest(head, payload) == *told).then_some(Batch {
        registry: *registry,
        generation: u64::from_be_bytes(*generation),
        number: u64::from_be_bytes(*number),
        payload,
    })
}

/// Gathers the payloads of a generation.
fn gather(bytes: &[u8], registry: [u8; 16], generation: u64) -> Result<Vec<Vec<u8>>, RegistryError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(batch) = batch_at(&bytes[at..]).filter(|batch| {
        (batch.registry, batch.generation, batch.number) == (registry, generation, found.len() as u64)
    }) {
        found.push(batch.payload.to_vec());
        at = bytes.len().min((at + HEAD + DIGEST + batch.payload.len()).next_multiple_of(BLOCK));
    }
    while at < bytes.len() {
        if let Some(batch) = batch_at(&bytes[at..]) {
            if batch.registry != registry {
                return Err(RegistryError::Damaged("the log beside the book belongs to another registry"));
            }
            if batch.generation > generation {
                return Err(RegistryError::Damaged("the book is older than the log beside it"));
            }
            if batch.generation == generation {
                return Err(RegistryError::Damaged("the log beside the book lacks what was acknowledged"));
            }
        }
        at += BLOCK;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: [u8; 16] = [5; 16];

    fn payload(number: u8) -> Vec<u8> {
        vec![number; 3_000 * usize::from(number)]
    }

    /// A log of generation 3 with three batches of one, two and three blocks, over one of generation 2 that was longer.
    fn written() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, found) = Log::open(&path, REGISTRY, 0).unwrap();
        assert!(found.is_empty() && log.is_empty());
        log.restart();
        for number in 1..=6 {
            log.append(&payload(number)).unwrap();
        }
        log.restart();
        for number in 1..=3 {
            log.append(&payload(number)).unwrap();
        }
        (folder, path)
    }

    fn read(path: &Path, held: u64) -> Result<Vec<Vec<u8>>, RegistryError> {
        Log::open(path, REGISTRY, held).map(|(_, found)| found)
    }

    fn change(path: &Path, at: usize, with: impl FnOnce(&mut u8)) {
        let mut bytes = std::fs::read(path).unwrap();
        with(&mut bytes[at]);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn the_generation_that_the_tree_lacks_comes_back_in_order() {
        let (_folder, path) = written();
        assert_eq!(read(&path, 2).unwrap(), [payload(1), payload(2), payload(3)]);
        assert!(read(&path, 3).unwrap().is_empty(), "the tree holds it");
        assert!(matches!(read(&path, 1), Err(RegistryError::Damaged(told)) if told.contains("older")));
    }

    #[test]
    fn a_torn_end_was_acknowledged_to_nobody() {
        let (_folder, path) = written();
        let third = BLOCK + 2 * BLOCK;
        for torn in [third, third + HEAD + 1, third + BLOCK, third + HEAD + DIGEST + 8_999] {
            let (_folder, path) = written();
            change(&path, torn, |byte| *byte ^= 1);
            assert_eq!(read(&path, 2).unwrap(), [payload(1), payload(2)], "{torn}");
        }
        File::options().write(true).open(&path).unwrap().set_len(third as u64 + 100).unwrap();
        assert_eq!(read(&path, 2).unwrap(), [payload(1), payload(2)]);
    }

    #[test]
    fn what_was_acknowledged_is_never_left_out() {
        for (at, block) in [(0, "the first"), (BLOCK + HEAD, "the second")] {
            let (_folder, path) = written();
            change(&path, at, |byte| *byte ^= 1);
            let told = read(&path, 2);
            assert!(matches!(told, Err(RegistryError::Damaged(told)) if told.contains("lacks")), "{block}");
        }
    }

    #[test]
    fn another_registrys_log_is_refused_and_an_older_one_of_our_own_is_over() {
        let (_folder, path) = written();
        assert!(
            matches!(Log::open(&path, [6; 16], 2), Err(RegistryError::Damaged(told)) if told.contains("another"))
        );
        assert!(read(&path, 9).unwrap().is_empty());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(&path, 2), Err(RegistryError::Damaged(told)) if told.contains("gone")));
    }

    #[test]
    fn a_batch_that_failed_is_written_over_and_a_cleared_log_is_empty() {
        let (_folder, path) = written();
        let (mut log, found) = Log::open(&path, REGISTRY, 2).unwrap();
        assert_eq!(found.len(), 3);
        log.restart();
        log.append(b"whole").unwrap();
        assert_eq!(read(&path, 3).unwrap(), [b"whole".to_vec()]);
        log.clear().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert!(read(&path, 3).unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_invent_anything(mut bytes: Vec<u8>, has_magic: bool) {
            if has_magic {
                bytes.splice(0..0, *MAGIC);
            }
            bytes.resize(bytes.len().max(HEAD + DIGEST), 0);
            assert!(gather(&bytes, REGISTRY, 1).unwrap().is_empty());
        }
    }
}
