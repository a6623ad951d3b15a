//! Is a receipt true? Offline: from the file, the log's key and what the holder says was asked and answered.

use tlog_tiles::tlog::{Hash, check_record, record_hash};

use super::format::Receipt;
use super::openings::LeafOpening;
use super::witness::{Cosignature, WitnessKey};
use crate::audit::entry::{LeafName, leaf_hash, root_over};
use crate::audit::note::{LogVerifier, NoteFault};

/// Whom the verifier believes.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The log's key.
    pub log: LogVerifier,
    /// Witnesses it knows.
    pub witnesses: Vec<WitnessKey>,
    /// How many of them must have seen the checkpoint.
    pub quorum: usize,
}

/// A value the holder shows, as the leaf commits to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// Of which leaf.
    pub name: LeafName,
    /// The bytes (`docs/evidence.md` §4).
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Opened({}, [elided])", self.name)
    }
}

/// What a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which log.
    pub origin: String,
    /// How many entries the checkpoint covers.
    pub tree_size: u64,
    /// Who else saw it.
    pub cosignatures: Vec<Cosignature>,
    /// The leaves whose values were shown and are what was asked and answered.
    pub matched: Vec<LeafName>,
    /// The leaves that stay closed: the verifier learns that they are there, and nothing else.
    pub closed: Vec<LeafName>,
    /// Every leaf's hash was there, and together they make the entry's root.
    pub root_checked: bool,
}

/// The first thing wrong with a receipt.
#[derive(Debug, thiserror::Error)]
pub enum VerifyFault {
    /// The checkpoint is not this log's, or not signed with its key.
    #[error("{0}")]
    Checkpoint(#[source] NoteFault),
    /// The checkpoint was signed before the entry was written.
    #[error("the checkpoint covers {size} entries and does not reach entry {index}")]
    NotCovered {
        /// The entry.
        index: u64,
        /// How many are covered.
        size: u64,
    },
    /// The entry is not the one in the log at this place.
    #[error(
        "the proof does not lead from the entry to the signed tree: the entry, its number or the proof is not the log's"
    )]
    Inclusion,
    /// A known witness's cosignature is false.
    #[error("the cosignature of the witness `{0}` is false")]
    Witness(String),
    /// Not enough witnesses.
    #[error("{found} of the witnesses given have cosigned the checkpoint, {needed} are demanded")]
    Quorum {
        /// How many have.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// Nothing of this kind was asked or answered.
    #[error("the entry has no `{0}`: it was not part of the question or the answer")]
    NoLeaf(LeafName),
    /// The receipt does not open this leaf.
    #[error(
        "the receipt does not open `{0}`: its salt was struck out, or the driver's record was erased before it was issued"
    )]
    NoSalt(LeafName),
    /// The value is another.
    #[error("the value given for `{0}` is not the one on record")]
    Mismatch(LeafName),
    /// Without these values the root cannot be made.
    #[error("nothing can be said of the values given without those of {}: open these too, or strike them out of the receipt with their hashes in place", words(.0))]
    Incomplete(Vec<LeafName>),
    /// The leaves are not those of the entry.
    #[error("the values given do not make the entry's root: at least one of them is not the one on record")]
    Root,
}

fn words(names: &[LeafName]) -> String {
    let words: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    words.join(", ")
}

impl Receipt {
    /// Verifies the receipt: signature, inclusion, witnesses, opened values, in this order.
    ///
    /// # Errors
    /// [`VerifyFault`] is the first thing wrong.
    pub fn verify(&self, trust: &Trust, opened: &[Opened]) -> Result<Verified, VerifyFault> {
        let head = trust.log.checkpoint(self.note().as_bytes()).map_err(VerifyFault::Checkpoint)?;
        if self.index() >= head.size {
            return Err(VerifyFault::NotCovered { index: self.index(), size: head.size });
        }
        let proof = self.proof().iter().copied().map(Hash).collect();
        check_record(&proof, head.size, Hash(head.root), self.index(), record_hash(self.entry()))
            .map_err(|_| VerifyFault::Inclusion)?;
        let cosignatures = self.cosignatures(trust)?;
        let root_checked = self.check_leaves(opened)?;
        let matched: Vec<_> = opened.iter().map(|opened| opened.name).collect();
        let closed = self.answer().leaves.iter().filter(|name| !matched.contains(name)).collect();
        let origin = trust.log.name().to_owned();
        Ok(Verified { origin, tree_size: head.size, cosignatures, matched, closed, root_checked })
    }

    fn cosignatures(&self, trust: &Trust) -> Result<Vec<Cosignature>, VerifyFault> {
        let mut found = Vec::new();
        for witness in &trust.witnesses {
            let cosignature = witness.cosignature(self.note());
            found.extend(cosignature.map_err(|_| VerifyFault::Witness(witness.name().to_owned()))?);
        }
        if found.len() < trust.quorum {
            return Err(VerifyFault::Quorum { found: found.len(), needed: trust.quorum });
        }
        Ok(found)
    }

    /// Makes the root of what is opened and of what is closed but has its hash; `false`: there is nothing to make it of.
    fn check_leaves(&self, opened: &[Opened]) -> Result<bool, VerifyFault> {
        let mut leaves = self.leaves().to_vec();
        for shown in opened {
            open(&mut leaves, shown)?;
        }
        let unknown: Vec<_> =
            leaves.iter().filter(|leaf| leaf.hash.is_none()).map(|leaf| leaf.name).collect();
        match (unknown.is_empty(), opened.is_empty()) {
            (false, true) => return Ok(false),
            (false, false) => return Err(VerifyFault::Incomplete(unknown)),
            (true, _) => {}
        }
        let hashes: Vec<_> = leaves.iter().filter_map(|leaf| leaf.hash).collect();
        if root_over(&hashes) == self.answer().root { Ok(true) } else { Err(VerifyFault::Root) }
    }

    /// Makes the receipt that its holder shows on: every leaf whose value is given gets its hash, and loses its salt unless it is
    /// to be kept. The values given are checked against the entry's root.
    ///
    /// # Errors
    /// [`VerifyFault`] when a value is not the one on record, or one is missing.
    pub fn strike(&self, opened: &[Opened], keep: &[LeafName]) -> Result<Self, VerifyFault> {
        if !self.check_leaves(opened)? {
            let unknown = self.leaves().iter().filter(|leaf| leaf.hash.is_none());
            return Err(VerifyFault::Incomplete(unknown.map(|leaf| leaf.name).collect()));
        }
        let mut struck = self.clone();
        for shown in opened {
            open(&mut struck.leaves, shown)?;
        }
        for leaf in struck.leaves.iter_mut().filter(|leaf| !keep.contains(&leaf.name)) {
            leaf.salt = None;
        }
        Ok(struck)
    }
}

/// Gives a leaf the hash of the value shown.
fn open(leaves: &mut [LeafOpening], shown: &Opened) -> Result<(), VerifyFault> {
    let leaf = leaves.iter_mut().find(|leaf| leaf.name == shown.name);
    let leaf = leaf.ok_or(VerifyFault::NoLeaf(shown.name))?;
    let salt = leaf.salt.ok_or(VerifyFault::NoSalt(shown.name))?;
    let hash = leaf_hash(&salt, shown.name, &shown.value);
    match leaf.hash.replace(hash) {
        Some(other) if other != hash => Err(VerifyFault::Mismatch(shown.name)),
        _ => Ok(()),
    }
}
