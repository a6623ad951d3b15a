//! Seals answers in memory: what they say is in no core dump and no swap in the clear, and none opens as another's.
//!
//! AES-256-GCM under a key of this process, made at its start. Nonces are counted, so that none comes twice. Associated data: the digest of
//! the request id, which names the partner too.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// The digest of a request id under the log's secret, bound to its partner.
pub(super) type RequestDigest = [u8; 16];

/// A sealed answer.
#[derive(Clone)]
pub(super) struct Sealed {
    serial: u64,
    bytes: Box<[u8]>,
}

impl Sealed {
    /// Returns how much memory it takes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// Seals and opens.
pub(super) struct Sealer {
    key: LessSafeKey,
    next: AtomicU64,
}

/// The process has no randomness, or its cipher fails. Nothing can be kept then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key to seal kept answers with cannot be made")]
pub struct NoKey;

impl Sealer {
    pub(super) fn new() -> Result<Self, NoKey> {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(secret.as_mut_slice()).map_err(|_unspecified| NoKey)?;
        let key = UnboundKey::new(&AES_256_GCM, secret.as_slice()).map_err(|_unspecified| NoKey)?;
        Ok(Self { key: LessSafeKey::new(key), next: AtomicU64::new(0) })
    }

    /// Seals in place. `None`: the cipher refused; the answer is not kept then.
    pub(super) fn seal(&self, request: &RequestDigest, mut plain: Vec<u8>) -> Option<Sealed> {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        self.key.seal_in_place_append_tag(nonce(serial), Aad::from(*request), &mut plain).ok()?;
        Some(Sealed { serial, bytes: plain.into() })
    }

    /// Opens what was sealed for this request.
    pub(super) fn open(&self, request: &RequestDigest, sealed: Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(sealed.bytes.into_vec());
        let nonce = nonce(sealed.serial);
        let length = self.key.open_in_place(nonce, Aad::from(*request), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

fn nonce(serial: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&serial.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_for_its_own_request_alone_and_unchanged_alone() {
        let sealer = Sealer::new().unwrap();
        let sealed = sealer.seal(&[1; 16], b"answer".to_vec()).unwrap();
        assert_eq!(**sealer.open(&[1; 16], sealed.clone()).unwrap(), *b"answer");
        assert!(!sealed.bytes.windows(6).any(|window| window == b"answer"));
        assert!(sealer.open(&[2; 16], sealed.clone()).is_none());
        assert!(Sealer::new().unwrap().open(&[1; 16], sealed.clone()).is_none(), "another process");
        for bit in 0..sealed.bytes.len() * 8 {
            let mut changed = sealed.clone();
            changed.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(&[1; 16], changed).is_none(), "bit {bit}");
        }
        let moved = Sealed { serial: sealed.serial + 1, ..sealed };
        assert!(sealer.open(&[1; 16], moved).is_none());
    }
}
