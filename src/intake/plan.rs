//! What a store writes when changes come in: decided here, without a store. Pure.
//!
//! The invariants, kept by properties in the tests beside:
//! - changes of one feed about one subject join the record in order of their sequence, each once;
//! - a dispute is open on record while anything of the subject waits, and not a moment longer;
//! - what is missing is never skipped but by the operator.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use super::change::{ChangeDigest, ChangeKey, FeedName, IncomingChange, StatedChange};
use super::fate::{Fate, Outcome, QuarantineReason as Reason, RejectReason};
use super::possible;
use super::state::{Hold, SubjectState, Waiting};
use crate::domain::licence::{Change, ChangeKind, DocumentKind, History, LicenceNumber};
use crate::domain::subject::Position;
use crate::domain::time::Effective;

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

/// What is known of an arrival's outcome when it is received.
#[derive(Clone, Copy)]
enum Answer {
    /// All of it.
    Now(Outcome<Place>),
    /// Where it stands is seen at the end.
    AtTheEnd { duplicate: bool },
}

/// Where the plan is worked out.
pub(super) struct Desk<'d> {
    history: Cow<'d, History>,
    exists: bool,
    creates: bool,
    pub(super) state: SubjectState,
    taken: &'d [(DocumentKind, LicenceNumber)],
    changes_max: usize,
    storable: fn(&StatedChange) -> bool,
    now: Timestamp,
    append: Vec<StatedChange>,
    /// Changes of this plan that joined the record, or were found there.
    applied: Vec<(ChangeKey, ChangeDigest, Place)>,
    known: Vec<(ChangeKey, KnownChange<Place>)>,
}

impl<'d> Desk<'d> {
    pub(super) fn open(dossier: Dossier<'d>, now: Timestamp) -> Self {
        Self {
            exists: dossier.history.is_some(),
            creates: false,
            history: dossier.history.map_or_else(|| Cow::Owned(History::default()), Cow::Borrowed),
            state: dossier.state,
            taken: dossier.taken,
            changes_max: dossier.changes_max,
            storable: dossier.storable,
            now,
            append: Vec::new(),
            applied: Vec::new(),
            known: Vec::new(),
        }
    }

    pub(super) fn close(mut self, outcomes: impl FnOnce(&Self) -> Vec<Outcome<Place>>) -> Plan {
        self.relabel();
        self.keep_dispute();
        let outcomes = outcomes(&self);
        self.state.feeds.retain(|feed| feed.next > 1 || !feed.waiting.is_empty());
        Plan { creates: self.creates, append: self.append, state: self.state, outcomes, known: self.known }
    }

    fn receive(&mut self, arrival: &Arrival) -> Answer {
        if let Some(answer) = self.recognise(arrival) {
            return answer;
        }
        let IncomingChange { source, sequence, content, .. } = &arrival.change;
        if content.is_none() && !self.exists {
            return Answer::Now(Outcome::Rejected(RejectReason::NotUnderstood));
        }
        let is_new_feed = self.state.feeds.iter().all(|feed| feed.source != *source);
        if is_new_feed && self.state.feeds.len() >= FEEDS_MAX {
            return Answer::Now(Outcome::Rejected(RejectReason::SubjectFull));
        }
        let (next, has_room) = {
            let feed = self.state.feed(source);
            (feed.next, feed.has_room_for(*sequence))
        };
        if *sequence < next
            && let Some(place) = content.as_ref().and_then(|content| self.on_record(content))
        {
            return Answer::Now(Outcome::Duplicate(Fate::Applied(place)));
        }
        if !has_room {
            return self.set_aside(arrival, Reason::OutOfSequence);
        }
        // The one whose turn it is mostly goes through at once, and opens the way for others.
        let room = if *sequence == next { WAITING_MAX + FEEDS_MAX } else { WAITING_MAX };
        if self.state.waiting().count() >= room {
            return Answer::Now(Outcome::Rejected(RejectReason::SubjectFull));
        }
        let hold = Hold::Until(self.now.saturating_add(HELD_FOR).unwrap_or(Timestamp::MAX));
        let waiting = self.waiting(arrival, hold);
        self.state.feed(source).insert(waiting);
        self.remember(arrival.key, arrival.digest, KnownFate::Waiting);
        self.advance(source);
        Answer::AtTheEnd { duplicate: false }
    }

    /// Answers a change whose id is known; `None`: it is to be taken in.
    fn recognise(&mut self, arrival: &Arrival) -> Option<Answer> {
        let (key, digest) = (arrival.key, arrival.digest);
        if self.is_here(key, digest) {
            return Some(Answer::AtTheEnd { duplicate: true });
        }
        let here = self.known.iter().find(|(known, _)| *known == key).map(|(_, known)| known.digest);
        let known = here.or(arrival.known.map(|known| known.digest))?;
        if known != digest {
            // Sent again, corrected: it takes the place of the one nobody could understand.
            if self.forget_not_understood(key) {
                return None;
            }
            return Some(self.set_aside(arrival, Reason::ChangeIdReused));
        }
        match arrival.known.map(|known| known.fate) {
            Some(KnownFate::Applied(position)) => {
                Some(Answer::Now(Outcome::Duplicate(Fate::Applied(Place::OnRecord(position)))))
            }
            Some(KnownFate::Discarded) => Some(Answer::Now(Outcome::Duplicate(Fate::Discarded))),
            // It waits, but not here: what waited was lost with a store that was put back. Taken in anew.
            Some(KnownFate::Waiting) | None => None,
        }
    }

    fn outcome(&self, answer: Answer, arrival: &Arrival) -> Outcome<Place> {
        match answer {
            Answer::Now(outcome) => outcome,
            Answer::AtTheEnd { duplicate } => {
                // What was received is either on record or waits: nothing is ever dropped in between.
                let fate = self.fate_of(arrival.key, arrival.digest).unwrap_or(Fate::Held);
                if duplicate { Outcome::Duplicate(fate) } else { Outcome::New(fate) }
            }
        }
    }

    fn fate_of(&self, key: ChangeKey, digest: ChangeDigest) -> Option<Fate<Place>> {
        let applied = self.applied.iter().find(|(known, said, _)| *known == key && *said == digest);
        if let Some((_, _, place)) = applied {
            return Some(Fate::Applied(*place));
        }
        let waiting = self.state.waiting().find(|waiting| waiting.key == key && waiting.digest == digest)?;
        Some(match waiting.hold {
            Hold::Until(_) => Fate::Held,
            Hold::Quarantined(reason) => Fate::Quarantined(reason),
        })
    }

    fn is_here(&self, key: ChangeKey, digest: ChangeDigest) -> bool {
        self.fate_of(key, digest).is_some()
    }

    fn waiting(&self, arrival: &Arrival, hold: Hold) -> Waiting {
        let change = &arrival.change;
        Waiting {
            key: arrival.key,
            digest: arrival.digest,
            source: change.source.clone(),
            id: change.id.clone(),
            sequence: change.sequence,
            introduces: change.introduces(),
            content: change.content.clone(),
            since: self.now,
            hold,
        }
    }

    fn set_aside(&mut self, arrival: &Arrival, reason: Reason) -> Answer {
        if self.state.waiting().count() >= WAITING_MAX {
            return Answer::Now(Outcome::Rejected(RejectReason::SubjectFull));
        }
        let waiting = self.waiting(arrival, Hold::Quarantined(reason));
        self.remember_of(&waiting, KnownFate::Waiting);
        self.state.aside.push(waiting);
        Answer::AtTheEnd { duplicate: false }
    }

    fn forget_not_understood(&mut self, key: ChangeKey) -> bool {
        let lacks_content = |waiting: &Waiting| waiting.key == key && waiting.content.is_none();
        let before = self.state.waiting().count();
        self.state.aside.retain(|waiting| !lacks_content(waiting));
        for feed in &mut self.state.feeds {
            feed.waiting.retain(|waiting| !lacks_content(waiting));
        }
        self.state.waiting().count() < before
    }

    /// Finds a change on record that says just this: then it came before, however long ago and whichever way.
    fn on_record(&self, change: &StatedChange) -> Option<Place> {
        let says = |known: &Change| {
            let recorded_as_told = known.recorded_at == change.recorded_at
                || (known.recorded_at < change.recorded_at
                    && change.recorded_at.duration_since(known.recorded_at).unsigned_abs() <= CLOCK_SKEW_MAX);
            known.effective == change.effective && recorded_as_told && known.kind == change.kind
        };
        let changes = self.history.changes();
        let index = changes.iter().position(says)?;
        Some(match index.checked_sub(changes.len() - self.append.len()) {
            Some(appended) => Place::Appended(appended),
            None => Place::OnRecord(changes[index].position),
        })
    }

    fn advance_all(&mut self) {
        let sources: Vec<FeedName> = self.state.feeds.iter().map(|feed| feed.source.clone()).collect();
        for source in &sources {
            self.advance(source);
        }
    }

    /// Takes in whatever is due of a feed.
    pub(super) fn advance(&mut self, source: &FeedName) {
        while let Some(due) = self.state.feed(source).due().cloned() {
            match self.judge(&due, due.content.clone()) {
                Ok(change) => {
                    self.state.feed(source).pass_first();
                    self.apply(&due, change);
                }
                Err(reason) => {
                    // What an import brought in already is no second change, and no contradiction.
                    if let Some(place) = due.content.as_ref().and_then(|content| self.on_record(content)) {
                        self.state.feed(source).pass_first();
                        self.note_applied(&due, place);
                        continue;
                    }
                    if let Some(first) = self.state.feed(source).waiting.first_mut() {
                        first.hold = Hold::Quarantined(reason);
                    }
                    return;
                }
            }
        }
    }

    /// Judges a change against the record as it stands now; returns it as it will be recorded.
    pub(super) fn judge(
        &self,
        waiting: &Waiting,
        content: Option<StatedChange>,
    ) -> Result<StatedChange, Reason> {
        let Some(mut change) = content else { return Err(Reason::NotUnderstood) };
        if !self.exists && !waiting.introduces {
            return Err(Reason::UnknownSubject);
        }
        if self.history.changes().len() >= self.changes_max {
            return Err(Reason::RecordFull);
        }
        let last = self.history.changes().last().map(|last| last.recorded_at);
        if last.is_some_and(|last| change.recorded_at < last) {
            return Err(Reason::RecordedTimeBack);
        }
        if change.recorded_at > self.now {
            if change.recorded_at.duration_since(self.now).unsigned_abs() > CLOCK_SKEW_MAX {
                return Err(Reason::RecordedTimeAhead);
            }
            change.recorded_at = last.map_or(self.now, |last| last.max(self.now));
        }
        if let ChangeKind::NumberSet { document, number } = &change.kind
            && self.taken.iter().any(|(kind, taken)| kind == document && taken == number)
        {
            return Err(Reason::NumberTaken);
        }
        if !(self.storable)(&change) {
            return Err(Reason::NotStorable);
        }
        possible::judge(&self.history, &change)?;
        Ok(change)
    }

    /// Puts a change on record.
    pub(super) fn apply(&mut self, waiting: &Waiting, change: StatedChange) {
        let index = self.record(change);
        self.creates |= !self.exists;
        self.exists = true;
        self.note_applied(waiting, Place::Appended(index));
    }

    fn note_applied(&mut self, waiting: &Waiting, place: Place) {
        self.applied.push((waiting.key, waiting.digest, place));
        self.remember_of(waiting, KnownFate::Applied(place));
    }

    fn record(&mut self, change: StatedChange) -> usize {
        let nowhere_yet = Position { epoch: 0, partition: 0, seq: 0 };
        let mut changes = std::mem::take(&mut self.history).into_owned().changes().to_vec();
        changes.push(change.clone().at(nowhere_yet));
        self.history = Cow::Owned(History::from_changes(changes));
        self.append.push(change);
        self.append.len() - 1
    }

    /// Remembers a waiting change under the key it is known by.
    pub(super) fn remember_of(&mut self, waiting: &Waiting, fate: KnownFate<Place>) {
        let is_second = waiting.hold == Hold::Quarantined(Reason::ChangeIdReused);
        let key = if is_second { waiting.digest.key() } else { waiting.key };
        self.remember(key, waiting.digest, fate);
    }

    fn remember(&mut self, key: ChangeKey, digest: ChangeDigest, fate: KnownFate<Place>) {
        let known = KnownChange { digest, fate };
        match self.known.iter_mut().find(|(remembered, _)| *remembered == key) {
            Some((_, remembered)) => *remembered = known,
            None => self.known.push((key, known)),
        }
    }

    /// Says of everything that waits what it waits for by now.
    fn relabel(&mut self) {
        let (exists, now) = (self.exists, self.now);
        let waiting = self.state.feeds.iter_mut().flat_map(|feed| &mut feed.waiting);
        for waiting in waiting.chain(&mut self.state.aside) {
            waiting.hold = match waiting.hold {
                Hold::Until(_) | Hold::Quarantined(Reason::SequenceGap) if !exists => {
                    Hold::Quarantined(Reason::UnknownSubject)
                }
                Hold::Until(until) if until <= now => Hold::Quarantined(Reason::SequenceGap),
                Hold::Quarantined(Reason::UnknownSubject) if exists => Hold::Quarantined(Reason::SequenceGap),
                as_before => as_before,
            };
        }
    }

    /// Opens a dispute while anything waits, and settles what was opened here when nothing does.
    fn keep_dispute(&mut self) {
        if !self.exists {
            return;
        }
        let waits = self.state.waiting().next().is_some();
        let disputed = self.history.changes().iter().rev().find_map(|change| marks(&change.kind));
        let disputed = disputed.unwrap_or(false);
        let held = self.history.changes().len();
        if waits && !disputed {
            self.record_mark(ChangeKind::DisputeOpened);
            self.state.dispute_opened = true;
        } else if !waits && self.state.dispute_opened {
            // A record too full to be disputed again stays disputed: it is the operator's matter.
            if disputed && held + 2 <= self.changes_max + DISPUTE_ROOM {
                self.record_mark(ChangeKind::DisputeSettled);
            }
            self.state.dispute_opened = disputed && held + 2 > self.changes_max + DISPUTE_ROOM;
        }
    }

    /// Marks the dispute: in effect from now on, and recorded with the change before, so that a change the authority recorded
    /// a moment ago does not seem to run back behind it.
    fn record_mark(&mut self, kind: ChangeKind) {
        let changes = self.history.changes();
        let recorded_at = changes.last().map_or(self.now, |last| last.recorded_at);
        let marked = changes.iter().filter(|change| marks(&change.kind).is_some());
        let last_mark = marked.map(|change| change.effective.moment()).max();
        let effective = Effective::At(last_mark.map_or(self.now, |last| last.max(self.now)));
        self.record(StatedChange { effective, recorded_at, kind });
    }
}

/// Says whether a kind opens (true) or settles (false) a dispute.
fn marks(kind: &ChangeKind) -> Option<bool> {
    match kind {
        ChangeKind::DisputeOpened => Some(true),
        ChangeKind::DisputeSettled => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
