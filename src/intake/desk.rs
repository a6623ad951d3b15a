//! Where a plan is worked out: the record and the state of one subject, change by change.

use std::borrow::Cow;

use jiff::Timestamp;

use super::change::{ChangeDigest, ChangeKey, FeedName, IncomingChange, StatedChange};
use super::fate::{Fate, Outcome, QuarantineReason as Reason, RejectReason};
use super::plan::{
    Arrival, CLOCK_SKEW_MAX, DISPUTE_ROOM, Dossier, FEEDS_MAX, HELD_FOR, KnownChange, KnownFate, Place, Plan,
    WAITING_MAX,
};
use super::possible;
use super::state::{Hold, SubjectState, Waiting};
use crate::domain::licence::{AsOf, Change, ChangeKind, DocumentKind, History, LicenceNumber, Qualification};
use crate::domain::subject::Position;
use crate::domain::time::Effective;

/// What is known of an arrival's outcome when it is received.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// All of it.
    Now(Outcome<Place>),
    /// Where it stands is seen at the end.
    AtTheEnd { duplicate: bool },
}

/// Where the plan is worked out.
pub(super) struct Desk<'d> {
    /// The history as it was read.
    history: Option<&'d History>,
    /// Its changes, and those appended since.
    changes: Cow<'d, [Change]>,
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
            changes: Cow::Borrowed(dossier.history.map(History::changes).unwrap_or_default()),
            history: dossier.history,
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

    pub(super) fn receive(&mut self, arrival: &Arrival) -> Answer {
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

    pub(super) fn outcome(&self, answer: Answer, arrival: &Arrival) -> Outcome<Place> {
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
        let index = self.changes.iter().position(says)?;
        Some(match index.checked_sub(self.changes.len() - self.append.len()) {
            Some(appended) => Place::Appended(appended),
            None => Place::OnRecord(self.changes[index].position),
        })
    }

    pub(super) fn advance_all(&mut self) {
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
        if self.changes.len() >= self.changes_max {
            return Err(Reason::RecordFull);
        }
        let last = self.changes.last().map(|last| last.recorded_at);
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
        possible::judge(&self.changes, |moment| self.held_at(moment), &change)?;
        Ok(change)
    }

    /// Says what is held at a moment, by everything known now.
    fn held_at(&self, moment: Timestamp) -> Qualification {
        let as_of = AsOf::new(moment, Timestamp::MAX);
        match self.history {
            Some(history) if self.append.is_empty() => history.fold(as_of),
            _ => History::from_changes(self.changes.to_vec()).fold(as_of),
        }
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
        self.changes.to_mut().push(change.clone().at(nowhere_yet));
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
        let disputed = self.changes.iter().rev().find_map(|change| marks(&change.kind));
        let disputed = disputed.unwrap_or(false);
        let held = self.changes.len();
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
        let changes = &self.changes;
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
