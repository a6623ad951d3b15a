//! A row: under what it is found, and where.

use jiff::Timestamp;

use crate::evidence::ports::LookUp;

/// Bytes of a row.
pub(super) const ROW_BYTES: usize = 32;
/// Moments are signed, rows compare as bytes.
const SIGN: u64 = 1 << 63;

/// The ways of finding a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// By whom it was about.
    Subject,
    /// By the partner's idempotency key.
    Request,
    /// By the partner's case.
    Case,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Subject, Self::Request, Self::Case];

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Subject => 1,
            Self::Request => 2,
            Self::Case => 3,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.code() == code)
    }

    /// The way after this one.
    pub(super) fn next(self) -> Option<Self> {
        Self::from_code(self.code() + 1)
    }

    /// Under what a look-up is found this way, if it is.
    pub(super) fn key_of(self, look_up: &LookUp) -> Option<u128> {
        let key = match self {
            Self::Subject => Some(look_up.subject.0),
            Self::Request => look_up.request,
            Self::Case => Some(look_up.case),
        };
        key.map(u128::from_be_bytes)
    }
}

/// A row. In the order of key, moment, entry; so are its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) key: u128,
    pub(super) place: u128,
}

impl Row {
    /// Before every other.
    pub(super) const FIRST: Self = Self { key: 0, place: 0 };

    pub(super) fn of(way: Way, look_up: &LookUp) -> Option<Self> {
        let key = way.key_of(look_up)?;
        Some(Self { key, place: place_of(look_up.at, look_up.index) })
    }

    pub(super) fn to_bytes(self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..16].copy_from_slice(&self.key.to_be_bytes());
        bytes[16..].copy_from_slice(&self.place.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ROW_BYTES]) -> Self {
        let half = |half: &[u8]| half.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
        Self { key: half(&bytes[..16]), place: half(&bytes[16..]) }
    }

    /// When, and which entry.
    pub(super) fn at_and_index(self) -> Option<(Timestamp, u64)> {
        let (high, low) = (self.place >> 64, self.place & u128::from(u64::MAX));
        let (moment, index) = (u64::try_from(high).ok()?, u64::try_from(low).ok()?);
        Some((Timestamp::from_microsecond((moment ^ SIGN).cast_signed()).ok()?, index))
    }
}

/// A moment and an entry as one number that orders them.
pub(super) fn place_of(at: Timestamp, index: u64) -> u128 {
    u128::from(at.as_microsecond().cast_unsigned() ^ SIGN) << 64 | u128::from(index)
}
