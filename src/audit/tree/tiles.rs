//! Hashes in files: one file a level, `level-0`, `level-1`, …, each the hashes of C2SP `tlog-tiles`' level one after the other.
//! Tile *n* of a level is the bytes from *n* × 8192; every subtree whose hash a proof needs is one range of one file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tlog_tiles::Tile;
use tlog_tiles::tlog::{
    self, Error, Hash, HashReader, check_tree, prove_record, prove_tree, split_stored_hash_index, tree_hash,
};

use crate::audit::journal::Place;

pub(super) const HASH_BYTES: u64 = 32;
/// Hashes in a full tile, and so entries in a full bundle.
pub(super) const TILE_WIDTH: u64 = 256;
/// Binary levels in a tile.
pub(super) const TILE_HEIGHT: u8 = 8;
/// Levels of files: enough for 2^48 entries, the most a checkpoint may tell.
pub(super) const LEVELS: usize = 7;
pub(super) const OFFSETS: &str = "offsets";
/// Bytes of a line of `offsets`: first index of the segment, offset in it.
pub(super) const PLACE_BYTES: usize = 16;

/// The name of a level's file.
pub(super) fn level_name(level: usize) -> String {
    format!("level-{level}")
}

/// Returns how many hashes a level has in a tree of this size.
pub(super) fn hashes_at(level: usize, size: u64) -> u64 {
    u32::try_from(level).ok().and_then(|level| size.checked_shr(8 * level)).unwrap_or(0)
}

/// The files, for reading. Whoever asks must stay below what has been written.
pub(super) struct TileFiles {
    folder: PathBuf,
    levels: [OnceLock<File>; LEVELS],
    offsets: OnceLock<File>,
}

impl TileFiles {
    /// Names the files; they are opened when they are needed.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), levels: Default::default(), offsets: OnceLock::new() }
    }

    /// Reads hashes of a level.
    pub(super) fn hashes(&self, level: usize, first: u64, count: u64) -> io::Result<Vec<u8>> {
        let cell = self.levels.get(level).ok_or(io::ErrorKind::InvalidInput)?;
        let length = usize::try_from(count * HASH_BYTES).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut bytes = vec![0; length];
        opened(cell, &self.folder, &level_name(level))?.read_exact_at(&mut bytes, first * HASH_BYTES)?;
        Ok(bytes)
    }

    /// Says near which place a bundle's first entry lies. A hint: the reader checks it.
    pub(super) fn place(&self, bundle: u64) -> Option<Place> {
        let mut bytes = [0; PLACE_BYTES];
        let file = opened(&self.offsets, &self.folder, OFFSETS).ok()?;
        file.read_exact_at(&mut bytes, bundle.checked_mul(PLACE_BYTES as u64)?).ok()?;
        let (segment, offset) = bytes.split_first_chunk::<8>()?;
        let offset = offset.first_chunk::<8>()?;
        Some(Place { segment: u64::from_be_bytes(*segment), offset: u64::from_be_bytes(*offset) })
    }

    /// Computes the tree hash of the first `size` entries: the right edge, O(log n).
    pub(super) fn root(&self, size: u64) -> Result<[u8; 32], Error> {
        tree_hash(size, self).map(|hash| hash.0)
    }

    /// Proves that entry `index` is in the tree of `size` entries (RFC 6962 §2.1.1).
    pub(super) fn inclusion(&self, index: u64, size: u64) -> Result<Vec<[u8; 32]>, Error> {
        prove_record(size, index, self).map(|proof| proof.into_iter().map(|hash| hash.0).collect())
    }

    /// Proves that the tree of `old` entries is the beginning of that of `new` (RFC 6962 §2.1.2).
    pub(super) fn consistency(&self, old: u64, new: u64) -> Result<Vec<[u8; 32]>, Error> {
        if old == 0 {
            return Ok(Vec::new());
        }
        prove_tree(new, old, self).map(|proof| proof.into_iter().map(|hash| hash.0).collect())
    }
}

impl HashReader for TileFiles {
    /// Reads each hash as the smallest range that holds it: the ranges of one proof do not overlap, so no byte is read twice.
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let read = |index: &u64| {
            let (height, number) = split_stored_hash_index(*index);
            let (level, within) = (usize::from(height / TILE_HEIGHT), height % TILE_HEIGHT);
            let bytes = self.hashes(level, number << within, 1 << within).map_err(|error| {
                tracing::debug!(level, %error, "hashes of the log's tree cannot be read");
                Error::InvalidTile
            })?;
            Ok(Tile::subtree_hash(&bytes))
        };
        indexes.iter().map(read).collect()
    }
}

/// Says whether a proof shows that the tree of `old` entries is the beginning of that of `new`.
pub(in crate::audit) fn is_consistent(
    proof: &[[u8; 32]],
    (old, old_root): (u64, [u8; 32]),
    (new, new_root): (u64, [u8; 32]),
) -> bool {
    if old == 0 {
        return proof.is_empty() && old_root == tlog::EMPTY_HASH.0;
    }
    let proof: Vec<Hash> = proof.iter().copied().map(Hash).collect();
    old <= new && check_tree(&proof, new, Hash(new_root), old, Hash(old_root)).is_ok()
}

fn opened<'a>(cell: &'a OnceLock<File>, folder: &Path, name: &str) -> io::Result<&'a File> {
    if let Some(file) = cell.get() {
        return Ok(file);
    }
    let file = File::open(folder.join(name))?;
    Ok(cell.get_or_init(|| file))
}
