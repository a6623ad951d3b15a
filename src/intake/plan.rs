//! What a store writes when changes come in: decided here, without a store. Pure.
//!
//! The invariants, kept by properties in the tests beside:
//! - changes of one feed about one subject join the record in order of their sequence, each once;
//! - a dispute is open on record while anything of the subject waits, and not a moment longer;
//! - what is missing is never skipped but by the operator.

use std::time::Duration;

use jiff::Timestamp;

use super::change::{ChangeDigest, ChangeKey, IncomingChange, StatedChange};
use super::desk::{Answer, Desk};
use super::fate::Outcome;
use super::state::SubjectState;
use crate::domain::licence::{Change, ChangeKind, DocumentKind, History, LicenceNumber};
use crate::domain::subject::Position;

/// How long a change waits for an earlier one before it goes into quarantine.
pub const HELD_FOR: Duration = Duration::from_secs(5);
/// How far ahead of our clock a recorded time may lie and still be taken, as of now: two clocks never agree.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(10);
/// Changes of one subject that may wait: far more than two systems reorder, few enough to list.
pub const WAITING_MAX: usize = 64;
/// Feeds that may hand in changes of one subject.
pub const FEEDS_MAX: usize = 8;
/// Changes beyond the bound of a history that a dispute may take, so that a full record can still be disputed.
pub const DISPUTE_ROOM: usize = 2;

/// What a store knows about a subject, read in the transaction that will write the plan.
pub struct Dossier<'a> {
    /// The subject's history; `None`: nobody has the number.
    pub history: Option<&'a History>,
    /// The intake's state of the subject, or of the number nobody has.
    pub state: SubjectState,
    /// Of [`numbers_to_look_up`], those that belong to another subject.
    pub taken: &'a [(DocumentKind, LicenceNumber)],
    /// Changes a history may hold; the store must hold [`DISPUTE_ROOM`] more.
    pub changes_max: usize,
    /// Says whether a change can be stored.
    pub storable: fn(&StatedChange) -> bool,
}

/// A change that arrived, and what is known of its id.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The change.
    pub change: IncomingChange,
    /// Key of its id.
    pub key: ChangeKey,
    /// Digest of what it says.
    pub digest: ChangeDigest,
    /// What is known under [`Self::key`] if the digest is the same; else what is known under [`ChangeDigest::key`]; else what
    /// is known under [`Self::key`].
    pub known: Option<KnownChange>,
}

/// What is known of a change that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownChange<P = Position> {
    /// What it said.
    pub digest: ChangeDigest,
    /// What became of it.
    pub fate: KnownFate<P>,
}

/// What became of a change that came before. What it waits for stands in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownFate<P = Position> {
    /// It waits.
    Waiting,
    /// It is on record.
    Applied(P),
    /// The operator discarded it.
    Discarded,
}

impl ChangeDigest {
    /// Returns the key under which a change is known whose id belongs to another one.
    pub fn key(self) -> ChangeKey {
        ChangeKey(self.0)
    }
}

/// Where an applied change stands while the plan has no positions yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On record since earlier.
    OnRecord(Position),
    /// Among [`Plan::append`].
    Appended(usize),
}

/// What the store writes, in the one transaction it read the dossier in.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The subject is new: give it an id and a secret, and move the state from its number to it.
    pub creates: bool,
    /// Changes to append to the history, each at a position of its own, in this order.
    pub append: Vec<StatedChange>,
    /// The state to keep.
    pub state: SubjectState,
    /// What to answer, one for each arrival.
    pub outcomes: Vec<Outcome<Place>>,
    /// What to remember of changes, by key.
    pub known: Vec<(ChangeKey, KnownChange<Place>)>,
}

/// A plan whose changes have their positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Changes to append to the history.
    pub append: Vec<Change>,
    /// The state to keep.
    pub state: SubjectState,
    /// What to answer, one for each arrival.
    pub outcomes: Vec<Outcome>,
    /// What to remember of changes, by key.
    pub known: Vec<(ChangeKey, KnownChange)>,
}

impl Plan {
    /// Gives the appended changes consecutive positions from `first` on.
    pub fn place(self, first: Position) -> Placed {
        let at = |index: usize| Position { seq: first.seq.saturating_add(index as u64), ..first };
        let found = |place: Place| match place {
            Place::OnRecord(position) => position,
            Place::Appended(index) => at(index),
        };
        let known = |known: KnownChange<Place>| KnownChange {
            digest: known.digest,
            fate: match known.fate {
                KnownFate::Waiting => KnownFate::Waiting,
                KnownFate::Applied(place) => KnownFate::Applied(found(place)),
                KnownFate::Discarded => KnownFate::Discarded,
            },
        };
        Placed {
            append: self.append.into_iter().enumerate().map(|(index, change)| change.at(at(index))).collect(),
            state: self.state,
            outcomes: self.outcomes.into_iter().map(|outcome| outcome.map(found)).collect(),
            known: self.known.into_iter().map(|(key, change)| (key, known(change))).collect(),
        }
    }
}

/// Lists the numbers a plan may set: the store says which of them belong to another subject.
pub fn numbers_to_look_up(state: &SubjectState, arrivals: &[Arrival]) -> Vec<(DocumentKind, LicenceNumber)> {
    let waiting = state.waiting().filter_map(|waiting| waiting.content.as_ref());
    let arriving = arrivals.iter().filter_map(|arrival| arrival.change.content.as_ref());
    let mut numbers = Vec::new();
    for change in waiting.chain(arriving) {
        if let ChangeKind::NumberSet { document, number } = &change.kind {
            numbers.push((*document, number.clone()));
        }
    }
    numbers
}

/// Decides what becomes of changes that arrived, and of those that waited. Without arrivals: what time or a newly known
/// subject has settled.
pub fn plan(dossier: Dossier<'_>, arrivals: &[Arrival], now: Timestamp) -> Plan {
    let mut desk = Desk::open(dossier, now);
    desk.advance_all();
    let answers: Vec<Answer> = arrivals.iter().map(|arrival| desk.receive(arrival)).collect();
    let outcomes = |desk: &Desk<'_>| {
        let pairs = answers.iter().zip(arrivals);
        pairs.map(|(answer, arrival)| desk.outcome(*answer, arrival)).collect()
    };
    desk.close(outcomes)
}

/// Decides what becomes of the state when somebody else wrote the record: nothing is taken in, but a dispute is open if
/// anything waits. The next [`plan()`] of the subject takes in what has come due.
pub fn plan_notice(dossier: Dossier<'_>) -> Plan {
    // No clock is asked for: the latest recorded time is a moment that has passed.
    let last = dossier.history.and_then(|history| history.changes().last());
    let now = last.map_or(Timestamp::UNIX_EPOCH, |last| last.recorded_at);
    Desk::open(dossier, now).close(|_| Vec::new())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
