//! One change in bytes: head, times, body. The layout is drawn in the door of this room.

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

fn code(kind: &ChangeKind) -> u8 {
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

fn write_body(kind: &ChangeKind, day: i64, out: &mut Writer<'_>) -> Result<(), Unencodable> {
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
            write_marked_day(validity.term.code(), validity.last_day, day, out);
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

fn read_body(code: u8, day: i64, from: &mut Reader<'_>) -> Result<ChangeKind, DecodeError> {
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
    match pack(number.expose()) {
        Some(digits) => {
            out.byte(document.code() | MORE);
            out.bytes(&digits.to_be_bytes());
            Ok(())
        }
        None => {
            out.byte(document.code());
            out.text(number.expose())
        }
    }
}

fn read_number(from: &mut Reader<'_>) -> Result<ChangeKind, DecodeError> {
    const FAULT: DecodeError = DecodeError::Malformed("number");
    // What was let in stays readable: whether test numbers are welcome was decided at the door.
    const RULES: NumberRules = NumberRules { accept_test_numbers: true };
    let head = from.byte()?;
    let document = DocumentKind::from_code(head & !MORE).ok_or(FAULT)?;
    let number = if head & MORE == 0 {
        LicenceNumber::parse(document, from.text()?, RULES)
    } else {
        let characters = unpack(u64::from_be_bytes(from.array()?)).ok_or(FAULT)?;
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
    let digits = format!("{:012}", u64::from_be_bytes(bytes));
    FileNumber::parse(&digits).map_err(|_| DecodeError::Malformed("file number"))
}

fn read_class(from: &mut Reader<'_>) -> Result<VehicleClass, DecodeError> {
    VehicleClass::from_code(from.byte()?).ok_or(DecodeError::Malformed("class"))
}

fn read_endorsement(from: &mut Reader<'_>) -> Result<Endorsement, DecodeError> {
    Endorsement::from_code(from.byte()?).ok_or(DecodeError::Malformed("endorsement"))
}

fn read_validity(day: i64, from: &mut Reader<'_>) -> Result<Validity, DecodeError> {
    let (term, last_day) = read_marked_day(day, from)?;
    let term = ValidityTerm::from_code(term).ok_or(DecodeError::Malformed("validity term"))?;
    Ok(Validity { term, last_day })
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
