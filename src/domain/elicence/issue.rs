//! Whether an e-licence may be issued, and its photo changed.

use jiff::civil::Date;

use super::life::ELicence;
use crate::domain::decision::{Ground, grounds};
use crate::domain::licence::{Qualification, RefusalGround, StateGround, StateLetter};
use crate::domain::rules::Rules;
use crate::domain::time::months_after;

/// Calendar months between two changes of the photo (`docs/domain.md` §0 no. 26).
pub const PHOTO_CHANGE_MONTHS: i32 = 6;

/// A change of the photo before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the photo can be changed again from {earliest} on")]
pub struct TooSoon {
    /// The first day on which it may be changed again.
    pub earliest: Date,
}

/// Says whether the licence's state and validity let an e-licence be issued on a day (no. 18 and 19, and the fuller list of
/// §2). The photo and the person are judged by the review; pending violations and accidents bar nothing.
///
/// # Errors
/// The first ground, by weight: what cannot be healed before what can.
pub fn may_be_issued(held: &Qualification, rules: &Rules, day: Date) -> Result<(), RefusalGround> {
    if held.disputed || held.erased {
        return Err(RefusalGround::StateUnresolved);
    }
    let found = grounds(held, rules, day);
    let weightiest = BY_WEIGHT.into_iter().find(|ground| found.contains(*ground));
    weightiest.map_or(Ok(()), |ground| Err(refusal(ground, held)))
}

/// Every ground, by weight.
const BY_WEIGHT: [Ground; 14] = [
    Ground::NeverIssued,
    Ground::Revoked,
    Ground::Annulled,
    Ground::Cancelled,
    Ground::CancelledRestorable,
    Ground::Stopped,
    Ground::Unresolved,
    Ground::Seized,
    Ground::Detained,
    Ground::Suspended,
    Ground::PointsFull,
    Ground::Expired,
    Ground::Deferred,
    Ground::ReviewOverdue,
];

fn refusal(ground: Ground, held: &Qualification) -> RefusalGround {
    let grounded = |letter: StateLetter, by: StateGround| held.state_grounds.contains(&(letter.code(), by));
    let medical_deferred = || held.states.contains(StateLetter::MedicalDeferred);
    match ground {
        Ground::NeverIssued => RefusalGround::StateUnresolved,
        Ground::Unresolved if held.states.contains(StateLetter::Locked) => RefusalGround::Locked,
        Ground::Unresolved => RefusalGround::StateUnresolved,
        Ground::Revoked => RefusalGround::Revoked,
        Ground::Annulled => RefusalGround::Annulled,
        // There is no letter for 逾期未体检: it is told by the ground of the cancellation, or by a deferral that ran out.
        Ground::CancelledRestorable if grounded(StateLetter::CancelledRestorable, StateGround::NoMedical) => {
            RefusalGround::MedicalOverdue
        }
        Ground::Deferred if medical_deferred() => RefusalGround::MedicalOverdue,
        Ground::Cancelled | Ground::CancelledRestorable => RefusalGround::Cancelled,
        Ground::Stopped => RefusalGround::Stopped,
        Ground::Seized => RefusalGround::Seized,
        Ground::Detained => RefusalGround::Detained,
        Ground::Suspended => RefusalGround::Suspended,
        Ground::PointsFull => RefusalGround::PointsFull,
        Ground::Expired | Ground::Deferred => RefusalGround::NotInValidity,
        Ground::ReviewOverdue => RefusalGround::ReviewOverdue,
    }
}

/// Says whether the photo may be changed on a day: the first time whenever its holder likes, then every six calendar months.
/// A re-application does not begin the count anew.
///
/// # Errors
/// [`TooSoon`] says from when on.
pub fn may_change_photo(known: &ELicence, day: Date) -> Result<(), TooSoon> {
    let earliest = known.photo_changed_on.map(|changed| months_after(changed, PHOTO_CHANGE_MONTHS));
    match earliest.filter(|earliest| day < *earliest) {
        Some(earliest) => Err(TooSoon { earliest }),
        None => Ok(()),
    }
}
