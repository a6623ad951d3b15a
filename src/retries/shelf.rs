//! What is remembered of one partner's requests.
//!
//! Of each id that was answered: when it was first taken up, what for, where the answer stands, and for a while the sealed answer
//! itself. Everything counts against bounds in bytes; who is over a bound lets go of the oldest answers, and of the oldest ids once
//! more than half of them have no answer any more.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::RetryOptions;
use super::seal::{RequestDigest, Sealed};
use crate::verification::ports::{EntryAt, QuestionDigest};

/// What an id takes beside its answer: its row, its place in two orders, the tables' slack.
const ROW_BYTES: usize = 256;

/// A moment, in milliseconds of the clock that counts from boot; negative for what the log tells of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    pub(super) fn at(since_boot: Duration) -> Self {
        Self(millis(since_boot))
    }

    pub(super) fn before(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(millis(age)))
    }

    fn is_past(self, length: Duration, now: Self) -> bool {
        now.0.saturating_sub(self.0) >= millis(length)
    }
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// What an id was used for.
#[derive(Clone)]
pub(super) enum Content {
    /// A hash of the whole request, under a key of this process.
    Whole(u64),
    /// What the log tells of it.
    Logged(Box<Logged>),
    /// It was too long ago for anybody to ask.
    Forgotten,
}

/// What the log tells of a request.
#[derive(Clone, Copy)]
pub(super) struct Logged {
    pub(super) question: QuestionDigest,
    pub(super) case: [u8; 16],
    pub(super) about: [u8; 16],
}

/// An answer that can be given again.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) sealed: Sealed,
    pub(super) observed_at: Timestamp,
}

/// An answered request, as it is put on the shelf.
pub(super) struct Row {
    pub(super) at: Moment,
    pub(super) content: Content,
    pub(super) place: EntryAt,
    pub(super) kept: Option<Kept>,
}

impl Row {
    fn size(&self) -> usize {
        ROW_BYTES + self.kept.as_ref().map_or(0, |kept| kept.sealed.size())
    }
}

/// A request as it comes.
pub(super) struct Asked<'a> {
    pub(super) request: RequestDigest,
    pub(super) content: u64,
    pub(super) question: QuestionDigest,
    /// Digests the case reference: seldom asked for.
    pub(super) case: &'a dyn Fn() -> [u8; 16],
    pub(super) observed_since: Option<Timestamp>,
}

/// What the shelf knows of a request.
pub(super) enum Found {
    /// Nothing; it is under way from now on.
    First {
        at: Moment,
    },
    /// It was answered, but is to be answered anew; it is under way from now on.
    Recorded {
        at: Moment,
        place: EntryAt,
        about: Option<[u8; 16]>,
    },
    Kept(Kept),
    Spent(EntryAt),
    OtherContent,
    /// A twin is under way; the future completes when it no longer is.
    Twin(OwnedNotified),
}

/// One partner's requests.
pub(super) struct Shelf {
    state: Mutex<State>,
    bytes: AtomicUsize,
}

#[derive(Default)]
struct State {
    known: HashMap<RequestDigest, Row>,
    under_way: HashMap<RequestDigest, UnderWay>,
    /// Every known id, in the order it came.
    oldest_first: VecDeque<RequestDigest>,
    /// Those that had an answer when they came; it may have been let go of since.
    kept_oldest_first: VecDeque<RequestDigest>,
    /// How many known ids have an answer.
    answers: usize,
}

struct UnderWay {
    content: u64,
    /// Made by the first twin that waits.
    done: Option<Arc<Notify>>,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), bytes: AtomicUsize::new(0) }
    }

    /// Takes a request up.
    pub(super) fn take_up(
        &self,
        asked: &Asked<'_>,
        now: Moment,
        options: &RetryOptions,
        total: &AtomicUsize,
    ) -> Found {
        let mut state = self.locked();
        self.account(state.forget(now, options), total);
        state.take_up(asked, now, options)
    }

    /// Puts an answered request on the shelf and ends what is under way.
    pub(super) fn put(&self, request: RequestDigest, row: Row, total: &AtomicUsize) {
        let (change, done) = {
            let mut state = self.locked();
            let done = state.under_way.remove(&request).and_then(|ended| ended.done);
            (state.put(request, row), done)
        };
        self.account(change, total);
        wake(done);
    }

    /// Ends what is under way without an answer: a twin takes over.
    pub(super) fn abandon(&self, request: &RequestDigest) {
        let ended = self.locked().under_way.remove(request);
        wake(ended.and_then(|ended| ended.done));
    }

    /// Lets go of the oldest answer or of the oldest id. Returns whether there was anything.
    pub(super) fn let_go(&self, total: &AtomicUsize) -> bool {
        let freed = self.locked().let_go();
        self.account(Change { added: 0, freed }, total);
        freed > 0
    }

    /// Lets go of the answer of a request, if it is the one that stands at `place`; the id stays.
    pub(super) fn let_go_of_answer(&self, request: &RequestDigest, place: &EntryAt, total: &AtomicUsize) {
        let freed = self.locked().let_go_of_answer(request, place);
        self.account(Change { added: 0, freed }, total);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn account(&self, change: Change, total: &AtomicUsize) {
        let Change { added, freed } = change;
        for count in [&self.bytes, total] {
            if added > 0 {
                count.fetch_add(added, Ordering::Relaxed);
            }
            if freed > 0 {
                count.fetch_sub(freed, Ordering::Relaxed);
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes more and less.
#[derive(Clone, Copy, Default)]
struct Change {
    added: usize,
    freed: usize,
}

fn wake(done: Option<Arc<Notify>>) {
    if let Some(done) = done {
        done.notify_waiters();
    }
}

impl State {
    fn take_up(&mut self, asked: &Asked<'_>, now: Moment, options: &RetryOptions) -> Found {
        if let Some(twin) = self.under_way.get_mut(&asked.request) {
            if twin.content != asked.content {
                return Found::OtherContent;
            }
            return Found::Twin(Arc::clone(twin.done.get_or_insert_default()).notified_owned());
        }
        let found = match self.known.get(&asked.request) {
            None => Found::First { at: now },
            Some(row) if row.at.is_past(options.kept_for, now) => return Found::Spent(row.place.clone()),
            Some(row) => match row.judge(asked) {
                Found::Recorded { at, place, about } => Found::Recorded { at, place, about },
                settled => return settled,
            },
        };
        self.under_way.insert(asked.request, UnderWay { content: asked.content, done: None });
        found
    }

    fn put(&mut self, request: RequestDigest, row: Row) -> Change {
        if row.kept.is_some() {
            self.kept_oldest_first.push_back(request);
            self.answers += 1;
        }
        let added = row.size();
        let Some(known) = self.known.get_mut(&request) else {
            self.known.insert(request, row);
            self.oldest_first.push_back(request);
            return Change { added, freed: 0 };
        };
        let freed = known.size();
        self.answers -= usize::from(known.kept.is_some());
        // The id is as old as its first answer.
        *known = Row { at: known.at.min(row.at), ..row };
        Change { added, freed }
    }

    fn forget(&mut self, now: Moment, options: &RetryOptions) -> Change {
        let mut change = Change::default();
        while let Some(oldest) = self.kept_oldest_first.front() {
            if self.known.get(oldest).is_some_and(|row| !row.at.is_past(options.kept_for, now)) {
                break;
            }
            change.freed += self.let_go_of_an_answer();
        }
        while let Some(oldest) = self.oldest_first.front() {
            if self.known.get(oldest).is_some_and(|row| !row.at.is_past(options.known_for, now)) {
                break;
            }
            change.freed += self.let_go_of_an_id();
        }
        change
    }

    fn let_go(&mut self) -> usize {
        while self.answers * 2 >= self.known.len() && !self.kept_oldest_first.is_empty() {
            let freed = self.let_go_of_an_answer();
            if freed > 0 {
                return freed;
            }
        }
        self.let_go_of_an_id()
    }

    fn let_go_of_answer(&mut self, request: &RequestDigest, place: &EntryAt) -> usize {
        let row = self.known.get_mut(request).filter(|row| row.place == *place);
        let Some(kept) = row.and_then(|row| row.kept.take()) else { return 0 };
        self.answers -= 1;
        kept.sealed.size()
    }

    fn let_go_of_an_answer(&mut self) -> usize {
        let oldest = self.kept_oldest_first.pop_front();
        let row = oldest.and_then(|oldest| self.known.get_mut(&oldest));
        let Some(kept) = row.and_then(|row| row.kept.take()) else { return 0 };
        self.answers -= 1;
        kept.sealed.size()
    }

    fn let_go_of_an_id(&mut self) -> usize {
        let oldest = self.oldest_first.pop_front();
        let Some(row) = oldest.and_then(|oldest| self.known.remove(&oldest)) else { return 0 };
        self.answers -= usize::from(row.kept.is_some());
        row.size()
    }
}

impl Row {
    /// Judges a request whose id was answered a moment ago.
    fn judge(&self, asked: &Asked<'_>) -> Found {
        let about = match &self.content {
            Content::Whole(content) if *content != asked.content => return Found::OtherContent,
            Content::Logged(logged) if logged.question != asked.question || logged.case != (asked.case)() => {
                return Found::OtherContent;
            }
            Content::Logged(logged) => Some(logged.about),
            Content::Whole(_) | Content::Forgotten => None,
        };
        let accepted = |kept: &&Kept| asked.observed_since.is_none_or(|since| kept.observed_at >= since);
        match self.kept.as_ref().filter(accepted) {
            Some(kept) => Found::Kept(kept.clone()),
            None => Found::Recorded { at: self.at, place: self.place.clone(), about },
        }
    }
}
