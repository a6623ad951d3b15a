//! A hold-back as it lies on the book.

use zeroize::Zeroizing;

use super::{Place, UNREADABLE, place_of};
use crate::domain::subject::SubjectId;
use crate::evidence::ports::HoldBack;
use crate::registry::codec;
use crate::registry::embedded::RegistryError;
use crate::registry::keys::RegistryKeys;

/// Seals a hold-back.
pub(in crate::registry) fn seal_hold_back(
    keys: &RegistryKeys,
    hold_back: &HoldBack,
) -> Result<Vec<u8>, RegistryError> {
    const UNENCODABLE: RegistryError = RegistryError::Damaged("a hold-back has no room on the book");
    let mut plain = Zeroizing::default();
    codec::encode_hold_back(hold_back, &mut plain).map_err(|_| UNENCODABLE)?;
    let key = [*hold_back.subject.as_bytes(), hold_back.id].concat();
    keys.sealing.seal(&plain, &place_of(Place::HoldBack, &key)).map_err(|_| RegistryError::WrongKeys)
}

/// Opens the hold-back that lies at a key: subject and id.
pub(in crate::registry) fn open_hold_back(
    keys: &RegistryKeys,
    key: &[u8; 32],
    sealed: &[u8],
) -> Result<HoldBack, RegistryError> {
    let (mut subject, mut id) = ([0; 16], [0; 16]);
    subject.copy_from_slice(&key[..16]);
    id.copy_from_slice(&key[16..]);
    let mut scratch = Zeroizing::default();
    let opened = keys.sealing.open(sealed, &place_of(Place::HoldBack, key), &mut scratch);
    let plain = opened.map_err(|_| UNREADABLE)?;
    codec::decode_hold_back(id, SubjectId::from_bytes(subject), plain).map_err(|_| UNREADABLE)
}

/// Orders hold-backs: the one set last first.
pub(in crate::registry) fn set_last_first(mut found: Vec<HoldBack>) -> Vec<HoldBack> {
    found.sort_by_key(|hold_back| std::cmp::Reverse((hold_back.set_at, hold_back.id)));
    found
}
