//! Whose state it is, and its bytes: sealed, and bound to the place it lies in.

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::domain::subject::{NumberPseudonym, SubjectId};
use crate::hashing::{first_half, sha256};
use crate::intake::ports::{SubjectState, WaitingCounts};
use crate::registry::codec;
use crate::registry::embedded::error::RegistryError;
use crate::registry::sealing::SealingKeys;

/// In a row of what waits: nothing there is held.
const NOTHING_HELD: i64 = i64::MIN;

/// Whose state it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::registry) enum Owner {
    /// A subject's.
    Subject(SubjectId),
    /// A number's that nobody has.
    Number(NumberPseudonym),
}

impl Owner {
    /// The place a sealed state is bound to: another one than that of the subject's record.
    fn place(&self) -> [u8; 16] {
        first_half(&sha256(&[&b"drivegate intake state"[..], &self.key()].concat()))
    }

    /// The key in the index of what waits.
    pub(in crate::registry) fn key(&self) -> [u8; 17] {
        let mut key = [0; 17];
        key[0] = match self {
            Self::Subject(_) => 0,
            Self::Number(_) => 1,
        };
        key[1..].copy_from_slice(bytes_of(self));
        key
    }

    pub(in crate::registry) fn of(key: &[u8; 17]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&key[1..]);
        match key[0] {
            0 => Self::Subject(SubjectId::from_bytes(bytes)),
            _ => Self::Number(NumberPseudonym::from_bytes(bytes)),
        }
    }
}

/// The key in the owner's own table.
pub(in crate::registry) fn bytes_of(owner: &Owner) -> &[u8; 16] {
    match owner {
        Owner::Subject(subject) => subject.as_bytes(),
        Owner::Number(number) => number.as_bytes(),
    }
}

pub(in crate::registry) fn seal_state(
    keys: &SealingKeys,
    owner: Owner,
    state: &SubjectState,
) -> Result<Vec<u8>, RegistryError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(256));
    codec::encode_state(state, &mut plain).map_err(|_| RegistryError::Damaged("a state of the intake"))?;
    keys.seal(&plain, &owner.place()).map_err(|_| RegistryError::WrongKeys)
}

pub(in crate::registry) fn open_state(
    keys: &SealingKeys,
    owner: Owner,
    sealed: &[u8],
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Result<SubjectState, RegistryError> {
    let opened = keys.open(sealed, &owner.place(), scratch);
    let state = opened.ok().and_then(|plain| codec::decode_state(plain).ok());
    state.ok_or(RegistryError::Damaged("a state of the intake"))
}

/// The row of the index: until when the first is held, how many are held, how many are in quarantine.
pub(super) fn row_of(counts: WaitingCounts) -> [u8; 16] {
    let until = counts.held_until.map_or(NOTHING_HELD, Timestamp::as_millisecond);
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let mut row = [0; 16];
    row[..8].copy_from_slice(&until.to_be_bytes());
    row[8..12].copy_from_slice(&narrow(counts.held).to_be_bytes());
    row[12..].copy_from_slice(&narrow(counts.quarantined).to_be_bytes());
    row
}

pub(super) fn counts_of(row: &[u8; 16]) -> WaitingCounts {
    let (until, rest) = row.split_at(8);
    let (held, quarantined) = rest.split_at(4);
    let until = until.try_into().map_or(NOTHING_HELD, i64::from_be_bytes);
    let count = |bytes: &[u8]| u64::from(bytes.try_into().map_or(0, u32::from_be_bytes));
    WaitingCounts {
        held: count(held),
        quarantined: count(quarantined),
        held_until: Timestamp::from_millisecond(until).ok(),
    }
}
