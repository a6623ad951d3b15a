//! Seals what lies on disk: AES-256-GCM, fresh random nonce, key id in front, bound to the place it lies in.
//!
//! Layout: key id (1) · nonce (12) · ciphertext · tag (16).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

const TAG_LEN: usize = 16;

/// What sealing adds to the size.
#[cfg(test)]
pub(super) const SEALING_OVERHEAD: usize = 1 + NONCE_LEN + TAG_LEN;

/// The live sealing keys; one of them seals.
pub(super) struct SealingKeys {
    current: u8,
    keys: Vec<(u8, RandomizedNonceKey)>,
}

/// Something sealed could not be opened: damaged, moved, or sealed with another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed data cannot be opened")]
pub(super) struct Unopenable;

/// Nothing could be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data cannot be sealed")]
pub(super) struct Unsealable;

impl SealingKeys {
    /// Prepares keys for use. A key of the wrong length cannot occur: the type fixes it.
    pub(super) fn prepare(current: u8, keys: &[(u8, Zeroizing<[u8; 32]>)]) -> Self {
        let prepared = |(id, key): &(u8, Zeroizing<[u8; 32]>)| {
            RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).ok().map(|key| (*id, key))
        };
        Self { current, keys: keys.iter().filter_map(prepared).collect() }
    }

    /// Returns the id of the key that seals.
    #[cfg(test)]
    pub(super) fn current_id(&self) -> u8 {
        self.current
    }

    /// Seals `plain` for the place `bound_to`.
    pub(super) fn seal(&self, plain: &[u8], bound_to: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let key = self.key(self.current).ok_or(Unsealable)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + TAG_LEN);
        sealed.push(self.current);
        sealed.extend_from_slice(&[0; NONCE_LEN]);
        sealed.extend_from_slice(plain);
        let (nonce, tag) = key
            .seal_in_place_separate_tag(Aad::from(bound_to), &mut sealed[1 + NONCE_LEN..])
            .map_err(|_| Unsealable)?;
        sealed[1..=NONCE_LEN].copy_from_slice(nonce.as_ref());
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for the place `bound_to`, in `scratch`, which it may reuse.
    pub(super) fn open<'s>(
        &self,
        sealed: &[u8],
        bound_to: &[u8],
        scratch: &'s mut Zeroizing<Vec<u8>>,
    ) -> Result<&'s [u8], Unopenable> {
        let (id, rest) = sealed.split_first().ok_or(Unopenable)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Unopenable)?;
        let key = self.key(*id).ok_or(Unopenable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopenable)?;
        scratch.clear();
        scratch.extend_from_slice(body);
        let plain =
            key.open_in_place(nonce, Aad::from(bound_to), scratch.as_mut_slice()).map_err(|_| Unopenable)?;
        Ok(plain)
    }

    fn key(&self, id: u8) -> Option<&RandomizedNonceKey> {
        self.keys.iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: u8, ids: &[u8]) -> SealingKeys {
        let raw: Vec<_> = ids.iter().map(|id| (*id, Zeroizing::new([*id; 32]))).collect();
        SealingKeys::prepare(current, &raw)
    }

    #[test]
    fn opens_only_where_it_was_sealed_and_only_whole() {
        let keys = keys(1, &[1]);
        let sealed = keys.seal(b"a record", b"here").unwrap();
        assert_eq!(sealed.len(), 8 + SEALING_OVERHEAD);
        let mut scratch = Zeroizing::new(Vec::new());
        assert_eq!(keys.open(&sealed, b"here", &mut scratch), Ok(b"a record".as_slice()));
        assert_eq!(keys.open(&sealed, b"there", &mut scratch), Err(Unopenable));
        for end in 0..sealed.len() {
            assert_eq!(keys.open(&sealed[..end], b"here", &mut scratch), Err(Unopenable));
        }
        for index in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[index] ^= 1;
            assert_eq!(keys.open(&flipped, b"here", &mut scratch), Err(Unopenable));
        }
    }

    #[test]
    fn an_older_key_still_opens_while_the_newer_one_seals() {
        let old = keys(1, &[1]).seal(b"x", b"here").unwrap();
        let both = keys(2, &[1, 2]);
        let mut scratch = Zeroizing::new(Vec::new());
        assert_eq!(both.open(&old, b"here", &mut scratch), Ok(b"x".as_slice()));
        let new = both.seal(b"x", b"here").unwrap();
        assert_eq!(keys(1, &[1]).open(&new, b"here", &mut scratch), Err(Unopenable));
    }
}
