//! The frame of a change, from version 2 on: what it shares with the change before costs nothing.

use super::change::{code, read_body, write_body};
use super::wire::{DecodeError, Reader, Unencodable, Writer, base_day, day_number, day_of};
use crate::domain::licence::Change;
use crate::domain::subject::Position;
use crate::domain::time::Effective;

const KIND_MASK: u8 = 0x3f;
const TIMING_SHIFT: u32 = 6;

/// Timing: effective, recorded and placed in the feed as the change before.
const SAME: u8 = 0;
/// Timing: a civil day and a recorded time follow; the place in the feed is that of the change before.
const DAY_AND_RECORDED: u8 = 1;
/// Timing: a civil day follows; the rest is that of the change before.
const DAY: u8 = 2;
/// Timing: a byte follows that says what follows.
const SPELLED_OUT: u8 = 3;

const AT_INSTANT: u8 = 0x01;
const POSITION_FOLLOWS: u8 = 0x02;
const RECORDED_AS_BEFORE: u8 = 0x04;
const FLAGS: u8 = AT_INSTANT | POSITION_FOLLOWS | RECORDED_AS_BEFORE;

/// 2000-01-01, from which the first effective day is counted.
const FIRST_BASE_DAY: i64 = 10_957;

/// When the change before happened: the next one is told relative to it.
#[derive(Default)]
pub(super) struct Occasion(Option<Told>);

#[derive(Clone, Copy)]
struct Told {
    day: i64,
    effective: Effective,
    recorded_at: jiff::Timestamp,
    position: Position,
}

impl Occasion {
    pub(super) fn write(&mut self, change: &Change, out: &mut Writer<'_>) -> Result<(), Unencodable> {
        let code = code(&change.kind);
        if code > KIND_MASK {
            return Err(Unencodable("kind of change"));
        }
        let told = Told::of(change);
        let timing = self.timing(&told);
        out.byte(code | timing << TIMING_SHIFT);
        self.write_times(timing, &told, out);
        self.0 = Some(told);
        write_body(&change.kind, told.day, out)
    }

    fn timing(&self, told: &Told) -> u8 {
        let Some(before) = self.0.filter(|before| before.position == told.position) else {
            return SPELLED_OUT;
        };
        let recorded_as_before = before.recorded_at == told.recorded_at;
        match told.effective {
            _ if before.effective == told.effective && recorded_as_before => SAME,
            Effective::On(_) if recorded_as_before => DAY,
            Effective::On(_) => DAY_AND_RECORDED,
            Effective::At(_) => SPELLED_OUT,
        }
    }

    fn write_times(&self, timing: u8, told: &Told, out: &mut Writer<'_>) {
        if timing == SAME {
            return;
        }
        let mut recorded_follows = timing == DAY_AND_RECORDED;
        let mut instant = None;
        if timing == SPELLED_OUT {
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            instant = match told.effective {
                Effective::At(moment) => Some(moment),
                Effective::On(_) => None,
            };
            let moved = self.0.is_none_or(|before| before.position != told.position);
            recorded_follows = self.0.is_none_or(|before| before.recorded_at != told.recorded_at);
            out.byte(
                flag(instant.is_some(), AT_INSTANT)
                    | flag(moved, POSITION_FOLLOWS)
                    | flag(!recorded_follows, RECORDED_AS_BEFORE),
            );
            if moved {
                self.write_position(told.position, out);
            }
        }
        out.signed(told.day - self.day());
        if let Some(moment) = instant {
            out.round_moment(moment, told.day);
        }
        if recorded_follows {
            out.round_moment(told.recorded_at, told.day);
        }
    }

    fn write_position(&self, position: Position, out: &mut Writer<'_>) {
        out.varint(u64::from(position.epoch));
        out.varint(u64::from(position.partition));
        out.signed(position.seq.wrapping_sub(self.seq()).cast_signed());
    }

    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Result<Change, DecodeError> {
        let head = from.byte()?;
        let told = match (head >> TIMING_SHIFT, self.0) {
            (SAME, Some(before)) => before,
            (DAY_AND_RECORDED, Some(before)) => self.read_times(0, before.position, from)?,
            (DAY, Some(before)) => self.read_times(RECORDED_AS_BEFORE, before.position, from)?,
            (SPELLED_OUT, _) => self.read_spelled_out(from)?,
            _ => return Err(DecodeError::Malformed("first change")),
        };
        self.0 = Some(told);
        let kind = read_body(head & KIND_MASK, told.day, from)?;
        let Told { effective, recorded_at, position, .. } = told;
        Ok(Change { effective, recorded_at, position, kind })
    }

    fn read_spelled_out(&self, from: &mut Reader<'_>) -> Result<Told, DecodeError> {
        let flags = from.byte()?;
        if flags & !FLAGS != 0 {
            return Err(DecodeError::Malformed("timing"));
        }
        let position = match (flags & POSITION_FOLLOWS != 0, self.0) {
            (true, _) => self.read_position(from)?,
            (false, Some(before)) => before.position,
            (false, None) => return Err(DecodeError::Malformed("position")),
        };
        self.read_times(flags, position, from)
    }

    fn read_times(&self, flags: u8, position: Position, from: &mut Reader<'_>) -> Result<Told, DecodeError> {
        let day = self.day().checked_add(from.signed()?).ok_or(DecodeError::Malformed("day"))?;
        let civil = day_of(day)?;
        let effective = if flags & AT_INSTANT != 0 {
            Effective::At(from.round_moment(day)?)
        } else {
            Effective::On(civil)
        };
        let recorded_at = match (flags & RECORDED_AS_BEFORE != 0, self.0) {
            (false, _) => from.round_moment(day)?,
            (true, Some(before)) => before.recorded_at,
            (true, None) => return Err(DecodeError::Malformed("recorded time")),
        };
        Ok(Told { day, effective, recorded_at, position })
    }

    fn read_position(&self, from: &mut Reader<'_>) -> Result<Position, DecodeError> {
        const FAULT: DecodeError = DecodeError::Malformed("position");
        let epoch = u32::try_from(from.varint()?).map_err(|_| FAULT)?;
        let partition = u16::try_from(from.varint()?).map_err(|_| FAULT)?;
        Ok(Position { epoch, partition, seq: self.seq().wrapping_add(from.signed()?.cast_unsigned()) })
    }

    fn day(&self) -> i64 {
        self.0.map_or(FIRST_BASE_DAY, |before| before.day)
    }

    fn seq(&self) -> u64 {
        self.0.map_or(0, |before| before.position.seq)
    }
}

impl Told {
    fn of(change: &Change) -> Self {
        let day = match change.effective {
            Effective::On(day) => day_number(day),
            Effective::At(moment) => base_day(moment),
        };
        let Change { effective, recorded_at, position, .. } = *change;
        Self { day, effective, recorded_at, position }
    }
}
