//! The keys of QR codes: one seals, two at most open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::envelope::KEY_ID_LEN;
use crate::hashing::MacKey;

/// The live keys. The first seals, both open: the second is the next one before a rotation, and the one before after it.
///
/// Nonces are random, so a key may seal 2³² codes (NIST SP 800-38D §8.3): 130 a second for a year. Rotate it before.
pub struct QrKeys {
    sealing: QrKey,
    second: Option<QrKey>,
}

/// One key, derived from a secret.
pub(super) struct QrKey {
    pub(super) id: [u8; KEY_ID_LEN],
    aead: LessSafeKey,
}

/// The two keys are the same, or share an id by accident (1 in 65,536): draw a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the two keys of QR codes are the same, or of one id by accident: draw another one")]
pub struct KeysAlike;

/// Nothing could be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

impl QrKeys {
    /// Derives the keys of their secrets, 32 random bytes each.
    ///
    /// # Errors
    /// [`KeysAlike`].
    pub fn new(sealing: &[u8; 32], second: Option<&[u8; 32]>) -> Result<Self, KeysAlike> {
        let sealing = QrKey::derive(sealing).ok_or(KeysAlike)?;
        let second = second.map(|secret| QrKey::derive(secret).ok_or(KeysAlike)).transpose()?;
        if second.as_ref().is_some_and(|second| second.id == sealing.id) {
            return Err(KeysAlike);
        }
        Ok(Self { sealing, second })
    }

    /// Returns the key that seals.
    pub(super) fn sealing(&self) -> &QrKey {
        &self.sealing
    }

    /// Finds the live key of an id.
    pub(super) fn find(&self, id: [u8; KEY_ID_LEN]) -> Option<&QrKey> {
        [Some(&self.sealing), self.second.as_ref()].into_iter().flatten().find(|key| key.id == id)
    }
}

impl QrKey {
    /// `None` cannot be: the derived key has the cipher's length.
    fn derive(secret: &[u8; 32]) -> Option<Self> {
        let root = MacKey::new(secret);
        let key = Zeroizing::new(root.mac(&[b"drivegate qr sealing 1"]));
        let [first, second, ..] = root.mac(&[b"drivegate qr key id 1"]);
        let aead = UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?;
        Some(Self { id: [first, second], aead: LessSafeKey::new(aead) })
    }

    /// Seals under a nonce that is never used twice.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], plain: &[u8], aad: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.aead.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).map_err(|_| Failed)?;
        Ok(sealed)
    }

    /// Opens what was sealed.
    pub(super) fn open(&self, nonce: [u8; NONCE_LEN], sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.aead.open_in_place(nonce, Aad::from(aad), &mut plain).map_err(|_| Failed)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

impl std::fmt::Debug for QrKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("QrKeys([elided])")
    }
}
