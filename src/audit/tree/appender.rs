//! How the files of hashes grow: leaves go in at level 0, and each tile that becomes full gives one hash to the level above.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tlog_tiles::Tile;

use super::tiles::{HASH_BYTES, LEVELS, OFFSETS, PLACE_BYTES, TILE_WIDTH, hashes_at, level_name};
use crate::audit::journal::{Place, sync_folder};

/// Writes the files. Nothing it writes counts before the checkpoint that covers it.
pub(super) struct Appender {
    folder: PathBuf,
    levels: Vec<Level>,
    offsets: Grown,
    size: u64,
    /// A file was made, and its name is not durable yet.
    made: bool,
}

struct Level {
    file: Grown,
    /// The hashes of the last tile, unless it is full.
    edge: Vec<u8>,
}

/// A file that only grows.
struct Grown {
    file: File,
    written: u64,
    pending: Vec<u8>,
    is_synced: bool,
}

impl Appender {
    /// Opens the files as they were at a size, and cuts what lies behind; `None` when they do not reach so far.
    pub(super) fn resume(folder: &Path, size: u64) -> io::Result<Option<Self>> {
        let mut levels = Vec::new();
        for level in 0..LEVELS {
            let count = hashes_at(level, size);
            let path = folder.join(level_name(level));
            if count == 0 {
                // Whatever lies there is cut when the first hash comes.
                break;
            }
            if std::fs::metadata(&path).map_or(0, |file| file.len()) < count * HASH_BYTES {
                return Ok(None);
            }
            let file = Grown::open(&path, count * HASH_BYTES)?;
            let edge_bytes = count % TILE_WIDTH * HASH_BYTES;
            let mut edge = vec![0; usize::try_from(edge_bytes).unwrap_or(0)];
            file.file.read_exact_at(&mut edge, count * HASH_BYTES - edge_bytes)?;
            levels.push(Level { file, edge });
        }
        // Short or absent, the file is filled up with zeros: a place that is none is a hint less.
        let offsets = Grown::open(&folder.join(OFFSETS), size.div_ceil(TILE_WIDTH) * PLACE_BYTES as u64)?;
        Ok(Some(Self { folder: folder.to_owned(), levels, offsets, size, made: true }))
    }

    /// Returns how many entries are in the tree, written or not.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry's hash, and where it lies.
    pub(super) fn push(&mut self, leaf: [u8; 32], place: Place) -> io::Result<()> {
        if self.size.is_multiple_of(TILE_WIDTH) {
            self.offsets.pending.extend_from_slice(&place.segment.to_be_bytes());
            self.offsets.pending.extend_from_slice(&place.offset.to_be_bytes());
        }
        self.size += 1;
        let mut hash = leaf;
        for level in 0..LEVELS {
            if level == self.levels.len() {
                let file = Grown::open(&self.folder.join(level_name(level)), 0)?;
                self.levels.push(Level { file, edge: Vec::new() });
                self.made = true;
            }
            let Some(Level { file, edge }) = self.levels.get_mut(level) else { break };
            file.pending.extend_from_slice(&hash);
            edge.extend_from_slice(&hash);
            if (edge.len() as u64) < TILE_WIDTH * HASH_BYTES {
                break;
            }
            hash = Tile::subtree_hash(edge).0;
            edge.clear();
        }
        Ok(())
    }

    /// Writes what was added, so that it can be read.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.levels
            .iter_mut()
            .map(|level| &mut level.file)
            .chain([&mut self.offsets])
            .try_for_each(Grown::flush)
    }

    /// Makes the hashes durable. The places are hints and need not be.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.levels.iter_mut().try_for_each(|level| level.file.sync())?;
        if std::mem::take(&mut self.made) {
            sync_folder(&self.folder)?;
        }
        Ok(())
    }
}

impl Grown {
    fn open(path: &Path, length: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() != length {
            file.set_len(length)?;
        }
        Ok(Self { file, written: length, pending: Vec::new(), is_synced: false })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        self.is_synced = false;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(())
    }
}
