//! To which place on the book a sealed row is bound.

use crate::hashing::{first_half, sha256};

/// A kind of row that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Place {
    /// A share code, by its id.
    ShareCode,
    /// A consent, by subject and id.
    Consent,
    /// A hold-back, by subject and id.
    HoldBack,
}

/// Derives the place: of a row of one kind it is never that of another kind, nor that of a record.
pub(in crate::registry) fn place_of(place: Place, key: &[u8]) -> [u8; 16] {
    let word: &[u8] = match place {
        Place::ShareCode => b"drivegate book share code",
        Place::Consent => b"drivegate book consent",
        Place::HoldBack => b"drivegate book hold-back",
    };
    // No word begins another, so the two parts cannot be told apart in two ways.
    first_half(&sha256(&[word, key].concat()))
}
