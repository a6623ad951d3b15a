//! What a store keeps per subject beside its record: how far each feed's sequence came, and what waits.

use jiff::Timestamp;

use super::change::{ChangeDigest, ChangeId, ChangeKey, FeedName, Handle, StatedChange};
use super::fate::QuarantineReason;

/// The intake's state of one subject, or of a number nobody has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubjectState {
    /// The dispute on record was opened here, and is settled here.
    pub dispute_opened: bool,
    /// Every feed that ever handed in a change of the subject.
    pub feeds: Vec<FeedState>,
    /// Changes with no place in their sequence: ids used twice, places taken.
    pub aside: Vec<Waiting>,
}

/// How far one feed's sequence came.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedState {
    /// Which feed.
    pub source: FeedName,
    /// The next sequence number due.
    pub next: u64,
    /// Changes that wait for their turn, by sequence number; none below `next`.
    pub waiting: Vec<Waiting>,
}

/// A change that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Key of its id.
    pub key: ChangeKey,
    /// Digest of what it says.
    pub digest: ChangeDigest,
    /// Whose feed.
    pub source: FeedName,
    /// The authority's id of it.
    pub id: ChangeId,
    /// Its place in the sequence.
    pub sequence: u64,
    /// It sets the very number it was filed under.
    pub introduces: bool,
    /// What it says; `None` when that could not be understood.
    pub content: Option<StatedChange>,
    /// Since when it waits.
    pub since: Timestamp,
    /// What for.
    pub hold: Hold,
}

/// What a waiting change waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// For an earlier change, until this moment; then it is in quarantine.
    Until(Timestamp),
    /// For the operator, or for what it lacks.
    Quarantined(QuarantineReason),
}

/// How many changes wait, and until when the first of them is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingCounts {
    /// Held for an earlier change.
    pub held: u64,
    /// In quarantine.
    pub quarantined: u64,
    /// The earliest moment at which a held one goes into quarantine.
    pub held_until: Option<Timestamp>,
}

impl WaitingCounts {
    /// Adds others.
    pub fn add(&mut self, others: Self) {
        self.held += others.held;
        self.quarantined += others.quarantined;
        self.held_until = match (self.held_until, others.held_until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

impl SubjectState {
    /// Iterates over everything that waits.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.feeds.iter().flat_map(|feed| &feed.waiting).chain(&self.aside)
    }

    /// Says whether nothing is known here: then nothing need be stored.
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.aside.is_empty() && !self.dispute_opened
    }

    /// Counts what waits.
    pub fn counts(&self) -> WaitingCounts {
        let mut counts = WaitingCounts::default();
        for waiting in self.waiting() {
            counts.add(match waiting.hold {
                Hold::Until(moment) => WaitingCounts { held: 1, held_until: Some(moment), quarantined: 0 },
                Hold::Quarantined(_) => WaitingCounts { quarantined: 1, ..WaitingCounts::default() },
            });
        }
        counts
    }

    /// Takes over what waited under a number that now turns out to be this subject's.
    pub fn adopt(&mut self, number: Self) {
        self.aside.extend(number.aside);
        for waiting in number.feeds.into_iter().flat_map(|feed| feed.waiting) {
            let feed = self.feed(&waiting.source);
            if feed.has_room_for(waiting.sequence) {
                feed.insert(waiting);
            } else {
                let hold = Hold::Quarantined(QuarantineReason::OutOfSequence);
                self.aside.push(Waiting { hold, ..waiting });
            }
        }
    }

    /// Finds a feed's state, or begins it.
    pub(super) fn feed(&mut self, source: &FeedName) -> &mut FeedState {
        let index = self.feeds.iter().position(|feed| feed.source == *source).unwrap_or_else(|| {
            self.feeds.push(FeedState { source: source.clone(), next: 1, waiting: Vec::new() });
            self.feeds.len() - 1
        });
        &mut self.feeds[index]
    }

    /// Finds a waiting change by its handle.
    pub(super) fn find(&self, handle: Handle) -> Option<&Waiting> {
        self.waiting().find(|waiting| waiting.digest.handle() == handle)
    }
}

impl FeedState {
    /// Says whether nothing has this place in the sequence, and it was not passed.
    pub(super) fn has_room_for(&self, sequence: u64) -> bool {
        sequence >= self.next && self.waiting.iter().all(|waiting| waiting.sequence != sequence)
    }

    /// Puts a change at its place.
    pub(super) fn insert(&mut self, waiting: Waiting) {
        let place = self.waiting.partition_point(|before| before.sequence < waiting.sequence);
        self.waiting.insert(place, waiting);
    }

    /// Returns the change whose turn it is, unless the operator has to decide about it.
    pub(super) fn due(&self) -> Option<&Waiting> {
        let first = self.waiting.first().filter(|first| first.sequence == self.next)?;
        match first.hold {
            Hold::Quarantined(reason) if !reason.settles_itself() => None,
            Hold::Quarantined(_) | Hold::Until(_) => Some(first),
        }
    }

    /// Takes the first waiting change out and passes its place, and those that are missing before it.
    pub(super) fn pass_first(&mut self) {
        if !self.waiting.is_empty() {
            let passed = self.waiting.remove(0);
            self.next = passed.sequence.saturating_add(1);
        }
    }
}
