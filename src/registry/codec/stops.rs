//! What a driver stopped, behind the changes of a record.

use super::book::read_partner;
use super::wire::{DecodeError, Reader, Unencodable, Writer};
use crate::domain::licence::{STOPS_MAX, Stop, Stops};
use crate::domain::question::Purpose;

/// 1970-01-01, from which moments are counted.
const BASE_DAY: i64 = 0;
const WITHDRAWN: u8 = 1;
const OBJECTED: u8 = 2;

pub(super) fn write(stops: &Stops, out: &mut Writer<'_>) -> Result<(), Unencodable> {
    out.varint(stops.iter().count() as u64);
    for stop in stops.iter() {
        out.text(stop.partner.as_str())?;
        out.byte(stop.purpose.code());
        let flag = |moment: Option<_>, flag| if moment.is_some() { flag } else { 0 };
        out.byte(flag(stop.withdrawn_at, WITHDRAWN) | flag(stop.objected_at, OBJECTED));
        for moment in [stop.withdrawn_at, stop.objected_at].into_iter().flatten() {
            out.round_moment(moment, BASE_DAY);
        }
    }
    Ok(())
}

/// Reads at least one stop: a record without is of another version.
pub(super) fn read(from: &mut Reader<'_>) -> Result<Stops, DecodeError> {
    let count = usize::try_from(from.varint()?).unwrap_or(usize::MAX);
    if count == 0 || count > STOPS_MAX {
        return Err(DecodeError::Malformed("number of stops"));
    }
    (0..count).map(|_| read_one(from)).collect()
}

fn read_one(from: &mut Reader<'_>) -> Result<Stop, DecodeError> {
    let partner = read_partner(from)?;
    let purpose = Purpose::from_code(from.byte()?).ok_or(DecodeError::Malformed("purpose"))?;
    let flags = from.byte()?;
    if flags == 0 || flags & !(WITHDRAWN | OBJECTED) != 0 {
        return Err(DecodeError::Malformed("stop"));
    }
    let mut moment = |flag| if flags & flag == 0 { Ok(None) } else { from.round_moment(BASE_DAY).map(Some) };
    Ok(Stop { partner, purpose, withdrawn_at: moment(WITHDRAWN)?, objected_at: moment(OBJECTED)? })
}
