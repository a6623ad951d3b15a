//! In which of a Cluster's slots a key lies.

use crc16::{State, XMODEM};

/// The slots of every Cluster.
pub const SLOTS: u16 = 16_384;

/// Returns the slot of a key (Redis Cluster specification, "Key distribution model"). Of a key with a tag in braces the tag alone counts.
pub fn slot(key: &[u8]) -> u16 {
    State::<XMODEM>::calculate(tag(key).unwrap_or(key)) % SLOTS
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let begin = key.iter().position(|byte| *byte == b'{')? + 1;
    let len = key[begin..].iter().position(|byte| *byte == b'}')?;
    (len > 0).then(|| &key[begin..begin + len])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `CLUSTER KEYSLOT`.
    #[test]
    fn a_key_lies_where_redis_puts_it() {
        for (key, expected) in [
            ("foo", 12_182),
            ("bar", 5_061),
            ("123456789", 12_739),
            ("", 0),
            ("{foo}bar", 12_182),
            ("a{foo}b{bar}", 12_182),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_ne!(slot(b"{}foo"), slot(b"foo"), "an empty tag is none");
        assert_ne!(slot(b"{foo"), slot(b"foo"), "nor is one without an end");
    }
}
