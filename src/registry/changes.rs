//! How changes of the authority are known in a store: by keyed pseudonyms, so that a stolen file tells neither ids nor numbers.

use zeroize::Zeroizing;

use super::codec::encode_incoming;
use super::keys::RegistryKeys;
use crate::hashing::first_half;
use crate::intake::ports::{ChangeDigest, ChangeId, ChangeKey, FeedName, IncomingChange};

/// No document has these codes: neither can ever be the pseudonym of a number.
const KEY_MARK: u8 = 0xf1;
const DIGEST_MARK: u8 = 0xf2;

impl RegistryKeys {
    /// Derives the key a change is known by.
    pub(in crate::registry) fn change_key(&self, source: &FeedName, id: &ChangeId) -> ChangeKey {
        // No id holds a zero byte, so the two parts cannot be told apart in two ways.
        ChangeKey(self.marked(&[&[KEY_MARK], source.as_str().as_bytes(), &[0], id.as_str().as_bytes()]))
    }

    /// Derives the digest of everything a change says. One that cannot be stored is told apart by its envelope alone.
    pub(in crate::registry) fn change_digest(&self, change: &IncomingChange) -> ChangeDigest {
        let mut bytes = Zeroizing::new(Vec::with_capacity(192));
        // What was written before the part without room still tells which change it is.
        let _part = encode_incoming(change, &mut bytes);
        ChangeDigest(self.marked(&[&[DIGEST_MARK], &bytes]))
    }

    fn marked(&self, parts: &[&[u8]]) -> [u8; 16] {
        first_half(&self.pseudonym.mac(parts))
    }
}
