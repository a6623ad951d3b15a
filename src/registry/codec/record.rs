//! A whole record in bytes and back.

use super::change::Before;
use super::occasion::Occasion;
use super::stops;
use super::wire::{DecodeError, Reader, Unencodable, Writer};
use crate::domain::licence::{History, Record, Stops};
use crate::domain::subject::{SubjectId, SubjectSecret};
use crate::registry::submission::CHANGES_HELD_MAX;

/// The newest format this program writes: that of records with stops. A record without is told by the one before.
pub const FORMAT_VERSION: u8 = 3;
/// The format of records without stops.
const WITHOUT_STOPS: u8 = 2;
/// The first format, still read.
const FIRST_VERSION: u8 = 1;
/// The shortest change: a head and nothing else.
const CHANGE_SIZE_MIN: usize = 1;

/// Appends a record's bytes to `out`. The subject is not among them: it is the key the bytes are sealed for.
///
/// # Errors
/// [`Unencodable`] names the part the format has no room for; `out` is then half-written.
pub fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let changes = record.history.changes();
    if changes.len() > CHANGES_HELD_MAX {
        return Err(Unencodable("history"));
    }
    let mut out = Writer(out);
    // Of an erased record nobody is left who stopped anything.
    let has_stops = !record.stops.is_empty() && !record.history.is_erased();
    out.byte(if has_stops { FORMAT_VERSION } else { WITHOUT_STOPS });
    // An erased record's secret is destroyed with the first writing after the erasure: its entries can be opened by nobody then.
    out.bytes(if record.history.is_erased() { &[0; 32] } else { record.secret.expose() });
    out.varint(changes.len() as u64);
    let mut occasion = Occasion::default();
    changes.iter().try_for_each(|change| occasion.write(change, &mut out))?;
    if has_stops { stops::write(&record.stops, &mut out) } else { Ok(()) }
}

/// Reads a record.
///
/// # Errors
/// See [`DecodeError`]. Never panics, and allocates no more than the bytes justify.
pub fn decode(subject: SubjectId, bytes: &[u8]) -> Result<Record, DecodeError> {
    let mut from = Reader(bytes);
    let version = from.byte()?;
    match version {
        FIRST_VERSION | WITHOUT_STOPS | FORMAT_VERSION => {}
        0 => return Err(DecodeError::Malformed("version")),
        newer => return Err(DecodeError::NewerVersion(newer)),
    }
    let secret = SubjectSecret::from_bytes(from.array()?);
    let count = usize::try_from(from.varint()?).unwrap_or(usize::MAX);
    if count > CHANGES_HELD_MAX {
        return Err(DecodeError::Malformed("number of changes"));
    }
    if count * CHANGE_SIZE_MIN > from.0.len() {
        return Err(DecodeError::Truncated);
    }
    let mut changes = Vec::with_capacity(count);
    let (mut before, mut occasion) = (Before::first(), Occasion::default());
    for _ in 0..count {
        let change = match version {
            FIRST_VERSION => before.read(&mut from)?,
            _ => occasion.read(&mut from)?,
        };
        changes.push(change);
    }
    let stops = if version == FORMAT_VERSION { stops::read(&mut from)? } else { Stops::default() };
    if !from.0.is_empty() {
        return Err(DecodeError::TrailingBytes);
    }
    Ok(Record { subject, secret, history: History::from_changes(changes), stops })
}

/// Writes a record as version 1 did; what it lacks, later versions brought.
#[cfg(test)]
pub(in crate::registry) fn encode_version_1(record: &Record) -> Vec<u8> {
    let mut bytes = vec![FIRST_VERSION];
    let mut out = Writer(&mut bytes);
    out.bytes(record.secret.expose());
    out.varint(record.history.changes().len() as u64);
    let mut before = Before::first();
    for change in record.history.changes() {
        before.write(change, &mut out).unwrap();
    }
    bytes
}

#[cfg(test)]
mod tests;
