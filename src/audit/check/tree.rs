//! The tree hash of RFC 6962 §2.1, entry by entry: one hash per level is all that is kept.

use crate::hashing::{sha256, tree_leaf, tree_node};

/// The hash over entries seen so far.
#[derive(Clone, Debug, Default)]
pub struct TreeHash {
    size: u64,
    /// Hashes of the perfect subtrees the entries make up, the largest first: one for each bit set in `size`.
    subtrees: Vec<[u8; 32]>,
}

impl TreeHash {
    /// Adds the next entry.
    pub fn push(&mut self, entry: &[u8]) {
        self.push_leaf(tree_leaf(entry));
    }

    /// Adds the next entry's leaf hash.
    pub fn push_leaf(&mut self, leaf: [u8; 32]) {
        self.push_leaf_telling(leaf, |_, _| {});
    }

    /// Adds the next entry's leaf hash, and tells the hash of every perfect subtree that it completes, by height: 0 is the leaf.
    pub fn push_leaf_telling(&mut self, leaf: [u8; 32], mut told: impl FnMut(u32, &[u8; 32])) {
        let mut node = leaf;
        told(0, &node);
        for height in 1..=self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = tree_node(&left, &node);
                told(height, &node);
            }
        }
        self.subtrees.push(node);
        self.size += 1;
    }

    /// Returns how many entries were added.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the tree hash over them.
    pub fn root(&self) -> [u8; 32] {
        let mut smallest_first = self.subtrees.iter().rev();
        let Some(last) = smallest_first.next() else { return sha256(b"") };
        smallest_first.fold(*last, |right, left| tree_node(left, &right))
    }
}
