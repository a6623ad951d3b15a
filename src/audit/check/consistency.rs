//! Proves that the log at one size is the beginning of the log at a later one (RFC 6962 §2.1.2), from the entries alone.
//!
//! One pass: which ranges of entries the proof's hashes are over is known beforehand, and no two of them overlap.

use std::ops::ControlFlow;
use std::path::Path;

use tlog_tiles::tlog::{Hash, check_tree};

use super::tree::TreeHash;
use crate::audit::journal::{Flaw, LogWalk, ReadError};
use crate::hashing::tree_leaf;

/// A proof, checked by another implementation than the one that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The log's name.
    pub origin: String,
    /// The earlier size and its tree hash.
    pub old: (u64, [u8; 32]),
    /// The later size and its tree hash.
    pub new: (u64, [u8; 32]),
    /// The hashes, in the order of RFC 6962.
    pub hashes: Vec<[u8; 32]>,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// Sizes the wrong way round, or 0.
    #[error("the sizes must be at least 1, and the first no larger than the second")]
    Sizes,
    /// The log has not as many entries.
    #[error("the log has only {0} entries")]
    TooFew(u64),
    /// The first entries were removed: the tree cannot be rebuilt from what is left.
    #[error("entries before {0} were removed from this folder")]
    Removed(u64),
    /// The log is damaged.
    #[error("the log is damaged before the sizes asked for; `drivegate audit fsck` says more")]
    Flawed(#[source] Flaw),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[source] ReadError),
    /// What was computed does not verify: a defect of ours. Tell a developer.
    #[error("the proof made does not verify")]
    Unsound,
}

/// Proves that the log of `old` entries is the beginning of the one of `new`. Reads all entries below `new`, calling `progress`
/// with the bytes of each.
///
/// # Errors
/// See [`ProveError`].
pub fn prove(
    folder: &Path,
    origin: Option<&str>,
    (old, new): (u64, u64),
    mut progress: impl FnMut(u64),
) -> Result<ConsistencyProof, ProveError> {
    if old == 0 || old > new {
        return Err(ProveError::Sizes);
    }
    let mut log = LogWalk::open(folder, origin).map_err(ProveError::Read)?;
    let mut ranges = ranges_of(old, new);
    // In the proof's order ranges stand as the path does; entries come by index.
    let mut by_index: Vec<usize> = (0..ranges.len()).collect();
    by_index.sort_unstable_by_key(|at| ranges[*at].from);
    let mut current = by_index.iter().copied().peekable();
    let (mut tree, mut old_root) = (TreeHash::default(), None);
    let walked = log.walk(|index, bytes| {
        let leaf = tree_leaf(bytes);
        while current.next_if(|at| ranges[*at].to <= index).is_some() {}
        if let Some(range) = current.peek().map(|at| &mut ranges[*at]).filter(|range| range.from <= index) {
            range.hash.push_leaf(leaf);
        }
        tree.push_leaf(leaf);
        if tree.size() == old {
            old_root = Some(tree.root());
        }
        progress(bytes.len() as u64);
        if tree.size() == new { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let walked = walked.map_err(ProveError::Read)?;
    let old_root = match (walked.flaw, old_root) {
        (_, _) if walked.first_index > 0 => return Err(ProveError::Removed(walked.first_index)),
        (Some(flaw), _) => return Err(ProveError::Flawed(flaw)),
        (None, Some(old_root)) if tree.size() == new => old_root,
        (None, _) => return Err(ProveError::TooFew(walked.next_index)),
    };
    let proof = ConsistencyProof {
        origin: log.origin().to_owned(),
        old: (old, old_root),
        new: (new, tree.root()),
        hashes: ranges.iter().map(|range| range.hash.root()).collect(),
    };
    if proof.verifies() { Ok(proof) } else { Err(ProveError::Unsound) }
}

impl ConsistencyProof {
    /// Checks the proof with the verifier of `tlog_tiles`.
    pub fn verifies(&self) -> bool {
        let hashes = self.hashes.iter().map(|hash| Hash(*hash)).collect();
        check_tree(&hashes, self.new.0, Hash(self.new.1), self.old.0, Hash(self.old.1)).is_ok()
    }
}

/// Entries whose hash is a part of the proof.
struct Range {
    from: u64,
    to: u64,
    hash: TreeHash,
}

/// Lists what PROOF(old, D\[new\]) is made of, in its order.
fn ranges_of(old: u64, new: u64) -> Vec<Range> {
    let mut ranges = Vec::new();
    let (mut from, mut to) = (0, new);
    // While the earlier tree's last part begins where the whole does, its hash is the one the reader has.
    let mut is_known = true;
    while old < to {
        let middle = from + largest_power_below(to - from);
        if old <= middle {
            ranges.push(Range { from: middle, to, hash: TreeHash::default() });
            to = middle;
        } else {
            ranges.push(Range { from, to: middle, hash: TreeHash::default() });
            from = middle;
            is_known = false;
        }
    }
    if !is_known {
        ranges.push(Range { from, to, hash: TreeHash::default() });
    }
    ranges.reverse();
    ranges
}

/// Returns the largest power of two below a number above 1.
fn largest_power_below(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}
