//! The person asked about: an identity that never changes, and the positions of what is known about it.

/// A person: random, immutable, 16 bytes. Key of records, partitions, feed, facts and log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId([u8; 16]);

impl SubjectId {
    /// Wraps 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, for storage and keyed derivations.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for SubjectId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SubjectId([elided])")
    }
}

/// The keyed pseudonym of a licence number (HMAC-SHA-256, first 16 bytes): what indexes and cache keys are made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NumberPseudonym([u8; 16]);

impl NumberPseudonym {
    /// Wraps the first 16 bytes of the keyed hash.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, for indexes and cache keys.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for NumberPseudonym {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("NumberPseudonym([elided])")
    }
}

/// The secret of one subject (`k_subject`): evidence pseudonyms and openings derive from it. Destroying it unlinks them.
#[derive(Clone)]
pub struct SubjectSecret(zeroize::Zeroizing<[u8; 32]>);

impl SubjectSecret {
    /// Wraps 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(zeroize::Zeroizing::new(bytes))
    }

    /// Returns the bytes. Callers: the registry's codec (sealed at rest), the audit room's derivations.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for SubjectSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SubjectSecret([elided])")
    }
}

/// A position in the authority's change feed. Ordered by epoch, then sequence, within one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Changes at every restore or promotion of the registry.
    pub epoch: u32,
    /// The part of the registry the subject lives in: hash(SubjectId). The embedded store has one part.
    pub partition: u16,
    /// Gap-free within (epoch, partition).
    pub seq: u64,
}

impl Position {
    /// After every other: nothing is held back for its position.
    pub const LAST: Self = Self { epoch: u32::MAX, partition: u16::MAX, seq: u64::MAX };

    /// Says whether a feed read to another position holds what lies here. Both are of one partition: a subject's.
    pub fn is_reached_by(self, other: Self) -> bool {
        (self.epoch, self.seq) <= (other.epoch, other.seq)
    }
}
