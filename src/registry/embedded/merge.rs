//! How a submission meets the history on record. Pure.

use jiff::civil::Date;

use crate::domain::licence::{Change, ChangeKind};
use crate::domain::subject::Position;
use crate::registry::submission::{CHANGES_PER_SUBJECT_MAX, Extent, NewChange, Rejection, Submission};

/// Checks what needs no record: order, bounds, birth.
pub(in crate::registry) fn check(submission: &Submission) -> Result<(), Rejection> {
    let changes = &submission.changes;
    if changes.is_empty() {
        return Err(Rejection::Empty);
    }
    if changes.len() > CHANGES_PER_SUBJECT_MAX {
        return Err(Rejection::TooManyChanges);
    }
    if !changes.is_sorted_by_key(|change| change.recorded_at) {
        return Err(Rejection::RecordedTimeRunsBack);
    }
    let said = changes.iter().rev().find_map(|change| birth_day(&change.kind));
    match said.or_else(|| submission.number.birth_day(submission.document)) {
        Some(birth) => not_before(birth, changes),
        None => Ok(()),
    }
}

/// Says whether a subject came in with the import that began when the feed stood there.
pub(in crate::registry) fn came_since(began: Option<Position>, on_record: &[Change]) -> bool {
    let first = on_record.first().map(|change| change.position);
    matches!((began, first), (Some(began), Some(first)) if first > began)
}

/// Finds the changes that are new, given the history on record.
pub(in crate::registry) fn fresh<'s>(
    submission: &'s Submission,
    on_record: &[Change],
) -> Result<&'s [NewChange], Rejection> {
    match submission.extent {
        Extent::Whole => beyond(&submission.changes, on_record),
        Extent::Continuation => unknown(&submission.changes, on_record),
    }
}

/// A whole history must start with the one on record, or be a start of it.
fn beyond<'s>(changes: &'s [NewChange], on_record: &[Change]) -> Result<&'s [NewChange], Rejection> {
    let agrees = changes.iter().zip(on_record).all(|(new, stored)| new.says(stored));
    if !agrees {
        return Err(Rejection::ConflictingHistory);
    }
    let fresh = changes.get(on_record.len()..).unwrap_or(&[]);
    fits(fresh, on_record)?;
    Ok(fresh)
}

/// Single changes are new unless the record already says all of them.
fn unknown<'s>(changes: &'s [NewChange], on_record: &[Change]) -> Result<&'s [NewChange], Rejection> {
    let on_file = |change: &NewChange| on_record.iter().any(|stored| change.says(stored));
    let fresh = &changes[changes.iter().take_while(|change| on_file(change)).count()..];
    fits(fresh, on_record)?;
    Ok(fresh)
}

fn fits(fresh: &[NewChange], on_record: &[Change]) -> Result<(), Rejection> {
    if on_record.len() + fresh.len() > CHANGES_PER_SUBJECT_MAX {
        return Err(Rejection::TooManyChanges);
    }
    if let (Some(next), Some(last)) = (fresh.first(), on_record.last())
        && next.recorded_at < last.recorded_at
    {
        return Err(Rejection::RecordedTimeRunsBack);
    }
    match on_record.iter().rev().find_map(|change| birth_day(&change.kind)) {
        Some(birth) => not_before(birth, fresh),
        None => Ok(()),
    }
}

fn not_before(birth: Date, changes: &[NewChange]) -> Result<(), Rejection> {
    if changes.iter().any(|change| change.effective.day() < birth) {
        return Err(Rejection::BeforeBirth);
    }
    Ok(())
}

fn birth_day(kind: &ChangeKind) -> Option<Date> {
    match kind {
        ChangeKind::BirthDaySet { day } => Some(*day),
        _ => None,
    }
}
