//! What the book keeps, in bytes: share codes as issued, consents, hold-backs. Always sealed before it is stored.
//!
//! ```text
//! share code = version u8 (1) · subject 16 bytes · number 16 bytes · audience · purpose u8 (0: none) · fields · uses varint
//!              · issued moment · expires moment
//! audience   = 0 untold · 1 kind u8 · 2 partner text
//! consent    = version u8 (1) · partner text · purpose u8 · fields u16 · obtained moment · expires moment · notice text
//!              · digest 32 bytes · case category text · first used moment · 0, or 1 and withdrawn moment
//! hold-back  = version u8 (1) · 0, or 1 and partner text · from moment · until moment · set by · ground · set at moment
//! set by, ground = number of parts varint · text × parts
//! fields     = 0: all · 1 and fields u16. A u16 is big-endian, one bit for each field's code
//! moment     = as in a record, counted from 1970-01-01
//! ```

use super::wire::{DecodeError, Reader, Unencodable, Writer};
use crate::domain::claim::ConsentEvidence;
use crate::domain::disclosure::{Field, FieldSet};
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::presentation::{Audience, PartnerMark, Presentation, PresentationId};
use crate::domain::question::Purpose;
use crate::domain::subject::{NumberPseudonym, SubjectId};
use crate::evidence::ports::HoldBack;
use crate::issuing::ports::{ConsentId, ConsentOnBook};

const VERSION: u8 = 1;
/// 1970-01-01, from which moments are counted.
const BASE_DAY: i64 = 0;
/// The text of a ground may be longer than a name.
const GROUND_PARTS_MAX: usize = 8;

/// Appends a share code's presentation.
///
/// # Errors
/// [`Unencodable`].
pub(in crate::registry) fn encode_share_code(
    subject: SubjectId,
    presentation: &Presentation,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let mut out = Writer(out);
    out.byte(VERSION);
    out.bytes(subject.as_bytes());
    out.bytes(presentation.number.as_bytes());
    match &presentation.audience {
        Audience::Untold => out.byte(0),
        Audience::Kind(kind) => out.bytes(&[1, kind.code()]),
        Audience::Partner(partner) => {
            out.byte(2);
            out.bytes(partner.as_bytes());
        }
    }
    out.byte(presentation.purpose.map_or(0, Purpose::code));
    match presentation.fields {
        None => out.byte(0),
        Some(fields) => {
            out.byte(1);
            out.bytes(&bits_of(fields).to_be_bytes());
        }
    }
    out.varint(u64::from(presentation.uses_max));
    out.round_moment(presentation.issued_at, BASE_DAY);
    out.round_moment(presentation.expires_at, BASE_DAY);
    Ok(())
}

/// Reads a share code's presentation, and whose it is.
///
/// # Errors
/// See [`DecodeError`].
pub(in crate::registry) fn decode_share_code(
    id: PresentationId,
    bytes: &[u8],
) -> Result<(SubjectId, Presentation), DecodeError> {
    let mut from = begin(bytes)?;
    let subject = SubjectId::from_bytes(from.array()?);
    let number = NumberPseudonym::from_bytes(from.array()?);
    let audience = match from.byte()? {
        0 => Audience::Untold,
        1 => Audience::Kind(
            PartnerKind::from_code(from.byte()?).ok_or(DecodeError::Malformed("kind of partner"))?,
        ),
        2 => Audience::Partner(PartnerMark::from_bytes(from.array()?)),
        _ => return Err(DecodeError::Malformed("audience")),
    };
    let purpose = match from.byte()? {
        0 => None,
        code => Some(Purpose::from_code(code).ok_or(DecodeError::Malformed("purpose"))?),
    };
    let fields = match from.byte()? {
        0 => None,
        1 => Some(read_fields(&mut from)?),
        _ => return Err(DecodeError::Malformed("fields")),
    };
    let uses_max = u16::try_from(from.varint()?).map_err(|_| DecodeError::Malformed("number of uses"))?;
    let (issued_at, expires_at) = (from.round_moment(BASE_DAY)?, from.round_moment(BASE_DAY)?);
    let presentation =
        Presentation { id, number, audience, purpose, fields, uses_max, issued_at, expires_at };
    end(&from)?;
    Ok((subject, presentation))
}

/// Appends a consent; its id is the place it is sealed for.
///
/// # Errors
/// [`Unencodable`].
pub(in crate::registry) fn encode_consent(
    consent: &ConsentOnBook,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let mut out = Writer(out);
    out.byte(VERSION);
    out.text(consent.partner.as_str())?;
    out.byte(consent.purpose.code());
    out.bytes(&bits_of(consent.fields).to_be_bytes());
    out.round_moment(consent.evidence.obtained_at, BASE_DAY);
    out.round_moment(consent.evidence.expires_at, BASE_DAY);
    out.text(&consent.evidence.notice_version)?;
    out.bytes(&consent.evidence.evidence_sha256);
    out.text(&consent.case_category)?;
    out.round_moment(consent.first_used_at, BASE_DAY);
    match consent.withdrawn_at {
        None => out.byte(0),
        Some(at) => {
            out.byte(1);
            out.round_moment(at, BASE_DAY);
        }
    }
    Ok(())
}

/// Reads a consent.
///
/// # Errors
/// See [`DecodeError`].
pub(in crate::registry) fn decode_consent(id: ConsentId, bytes: &[u8]) -> Result<ConsentOnBook, DecodeError> {
    let mut from = begin(bytes)?;
    let partner = read_partner(&mut from)?;
    let purpose = Purpose::from_code(from.byte()?).ok_or(DecodeError::Malformed("purpose"))?;
    let fields = read_fields(&mut from)?;
    let evidence = ConsentEvidence {
        obtained_at: from.round_moment(BASE_DAY)?,
        expires_at: from.round_moment(BASE_DAY)?,
        notice_version: from.text()?.to_owned(),
        evidence_sha256: from.array()?,
    };
    let case_category = from.text()?.to_owned();
    let first_used_at = from.round_moment(BASE_DAY)?;
    let withdrawn_at = match from.byte()? {
        0 => None,
        1 => Some(from.round_moment(BASE_DAY)?),
        _ => return Err(DecodeError::Malformed("withdrawal")),
    };
    end(&from)?;
    Ok(ConsentOnBook { id, partner, purpose, fields, evidence, case_category, first_used_at, withdrawn_at })
}

/// Appends a hold-back; its id and subject are the place it is kept at.
///
/// # Errors
/// [`Unencodable`].
pub(in crate::registry) fn encode_hold_back(
    hold_back: &HoldBack,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let mut out = Writer(out);
    out.byte(VERSION);
    match &hold_back.partner {
        None => out.byte(0),
        Some(partner) => {
            out.byte(1);
            out.text(partner.as_str())?;
        }
    }
    out.round_moment(hold_back.from, BASE_DAY);
    out.round_moment(hold_back.until, BASE_DAY);
    write_long(&hold_back.set_by, &mut out)?;
    write_long(&hold_back.ground, &mut out)?;
    out.round_moment(hold_back.set_at, BASE_DAY);
    Ok(())
}

/// Reads a hold-back.
///
/// # Errors
/// See [`DecodeError`].
pub(in crate::registry) fn decode_hold_back(
    id: [u8; 16],
    subject: SubjectId,
    bytes: &[u8],
) -> Result<HoldBack, DecodeError> {
    let mut from = begin(bytes)?;
    let partner = match from.byte()? {
        0 => None,
        1 => Some(read_partner(&mut from)?),
        _ => return Err(DecodeError::Malformed("partner")),
    };
    let (beginning, until) = (from.round_moment(BASE_DAY)?, from.round_moment(BASE_DAY)?);
    let (set_by, ground) = (read_long(&mut from)?, read_long(&mut from)?);
    let set_at = from.round_moment(BASE_DAY)?;
    end(&from)?;
    Ok(HoldBack { id, subject, partner, from: beginning, until, set_by, ground, set_at })
}

/// Writes a text of any language in as many parts as it takes.
fn write_long(text: &str, out: &mut Writer<'_>) -> Result<(), Unencodable> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(super::wire::TEXT_SIZE_MAX));
        parts.push(part);
        rest = behind;
    }
    if parts.len() > GROUND_PARTS_MAX {
        return Err(Unencodable("text"));
    }
    out.varint(parts.len() as u64);
    parts.into_iter().try_for_each(|part| out.text(part))
}

fn read_long(from: &mut Reader<'_>) -> Result<String, DecodeError> {
    let parts = usize::try_from(from.varint()?).unwrap_or(usize::MAX);
    if parts > GROUND_PARTS_MAX {
        return Err(DecodeError::Malformed("text"));
    }
    (0..parts).map(|_| from.text()).collect()
}

fn begin(bytes: &[u8]) -> Result<Reader<'_>, DecodeError> {
    let mut from = Reader(bytes);
    match from.byte()? {
        VERSION => Ok(from),
        0 => Err(DecodeError::Malformed("version")),
        newer => Err(DecodeError::NewerVersion(newer)),
    }
}

fn end(from: &Reader<'_>) -> Result<(), DecodeError> {
    if from.0.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
}

pub(super) fn read_partner(from: &mut Reader<'_>) -> Result<PartnerId, DecodeError> {
    from.text()?.parse().map_err(|_| DecodeError::Malformed("partner"))
}

fn bits_of(fields: FieldSet) -> u16 {
    fields.iter().fold(0, |bits, field| bits | 1 << field.code())
}

fn read_fields(from: &mut Reader<'_>) -> Result<FieldSet, DecodeError> {
    let bits = u16::from_be_bytes(from.array()?);
    let fields: FieldSet = Field::ALL.iter().copied().filter(|field| bits & 1 << field.code() != 0).collect();
    if bits_of(fields) == bits { Ok(fields) } else { Err(DecodeError::Malformed("fields")) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn share_code() -> Presentation {
        Presentation {
            id: PresentationId::from_bytes([0x81; 16]),
            number: NumberPseudonym::from_bytes([2; 16]),
            audience: Audience::Partner(PartnerMark::of(&"rental-demo".parse().unwrap())),
            purpose: Some(Purpose::Rental),
            fields: Some(FieldSet::of(&[Field::ALL[0], Field::ALL[3]])),
            uses_max: 3,
            issued_at: at(1_795_305_600),
            expires_at: at(1_795_564_801),
        }
    }

    fn consent() -> ConsentOnBook {
        ConsentOnBook {
            id: ConsentId([7; 16]),
            partner: "rental-demo".parse().unwrap(),
            purpose: Purpose::Rental,
            fields: FieldSet::of(Field::ALL),
            evidence: ConsentEvidence {
                obtained_at: "2026-11-01T00:00:00.000000001Z".parse().unwrap(),
                expires_at: at(1_800_000_000),
                notice_version: "n-1".to_owned(),
                evidence_sha256: [9; 32],
            },
            case_category: "checkout".to_owned(),
            first_used_at: at(1_795_305_600),
            withdrawn_at: Some(at(1_795_305_700)),
        }
    }

    fn hold_back() -> HoldBack {
        HoldBack {
            id: [3; 16],
            subject: SubjectId::from_bytes([4; 16]),
            partner: Some("police-demo".parse().unwrap()),
            from: at(1),
            until: at(2),
            set_by: "operator".to_owned(),
            ground: "立案".repeat(200),
            set_at: at(3),
        }
    }

    fn encoded() -> [Vec<u8>; 3] {
        let mut out = [const { Vec::new() }; 3];
        encode_share_code(SubjectId::from_bytes([5; 16]), &share_code(), &mut out[0]).unwrap();
        encode_consent(&consent(), &mut out[1]).unwrap();
        encode_hold_back(&hold_back(), &mut out[2]).unwrap();
        out
    }

    fn decoded(which: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        match which {
            0 => decode_share_code(share_code().id, bytes).map(drop),
            1 => decode_consent(consent().id, bytes).map(drop),
            _ => decode_hold_back([3; 16], SubjectId::from_bytes([4; 16]), bytes).map(drop),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let [code, agreed, held] = encoded();
        let whose = SubjectId::from_bytes([5; 16]);
        assert_eq!(decode_share_code(share_code().id, &code), Ok((whose, share_code())));
        assert_eq!(decode_consent(consent().id, &agreed), Ok(consent()));
        assert_eq!(decode_hold_back([3; 16], SubjectId::from_bytes([4; 16]), &held), Ok(hold_back()));
        for (audience, purpose, fields) in [
            (Audience::Untold, None, None),
            (Audience::Kind(PartnerKind::Rental), Some(Purpose::Rental), Some(FieldSet::EMPTY)),
        ] {
            let other = Presentation { audience, purpose, fields, ..share_code() };
            let mut bytes = Vec::new();
            encode_share_code(whose, &other, &mut bytes).unwrap();
            assert_eq!(decode_share_code(other.id, &bytes), Ok((whose, other)));
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        for (which, bytes) in encoded().into_iter().enumerate() {
            for end in 0..bytes.len() {
                assert!(decoded(which, &bytes[..end]).is_err(), "{which}: {end}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(decoded(which, &longer), Err(DecodeError::TrailingBytes));
            let newer = [&[9], &bytes[1..]].concat();
            assert_eq!(decoded(which, &newer), Err(DecodeError::NewerVersion(9)));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_it_panic(which in 0_usize..3, bytes: Vec<u8>) {
            let _read = decoded(which, &bytes);
            let _read = decoded(which, &[&[VERSION], bytes.as_slice()].concat());
        }
    }
}
