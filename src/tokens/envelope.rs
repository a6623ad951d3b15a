//! COSE_Encrypt0 (RFC 9052 §5.2), untagged: the algorithm protected, key id and nonce beside it.

use aws_lc_rs::aead::NONCE_LEN;
use coset::{
    CborSerializable as _, CoseEncrypt0Builder, EncryptionContext, HeaderBuilder, ProtectedHeader,
    enc_structure_data, iana,
};

/// Bytes of a key id: with two live keys, enough to tell them apart.
pub(super) const KEY_ID_LEN: usize = 2;

/// An array of three; the protected header, its algorithm A256GCM; a map of two: 4, the key id, two bytes…
const BEFORE_KEY_ID: &[u8] = &[0x83, 0x43, 0xa1, 0x01, 0x03, 0xa2, 0x04, 0x42];
/// … and 5, the nonce, twelve bytes.
const BEFORE_NONCE: &[u8] = &[0x05, 0x4c];
/// Bytes, their number in the byte that follows.
const BYTES_OF_LENGTH: u8 = 0x58;

/// The parts of an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) key_id: [u8; KEY_ID_LEN],
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) ciphertext: Vec<u8>,
}

impl Envelope {
    /// Writes the one encoding of the parts. `None` cannot be: no part is of a form CBOR lacks.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let beside = HeaderBuilder::new().key_id(self.key_id.to_vec()).iv(self.nonce.to_vec()).build();
        let cose = CoseEncrypt0Builder::new()
            .protected(algorithm().header)
            .unprotected(beside)
            .ciphertext(self.ciphertext.clone())
            .build();
        cose.to_vec().ok()
    }

    /// Reads the one encoding of some parts; anything else is none: another algorithm, further headers, a tag, trailing bytes. That encoding has
    /// each part in one place, so it is taken from there: a decoder of whatever COSE allows, and encoding again to be sure, took a third of
    /// the time a code is read in. The tests hold this against `coset`.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (key_id, rest) = bytes.strip_prefix(BEFORE_KEY_ID)?.split_first_chunk()?;
        let (nonce, rest) = rest.strip_prefix(BEFORE_NONCE)?.split_first_chunk()?;
        let [BYTES_OF_LENGTH, length, ciphertext @ ..] = rest else { return None };
        // A shorter length has another form.
        let is_one = ciphertext.len() == usize::from(*length) && *length >= 24;
        is_one.then(|| Self { key_id: *key_id, nonce: *nonce, ciphertext: ciphertext.to_vec() })
    }

    /// Returns what the cipher authenticates beside the text (RFC 9052 §5.3).
    pub(super) fn authenticated(external: &[u8]) -> Vec<u8> {
        enc_structure_data(EncryptionContext::CoseEncrypt0, algorithm(), external)
    }
}

/// The protected header: AES-256-GCM with a tag of 128 bits, and nothing else.
fn algorithm() -> ProtectedHeader {
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::A256GCM).build();
    ProtectedHeader { original_data: None, header }
}

#[cfg(test)]
mod tests {
    use coset::CoseEncrypt0;
    use proptest::prelude::*;

    use super::*;

    /// What `coset` reads, if encoding it again gives the same bytes.
    fn decoded(bytes: &[u8]) -> Option<Envelope> {
        let cose = CoseEncrypt0::from_slice(bytes).ok()?;
        let key_id = cose.unprotected.key_id.try_into().ok()?;
        let nonce = cose.unprotected.iv.try_into().ok()?;
        let envelope = Envelope { key_id, nonce, ciphertext: cose.ciphertext? };
        (envelope.to_bytes()? == bytes).then_some(envelope)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_a_decoder_reads_and_nothing_else(
            key_id: [u8; KEY_ID_LEN],
            nonce: [u8; NONCE_LEN],
            ciphertext in prop::collection::vec(any::<u8>(), 24..256),
            changed in 0_usize..300,
            to: u8,
        ) {
            let envelope = Envelope { key_id, nonce, ciphertext };
            let mut bytes = envelope.to_bytes().unwrap();
            prop_assert_eq!(Envelope::from_bytes(&bytes), Some(envelope));
            let place = changed % bytes.len();
            bytes[place] = to;
            prop_assert_eq!(Envelope::from_bytes(&bytes), decoded(&bytes));
            bytes.truncate(place);
            prop_assert_eq!(Envelope::from_bytes(&bytes), None);
            bytes.extend_from_slice(&[0; 300]);
            prop_assert_eq!(Envelope::from_bytes(&bytes), None);
        }
    }
}
