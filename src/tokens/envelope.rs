//! COSE_Encrypt0 (RFC 9052 §5.2), untagged: the algorithm protected, key id and nonce beside it.

use aws_lc_rs::aead::NONCE_LEN;
use coset::{
    CborSerializable as _, CoseEncrypt0, CoseEncrypt0Builder, EncryptionContext, HeaderBuilder,
    ProtectedHeader, enc_structure_data, iana,
};

/// Bytes of a key id: with two live keys, enough to tell them apart.
pub(super) const KEY_ID_LEN: usize = 2;

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

    /// Reads the one encoding of some parts; anything else is none: another algorithm, further headers, a tag, trailing bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let cose = CoseEncrypt0::from_slice(bytes).ok()?;
        let key_id = cose.unprotected.key_id.try_into().ok()?;
        let nonce = cose.unprotected.iv.try_into().ok()?;
        let envelope = Self { key_id, nonce, ciphertext: cose.ciphertext? };
        (envelope.to_bytes()? == bytes).then_some(envelope)
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
