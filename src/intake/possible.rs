//! Which changes cannot be, given what is on record: judged at the moment they take effect, by everything known now.
//!
//! A rule stands here only if no order of honest reports can break it: what is merely unusual goes in. Kinds without a rule
//! are possible.

use jiff::Timestamp;
use jiff::civil::Date;

use super::change::StatedChange;
use super::fate::QuarantineReason as Reason;
use crate::domain::licence::{Change, ChangeKind, Qualification, StateLetter};

/// Letters with which a licence has ended: nothing can be added to it (Order 162 arts. 77, 79; RTSL 91, 99, 101).
const ENDED: [StateLetter; 4] =
    [StateLetter::Annulled, StateLetter::Revoked, StateLetter::Cancelled, StateLetter::CancelledRestorable];

/// Judges a change against the changes it would follow, in order of recording; `held_at` says what was held at a moment, by
/// everything known now.
pub(super) fn judge(
    before: &[Change],
    held_at: impl Fn(Timestamp) -> Qualification,
    change: &StatedChange,
) -> Result<(), Reason> {
    if birth_day(before, change).is_some_and(|birth| change.effective.day() < birth) {
        return Err(Reason::BeforeBirth);
    }
    let held = || held_at(change.effective.moment());
    let demand = |holds: bool, reason: Reason| if holds { Ok(()) } else { Err(reason) };
    match &change.kind {
        ChangeKind::ClassAdded { class } => {
            let held = held();
            demand(is_issued(&held), Reason::NotIssued)?;
            demand(!ENDED.iter().any(|letter| held.states.contains(*letter)), Reason::LicenceEnded)?;
            demand(held.classes.iter().all(|holding| holding.class != *class), Reason::ClassHeld)
        }
        ChangeKind::ClassRemoved { class } | ChangeKind::AgeExtended { class, .. } => {
            demand(held().classes.iter().any(|holding| holding.class == *class), Reason::ClassNotHeld)
        }
        ChangeKind::ValiditySet { validity } => {
            let ends_early = validity.last_day.is_some_and(|last| last < change.effective.day());
            demand(!ends_early, Reason::EndsBeforeItBegins)
        }
        ChangeKind::StateLifted { letter } => {
            // 正常 is the absence of the others: nobody keeps a record of when it began.
            let is_normal = *letter == StateLetter::Normal.code();
            demand(is_normal || held().states.contains_letter(*letter), Reason::LetterNotCarried)
        }
        ChangeKind::EndorsementLifted { endorsement } => {
            demand(held().endorsements.contains(endorsement), Reason::EndorsementNotHeld)
        }
        ChangeKind::PointsReversed => {
            let moment = change.effective.moment();
            let is_set = |known: &Change| {
                matches!(known.kind, ChangeKind::PointsSet { .. }) && known.effective.moment() == moment
            };
            demand(before.iter().any(is_set), Reason::NothingToReverse)
        }
        _ => Ok(()),
    }
}

/// A snapshot says what holds, not since when: its licence counts as issued.
fn is_issued(held: &Qualification) -> bool {
    held.first_issue.is_some() || held.history_from.is_some()
}

/// The birth date on record, or the one the change itself brings.
fn birth_day(before: &[Change], change: &StatedChange) -> Option<Date> {
    let told = |kind: &ChangeKind| match kind {
        ChangeKind::BirthDaySet { day } => Some(*day),
        ChangeKind::NumberSet { document, number } => number.birth_day(*document),
        _ => None,
    };
    let on_record = before.iter().rev().find_map(|known| told(&known.kind));
    on_record.or_else(|| told(&change.kind))
}

#[cfg(test)]
#[path = "possible_tests.rs"]
mod tests;
