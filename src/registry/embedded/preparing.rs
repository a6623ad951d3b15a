//! What of a batch can be worked out before anything is written, on every core and with many reads under way at once.
//!
//! Most changes continue a history that is there. Which subject a number leads to, what its record says, what of the submission is
//! new, and the record's new bytes depend on nothing else in the batch, unless somebody comes in it twice. So readers work them
//! out side by side, under the writer's lock: nothing changes in between. What is left for the one writer is to insert sealed rows,
//! in the order of their keys. Whatever is not of this kind (new subjects, new numbers, refusals) goes the ordinary way after it.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZero;

use redb::{ReadOnlyTable, ReadableDatabase as _};
use zeroize::Zeroizing;

use super::store::{PARTITION, Shared};
use super::tables::{NUMBERS, RECORDS};
use super::{merge, newcomer};
use crate::domain::licence::{ChangeKind, History, Record};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::intake::ports::StatedChange;
use crate::registry::codec;
use crate::registry::submission::{Extent, NewChange, Submission};
use crate::verification::ports::Pseudonyms as _;

/// Below this a batch waits less for its pages than for threads.
const BATCH_MIN: usize = 128;
/// Reads under way at once: what a disk takes before it queues.
const READS_AT_ONCE: usize = 16;

type Numbers = ReadOnlyTable<&'static [u8; 16], &'static [u8; 16]>;
type Records = ReadOnlyTable<&'static [u8; 16], &'static [u8]>;

/// What becomes of a submission, as far as the record alone decides it.
pub(super) enum Fate<'b> {
    /// It goes the ordinary way, for this subject.
    Ordinary(SubjectId),
    /// Everything it says is on record.
    Unchanged(SubjectId),
    /// Its subject's history grows.
    Grows(Box<Growth<'b>>),
}

/// A history that grows.
pub(super) struct Growth<'b> {
    record: Record,
    fresh: &'b [NewChange],
    /// Every number the subject has or had; all of them are its own in the index.
    pub(super) pseudonyms: Vec<NumberPseudonym>,
}

/// A row that only waits to be written.
pub(super) struct SealedRow {
    /// Where the submission stands in the batch.
    pub(super) place: usize,
    pub(super) subject: SubjectId,
    pub(super) position: Position,
    pub(super) sealed: Vec<u8>,
    pub(super) pseudonyms: Vec<NumberPseudonym>,
}

impl Fate<'_> {
    fn subject(&self) -> SubjectId {
        match self {
            Self::Ordinary(subject) | Self::Unchanged(subject) => *subject,
            Self::Grows(growth) => growth.record.subject,
        }
    }
}

/// Works out what can be, for each submission of a batch; `None`: the ordinary way, for nobody who is on record. Empty: all of them go
/// the ordinary way, and whatever could not be read now is told by the writer. The writer's lock must be held.
pub(super) fn prepare<'b>(
    shared: &Shared,
    batch: &'b [Submission],
    began: Option<Position>,
) -> Vec<Option<Fate<'b>>> {
    if batch.len() < BATCH_MIN {
        return Vec::new();
    }
    let mut fates = Vec::with_capacity(batch.len());
    let is_whole = std::thread::scope(|scope| {
        let working_out = |some: &'b [Submission]| {
            let reading = std::thread::Builder::new().name("registry-prepare".to_owned());
            reading.spawn_scoped(scope, move || work_out(shared, some, began))
        };
        let threads: Vec<_> = batch.chunks(batch.len().div_ceil(READS_AT_ONCE)).map(working_out).collect();
        // Every thread is waited for, also behind one that could not be had, or met damage.
        let worked_out = threads.into_iter().map(|thread| thread.ok()?.join().ok()?);
        worked_out.fold(true, |is_whole, some| match some {
            Some(some) => {
                fates.extend(some);
                is_whole
            }
            None => false,
        })
    });
    if !is_whole {
        return Vec::new();
    }
    leave_out_who_comes_twice(&mut fates);
    fates
}

/// Of somebody who comes twice the second submission builds on the first, whichever way that goes.
fn leave_out_who_comes_twice(fates: &mut [Option<Fate<'_>>]) {
    let mut comings: HashMap<SubjectId, u32> = HashMap::with_capacity(fates.len());
    for fate in fates.iter().flatten() {
        *comings.entry(fate.subject()).or_default() += 1;
    }
    for fate in fates.iter_mut().flatten() {
        let subject = fate.subject();
        if comings.get(&subject).is_some_and(|count| *count > 1) {
            *fate = Fate::Ordinary(subject);
        }
    }
}

/// `None` when the store cannot be read: nothing is known then, not even who is on record.
fn work_out<'b>(
    shared: &Shared,
    batch: &'b [Submission],
    began: Option<Position>,
) -> Option<Vec<Option<Fate<'b>>>> {
    let reading = shared.database.begin_read().ok()?;
    let (numbers, records) = (reading.open_table(NUMBERS).ok()?, reading.open_table(RECORDS).ok()?);
    let mut scratch = Zeroizing::default();
    let one = |submission| work_out_one(shared, &numbers, &records, submission, began, &mut scratch);
    batch.iter().map(one).collect()
}

fn work_out_one<'b>(
    shared: &Shared,
    numbers: &Numbers,
    records: &Records,
    submission: &'b Submission,
    began: Option<Position>,
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Option<Option<Fate<'b>>> {
    let pseudonym = shared.keys.pseudonym(submission.document, &submission.number);
    let Some(subject) = numbers.get(pseudonym.as_bytes()).ok()? else { return Some(None) };
    let subject = SubjectId::from_bytes(*subject.value());
    let known_by = (subject, pseudonym);
    let alone = continued(shared, numbers, records, known_by, submission, began, scratch);
    Some(Some(alone.unwrap_or(Fate::Ordinary(subject))))
}

/// Works out how the history of a subject goes on; `None`: not as simply as that.
fn continued<'b>(
    shared: &Shared,
    numbers: &Numbers,
    records: &Records,
    (subject, pseudonym): (SubjectId, NumberPseudonym),
    submission: &'b Submission,
    began: Option<Position>,
    scratch: &mut Zeroizing<Vec<u8>>,
) -> Option<Fate<'b>> {
    merge::check(submission).ok()?;
    let sealed = records.get(subject.as_bytes()).ok()??;
    let plain = shared.keys.sealing.open(sealed.value(), subject.as_bytes(), scratch).ok()?;
    let record = codec::decode(subject, plain).ok()?;
    let changes = record.history.changes();
    if submission.extent == Extent::Whole && merge::came_since(began, changes) {
        return None;
    }
    let fresh = merge::fresh(submission, changes).ok()?;
    if fresh.is_empty() {
        return Some(Fate::Unchanged(subject));
    }
    if !fresh.iter().all(is_plain) {
        return None;
    }
    let pseudonyms = newcomer::pseudonyms(&shared.keys, Some(pseudonym), changes);
    for pseudonym in &pseudonyms {
        if numbers.get(pseudonym.as_bytes()).ok()??.value() != subject.as_bytes() {
            return None;
        }
    }
    Some(Fate::Grows(Box::new(Growth { record, fresh, pseudonyms })))
}

/// Says whether a change touches nothing but the record, and can be stored.
fn is_plain(change: &NewChange) -> bool {
    let NewChange { effective, recorded_at, kind } = change.clone();
    !matches!(kind, ChangeKind::NumberSet { .. })
        && codec::is_storable(&StatedChange { effective, recorded_at, kind })
}

/// Makes the rows of histories that grow, each at the position it is given, on every core; in the order given. `None`: one of them cannot be
/// made, and all of them must go the ordinary way.
pub(super) fn seal(
    shared: &Shared,
    growths: Vec<(usize, Position, Box<Growth<'_>>)>,
) -> Option<Vec<SealedRow>> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = growths.len().div_ceil(cores).max(1);
    let mut growths = growths.into_iter();
    let mut rows = Vec::with_capacity(growths.len());
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(cores);
        loop {
            let some: Vec<_> = growths.by_ref().take(share).collect();
            if some.is_empty() {
                break;
            }
            let sealing = std::thread::Builder::new().name("registry-seal".to_owned());
            threads.push(sealing.spawn_scoped(scope, move || seal_some(shared, some)).ok()?);
        }
        for thread in threads {
            rows.extend(thread.join().ok()??);
        }
        Some(rows)
    })
}

fn seal_some(shared: &Shared, growths: Vec<(usize, Position, Box<Growth<'_>>)>) -> Option<Vec<SealedRow>> {
    let mut plain = Zeroizing::new(Vec::new());
    let mut rows = Vec::with_capacity(growths.len());
    for (place, position, growth) in growths {
        let Growth { record, fresh, pseudonyms } = *growth;
        let subject = record.subject;
        let mut changes = record.history.changes().to_vec();
        changes.extend(fresh.iter().cloned().map(|change| change.at(position)));
        let record = Record { history: History::from_changes(changes), ..record };
        plain.clear();
        codec::encode(&record, &mut plain).ok()?;
        let sealed = shared.keys.sealing.seal(&plain, subject.as_bytes()).ok()?;
        rows.push(SealedRow { place, subject, position, sealed, pseudonyms });
    }
    Some(rows)
}

/// Gives the growths of a batch consecutive positions after the feed's head.
pub(super) fn place<'b>(
    fates: &mut [Option<Fate<'b>>],
    head: Position,
) -> Vec<(usize, Position, Box<Growth<'b>>)> {
    let mut seq = head.seq;
    let mut placed = Vec::with_capacity(fates.len());
    for (place, fate) in fates.iter_mut().enumerate() {
        if let Some(Fate::Grows(_)) = fate
            && let Some(Fate::Grows(growth)) = fate.take()
        {
            seq += 1;
            placed.push((place, Position { partition: PARTITION, seq, ..head }, growth));
        }
    }
    placed
}
