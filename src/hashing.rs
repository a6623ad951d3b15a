//! SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104) of short messages: a look-up makes some forty of them, most of one block.
//!
//! May know: nothing. TLS and sealing stay with aws-lc-rs; its one-shot digests take a heap allocation and a context each,
//! which for one block costs as much as the block itself. Both use the processor's SHA instructions where it has them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// Hashes a message.
pub fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// Hashes a leaf of a log's tree (RFC 6962 §2.1): SHA-256(0x00 ‖ entry).
pub fn tree_leaf(entry: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix([0x00]).chain_update(entry).finalize().into()
}

/// Hashes two neighbours of a log's tree (RFC 6962 §2.1): SHA-256(0x01 ‖ left ‖ right).
pub fn tree_node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut message = [0x01; 65];
    message[1..33].copy_from_slice(left);
    message[33..].copy_from_slice(right);
    sha256(&message)
}

/// A key prepared for HMAC-SHA-256. Cannot be shown.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl std::fmt::Debug for MacKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("MacKey([elided])")
    }
}

impl MacKey {
    /// Prepares a key of 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut block = [0; 64];
        block[..32].copy_from_slice(secret);
        // RFC 2104 §2: a key shorter than a block counts as filled up with zeros.
        let key = Self(Hmac::new(&block.into()));
        zeroize::Zeroize::zeroize(&mut block);
        key
    }

    /// Authenticates the parts as one message: where they could be told apart in two ways, the caller puts lengths between.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut state = self.0.clone();
        for part in parts {
            state.update(part);
        }
        state.finalize().into_bytes().into()
    }
}

/// Cuts a hash or code to its first half: 128 bits.
pub fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn sha_256_of_the_standards_examples() {
        // FIPS 180-4's examples: one block, two blocks.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), expected);
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let expected = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
        assert_eq!(hex(&sha256(two_blocks)), expected);
    }

    #[test]
    fn codes_agree_with_another_implementation_however_the_message_is_cut() {
        let secret = [0x0b; 32];
        let other = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        for length in [0, 1, 55, 56, 63, 64, 65, 130] {
            let message = vec![0xa5; length];
            let expected = aws_lc_rs::hmac::sign(&other, &message);
            let (front, back) = message.split_at(length / 3);
            assert_eq!(MacKey::new(&secret).mac(&[front, back]), *expected.as_ref());
        }
    }
}
