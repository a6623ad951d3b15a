//! The rules of the book, whatever it lies in: how uses are spent and taken back, where a sealed row belongs, how long it is kept.
//!
//! The book is what drivers showed, agreed to and took back: uses of presentations, share codes, consents, hold-backs.

mod consents;
mod hold_backs;
mod places;
mod uses;

pub(super) use consents::{KnownConsents, OnBook, consent_of, is_covered, page_of, withdraw};
pub(super) use hold_backs::{open_hold_back, seal_hold_back, set_last_first};
pub(super) use places::{Place, place_of};
pub(super) use uses::{Asking, QR_USE_KEPT, Spent, Use, Verdict, judge, kept_until};

use crate::domain::presentation::Presentation;
use crate::domain::subject::SubjectId;
use crate::verification::ports::StoreUnavailable;

use super::codec;
use super::embedded::RegistryError;
use super::keys::RegistryKeys;

/// Consents a subject may have on the book: the oldest make room. The log still tells what they were used for.
pub(super) const CONSENTS_MAX: usize = 1_000;

/// Something on the book cannot be read.
pub(super) const UNREADABLE: RegistryError = RegistryError::Damaged("a row of the book cannot be read");

/// Seals a share code as it was issued.
pub(super) fn seal_share_code(
    keys: &RegistryKeys,
    subject: SubjectId,
    presentation: &Presentation,
) -> Result<Vec<u8>, RegistryError> {
    const UNENCODABLE: RegistryError = RegistryError::Damaged("a share code has no room on the book");
    let mut plain = zeroize::Zeroizing::default();
    codec::encode_share_code(subject, presentation, &mut plain).map_err(|_| UNENCODABLE)?;
    let place = place_of(Place::ShareCode, presentation.id.as_bytes());
    keys.sealing.seal(&plain, &place).map_err(|_| RegistryError::WrongKeys)
}

/// Opens a share code.
pub(super) fn open_share_code(
    keys: &RegistryKeys,
    id: crate::domain::presentation::PresentationId,
    sealed: &[u8],
) -> Result<(SubjectId, Presentation), RegistryError> {
    let mut scratch = zeroize::Zeroizing::default();
    let place = place_of(Place::ShareCode, id.as_bytes());
    let plain = keys.sealing.open(sealed, &place, &mut scratch).map_err(|_| UNREADABLE)?;
    codec::decode_share_code(id, plain).map_err(|_| UNREADABLE)
}

/// Tells the log what went wrong, and the caller that the store is away.
pub(super) fn unavailable(error: &RegistryError) -> StoreUnavailable {
    tracing::warn!(error = error as &dyn std::error::Error, "the book is unavailable");
    StoreUnavailable
}
