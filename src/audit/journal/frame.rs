//! Frames: how entries lie in a segment, and the header before them. All numbers big-endian.
//!
//! A frame is `length: u32 ‖ checksum: u32 ‖ payload`. The checksum is CRC-32 (IEEE) over payload and index, so that a frame
//! is valid in its own place only. A length of 0, or the end of the file, ends the segment.

use crate::audit::entry::ENTRY_BYTES_MAX;

/// Bytes before a frame's payload.
pub(super) const FRAME_HEAD_BYTES: usize = 8;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 128;

/// The longest origin a header holds.
pub(super) const ORIGIN_BYTES_MAX: usize = 80;

/// The longest payload ever accepted, for entries of later versions.
const PAYLOAD_BYTES_MAX: usize = 4096;
const _: () = assert!(ENTRY_BYTES_MAX <= PAYLOAD_BYTES_MAX);

/// The longest frame.
pub(super) const FRAME_BYTES_MAX: usize = FRAME_HEAD_BYTES + PAYLOAD_BYTES_MAX;

const MAGIC: &[u8; 8] = b"DGJOURNL";
const VERSION: u16 = 1;

/// Returns the checksum of a payload, not yet bound to an index: the part that can be done outside any lock.
pub(super) fn payload_checksum(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

/// Appends a frame whose payload has this checksum.
pub(super) fn push_frame(into: &mut Vec<u8>, index: u64, payload: &[u8], payload_checksum: u32) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(&bind(payload_checksum, payload.len(), index).to_be_bytes());
    into.extend_from_slice(payload);
}

fn bind(payload_checksum: u32, length: usize, index: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial_len(payload_checksum, length as u64);
    hasher.update(&index.to_be_bytes());
    hasher.finalize()
}

/// Walks over the frames of a segment and stops at the first byte that is none.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
    index: u64,
}

impl<'a> Frames<'a> {
    /// Starts behind the header.
    pub(super) fn new(segment: &'a [u8], first_index: u64) -> Self {
        Self { bytes: segment, offset: HEADER_BYTES, index: first_index }
    }

    /// Goes on where another walk ended.
    pub(super) fn at(segment: &'a [u8], offset: usize, index: u64) -> Self {
        Self { bytes: segment, offset, index }
    }

    /// Returns where the last valid frame ends.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the index the next frame has.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    fn frame(&self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.offset..)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let payload = rest.get(..length).filter(|_| (1..=PAYLOAD_BYTES_MAX).contains(&length))?;
        let expected = bind(payload_checksum(payload), length, self.index);
        (u32::from_be_bytes(*checksum) == expected).then_some(payload)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let payload = self.frame()?;
        let index = self.index;
        self.offset += FRAME_HEAD_BYTES + payload.len();
        self.index += 1;
        Some((index, payload))
    }
}

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) origin: String,
    pub(super) first_index: u64,
}

impl Header {
    pub(super) fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.first_index.to_be_bytes());
        let origin = &self.origin.as_bytes()[..self.origin.len().min(ORIGIN_BYTES_MAX)];
        bytes.push(origin.len().to_le_bytes()[0]);
        bytes.extend_from_slice(origin);
        bytes.resize(HEADER_BYTES - 4, 0);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes);
        header
    }

    /// Reads a header; `None` when the bytes are none of this version.
    pub(super) fn parse(segment: &[u8]) -> Option<Self> {
        let header = segment.first_chunk::<HEADER_BYTES>()?;
        let (fields, checksum) = header.split_last_chunk::<4>()?;
        let (magic, rest) = fields.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (first_index, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let origin = rest.get(..usize::from(*length))?;
        let sound = magic == MAGIC
            && u16::from_be_bytes(*version) == VERSION
            && u32::from_be_bytes(*checksum) == crc32fast::hash(fields);
        let origin = std::str::from_utf8(origin).ok().filter(|_| sound)?.to_owned();
        Some(Self { origin, first_index: u64::from_be_bytes(*first_index) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(first_index: u64, payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Header { origin: "gw-1-00".into(), first_index }.to_bytes().to_vec();
        for (index, payload) in (first_index..).zip(payloads) {
            push_frame(&mut bytes, index, payload, payload_checksum(payload));
        }
        bytes
    }

    #[test]
    fn frames_come_back_in_order_and_zeros_end_them() {
        let mut bytes = segment(5, &[b"one", b"two"]);
        let end = bytes.len();
        bytes.resize(end + 100, 0);
        let mut frames = Frames::new(&bytes, 5);
        assert_eq!(frames.by_ref().collect::<Vec<_>>(), [(5, &b"one"[..]), (6, b"two")]);
        assert_eq!((frames.offset(), frames.index()), (end, 7));
    }

    #[test]
    fn a_frame_is_valid_in_its_own_place_only() {
        let bytes = segment(5, &[b"one"]);
        assert_eq!(Frames::new(&bytes, 6).count(), 0);
    }

    #[test]
    fn a_checksum_is_that_of_payload_and_index() {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, 7, b"payload", payload_checksum(b"payload"));
        let expected = crc32fast::hash(b"payload\x00\x00\x00\x00\x00\x00\x00\x07");
        assert_eq!(bytes[4..8], expected.to_be_bytes());
    }

    #[test]
    fn a_header_with_any_byte_changed_is_none() {
        let header = Header { origin: "gw-1-0123456789abcdef".into(), first_index: 42 };
        let good = header.to_bytes();
        assert_eq!(Header::parse(&good), Some(header));
        for at in 0..HEADER_BYTES {
            let mut bad = good;
            bad[at] ^= 0x40;
            assert_eq!(Header::parse(&bad), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Header::parse(&bytes);
            let _ = Frames::new(&bytes, 0).count();
        }
    }
}
