//! The one root of an entry: an RFC 6962 tree over salted leaves, so that each can be opened alone and none be guessed.
//!
//! A leaf is SHA-256(0x00 ‖ salt ‖ len(name) ‖ name ‖ value). Salts are 128 bits, derived from the entry's
//! [`OpeningKey`]; without the salt a leaf says nothing about its value, however few values there are.

use crate::audit::keys::OpeningKey;
use crate::domain::closed_set::closed_set;
use crate::domain::disclosure::Field;
use crate::hashing::sha256;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// How many leaves an entry has room for at once; the entry of today's longest answer has twelve.
const LEAVES_EXPECTED: usize = 16;

closed_set! {
    /// What a leaf commits to. Codes are the canonical order of leaves; 16 + a field's code is that field disclosed.
    pub enum LeafName {
        /// Document kind and number, as claimed.
        LicenceNumber = 0, "licence-number";
        /// The full name, as claimed.
        FullName = 1, "full-name";
        /// The file number, when claimed.
        FileNumber = 2, "file-number";
        /// The partner's serial of the matter.
        CaseReference = 3, "case-reference";
        /// The partner's employee.
        Operator = 4, "operator";
        /// The whole question.
        Question = 5, "question";
        /// The evidence of consent, when that is the ground.
        Consent = 6, "consent";
        /// The partner's idempotency key, when given.
        RequestId = 7, "request-id";
        /// What the driver showed, as it was sent.
        Presentation = 8, "presentation";
        /// Until when a QUALIFIED answer could be relied on.
        RelianceUntil = 12, "reliance-until";
        /// The remedies told.
        Remedies = 13, "remedies";
        /// [`Field::MaskedName`]
        MaskedName = 17, "masked-name";
        /// [`Field::ExpiredOn`]
        ExpiredOn = 18, "expired-on";
        /// [`Field::Probation`]
        Probation = 19, "probation";
        /// [`Field::TenureBand`]
        TenureBand = 20, "tenure-band";
        /// [`Field::Pending`]
        Pending = 21, "pending";
        /// [`Field::States`]
        States = 22, "states";
        /// [`Field::Classes`]
        Classes = 23, "classes";
        /// [`Field::PaperLicenceNeeded`]
        PaperLicenceNeeded = 24, "paper-licence-needed";
        /// [`Field::Display`]
        Display = 25, "display";
        /// [`Field::ClassGroups`]
        ClassGroups = 26, "class-groups";
    }
}

/// Which leaves an entry's root is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeafSet(u32);

impl LeafSet {
    /// Reads a set; `None` when it holds a leaf this build does not know.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let known = LeafName::ALL.iter().fold(0, |known, name| known | name.bit());
        (bits & !known == 0).then_some(Self(bits))
    }

    /// Returns the set, bit n standing for the leaf with code n.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Says whether the root is over this leaf.
    pub const fn contains(self, name: LeafName) -> bool {
        self.0 & name.bit() != 0
    }

    /// Iterates over the leaves in canonical order.
    pub fn iter(self) -> impl Iterator<Item = LeafName> {
        LeafName::ALL.iter().copied().filter(move |name| self.contains(*name))
    }

    /// Says whether a leaf is among them that version 1 of entries did not know.
    pub(super) fn is_newer(self) -> bool {
        [LeafName::Presentation, LeafName::Display, LeafName::ClassGroups]
            .into_iter()
            .any(|name| self.contains(name))
    }

    /// Says whether this field was disclosed.
    pub fn discloses(self, field: Field) -> bool {
        LeafName::from_code(16 + field.code()).is_some_and(|name| self.contains(name))
    }
}

impl LeafName {
    const fn bit(self) -> u32 {
        1 << self.code()
    }
}

/// Collects the leaves of one entry and folds them into its root.
pub(super) struct Commitments {
    opening: OpeningKey,
    leaves: Vec<(u8, Hash)>,
    value: Vec<u8>,
}

impl Commitments {
    pub(super) fn new(opening: OpeningKey) -> Self {
        Self { opening, leaves: Vec::with_capacity(LEAVES_EXPECTED), value: Vec::with_capacity(512) }
    }

    /// Commits to a value; leaves may come in any order.
    pub(super) fn commit(&mut self, name: LeafName, value: impl FnOnce(&mut Vec<u8>)) {
        self.value.clear();
        begin_leaf(&mut self.value, &self.opening.salt(name.code()), name);
        value(&mut self.value);
        self.leaves.push((name.code(), sha256(&self.value)));
    }

    /// Returns which leaves there are, and the root over them.
    pub(super) fn fold(mut self) -> (LeafSet, Hash) {
        self.leaves.sort_unstable_by_key(|(code, _)| *code);
        let set = self.leaves.iter().fold(0, |set, (code, _)| set | 1 << code);
        let hashes: Vec<Hash> = self.leaves.into_iter().map(|(_, hash)| hash).collect();
        (LeafSet(set), root_over(&hashes))
    }
}

/// Hashes one leaf: what a verifier computes from an opening.
pub fn leaf_hash(salt: &[u8; 16], name: LeafName, value: &[u8]) -> Hash {
    let mut bytes = Vec::with_capacity(64 + value.len());
    begin_leaf(&mut bytes, salt, name);
    bytes.extend_from_slice(value);
    sha256(&bytes)
}

/// The part of a leaf before its value. The name's length separates name and value, so that no two leaves share bytes.
fn begin_leaf(into: &mut Vec<u8>, salt: &[u8; 16], name: LeafName) {
    let word = name.word().as_bytes();
    into.push(0x00);
    into.extend_from_slice(salt);
    into.push(word.len().to_le_bytes()[0]);
    into.extend_from_slice(word);
}

/// Returns the Merkle tree hash over leaf hashes (RFC 6962 §2.1).
pub fn root_over(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root_over(left), &root_over(right))
        }
    }
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [0x01; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_leaf_of_the_same_word() {
        for field in Field::ALL {
            let leaf = LeafName::from_code(16 + field.code()).expect("a leaf for every field");
            assert_eq!(leaf.word(), field.word());
        }
    }

    #[test]
    fn the_tree_is_that_of_rfc_6962() {
        // Leaf and root hashes of the CT reference test vectors (inputs "", 00, 10).
        let leaf = |value: &[u8]| sha256(&[&[0], value].concat());
        let leaves = [leaf(b""), leaf(&[0x00]), leaf(&[0x10])];
        assert_eq!(
            hex(&root_over(&leaves[..1])),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            hex(&root_over(&leaves[..2])),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
        assert_eq!(
            hex(&root_over(&leaves)),
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        );
        assert_eq!(hex(&root_over(&[])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn each_leaf_opens_alone_and_only_with_its_own_salt_name_and_value() {
        let opening = OpeningKey::from_bytes([7; 32]);
        let mut commitments = Commitments::new(opening.clone());
        commitments.commit(LeafName::Operator, |into| into.extend_from_slice(b"clerk-17"));
        commitments.commit(LeafName::FullName, |into| into.extend_from_slice("张三".as_bytes()));
        let (set, root) = commitments.fold();
        assert_eq!(set.iter().collect::<Vec<_>>(), [LeafName::FullName, LeafName::Operator]);

        let name = leaf_hash(&opening.salt(1), LeafName::FullName, "张三".as_bytes());
        let operator = leaf_hash(&opening.salt(4), LeafName::Operator, b"clerk-17");
        assert_eq!(root, root_over(&[name, operator]));
        assert_ne!(name, leaf_hash(&opening.salt(4), LeafName::FullName, "张三".as_bytes()));
        assert_ne!(operator, leaf_hash(&opening.salt(4), LeafName::CaseReference, b"clerk-17"));
        assert_ne!(operator, leaf_hash(&opening.salt(4), LeafName::Operator, b"clerk-18"));
    }

    #[test]
    fn salts_of_one_entry_all_differ() {
        let opening = OpeningKey::from_bytes([9; 32]);
        let salts: std::collections::HashSet<_> =
            LeafName::ALL.iter().map(|name| opening.salt(name.code())).collect();
        assert_eq!(salts.len(), LeafName::ALL.len());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
