//! What is handed to the registry: changes of one subject, not yet placed in the feed.

use jiff::Timestamp;

use crate::domain::licence::{Change, ChangeKind, DocumentKind, FullName, LicenceNumber};
use crate::domain::subject::Position;
use crate::domain::time::Effective;
use crate::intake::ports::DISPUTE_ROOM;

/// Changes one history may hold. A career of 60 years with a change a month stays below.
pub const CHANGES_PER_SUBJECT_MAX: usize = 1_000;

/// Changes a stored record may hold: beyond those handed in, room to mark a dispute even on a full history.
pub(super) const CHANGES_HELD_MAX: usize = CHANGES_PER_SUBJECT_MAX + DISPUTE_ROOM;

/// A change without its place in the feed, which the store gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewChange {
    /// When it takes effect.
    pub effective: Effective,
    /// When the authority recorded it.
    pub recorded_at: Timestamp,
    /// What changed.
    pub kind: ChangeKind,
}

impl NewChange {
    /// Says whether a stored change says the same, wherever it stands in the feed.
    pub fn says(&self, stored: &Change) -> bool {
        self.effective == stored.effective
            && self.recorded_at == stored.recorded_at
            && self.kind == stored.kind
    }

    /// Gives the change its place in the feed.
    pub fn at(self, position: Position) -> Change {
        Change { effective: self.effective, recorded_at: self.recorded_at, position, kind: self.kind }
    }
}

/// How much of a subject's history a submission holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, from the first change on. Creates the subject if the number is new.
    Whole,
    /// Single changes of a subject that is already known.
    Continuation,
}

/// Changes of one subject, handed in together: durable together, at one position of the feed.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The document of the number below.
    pub document: DocumentKind,
    /// A number of the subject; any it ever had will do.
    pub number: LicenceNumber,
    /// Whether the changes are the whole history.
    pub extent: Extent,
    /// The changes, in the order they were recorded.
    pub changes: Vec<NewChange>,
}

/// A subject with everything known about it. Becomes a [`Submission`] by spelling out number and name as changes.
#[derive(Clone, Debug)]
pub struct NewSubject {
    /// The document of the number.
    pub document: DocumentKind,
    /// The number the subject is first known by.
    pub number: LicenceNumber,
    /// The name the subject is first known by.
    pub name: FullName,
    /// The changes, in the order they were recorded; may be empty of number, name and birth date.
    pub changes: Vec<NewChange>,
}

impl NewSubject {
    /// Spells the identity out as changes ahead of the others, unless they already say it.
    ///
    /// Identity holds from the birth date on (from the first change if that is unknown), so that a question about a
    /// time before the first issue still finds whom it is about. It is recorded with the first change.
    pub fn into_submission(self) -> Submission {
        let Self { document, number, name, changes } = self;
        let birth_day = number.birth_day(document);
        let mut whole = Vec::with_capacity(changes.len() + 3);
        if let Some(first) = changes.first() {
            let recorded_at = first.recorded_at;
            let effective = birth_day.map_or(first.effective, Effective::On);
            let lacks = |says: fn(&ChangeKind) -> bool| !changes.iter().any(|change| says(&change.kind));
            let mut say = |kind| whole.push(NewChange { effective, recorded_at, kind });
            // A record names every number it is found by, whatever others it names.
            let is_named = changes.iter().any(|change| match &change.kind {
                ChangeKind::NumberSet { document: kind, number: named } => {
                    (*kind, named) == (document, &number)
                }
                _ => false,
            });
            if !is_named {
                say(ChangeKind::NumberSet { document, number: number.clone() });
            }
            if lacks(|kind| matches!(kind, ChangeKind::NameSet { .. })) {
                say(ChangeKind::NameSet { name });
            }
            if let Some(day) = birth_day
                && lacks(|kind| matches!(kind, ChangeKind::BirthDaySet { .. }))
            {
                say(ChangeKind::BirthDaySet { day });
            }
        }
        whole.extend(changes);
        Submission { document, number, extent: Extent::Whole, changes: whole }
    }
}

/// How one submission came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A subject was created.
    Created(Position),
    /// Changes were appended to a known history.
    Appended(Position),
    /// Everything submitted is already on record.
    Unchanged,
    /// Nothing was taken; why.
    Rejected(Rejection),
}

/// Why a submission was not taken. Never holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No changes at all.
    #[error("holds no changes")]
    Empty,
    /// More changes than a history may hold.
    #[error("holds more than {CHANGES_PER_SUBJECT_MAX} changes")]
    TooManyChanges,
    /// A change was recorded before the one ahead of it.
    #[error("a change was recorded before the one ahead of it")]
    RecordedTimeRunsBack,
    /// A change takes effect before the subject was born.
    #[error("a change takes effect before the birth date")]
    BeforeBirth,
    /// A text, code or number no record can hold.
    #[error("holds a value that cannot be stored")]
    Unencodable,
    /// A continuation for a number nobody has.
    #[error("no subject has this number")]
    UnknownSubject,
    /// The history on record says something else.
    #[error("conflicts with the history on record")]
    ConflictingHistory,
    /// A number in the changes belongs to somebody else.
    #[error("a number in the changes belongs to another subject")]
    NumberTaken,
    /// An earlier submission of the same import already has this number.
    #[error("duplicate number: an earlier line has it")]
    DuplicateNumber,
    /// The record on file cannot be read.
    #[error("the record on file cannot be read")]
    RecordUnreadable,
}
