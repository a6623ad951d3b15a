//! The hashes that are served, held against those rebuilt: `tree/level-0`, `tree/level-1`, … hold every eighth level of the tree,
//! one hash after the other. What lies behind the last checkpoint is still being written, and is not looked at.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Binary levels between two files.
const HEIGHT: u32 = 8;
/// Bytes of a file read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// The files, read along while the tree is rebuilt.
pub(super) struct TileCheck {
    folder: PathBuf,
    /// How many entries the files must cover.
    size: u64,
    levels: Vec<Level>,
}

enum Level {
    Agrees(BufReader<File>),
    /// Told already.
    Differs,
}

/// A hash that is not the one the entries make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// In which file.
    pub(super) level: usize,
    /// The first entry below that hash.
    pub(super) index: u64,
}

impl TileCheck {
    /// Looks at the files beside a log's segments, as far as its checkpoint reaches.
    pub(super) fn new(of_origin: &Path, size: u64) -> Self {
        Self { folder: of_origin.join("tree"), size, levels: Vec::new() }
    }

    /// Opens the file of leaf hashes, for entries that are no longer there.
    pub(super) fn leaves(&self) -> std::io::Result<BufReader<File>> {
        Ok(BufReader::with_capacity(PIECE_BYTES, File::open(self.folder.join("level-0"))?))
    }

    /// Compares the hash of a perfect subtree that ends with entry `size` − 1. Tells the first difference of each file.
    pub(super) fn compare(&mut self, size: u64, height: u32, hash: &[u8; 32]) -> Option<Difference> {
        if size > self.size || !height.is_multiple_of(HEIGHT) {
            return None;
        }
        let level = usize::try_from(height / HEIGHT).ok()?;
        while self.levels.len() <= level {
            let path = self.folder.join(format!("level-{}", self.levels.len()));
            self.levels.push(match File::open(path) {
                Ok(file) => Level::Agrees(BufReader::with_capacity(PIECE_BYTES, file)),
                Err(_) => Level::Differs,
            });
            if matches!(self.levels.last(), Some(Level::Differs)) {
                return Some(Difference { level: self.levels.len() - 1, index: 0 });
            }
        }
        let place = self.levels.get_mut(level)?;
        let Level::Agrees(file) = place else { return None };
        let mut stored = [0; 32];
        if file.read_exact(&mut stored).is_ok() && stored == *hash {
            return None;
        }
        *place = Level::Differs;
        Some(Difference { level, index: size - (1 << height) })
    }
}
