//! Bytes in and out: varints, days, moments, texts. Reading is bounded and never panics.

use jiff::Timestamp;
use jiff::civil::Date;

const SECONDS_PER_DAY: i64 = 86_400;
const SECONDS_PER_MINUTE: i64 = 60;
/// Units a moment is told in, in the two lowest bits; one is free.
const UNITS: i64 = 4;
const IN_MINUTES: i64 = 0;
const IN_SECONDS: i64 = 1;
const IN_NANOSECONDS: i64 = 2;
/// Longest text a record may hold, in bytes: a name of 100 characters.
pub(super) const TEXT_SIZE_MAX: usize = 400;

/// Why bytes are no record. Never holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program.
    #[error("record format {0} is newer than this program knows")]
    NewerVersion(u8),
    /// The bytes end too early.
    #[error("record ends too early")]
    Truncated,
    /// Bytes follow after the end.
    #[error("record has bytes after its end")]
    TrailingBytes,
    /// A part holds what it cannot hold.
    #[error("record holds an impossible {0}")]
    Malformed(&'static str),
}

/// A record holds something the format has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record holds a {0} the format has no room for")]
pub struct Unencodable(pub &'static str);

/// Appends to a buffer.
pub(super) struct Writer<'b>(pub(super) &'b mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_bits(value));
    }

    pub(super) fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// Writes a moment as version 1 did.
    pub(super) fn moment(&mut self, moment: Timestamp, base_day: i64) {
        let (distance, nanoseconds) = distance(moment, base_day);
        self.signed(distance * 2 + i64::from(nanoseconds != 0));
        if nanoseconds != 0 {
            self.varint(u64::from(nanoseconds));
        }
    }

    /// Writes a moment in the largest unit that tells it whole: minutes, seconds, nanoseconds.
    pub(super) fn round_moment(&mut self, moment: Timestamp, base_day: i64) {
        let (distance, nanoseconds) = distance(moment, base_day);
        match (distance % SECONDS_PER_MINUTE, nanoseconds) {
            (0, 0) => self.signed(distance / SECONDS_PER_MINUTE * UNITS + IN_MINUTES),
            (_, 0) => self.signed(distance * UNITS + IN_SECONDS),
            _ => {
                self.signed(distance * UNITS + IN_NANOSECONDS);
                self.varint(u64::from(nanoseconds));
            }
        }
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Unencodable> {
        if text.len() > TEXT_SIZE_MAX {
            return Err(Unencodable("text"));
        }
        self.varint(text.len() as u64);
        self.bytes(text.as_bytes());
        Ok(())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the mask leaves seven bits")]
fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// Reads from a slice.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'b [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("integer"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Reads a moment of version 1.
    pub(super) fn moment(&mut self, base_day: i64) -> Result<Timestamp, DecodeError> {
        let marked = self.signed()?;
        let nanoseconds = if marked & 1 == 1 { self.varint()? } else { 0 };
        moment_at(base_day, marked >> 1, nanoseconds)
    }

    pub(super) fn round_moment(&mut self, base_day: i64) -> Result<Timestamp, DecodeError> {
        let marked = self.signed()?;
        let distance = marked.div_euclid(UNITS);
        match marked.rem_euclid(UNITS) {
            IN_MINUTES => {
                let seconds = distance.checked_mul(SECONDS_PER_MINUTE);
                moment_at(base_day, seconds.ok_or(DecodeError::Malformed("moment"))?, 0)
            }
            IN_SECONDS => moment_at(base_day, distance, 0),
            IN_NANOSECONDS => {
                let nanoseconds = self.varint()?;
                moment_at(base_day, distance, nanoseconds)
            }
            _ => Err(DecodeError::Malformed("moment")),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'b str, DecodeError> {
        let length = self.varint()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= TEXT_SIZE_MAX);
        let bytes = self.bytes(length.ok_or(DecodeError::Malformed("text"))?)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed("text"))
    }
}

/// Splits a moment into whole seconds from a day's 00:00 UTC and the nanoseconds beyond.
fn distance(moment: Timestamp, base_day: i64) -> (i64, u32) {
    let (mut seconds, mut nanoseconds) = (moment.as_second(), moment.subsec_nanosecond());
    if nanoseconds < 0 {
        seconds -= 1;
        nanoseconds += 1_000_000_000;
    }
    (seconds - base_day * SECONDS_PER_DAY, nanoseconds.unsigned_abs())
}

fn moment_at(base_day: i64, distance: i64, nanoseconds: u64) -> Result<Timestamp, DecodeError> {
    const FAULT: DecodeError = DecodeError::Malformed("moment");
    let base = base_day.checked_mul(SECONDS_PER_DAY).ok_or(FAULT)?;
    let seconds = base.checked_add(distance).ok_or(FAULT)?;
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| FAULT)?;
    // Bounded here, so that no arithmetic inside can overflow.
    if !(0..1_000_000_000).contains(&nanoseconds) || seconds < Timestamp::MIN.as_second() {
        return Err(FAULT);
    }
    Timestamp::new(seconds, nanoseconds).map_err(|_| FAULT)
}

/// Counts days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, days_from_civil).
pub(super) fn day_number(day: Date) -> i64 {
    let (year, month) = (i64::from(day.year()), i64::from(day.month()));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day.day()) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Finds the day with this number (H. Hinnant, civil_from_days).
pub(super) fn day_of(number: i64) -> Result<Date, DecodeError> {
    const FAULT: DecodeError = DecodeError::Malformed("day");
    // Twelve thousand years either way: what a civil date can hold, and no overflow below.
    if number.unsigned_abs() > 4_400_000 {
        return Err(FAULT);
    }
    let shifted = number + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let narrow = |value: i64| i8::try_from(value).map_err(|_| FAULT);
    let year = i16::try_from(year).map_err(|_| FAULT)?;
    Date::new(year, narrow(month)?, narrow(day)?).map_err(|_| FAULT)
}

/// Finds the day a moment falls on in UTC: the base its distance is counted from.
pub(super) fn base_day(moment: Timestamp) -> i64 {
    let seconds = moment.as_second() - i64::from(moment.subsec_nanosecond() < 0);
    seconds.div_euclid(SECONDS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (day, number) in [
            (date(1970, 1, 1), 0),
            (date(1969, 12, 31), -1),
            (date(2000, 1, 1), 10_957),
            (date(2000, 2, 29), 11_016),
            (date(-9999, 1, 1), -4_371_587),
        ] {
            assert_eq!(day_number(day), number, "{day}");
        }
        assert_eq!(day_of(4_400_001), Err(DecodeError::Malformed("day")));
    }

    #[test]
    fn an_integer_of_eleven_bytes_is_refused() {
        assert_eq!(Reader(&[0xff; 11]).varint(), Err(DecodeError::Malformed("integer")));
        assert_eq!(Reader(&[0x80]).varint(), Err(DecodeError::Truncated));
    }

    proptest! {
        #[test]
        fn integers_come_back(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            let mut writer = Writer(&mut bytes);
            writer.varint(value);
            writer.signed(signed);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn days_and_moments_come_back(number in -4_300_000_i64..2_932_896, nanoseconds in 0..1_000_000_000_i32) {
            let day = day_of(number).unwrap();
            prop_assert_eq!(day_number(day), number);
            let moment = Timestamp::new(number.clamp(-4_000, 100_000) * 86_400 + 777, nanoseconds).unwrap();
            let mut bytes = Vec::new();
            Writer(&mut bytes).moment(moment, base_day(moment) - 3);
            prop_assert_eq!(Reader(&bytes).moment(base_day(moment) - 3), Ok(moment));
            for moment in [moment, Timestamp::from_second(moment.as_second()).unwrap()] {
                bytes.clear();
                Writer(&mut bytes).round_moment(moment, base_day(moment) + 3);
                prop_assert_eq!(Reader(&bytes).round_moment(base_day(moment) + 3), Ok(moment));
            }
        }
    }
}
