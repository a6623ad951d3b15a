//! One change in bytes: head and times as in version 1, and the body by kind, which every version shares. The layout is
//! drawn in the door of this room.

use jiff::civil::Date;

use super::wire::{DecodeError, Reader, Unencodable, Writer, base_day, day_number, day_of};
use crate::domain::licence::{
    Change, ChangeKind, DocumentKind, ELicenceEvent, ELicencePath, Endorsement, FileNumber, FullName,
    LicenceNumber, NumberRules, RefusalGround, StateGround, Validity, ValidityTerm, VehicleClass,
};
use crate::domain::subject::Position;
use crate::domain::time::Effective;

const KIND_MASK: u8 = 0x1f;
const AT_INSTANT: u8 = 0x20;
const POSITION_FOLLOWS: u8 = 0x40;
const RECORDED_AS_BEFORE: u8 = 0x80;
/// In a body's first byte: more follows, or the number is packed.
const MORE: u8 = 0x80;
/// In the first byte of a packed number: its birth date is packed, too.
const DATED: u8 = 0x40;
/// In the first byte of a validity: it ends on the term's own anniversary.
const REGULAR: u8 = 0x40;
/// 2000-01-01, from which the first effective day is counted.
const FIRST_BASE_DAY: i64 = 10_957;
const CHECK_CHARACTERS: &[u8; 11] = b"10X98765432";

/// What the change before said, which the next one is told relative to.
pub(super) struct Before {
    day: i64,
    recorded_at: Option<jiff::Timestamp>,
    position: Option<Position>,
}

impl Before {
    pub(super) fn first() -> Self {
        Self { day: FIRST_BASE_DAY, recorded_at: None, position: None }
    }

    /// Writes a change by itself, as records of version 1 did: what the intake keeps of a change that waits.
    pub(super) fn write(&mut self, change: &Change, out: &mut Writer<'_>) -> Result<(), Unencodable> {
        let (day, instant) = match change.effective {
            Effective::On(day) => (day_number(day), None),
            Effective::At(moment) => (base_day(moment), Some(moment)),
        };
        let moved = self.position != Some(change.position);
        let recorded_as_before = self.recorded_at == Some(change.recorded_at);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.byte(
            code(&change.kind)
                | flag(instant.is_some(), AT_INSTANT)
                | flag(moved, POSITION_FOLLOWS)
                | flag(recorded_as_before, RECORDED_AS_BEFORE),
        );
        if moved {
            self.write_position(change.position, out);
        }
        out.signed(day - self.day);
        if let Some(moment) = instant {
            out.moment(moment, day);
        }
        if !recorded_as_before {
            out.moment(change.recorded_at, day);
        }
        *self = Self { day, recorded_at: Some(change.recorded_at), position: Some(change.position) };
        write_body(&change.kind, day, out)
    }

    fn write_position(&self, position: Position, out: &mut Writer<'_>) {
        out.varint(u64::from(position.epoch));
        out.varint(u64::from(position.partition));
        let before = self.position.map_or(0, |position| position.seq);
        out.signed(position.seq.wrapping_sub(before).cast_signed());
    }

    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Result<Change, DecodeError> {
        let head = from.byte()?;
        let position = if head & POSITION_FOLLOWS != 0 {
            self.read_position(from)?
        } else {
            self.position.ok_or(DecodeError::Malformed("position"))?
        };
        let day = self.day.checked_add(from.signed()?).ok_or(DecodeError::Malformed("day"))?;
        let civil = day_of(day)?;
        let effective =
            if head & AT_INSTANT != 0 { Effective::At(from.moment(day)?) } else { Effective::On(civil) };
        let recorded_at = if head & RECORDED_AS_BEFORE != 0 {
            self.recorded_at.ok_or(DecodeError::Malformed("recorded time"))?
        } else {
            from.moment(day)?
        };
        *self = Self { day, recorded_at: Some(recorded_at), position: Some(position) };
        Ok(Change { effective, recorded_at, position, kind: read_body(head & KIND_MASK, day, from)? })
    }

    fn read_position(&self, from: &mut Reader<'_>) -> Result<Position, DecodeError> {
        const FAULT: DecodeError = DecodeError::Malformed("position");
        let epoch = u32::try_from(from.varint()?).map_err(|_| FAULT)?;
        let partition = u16::try_from(from.varint()?).map_err(|_| FAULT)?;
        let before = self.position.map_or(0, |position| position.seq);
        Ok(Position { epoch, partition, seq: before.wrapping_add(from.signed()?.cast_unsigned()) })
    }
}

/// Returns the code of a kind. Codes are append-only.
pub(super) fn code(kind: &ChangeKind) -> u8 {
    match kind {
        ChangeKind::Issued => 1,
        ChangeKind::NumberSet { .. } => 2,
        ChangeKind::NameSet { .. } => 3,
        ChangeKind::BirthDaySet { .. } => 4,
        ChangeKind::FileNumberSet { .. } => 5,
        ChangeKind::AuthoritySet { .. } => 6,
        ChangeKind::ClassAdded { .. } => 7,
        ChangeKind::ClassRemoved { .. } => 8,
        ChangeKind::AgeExtended { .. } => 9,
        ChangeKind::EndorsementSet { .. } => 10,
        ChangeKind::EndorsementLifted { .. } => 11,
        ChangeKind::ValiditySet { .. } => 12,
        ChangeKind::StateSet { .. } => 13,
        ChangeKind::StateLifted { .. } => 14,
        ChangeKind::PointsSet { .. } => 15,
        ChangeKind::PointsCleared => 16,
        ChangeKind::PointsReversed => 17,
        ChangeKind::ProtectionSet => 18,
        ChangeKind::ProtectionLifted => 19,
        ChangeKind::HistoryBegins => 20,
        ChangeKind::DisputeOpened => 21,
        ChangeKind::DisputeSettled => 22,
        ChangeKind::ClassLostByAge { .. } => 23,
        ChangeKind::ValidityRenewed { .. } => 24,
        ChangeKind::ValidityExtended { .. } => 25,
        ChangeKind::StateGrounded { .. } => 26,
        ChangeKind::ELicence(_) => 27,
        ChangeKind::Erased => 28,
    }
}

/// Appends what a kind says; days inside are told from the effective day.
pub(super) fn write_body(kind: &ChangeKind, day: i64, out: &mut Writer<'_>) -> Result<(), Unencodable> {
    match kind {
        ChangeKind::NumberSet { document, number } => return write_number(*document, number, out),
        ChangeKind::NameSet { name } => return out.text(name.expose()),
        ChangeKind::AuthoritySet { code } => return out.text(code),
        ChangeKind::FileNumberSet { number } => return write_file_number(number, out),
        ChangeKind::BirthDaySet { day: birth } => out.signed(day_number(*birth) - day),
        ChangeKind::ClassAdded { class }
        | ChangeKind::ClassRemoved { class }
        | ChangeKind::ClassLostByAge { class } => out.byte(class.code()),
        ChangeKind::AgeExtended { class, ceiling_years } => out.bytes(&[class.code(), *ceiling_years]),
        ChangeKind::EndorsementSet { endorsement } | ChangeKind::EndorsementLifted { endorsement } => {
            out.byte(endorsement.code());
        }
        ChangeKind::ValiditySet { validity }
        | ChangeKind::ValidityRenewed { validity }
        | ChangeKind::ValidityExtended { validity } => {
            write_validity(*validity, day, out);
        }
        ChangeKind::StateSet { letter, original_end } => {
            known_letter(*letter).ok_or(Unencodable("state letter"))?;
            write_marked_day(*letter, *original_end, day, out);
        }
        ChangeKind::StateLifted { letter } => {
            out.byte(known_letter(*letter).ok_or(Unencodable("state letter"))?);
        }
        ChangeKind::StateGrounded { letter, ground } => {
            out.bytes(&[known_letter(*letter).ok_or(Unencodable("state letter"))?, ground.code()]);
        }
        ChangeKind::PointsSet { points } => out.byte(*points),
        ChangeKind::ELicence(event) => write_e_licence(*event, out),
        ChangeKind::Issued
        | ChangeKind::PointsCleared
        | ChangeKind::PointsReversed
        | ChangeKind::ProtectionSet
        | ChangeKind::ProtectionLifted
        | ChangeKind::HistoryBegins
        | ChangeKind::DisputeOpened
        | ChangeKind::DisputeSettled
        | ChangeKind::Erased => {}
    }
    Ok(())
}

/// Reads what a kind says.
pub(super) fn read_body(code: u8, day: i64, from: &mut Reader<'_>) -> Result<ChangeKind, DecodeError> {
    Ok(match code {
        1 => ChangeKind::Issued,
        2 => read_number(from)?,
        3 => ChangeKind::NameSet {
            name: FullName::parse(from.text()?).map_err(|_| DecodeError::Malformed("name"))?,
        },
        4 => ChangeKind::BirthDaySet { day: read_day(day, from)? },
        5 => ChangeKind::FileNumberSet { number: read_file_number(from)? },
        6 => ChangeKind::AuthoritySet { code: from.text()?.to_owned() },
        7 => ChangeKind::ClassAdded { class: read_class(from)? },
        8 => ChangeKind::ClassRemoved { class: read_class(from)? },
        9 => ChangeKind::AgeExtended { class: read_class(from)?, ceiling_years: from.byte()? },
        10 => ChangeKind::EndorsementSet { endorsement: read_endorsement(from)? },
        11 => ChangeKind::EndorsementLifted { endorsement: read_endorsement(from)? },
        12 => ChangeKind::ValiditySet { validity: read_validity(day, from)? },
        13 => {
            let (letter, original_end) = read_marked_day(day, from)?;
            let letter = known_letter(letter).ok_or(DecodeError::Malformed("state letter"))?;
            ChangeKind::StateSet { letter, original_end }
        }
        14 => ChangeKind::StateLifted {
            letter: known_letter(from.byte()?).ok_or(DecodeError::Malformed("state letter"))?,
        },
        15 => ChangeKind::PointsSet { points: from.byte()? },
        16 => ChangeKind::PointsCleared,
        17 => ChangeKind::PointsReversed,
        18 => ChangeKind::ProtectionSet,
        19 => ChangeKind::ProtectionLifted,
        20 => ChangeKind::HistoryBegins,
        21 => ChangeKind::DisputeOpened,
        22 => ChangeKind::DisputeSettled,
        23 => ChangeKind::ClassLostByAge { class: read_class(from)? },
        24 => ChangeKind::ValidityRenewed { validity: read_validity(day, from)? },
        25 => ChangeKind::ValidityExtended { validity: read_validity(day, from)? },
        26 => ChangeKind::StateGrounded {
            letter: known_letter(from.byte()?).ok_or(DecodeError::Malformed("state letter"))?,
            ground: StateGround::from_code(from.byte()?)
                .ok_or(DecodeError::Malformed("ground of a state"))?,
        },
        27 => ChangeKind::ELicence(read_e_licence(from)?),
        28 => ChangeKind::Erased,
        _ => return Err(DecodeError::Malformed("kind of change")),
    })
}

fn known_letter(letter: u8) -> Option<u8> {
    letter.is_ascii_uppercase().then_some(letter)
}

fn write_number(
    document: DocumentKind,
    number: &LicenceNumber,
    out: &mut Writer<'_>,
) -> Result<(), Unencodable> {
    let Some(digits) = pack(number.expose()) else {
        out.byte(document.code());
        return out.text(number.expose());
    };
    match pack_dated(digits) {
        Some(dated) => {
            out.byte(document.code() | MORE | DATED);
            out.bytes(&dated.to_be_bytes()[2..]);
        }
        None => {
            out.byte(document.code() | MORE);
            out.bytes(&digits.to_be_bytes());
        }
    }
    Ok(())
}

fn read_number(from: &mut Reader<'_>) -> Result<ChangeKind, DecodeError> {
    const FAULT: DecodeError = DecodeError::Malformed("number");
    // What was let in stays readable: whether test numbers are welcome was decided at the door.
    const RULES: NumberRules = NumberRules { accept_test_numbers: true };
    let head = from.byte()?;
    let document = DocumentKind::from_code(head & !(MORE | DATED)).ok_or(FAULT)?;
    let number = if head & (MORE | DATED) == 0 {
        LicenceNumber::parse(document, from.text()?, RULES)
    } else {
        let digits = match head & (MORE | DATED) {
            MORE => u64::from_be_bytes(from.array()?),
            DATED => return Err(FAULT),
            _ => {
                let mut dated = [0; 8];
                dated[2..].copy_from_slice(&from.array::<6>()?);
                unpack_dated(u64::from_be_bytes(dated)).ok_or(FAULT)?
            }
        };
        let characters = unpack(digits).ok_or(FAULT)?;
        let text = std::str::from_utf8(&characters).map_err(|_| FAULT)?;
        LicenceNumber::parse(document, text, RULES)
    };
    Ok(ChangeKind::NumberSet { document, number: number.map_err(|_| FAULT)? })
}

/// Packs 17 digits and their check character (GB 11643-1999) into an integer; `None` if the text is anything else.
fn pack(text: &str) -> Option<u64> {
    let characters: &[u8; 18] = text.as_bytes().try_into().ok()?;
    let mut digits = 0;
    for character in &characters[..17] {
        digits = digits * 10 + u64::from(character.is_ascii_digit().then(|| character - b'0')?);
    }
    (unpack(digits)? == *characters).then_some(digits)
}

fn unpack(mut digits: u64) -> Option<[u8; 18]> {
    let mut characters = [b'0'; 18];
    let (mut weight, mut sum) = (2_u64, 0_u64);
    for character in characters[..17].iter_mut().rev() {
        let digit = digits % 10;
        digits /= 10;
        *character = b'0' + u8::try_from(digit).ok()?;
        sum += digit * weight;
        weight = weight * 2 % 11;
    }
    characters[17] = *CHECK_CHARACTERS.get(usize::try_from(sum % 11).ok()?)?;
    (digits == 0).then_some(characters)
}

/// The first birth day a packed number may hold, and one more than the last: 17 bits of days.
const BIRTH_DAYS: std::ops::Range<i64> = FIRST_BIRTH_DAY..FIRST_BIRTH_DAY + (1 << 17);
/// 1800-01-01.
const FIRST_BIRTH_DAY: i64 = -62_091;

/// Packs 17 digits into 48 bits by counting the birth date inside in days: region (6) · birth date (8) · sequence (3).
/// `None` if the eight digits are no date.
fn pack_dated(digits: u64) -> Option<u64> {
    let (region, date, sequence) = (digits / 100_000_000_000, digits / 1_000 % 100_000_000, digits % 1_000);
    let year = i16::try_from(date / 10_000).ok()?;
    let [month, day] = [date / 100 % 100, date % 100].map(|part| i8::try_from(part).ok());
    let number = day_number(Date::new(year, month?, day?).ok()?);
    let days = u64::try_from(number - FIRST_BIRTH_DAY).ok().filter(|_| BIRTH_DAYS.contains(&number))?;
    Some(((region << 17) | days) * 1_000 + sequence)
}

fn unpack_dated(dated: u64) -> Option<u64> {
    let (placed, sequence) = (dated / 1_000, dated % 1_000);
    let (region, days) = (placed >> 17, placed & ((1 << 17) - 1));
    let birth = day_of(FIRST_BIRTH_DAY + i64::try_from(days).ok()?).ok()?;
    let [year, month, day] = [i64::from(birth.year()), birth.month().into(), birth.day().into()]
        .map(|part| u64::try_from(part).ok());
    let date = year? * 10_000 + month? * 100 + day?;
    (region < 1_000_000).then_some((region * 100_000_000 + date) * 1_000 + sequence)
}

fn write_file_number(number: &FileNumber, out: &mut Writer<'_>) -> Result<(), Unencodable> {
    let digits = number.expose();
    let value: u64 = digits.parse().map_err(|_| Unencodable("file number"))?;
    if digits.len() != 12 {
        return Err(Unencodable("file number"));
    }
    out.bytes(&value.to_be_bytes()[3..]);
    Ok(())
}

fn read_file_number(from: &mut Reader<'_>) -> Result<FileNumber, DecodeError> {
    let mut bytes = [0; 8];
    bytes[3..].copy_from_slice(&from.array::<5>()?);
    let mut value = u64::from_be_bytes(bytes);
    let mut digits = [b'0'; 12];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
    let text = std::str::from_utf8(&digits).ok().filter(|_| value == 0);
    let number = text.and_then(|text| FileNumber::parse(text).ok());
    number.ok_or(DecodeError::Malformed("file number"))
}

fn read_class(from: &mut Reader<'_>) -> Result<VehicleClass, DecodeError> {
    VehicleClass::from_code(from.byte()?).ok_or(DecodeError::Malformed("class"))
}

fn read_endorsement(from: &mut Reader<'_>) -> Result<Endorsement, DecodeError> {
    Endorsement::from_code(from.byte()?).ok_or(DecodeError::Malformed("endorsement"))
}

/// A validity that ends on the anniversary of its beginning needs no day: the term tells it.
fn write_validity(validity: Validity, day: i64, out: &mut Writer<'_>) {
    if validity.last_day.is_some() && validity.last_day == anniversary(validity.term, day) {
        out.byte(validity.term.code() | REGULAR);
    } else {
        write_marked_day(validity.term.code(), validity.last_day, day, out);
    }
}

fn read_validity(day: i64, from: &mut Reader<'_>) -> Result<Validity, DecodeError> {
    const FAULT: DecodeError = DecodeError::Malformed("validity term");
    let (term, last_day) = read_marked_day(day, from)?;
    if term & REGULAR == 0 {
        return Ok(Validity { term: ValidityTerm::from_code(term).ok_or(FAULT)?, last_day });
    }
    let term = ValidityTerm::from_code(term & !REGULAR).filter(|_| last_day.is_none()).ok_or(FAULT)?;
    let last_day = anniversary(term, day).ok_or(FAULT)?;
    Ok(Validity { term, last_day: Some(last_day) })
}

/// Finds the day a term that begins on `day` regularly ends on; 28 February where there is no 29th.
fn anniversary(term: ValidityTerm, day: i64) -> Option<Date> {
    let years = match term {
        ValidityTerm::SixYears => 6,
        ValidityTerm::TenYears => 10,
        ValidityTerm::LongTerm => return None,
    };
    let begins = day_of(day).ok()?;
    let year = begins.year().checked_add(years)?;
    Date::new(year, begins.month(), begins.day()).or_else(|_| Date::new(year, begins.month(), 28)).ok()
}

fn write_e_licence(event: ELicenceEvent, out: &mut Writer<'_>) {
    match event {
        ELicenceEvent::Applied { path } => out.bytes(&[1, path.code()]),
        ELicenceEvent::UnderReview => out.byte(2),
        ELicenceEvent::Issued => out.byte(3),
        ELicenceEvent::Refused { ground } => out.bytes(&[4, ground.code()]),
        ELicenceEvent::PhotoChanged => out.byte(5),
        ELicenceEvent::Superseded => out.byte(6),
        ELicenceEvent::Withdrawn => out.byte(7),
        ELicenceEvent::Reapplied { path } => out.bytes(&[8, path.code()]),
    }
}

fn read_e_licence(from: &mut Reader<'_>) -> Result<ELicenceEvent, DecodeError> {
    let path = |from: &mut Reader<'_>| {
        ELicencePath::from_code(from.byte()?).ok_or(DecodeError::Malformed("e-licence path"))
    };
    Ok(match from.byte()? {
        1 => ELicenceEvent::Applied { path: path(from)? },
        2 => ELicenceEvent::UnderReview,
        3 => ELicenceEvent::Issued,
        4 => ELicenceEvent::Refused {
            ground: RefusalGround::from_code(from.byte()?).ok_or(DecodeError::Malformed("refusal"))?,
        },
        5 => ELicenceEvent::PhotoChanged,
        6 => ELicenceEvent::Superseded,
        7 => ELicenceEvent::Withdrawn,
        8 => ELicenceEvent::Reapplied { path: path(from)? },
        _ => return Err(DecodeError::Malformed("e-licence event")),
    })
}

fn write_marked_day(mark: u8, marked: Option<Date>, day: i64, out: &mut Writer<'_>) {
    out.byte(mark | if marked.is_some() { MORE } else { 0 });
    if let Some(marked) = marked {
        out.signed(day_number(marked) - day);
    }
}

fn read_marked_day(day: i64, from: &mut Reader<'_>) -> Result<(u8, Option<Date>), DecodeError> {
    let mark = from.byte()?;
    let marked = if mark & MORE == 0 { None } else { Some(read_day(day, from)?) };
    Ok((mark & !MORE, marked))
}

fn read_day(day: i64, from: &mut Reader<'_>) -> Result<Date, DecodeError> {
    day_of(day.checked_add(from.signed()?).ok_or(DecodeError::Malformed("day"))?)
}

#[cfg(test)]
mod tests;
