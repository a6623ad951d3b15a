//! A presentation as CWT claims (RFC 8392).
//!
//! | claim | holds |
//! |---|---|
//! | `sub` (2) | the pseudonym of the number, base64url: the claim is a text |
//! | `exp` (4), `iat` (6) | its time, in whole seconds |
//! | `cti` (7) | its id |
//! | -65537 | audience, purpose, fields: \[null or kind or mark, null or purpose, null or bits of the fields\] |

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::CborSerializable as _;
use coset::cbor::value::Value;
use coset::cwt::{ClaimName, ClaimsSet, Timestamp as Moment};
use jiff::Timestamp;

use crate::domain::disclosure::FieldSet;
use crate::domain::partner::PartnerKind;
use crate::domain::presentation::{Audience, PartnerMark, Presentation, PresentationId, PresentationKind};
use crate::domain::question::Purpose;
use crate::domain::subject::NumberPseudonym;

/// Audience, purpose and fields: the first claim of the range for private use.
const AGREED: i64 = -65_537;

/// Writes the one encoding of a QR code's claims; `None` for what no QR code can be: of another kind, for several uses, with a purpose for
/// nobody, with parts of a second.
pub(super) fn write(presentation: &Presentation) -> Option<Vec<u8>> {
    let Presentation { id, number, audience, purpose, fields, uses_max, issued_at, expires_at } =
        presentation;
    let is_qr = id.kind() == PresentationKind::Qr && *uses_max == 1;
    let told_both = (*audience == Audience::Untold) == purpose.is_none();
    if !(is_qr && told_both && issued_at < expires_at) {
        return None;
    }
    let audience = match audience {
        Audience::Untold => Value::Null,
        Audience::Kind(kind) => Value::from(kind.code()),
        Audience::Partner(mark) => Value::Bytes(mark.as_bytes().to_vec()),
    };
    let purpose = purpose.map_or(Value::Null, |purpose| Value::from(purpose.code()));
    let fields = fields.map_or(Value::Null, |fields| Value::from(fields.bits()));
    let claims = ClaimsSet {
        subject: Some(URL_SAFE_NO_PAD.encode(number.as_bytes())),
        issued_at: Some(whole_seconds(*issued_at)?),
        expiration_time: Some(whole_seconds(*expires_at)?),
        cwt_id: Some(id.as_bytes().to_vec()),
        rest: vec![(ClaimName::PrivateUse(AGREED), Value::Array(vec![audience, purpose, fields]))],
        ..ClaimsSet::default()
    };
    claims.to_vec().ok()
}

/// Reads the one encoding of a QR code's claims; anything else is none.
pub(super) fn read(plain: &[u8]) -> Option<Presentation> {
    let claims = ClaimsSet::from_slice(plain).ok()?;
    let [(_, Value::Array(agreed))] = claims.rest.as_slice() else { return None };
    let [audience, purpose, fields] = agreed.as_slice() else { return None };
    let number: [u8; 16] = URL_SAFE_NO_PAD.decode(claims.subject?).ok()?.try_into().ok()?;
    let presentation = Presentation {
        id: PresentationId::from_bytes(claims.cwt_id?.try_into().ok()?),
        number: NumberPseudonym::from_bytes(number),
        audience: read_audience(audience)?,
        purpose: optional(purpose, |code| Purpose::from_code(u8::try_from(code).ok()?))?,
        fields: optional(fields, |bits| FieldSet::from_bits(u16::try_from(bits).ok()?))?,
        uses_max: 1,
        issued_at: moment(&claims.issued_at?)?,
        expires_at: moment(&claims.expiration_time?)?,
    };
    (write(&presentation)? == plain).then_some(presentation)
}

fn read_audience(value: &Value) -> Option<Audience> {
    if let Value::Bytes(mark) = value {
        return Some(Audience::Partner(PartnerMark::from_bytes(mark.as_slice().try_into().ok()?)));
    }
    let kind = optional(value, |code| PartnerKind::from_code(u8::try_from(code).ok()?))?;
    Some(kind.map_or(Audience::Untold, Audience::Kind))
}

/// Reads null or a number: `None` when it is neither, or the number means nothing.
fn optional<T>(value: &Value, meant: impl Fn(i128) -> Option<T>) -> Option<Option<T>> {
    match value {
        Value::Null => Some(None),
        Value::Integer(number) => meant(i128::from(*number)).map(Some),
        _ => None,
    }
}

fn whole_seconds(moment: Timestamp) -> Option<Moment> {
    (moment.subsec_nanosecond() == 0).then(|| Moment::WholeSeconds(moment.as_second()))
}

fn moment(claim: &Moment) -> Option<Timestamp> {
    match claim {
        Moment::WholeSeconds(seconds) => Timestamp::from_second(*seconds).ok(),
        Moment::FractionalSeconds(_) => None,
    }
}
