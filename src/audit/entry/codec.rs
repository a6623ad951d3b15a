//! Reading and writing the primitive parts of an entry: big-endian, bounded, free of panics.

use jiff::Timestamp;

use super::{ENTRY_BYTES_MAX, ENTRY_VERSION, ENTRY_VERSION_SHOWN};

/// An entry could not be written: something of ours is longer than the format admits. A person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not fit into an audit entry")]
pub struct EncodeError(pub &'static str);

/// Bytes that are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than an entry may have.
    #[error("longer than an entry may be")]
    TooLong,
    /// The bytes end inside a field.
    #[error("ends inside `{0}`")]
    Truncated(&'static str),
    /// Written by a newer version.
    #[error("of version {0}, which this build does not know")]
    Version(u8),
    /// A field holds what its format cannot hold.
    #[error("`{0}` holds an impossible value")]
    Field(&'static str),
    /// Bytes after the last field.
    #[error("has bytes after its last field")]
    TrailingBytes,
}

/// Reads fields in order; every failure names its field.
pub(super) struct Reader<'a> {
    version: u8,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts reading and checks length and version.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        let mut reader = Self { version: 0, rest: bytes };
        reader.version = reader.byte("version")?;
        match reader.version {
            ENTRY_VERSION | ENTRY_VERSION_SHOWN => Ok(reader),
            newer => Err(DecodeError::Version(newer)),
        }
    }

    /// Returns the version the bytes begin with.
    pub(super) fn version(&self) -> u8 {
        self.version
    }

    pub(super) fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Reads a code and finds its member.
    pub(super) fn member<T>(
        &mut self,
        from_code: impl FnOnce(u8) -> Option<T>,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        from_code(self.byte(field)?).ok_or(DecodeError::Field(field))
    }

    /// Reads a moment: microseconds since the Unix epoch.
    pub(super) fn moment(&mut self, field: &'static str) -> Result<Timestamp, DecodeError> {
        let micros = i64::from_be_bytes(self.array(field)?);
        Timestamp::from_microsecond(micros).map_err(|_| DecodeError::Field(field))
    }

    /// Reads a text: its length in one byte, then UTF-8.
    pub(super) fn text(&mut self, longest: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = usize::from(self.byte(field)?);
        if length > longest {
            return Err(DecodeError::Field(field));
        }
        std::str::from_utf8(self.take(length, field)?).map_err(|_| DecodeError::Field(field))
    }

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Writes a moment: microseconds since the Unix epoch, rounded towards it.
pub(super) fn push_moment(into: &mut Vec<u8>, moment: Timestamp) {
    into.extend_from_slice(&moment.as_microsecond().to_be_bytes());
}

/// Writes a text: its length in one byte, then UTF-8.
pub(super) fn push_text(
    into: &mut Vec<u8>,
    text: &str,
    longest: usize,
    field: &'static str,
) -> Result<(), EncodeError> {
    let length = u8::try_from(text.len()).ok().filter(|_| text.len() <= longest);
    into.push(length.ok_or(EncodeError(field))?);
    into.extend_from_slice(text.as_bytes());
    Ok(())
}
