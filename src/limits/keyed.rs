//! Keyed 8-byte hashes as keys of tables: what is remembered of a request id or a subject.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by keyed hash.
pub(super) type ByHash<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

/// Takes a keyed hash as it is: hashing it again would cost and gain nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Keys are `u64`; anything else is folded in, so that no use of the trait can be wrong.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
