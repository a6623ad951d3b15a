//! The `traceparent` header field (W3C Trace Context §3.2): which trace a request belongs to, and whether it is sampled.

use std::fmt;

/// Key of the field in metadata.
pub const TRACEPARENT_KEY: &str = "traceparent";

/// Length of a field of version 00.
const LENGTH: usize = 55;

/// A trace and the span within it that called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never all zeros.
    pub trace_id: [u8; 16],
    /// The calling span; never all zeros.
    pub span_id: [u8; 8],
    /// Whether the caller keeps its part of the trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Parses a field; `None` for a malformed one, which the specification has us ignore. A later version is read as
    /// far as version 00 goes (§4.3).
    pub fn parse(field: &str) -> Option<Self> {
        let bytes = field.as_bytes();
        let version = hex::<1>(bytes.get(0..2)?)?[0];
        let is_sized = match version {
            0xff => false,
            0 => bytes.len() == LENGTH,
            _ => bytes.len() == LENGTH || bytes.get(LENGTH) == Some(&b'-'),
        };
        if !is_sized || [2, 35, 52].iter().any(|dash| bytes.get(*dash) != Some(&b'-')) {
            return None;
        }
        let trace_id = hex::<16>(bytes.get(3..35)?)?;
        let span_id = hex::<8>(bytes.get(36..52)?)?;
        let flags = hex::<1>(bytes.get(53..55)?)?[0];
        let is_known = trace_id != [0; 16] && span_id != [0; 8];
        is_known.then_some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }
}

/// Writes the field, version 00.
impl fmt::Display for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("00-")?;
        self.trace_id.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        out.write_str("-")?;
        self.span_id.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        write!(out, "-{:02x}", u8::from(self.is_sampled))
    }
}

/// Reads lower-case hexadecimal; upper case is malformed (§3.2.2).
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != N * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let parent = TraceParent::parse(FIELD).unwrap();
        assert!(parent.is_sampled);
        assert_eq!(parent.trace_id[0], 0x4b);
        assert_eq!(parent.span_id[7], 0xb7);
        assert_eq!(parent.to_string(), FIELD);
    }

    #[test]
    fn only_the_sampled_flag_counts() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            let field = format!("{}{flags}", &FIELD[..53]);
            assert_eq!(TraceParent::parse(&field).unwrap().is_sampled, is_sampled);
        }
    }

    #[test]
    fn a_later_version_may_be_longer() {
        let later = format!("cc{}-what-comes-then", &FIELD[2..]);
        assert!(TraceParent::parse(&later).is_some());
        assert!(TraceParent::parse(&format!("cc{}", &FIELD[2..])).is_some());
        assert_eq!(TraceParent::parse(&format!("cc{}.x", &FIELD[2..])), None);
    }

    #[test]
    fn malformed_fields_are_ignored() {
        let zero_trace = FIELD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = FIELD.replace("00f067aa0ba902b7", &"0".repeat(16));
        let faulty = [
            "".to_owned(),
            FIELD[..54].to_owned(),
            format!("{FIELD}-x"),
            format!("ff{}", &FIELD[2..]),
            FIELD.to_uppercase(),
            FIELD.replace('-', "_"),
            FIELD.replace("4bf9", "4bg9"),
            FIELD.replace("4bf9", "4é9"),
            zero_trace,
            zero_span,
        ];
        for field in faulty {
            assert_eq!(TraceParent::parse(&field), None, "{field}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_arrive(field in ".{0,80}") {
            TraceParent::parse(&field);
        }

        #[test]
        fn what_is_written_is_read(trace_id: [u8; 16], span_id: [u8; 8], is_sampled: bool) {
            let parent = TraceParent { trace_id, span_id, is_sampled };
            let is_known = trace_id != [0; 16] && span_id != [0; 8];
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), is_known.then_some(parent));
        }
    }
}
