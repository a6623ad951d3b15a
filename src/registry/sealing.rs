//! Seals what lies on disk, bound to the place it lies in: AES-256-GCM-SIV, the place as nonce, key id in front.
//!
//! Layout: 0x80 plus key id (1) · ciphertext · tag (16). No nonce is stored, because the place is one: it holds a random
//! 16-byte id or a keyed hash, of which no two are alike, so no two records ever share a nonce under a key. One record is sealed anew at every
//! change under the nonce it had before; that is what this mode is made for (RFC 8452): the tag is computed over the plain
//! text first and starts the key stream, so that a nonce that comes again tells only whether the same text came again.
//! A counter in its place would come again, too, after a crash or a restore, and plain GCM would then give its key away.
//!
//! The layout before (key id below 0x80 (1) · random nonce (12) · AES-256-GCM ciphertext · tag (16)) is still opened.
//! The two modes never share a key: the newer one's is derived.

use aws_lc_rs::aead::{
    AES_256_GCM, AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, RandomizedNonceKey, UnboundKey,
};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

const TAG_LEN: usize = 16;
/// In the first byte: the layout without a stored nonce.
const PLACE_AS_NONCE: u8 = 0x80;
/// What the keys of the newer layout are derived for.
const PURPOSE: &[u8] = b"drivegate registry records, AES-256-GCM-SIV";

/// The largest key id the first byte has room for.
pub(super) const KEY_ID_MAX: u8 = 0x7f;
/// What sealing adds to the size.
#[cfg(test)]
pub(super) const SEALING_OVERHEAD: usize = 1 + TAG_LEN;

/// The live sealing keys; one of them seals.
pub(super) struct SealingKeys {
    current: u8,
    keys: Vec<LiveKey>,
}

struct LiveKey {
    id: u8,
    sealing: LessSafeKey,
    /// Opens what the layout before sealed.
    older: RandomizedNonceKey,
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
        Self { current, keys: keys.iter().filter_map(|(id, key)| LiveKey::prepare(*id, key)).collect() }
    }

    /// Returns the id of the key that seals.
    #[cfg(test)]
    pub(super) fn current_id(&self) -> u8 {
        self.current
    }

    /// Seals `plain` for its place: at least 12 bytes that no other place begins with.
    pub(super) fn seal(&self, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let mut sealed = Vec::with_capacity(1 + plain.len() + TAG_LEN);
        self.seal_into(plain, place, &mut sealed)?;
        Ok(sealed)
    }

    /// Appends `plain`, sealed for its place, to `out`; on an error `out` is as before.
    pub(super) fn seal_into(&self, plain: &[u8], place: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        let key = self.key(self.current).ok_or(Unsealable)?;
        let begin = out.len();
        out.push(self.current | PLACE_AS_NONCE);
        out.extend_from_slice(plain);
        let body = &mut out[begin + 1..];
        match key.sealing.seal_in_place_separate_tag(nonce_of(place), Aad::from(place), body) {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                Ok(())
            }
            Err(_) => {
                out.truncate(begin);
                Err(Unsealable)
            }
        }
    }

    /// Opens what was sealed for its place, in `scratch`, which it may reuse.
    pub(super) fn open<'s>(
        &self,
        sealed: &[u8],
        place: &[u8],
        scratch: &'s mut Zeroizing<Vec<u8>>,
    ) -> Result<&'s [u8], Unopenable> {
        let (head, rest) = sealed.split_first().ok_or(Unopenable)?;
        let key = self.key(head & !PLACE_AS_NONCE).ok_or(Unopenable)?;
        let stored = if head & PLACE_AS_NONCE == 0 { NONCE_LEN } else { 0 };
        let (nonce, body) = rest.split_at_checked(stored).ok_or(Unopenable)?;
        scratch.clear();
        scratch.extend_from_slice(body);
        let opened = if stored == 0 {
            key.sealing.open_in_place(nonce_of(place), Aad::from(place), scratch.as_mut_slice())
        } else {
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopenable)?;
            key.older.open_in_place(nonce, Aad::from(place), scratch.as_mut_slice())
        };
        match opened {
            Ok(plain) => Ok(plain),
            Err(_) => Err(Unopenable),
        }
    }

    /// Seals as the layout before this one did.
    #[cfg(test)]
    pub(super) fn seal_as_before(&self, plain: &[u8], place: &[u8]) -> Vec<u8> {
        let mut body = plain.to_vec();
        let key = &self.key(self.current).unwrap().older;
        let (nonce, tag) = key.seal_in_place_separate_tag(Aad::from(place), &mut body).unwrap();
        [&[self.current], nonce.as_ref().as_slice(), &body, tag.as_ref()].concat()
    }

    fn key(&self, id: u8) -> Option<&LiveKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl LiveKey {
    fn prepare(id: u8, key: &Zeroizing<[u8; 32]>) -> Option<Self> {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), PURPOSE);
        let mut newer = Zeroizing::new([0_u8; 32]);
        newer.copy_from_slice(derived.as_ref());
        Some(Self {
            id,
            sealing: LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, newer.as_slice()).ok()?),
            older: RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).ok()?,
        })
    }
}

/// Takes the nonce from the beginning of a place. What a longer place has beyond it is bound as additional data.
fn nonce_of(place: &[u8]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    for (byte, place) in nonce.iter_mut().zip(place) {
        *byte = *place;
    }
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; 16] = *b"here and nowhere";
    const THERE: [u8; 16] = *b"here and nowhen!";

    fn keys(current: u8, ids: &[u8]) -> SealingKeys {
        let raw: Vec<_> = ids.iter().map(|id| (*id, Zeroizing::new([*id; 32]))).collect();
        SealingKeys::prepare(current, &raw)
    }

    #[test]
    fn opens_only_where_it_was_sealed_and_only_whole() {
        let keys = keys(1, &[1]);
        let sealed = keys.seal(b"a record", &HERE).unwrap();
        assert_eq!(sealed.len(), 8 + SEALING_OVERHEAD);
        let mut scratch = Zeroizing::new(Vec::new());
        for sealed in [sealed, keys.seal_as_before(b"a record", &HERE)] {
            assert_eq!(keys.open(&sealed, &HERE, &mut scratch), Ok(b"a record".as_slice()));
            assert_eq!(keys.open(&sealed, &THERE, &mut scratch), Err(Unopenable), "same nonce, other place");
            for end in 0..sealed.len() {
                assert_eq!(keys.open(&sealed[..end], &HERE, &mut scratch), Err(Unopenable));
            }
            for index in 0..sealed.len() {
                for bit in 0..8 {
                    let mut flipped = sealed.clone();
                    flipped[index] ^= 1 << bit;
                    assert_eq!(keys.open(&flipped, &HERE, &mut scratch), Err(Unopenable), "{index}.{bit}");
                }
            }
        }
    }

    #[test]
    fn a_record_sealed_again_shares_no_byte_by_rule() {
        let keys = keys(1, &[1]);
        let [one, other] = [[1_u8; 64], [2; 64]].map(|plain| keys.seal(&plain, &HERE).unwrap());
        // Under a mode whose key stream hangs on the nonce alone, every byte would differ by the same 3.
        let alike = one[1..65].iter().zip(&other[1..65]).filter(|(one, other)| *one ^ *other == 3).count();
        assert!(alike < 16, "{alike} of 64");
        assert_eq!(
            one,
            keys.seal(&[1; 64], &HERE).unwrap(),
            "the same text is the same: all a reader learns"
        );
    }

    #[test]
    fn sealing_is_aes_256_gcm_siv_of_a_derived_key() {
        // Computed with Python's cryptography (AESGCMSIV) and hmac.
        let sealed = keys(1, &[1]).seal(b"a record", &HERE).unwrap();
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "81979fcf475c99203d6531110d113a1bc365fd667ed975ec23");
    }

    #[test]
    fn an_older_key_still_opens_while_the_newer_one_seals() {
        let old = keys(1, &[1]).seal(b"x", &HERE).unwrap();
        let both = keys(2, &[1, 2]);
        let mut scratch = Zeroizing::new(Vec::new());
        assert_eq!(both.open(&old, &HERE, &mut scratch), Ok(b"x".as_slice()));
        let new = both.seal(b"x", &HERE).unwrap();
        assert_eq!(keys(1, &[1]).open(&new, &HERE, &mut scratch), Err(Unopenable));
    }
}
