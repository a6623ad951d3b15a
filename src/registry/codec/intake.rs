//! The intake's state of a subject in bytes, and the canonical bytes of one change as the authority handed it in.
//!
//! ```text
//! state   = version u8 (1) · flags u8 (bit 0 dispute opened here) · count varint · feed × count · count varint · aside × count
//! feed    = source text · next varint · count varint · waiting × count
//! aside   = source text · waiting
//! waiting = key 16 · digest 16 · id text · sequence varint · flags u8 (bit 0 introduces, bit 1 content follows)
//!           · since moment · hold u8 (0 held, else the code of the reason) · [until moment, if held] · [change]
//! change  = as in a record, at position 0/0/0
//! moment  = as in a record, counted from 1970-01-01
//! ```

use super::change::Before;
use super::wire::{DecodeError, Reader, Unencodable, Writer};
use crate::domain::licence::Change;
use crate::domain::subject::Position;
use crate::intake::ports::{
    ChangeDigest, ChangeId, ChangeKey, FEEDS_MAX, FeedName, FeedState, Hold, IncomingChange,
    QuarantineReason, StatedChange, SubjectState, WAITING_MAX, Waiting,
};

const STATE_VERSION: u8 = 1;
const DISPUTE_OPENED: u8 = 1;
const INTRODUCES: u8 = 1;
const CONTENT_FOLLOWS: u8 = 2;
const HELD: u8 = 0;
const NOWHERE_YET: Position = Position { epoch: 0, partition: 0, seq: 0 };
/// Adopting a number's changes may exceed the bound for new ones, twice at most per number a subject had; this is for damage.
const COUNT_MAX: u64 = 64 * (WAITING_MAX as u64 + FEEDS_MAX as u64);

/// Appends a state's bytes.
///
/// # Errors
/// [`Unencodable`] names the part the format has no room for.
pub(in crate::registry) fn encode_state(state: &SubjectState, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let mut out = Writer(out);
    out.byte(STATE_VERSION);
    out.byte(if state.dispute_opened { DISPUTE_OPENED } else { 0 });
    out.varint(state.feeds.len() as u64);
    for feed in &state.feeds {
        out.text(feed.source.as_str())?;
        out.varint(feed.next);
        out.varint(feed.waiting.len() as u64);
        for waiting in &feed.waiting {
            write_waiting(waiting, &mut out)?;
        }
    }
    out.varint(state.aside.len() as u64);
    for waiting in &state.aside {
        out.text(waiting.source.as_str())?;
        write_waiting(waiting, &mut out)?;
    }
    Ok(())
}

/// Reads a state.
///
/// # Errors
/// See [`DecodeError`].
pub(in crate::registry) fn decode_state(bytes: &[u8]) -> Result<SubjectState, DecodeError> {
    let mut from = Reader(bytes);
    match from.byte()? {
        STATE_VERSION => {}
        0 => return Err(DecodeError::Malformed("version")),
        newer => return Err(DecodeError::NewerVersion(newer)),
    }
    let mut state = SubjectState {
        dispute_opened: from.byte()? & DISPUTE_OPENED != 0,
        feeds: Vec::new(),
        aside: Vec::new(),
    };
    for _ in 0..count(&mut from)? {
        let source = read_source(&mut from)?;
        let mut feed = FeedState { source, next: from.varint()?, waiting: Vec::new() };
        for _ in 0..count(&mut from)? {
            feed.waiting.push(read_waiting(feed.source.clone(), &mut from)?);
        }
        state.feeds.push(feed);
    }
    for _ in 0..count(&mut from)? {
        let source = read_source(&mut from)?;
        state.aside.push(read_waiting(source, &mut from)?);
    }
    if from.0.is_empty() { Ok(state) } else { Err(DecodeError::TrailingBytes) }
}

/// Appends the canonical bytes of everything a change says: the same change always has the same.
///
/// # Errors
/// [`Unencodable`] names the part the format has no room for.
pub(in crate::registry) fn encode_incoming(
    change: &IncomingChange,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let mut out = Writer(out);
    out.text(change.source.as_str())?;
    out.text(change.id.as_str())?;
    out.varint(change.sequence);
    out.byte(change.document.code());
    out.text(change.number.expose())?;
    match &change.content {
        Some(content) => {
            out.byte(CONTENT_FOLLOWS);
            write_stated(content, &mut out)
        }
        None => {
            out.byte(0);
            Ok(())
        }
    }
}

/// Says whether a change can be stored.
pub(in crate::registry) fn is_storable(change: &StatedChange) -> bool {
    write_stated(change, &mut Writer(&mut Vec::with_capacity(64))).is_ok()
}

fn write_stated(change: &StatedChange, out: &mut Writer<'_>) -> Result<(), Unencodable> {
    Before::first().write(&change.clone().at(NOWHERE_YET), out)
}

fn read_stated(from: &mut Reader<'_>) -> Result<StatedChange, DecodeError> {
    let Change { effective, recorded_at, kind, .. } = Before::first().read(from)?;
    Ok(StatedChange { effective, recorded_at, kind })
}

fn write_waiting(waiting: &Waiting, out: &mut Writer<'_>) -> Result<(), Unencodable> {
    out.bytes(&waiting.key.0);
    out.bytes(&waiting.digest.0);
    out.text(waiting.id.as_str())?;
    out.varint(waiting.sequence);
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.byte(flag(waiting.introduces, INTRODUCES) | flag(waiting.content.is_some(), CONTENT_FOLLOWS));
    out.moment(waiting.since, 0);
    match waiting.hold {
        Hold::Until(until) => {
            out.byte(HELD);
            out.moment(until, 0);
        }
        Hold::Quarantined(reason) => out.byte(reason.code()),
    }
    waiting.content.as_ref().map_or(Ok(()), |content| write_stated(content, out))
}

fn read_waiting(source: FeedName, from: &mut Reader<'_>) -> Result<Waiting, DecodeError> {
    let (key, digest) = (ChangeKey(from.array()?), ChangeDigest(from.array()?));
    let id = ChangeId::parse(from.text()?).map_err(|_| DecodeError::Malformed("change id"))?;
    let sequence = from.varint()?;
    let flags = from.byte()?;
    let since = from.moment(0)?;
    let hold = match from.byte()? {
        HELD => Hold::Until(from.moment(0)?),
        code => Hold::Quarantined(
            QuarantineReason::from_code(code).ok_or(DecodeError::Malformed("reason of quarantine"))?,
        ),
    };
    let content = if flags & CONTENT_FOLLOWS == 0 { None } else { Some(read_stated(from)?) };
    Ok(Waiting {
        key,
        digest,
        source,
        id,
        sequence,
        introduces: flags & INTRODUCES != 0,
        content,
        since,
        hold,
    })
}

fn read_source(from: &mut Reader<'_>) -> Result<FeedName, DecodeError> {
    FeedName::parse(from.text()?).ok_or(DecodeError::Malformed("name of a feed"))
}

fn count(from: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let count = from.varint()?;
    if count <= COUNT_MAX { Ok(count) } else { Err(DecodeError::Malformed("number of changes")) }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
