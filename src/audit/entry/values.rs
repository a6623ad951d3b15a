//! Canonical bytes of what leaves commit to. Specified in `docs/evidence.md`: a partner rebuilds these from what it sent and
//! received, so nothing here may depend on anything it does not know.

use std::io::Write as _;

use jiff::civil::Date;

use super::codec::push_moment;
use crate::domain::claim::ConsentEvidence;
use crate::domain::decision::Remedy;
use crate::domain::disclosure::{DisplayShown, Pending, Probation};
use crate::domain::elicence::Groups;
use crate::domain::licence::{ClassSet, DocumentKind, LicenceNumber, StateSet, VehicleClass};
use crate::domain::question::Question;
use crate::domain::vehicle::{Vehicle, VehicleKind, VehicleUse};

/// Document kind, then the canonical number.
pub(in crate::audit) fn licence_number(into: &mut Vec<u8>, document: DocumentKind, number: &LicenceNumber) {
    into.push(document.code());
    into.extend_from_slice(number.expose().as_bytes());
}

/// Obtained, expires, digest, notice version.
pub(in crate::audit) fn consent(into: &mut Vec<u8>, consent: &ConsentEvidence) {
    push_moment(into, consent.obtained_at);
    push_moment(into, consent.expires_at);
    into.extend_from_slice(&consent.evidence_sha256);
    into.extend_from_slice(consent.notice_version.as_bytes());
}

/// The purpose's code, then its fields in the order of the proto.
pub(in crate::audit) fn question(into: &mut Vec<u8>, question: &Question) {
    into.push(question.purpose().code());
    match question {
        Question::InsuranceClaim { occurred_at, vehicle: driven, edition } => {
            push_moment(into, *occurred_at);
            into.push(edition.code());
            vehicle(into, driven);
        }
        Question::InsurancePurchase { vehicle: covered } => vehicle(into, covered),
        Question::Rental { pick_up, return_at, vehicle: rented, min_tenure_months, validity_margin_days } => {
            push_moment(into, *pick_up);
            push_moment(into, *return_at);
            optional_u16(into, *min_tenure_months);
            into.extend_from_slice(&validity_margin_days.to_be_bytes());
            vehicle(into, rented);
        }
        Question::Recruitment { role, min_tenure_months, class } => {
            into.push(role.code());
            optional_u16(into, *min_tenure_months);
            into.push(class.map_or(0, VehicleClass::code));
        }
        Question::Transport { role, filed, class } => {
            into.extend_from_slice(&[role.code(), u8::from(*filed), class.map_or(0, VehicleClass::code)]);
        }
        Question::Enforcement { vehicle: found } => {
            into.push(u8::from(found.is_some()));
            if let Some(found) = found {
                vehicle(into, found);
            }
        }
        Question::PeerScan { scanner } => licence_number(into, scanner.document, &scanner.number),
    }
}

fn vehicle(into: &mut Vec<u8>, vehicle: &Vehicle) {
    match &vehicle.kind {
        VehicleKind::Class(class) => into.extend_from_slice(&[1, class.code(), 0, 0]),
        VehicleKind::TypeCode(code) => {
            into.push(2);
            into.extend_from_slice(code.as_str().as_bytes());
        }
    }
    into.extend_from_slice(&[tristate(vehicle.automatic), tristate(vehicle.adapted)]);
    optional_u16(into, vehicle.seats);
    optional_u32(into, vehicle.total_mass_kg);
    optional_u32(into, vehicle.combination_mass_kg);
    into.push(vehicle.used_for.map_or(0, VehicleUse::code));
}

/// Codes, in the order told.
pub(in crate::audit) fn remedies(into: &mut Vec<u8>, remedies: &[Remedy]) {
    into.extend(remedies.iter().map(|remedy| remedy.code()));
}

/// Kind, then the last day.
pub(in crate::audit) fn probation(into: &mut Vec<u8>, probation: Probation) {
    into.push(probation.kind.code());
    day(into, probation.last_day);
}

/// Bit 0: violation, bit 1: accident.
pub(in crate::audit) fn pending(into: &mut Vec<u8>, pending: Pending) {
    into.push(u8::from(pending.violation) | u8::from(pending.accident) << 1);
}

/// The colour's code, then 1 if 延期 is written on it, else 0.
pub(in crate::audit) fn display(into: &mut Vec<u8>, shown: DisplayShown) {
    into.extend_from_slice(&[shown.display.code(), u8::from(shown.deferred)]);
}

/// Bit 0: car, bit 1: motorcycle.
pub(in crate::audit) fn class_groups(into: &mut Vec<u8>, groups: Groups) {
    into.push(u8::from(groups.car) | u8::from(groups.motorcycle) << 1);
}

/// Letters, ascending.
pub(in crate::audit) fn states(into: &mut Vec<u8>, states: StateSet) {
    into.extend(states.letters());
}

/// Codes, ascending.
pub(in crate::audit) fn classes(into: &mut Vec<u8>, classes: ClassSet) {
    into.extend(VehicleClass::ALL.iter().filter(|class| classes.contains(**class)).map(|class| class.code()));
}

/// A civil day as `YYYY-MM-DD`.
pub(in crate::audit) fn day(into: &mut Vec<u8>, day: Date) {
    // Writing into a Vec cannot fail.
    let _ = write!(into, "{:04}-{:02}-{:02}", day.year(), day.month(), day.day());
}

fn tristate(known: Option<bool>) -> u8 {
    known.map_or(0, |yes| 1 + u8::from(yes))
}

fn optional_u16(into: &mut Vec<u8>, value: Option<u16>) {
    into.push(u8::from(value.is_some()));
    into.extend_from_slice(&value.unwrap_or(0).to_be_bytes());
}

fn optional_u32(into: &mut Vec<u8>, value: Option<u32>) {
    into.push(u8::from(value.is_some()));
    into.extend_from_slice(&value.unwrap_or(0).to_be_bytes());
}
