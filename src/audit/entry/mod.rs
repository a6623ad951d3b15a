//! The bytes of an entry: canonical, versioned, at most [`ENTRY_BYTES_MAX`] long, without any identifier.
//!
//! May know: `domain`, [`super::keys`]. Must not know: files, threads, the journal.
//!
//! What others must not learn stands in the entry only as one root (`leaves`) over salted commitments; what bills, drivers
//! and auditors need stands in the clear. Everything here is specified for strangers in `docs/evidence.md`.

mod access;
#[cfg(test)]
mod access_tests;
mod answer;
mod codec;
mod compose;
mod leaves;
mod look_up;
mod refusal;
pub(in crate::audit) mod values;

pub use crate::domain::policy::AuthorisedBy;
pub use access::{About, Access, AccessEntry, AccessOutcome, Part};
pub use answer::{AnswerEntry, CRITERIA_MAX, CaseDigest, HiddenHandle, RequestDigest, SubjectPseudonym};
pub use codec::{DecodeError, EncodeError};
pub use compose::compose;
pub use leaves::{LeafName, LeafSet, leaf_hash, root_over};
pub use look_up::look_up;
pub use refusal::RefusalEntry;

use jiff::Timestamp;

use codec::Reader;

use crate::domain::partner::PartnerId;

/// The most bytes an entry may have.
pub const ENTRY_BYTES_MAX: usize = 350;

/// The version an entry begins with, unless it says what that version had no words for.
pub const ENTRY_VERSION: u8 = 1;

/// The version of entries about something shown, and of those about a consent that was taken back. Their layout is that of
/// [`ENTRY_VERSION`]: the number tells a reader of before that it cannot understand them. Whatever version 1 can say is written as
/// version 1, so that there is one way to write an entry and logs of before keep their bytes.
pub const ENTRY_VERSION_SHOWN: u8 = 2;

#[cfg(test)]
pub(in crate::audit) mod testing;
#[cfg(test)]
mod tests;

const KIND_ANSWER: u8 = 1;
const KIND_REFUSALS: u8 = 2;
const KIND_ACCESS: u8 = 3;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every entry is an answer: a box would cost more than it spares"
)]
pub enum Entry {
    /// An answer that was given, or was about to be.
    Answer(AnswerEntry<'static>),
    /// Refusals of one partner for one reason within one second.
    Refusals(RefusalEntry),
    /// The record itself was shown to somebody, or somebody decided about what is shown.
    Access(AccessEntry),
}

impl Entry {
    /// Reads an entry. Accepts exactly what the encoders write, so that equal entries have equal bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the first field that does not fit; bytes of a newer version are refused, not guessed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        let entry = match reader.byte("kind")? {
            KIND_ANSWER => Self::Answer(AnswerEntry::read(&mut reader)?),
            KIND_REFUSALS => Self::Refusals(RefusalEntry::read(&mut reader)?),
            KIND_ACCESS => Self::Access(AccessEntry::read(&mut reader)?),
            _ => return Err(DecodeError::Field("kind")),
        };
        if reader.version() != entry.version() {
            return Err(DecodeError::Field("version"));
        }
        reader.finish()?;
        Ok(entry)
    }

    /// Returns the one version in which it is written.
    fn version(&self) -> u8 {
        match self {
            Self::Answer(answer) => answer.version(),
            Self::Refusals(refusals) => refusals.version(),
            Self::Access(_) => ENTRY_VERSION,
        }
    }

    /// Returns when: an answer's or access's moment, or the second of refusals.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Answer(answer) => answer.at,
            Self::Refusals(refusals) => refusals.at,
            Self::Access(access) => access.at,
        }
    }

    /// Returns whose request it was; `None`: the operator's.
    pub fn partner(&self) -> Option<&PartnerId> {
        match self {
            Self::Answer(answer) => Some(&answer.partner),
            Self::Refusals(refusals) => Some(&refusals.partner),
            Self::Access(access) => access.partner.as_ref(),
        }
    }
}
