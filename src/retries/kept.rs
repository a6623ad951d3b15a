//! A request with an id is taken up: new, answered before, or under way.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use super::note::Note;
use super::seal::{NoKey, RequestDigest, Sealer};
use super::shelf::{Asked, Content, Found, Kept, Logged, Moment, Row, Shelf};
use super::{RetryObserver, RetryOptions, TakeUp, codec};
use crate::domain::partner::PartnerId;
use crate::domain::time::Clock;
use crate::verification::ports::{
    Answer, Deadline, EntryAt, NotShared, QuestionDigest, Recalled, RequestDigests, RequestName, Retries,
    Retry, RetryKey, SharedNotes, Soon, TakenUp,
};

/// How soon a claim of another replica is looked at again; doubled each time.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// When all that is remembered exceeds its bound, this part of the bound is let go of at once.
const ROOM_MADE: usize = 64;

/// Keeps answers in this process.
pub struct KeptAnswers(Arc<Inner>);

/// How much is held now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Bytes of everything remembered.
    pub bytes: usize,
    /// Requests that wait for their twin.
    pub twins_waiting: usize,
}

struct Inner {
    shelves: RwLock<HashMap<PartnerId, Arc<Shelf>>>,
    /// Bytes of all shelves.
    bytes: AtomicUsize,
    twins_waiting: AtomicUsize,
    sealer: Sealer,
    hasher: RandomState,
    options: RetryOptions,
    digests: Arc<dyn RequestDigests>,
    others: Option<Arc<dyn SharedNotes>>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn RetryObserver>,
}

impl KeptAnswers {
    /// Starts with nothing remembered. `others`: the notes of other replicas, where there are any.
    ///
    /// # Errors
    /// [`NoKey`] when the process has no randomness.
    pub fn new(
        options: RetryOptions,
        digests: Arc<dyn RequestDigests>,
        others: Option<Arc<dyn SharedNotes>>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn RetryObserver>,
    ) -> Result<Self, NoKey> {
        Ok(Self(Arc::new(Inner {
            shelves: RwLock::default(),
            bytes: AtomicUsize::new(0),
            twins_waiting: AtomicUsize::new(0),
            sealer: Sealer::new()?,
            hasher: RandomState::new(),
            options,
            digests,
            others,
            clock,
            observer,
        })))
    }

    /// Remembers what the log holds from before the start, oldest first.
    pub fn recall(&self, answers: impl IntoIterator<Item = Recalled>) {
        let inner = &self.0;
        let (now, booted) = (inner.clock.now(), inner.clock.since_boot());
        for Recalled { at, partner, request, question, case, about, place } in answers {
            let age = age_of(at, now);
            if age >= inner.options.known_for {
                continue;
            }
            let content = if age < inner.options.kept_for {
                Content::Logged(Box::new(Logged { question, case, about }))
            } else {
                Content::Forgotten
            };
            let row = Row { at: Moment::at(booted).before(age), content, place, kept: None };
            inner.put(&inner.shelf(&partner), request, row);
        }
    }

    /// Forgets partners `keep` does not want: called after contracts were reloaded.
    pub fn retain(&self, keep: impl Fn(&PartnerId) -> bool) {
        let mut shelves = self.0.shelves.write().unwrap_or_else(PoisonError::into_inner);
        for (_, shelf) in shelves.extract_if(|partner, _| !keep(partner)) {
            while shelf.let_go(&self.0.bytes) {}
        }
    }

    /// Says how much is held now.
    pub fn held(&self) -> Held {
        Held {
            bytes: self.0.bytes.load(Ordering::Relaxed),
            twins_waiting: self.0.twins_waiting.load(Ordering::Relaxed),
        }
    }
}

impl Retries for KeptAnswers {
    fn take_up<'a>(&'a self, key: RetryKey<'a>, deadline: Deadline) -> Soon<'a, TakenUp> {
        let inner = &self.0;
        let coming = Coming {
            request: inner.digests.request(key.partner, key.id),
            shelf: inner.shelf(key.partner),
            key,
        };
        match inner.look(&coming) {
            Looked::Settled(taken) => Soon::Now(inner.told(taken)),
            Looked::First(hold) if !inner.asks_others() => Soon::Now(inner.told(TakenUp::First(hold))),
            looked => Soon::Later(Box::pin(async move {
                let taken = inner.settle(looked, &coming, deadline).await;
                inner.told(taken)
            })),
        }
    }

    /// The note for other replicas goes whatever is kept here: they would give the answer again.
    fn let_go(&self, partner: &PartnerId, id: &str, place: &EntryAt) {
        let inner = &self.0;
        let request = inner.digests.request(partner, id);
        inner.shelf(partner).let_go_of_answer(&request, place, &inner.bytes);
        if let Some(others) = &inner.others {
            others.take_away(RequestName { partner, id });
        }
    }
}

/// A request that comes.
struct Coming<'a> {
    key: RetryKey<'a>,
    request: RequestDigest,
    shelf: Arc<Shelf>,
}

/// What this process knows of it.
enum Looked {
    Settled(TakenUp),
    /// Nothing; others may know.
    First(Box<Hold>),
    Twin(tokio::sync::futures::OwnedNotified),
}

/// What other replicas know of it.
enum Heard {
    Nothing(Box<Hold>),
    /// It was answered; this process now knows, too.
    Answered,
    OtherContent,
}

impl Inner {
    fn look(self: &Arc<Self>, coming: &Coming<'_>) -> Looked {
        let Coming { key, request, shelf } = coming;
        let case = || self.digests.case(key.partner, key.case_reference);
        let asked = |observed_since| Asked {
            request: *request,
            content: self.hasher.hash_one(key.content),
            question: key.question,
            case: &case,
            observed_since,
        };
        let now = Moment::at(self.clock.since_boot());
        let take_up = |since| shelf.take_up(&asked(since), now, &self.options, &self.bytes);
        let mut found = take_up(key.observed_since);
        if let Found::Kept(kept) = found {
            if let Some(answer) = self.opened(request, kept) {
                return Looked::Settled(TakenUp::Answered(Box::new(answer)));
            }
            self.observer.unreadable();
            found = take_up(Some(Timestamp::MAX));
        }
        let hold = |at| Box::new(Hold::new(self, coming, at));
        match found {
            Found::First { at } => Looked::First(hold(at)),
            Found::Recorded { at, place, about } => {
                Looked::Settled(TakenUp::Recorded { place, about, retry: hold(at) })
            }
            Found::Twin(done) => Looked::Twin(done),
            Found::Spent(place) => Looked::Settled(TakenUp::Spent(place)),
            Found::OtherContent => Looked::Settled(TakenUp::OtherContent),
            // Nothing is observed at the end of time.
            Found::Kept(_) => Looked::Settled(TakenUp::Late),
        }
    }

    /// Waits for twins in this process and asks other replicas, once.
    async fn settle(
        self: &Arc<Self>,
        mut looked: Looked,
        coming: &Coming<'_>,
        deadline: Deadline,
    ) -> TakenUp {
        let mut others = self.others.as_ref();
        loop {
            looked = match looked {
                Looked::Settled(taken) => return taken,
                Looked::Twin(done) => {
                    let _waiting = Waiting::of(self);
                    if timeout(self.left(deadline), done).await.is_err() {
                        return TakenUp::Late;
                    }
                    self.look(coming)
                }
                Looked::First(hold) => {
                    let Some(asked) = others.take().filter(|others| others.is_asked()) else {
                        return TakenUp::First(hold);
                    };
                    match self.ask(asked, hold, coming, deadline).await {
                        Heard::Nothing(hold) => return TakenUp::First(hold),
                        Heard::Answered => self.look(coming),
                        Heard::OtherContent => return TakenUp::OtherContent,
                    }
                }
            }
        }
    }

    /// Asks other replicas, and claims the request before them.
    async fn ask(
        self: &Arc<Self>,
        others: &Arc<dyn SharedNotes>,
        mut hold: Box<Hold>,
        coming: &Coming<'_>,
        deadline: Deadline,
    ) -> Heard {
        let RetryKey { partner, id, content, .. } = coming.key;
        let claim = Note::claim(content);
        let since = self.clock.since_boot();
        let until = since + self.options.others_wait_max.min(self.left(deadline) / 2);
        let mut pause = LOOK_AGAIN;
        loop {
            let name = RequestName { partner, id };
            let there = others.leave_or_read(name, &claim, self.options.claim_for, deadline).await;
            let note = match there.map(|there| there.map(|note| Note::parse(&note))) {
                Ok(None) => {
                    hold.claimed = Some(Claimed { id: id.into(), at: self.clock.now() });
                    return Heard::Nothing(hold);
                }
                Ok(Some(Some(note))) => note,
                Ok(Some(None)) | Err(NotShared) => {
                    self.observer.others_not_asked();
                    return Heard::Nothing(hold);
                }
            };
            if note.content() != content {
                return Heard::OtherContent;
            }
            match note {
                Note::Answer { at, answer, .. } => {
                    let age = age_of(at, self.clock.now());
                    hold.adopt(&answer, Moment::at(self.clock.since_boot()).before(age));
                    return Heard::Answered;
                }
                Note::Claim { .. } if self.clock.since_boot() >= until => return Heard::Nothing(hold),
                Note::Claim { .. } => {
                    let _waiting = Waiting::of(self);
                    sleep(pause.min(until.saturating_sub(self.clock.since_boot()))).await;
                    pause *= 2;
                }
            }
        }
    }

    fn opened(&self, request: &RequestDigest, kept: Kept) -> Option<Answer> {
        codec::decode(&self.sealer.open(request, kept.sealed)?)
    }

    fn asks_others(&self) -> bool {
        self.others.as_ref().is_some_and(|others| others.is_asked())
    }

    fn told(&self, taken: TakenUp) -> TakenUp {
        self.observer.taken_up(TakeUp::of(&taken));
        taken
    }

    fn left(&self, deadline: Deadline) -> Duration {
        deadline.since_boot.saturating_sub(self.clock.since_boot())
    }

    fn shelf(&self, partner: &PartnerId) -> Arc<Shelf> {
        let known = self.shelves.read().unwrap_or_else(PoisonError::into_inner).get(partner).cloned();
        known.unwrap_or_else(|| {
            let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shelves.entry(partner.clone()).or_insert_with(|| Arc::new(Shelf::new())))
        })
    }

    fn put(&self, shelf: &Shelf, request: RequestDigest, row: Row) {
        shelf.put(request, row, &self.bytes);
        while shelf.bytes() > self.options.partner_bytes_max && shelf.let_go(&self.bytes) {}
        if self.bytes.load(Ordering::Relaxed) > self.options.bytes_max {
            self.make_room();
        }
    }

    /// Lets the partner with the most pay until there is room again: a flood pushes out its own answers.
    fn make_room(&self) {
        let enough = self.options.bytes_max - self.options.bytes_max / ROOM_MADE;
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        while self.bytes.load(Ordering::Relaxed) > enough {
            let Some(largest) = shelves.values().max_by_key(|shelf| shelf.bytes()) else { return };
            if !largest.let_go(&self.bytes) {
                return;
            }
        }
    }
}

/// Returns how long ago a moment was; nothing for one ahead.
fn age_of(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(moment)).unwrap_or_default()
}

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(inner: &'a Inner) -> Self {
        inner.observer.twin_waits();
        inner.twins_waiting.fetch_add(1, Ordering::Relaxed);
        Self(&inner.twins_waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that is this caller's to answer. Dropped unanswered, it is nobody's again.
struct Hold {
    inner: Arc<Inner>,
    shelf: Arc<Shelf>,
    request: RequestDigest,
    content: QuestionDigest,
    partner: PartnerId,
    /// When the request was first taken up.
    at: Moment,
    /// Other replicas know that it is being answered here.
    claimed: Option<Claimed>,
    is_done: bool,
}

/// A claim that other replicas see.
struct Claimed {
    id: Box<str>,
    at: Timestamp,
}

impl Hold {
    fn new(inner: &Arc<Inner>, coming: &Coming<'_>, at: Moment) -> Self {
        Self {
            inner: Arc::clone(inner),
            shelf: Arc::clone(&coming.shelf),
            request: coming.request,
            content: coming.key.content,
            partner: coming.key.partner.clone(),
            at,
            claimed: None,
            is_done: false,
        }
    }

    /// Keeps what another replica answered.
    fn adopt(mut self, answer: &Answer, at: Moment) {
        self.at = at;
        self.keep(answer);
    }

    fn keep(&mut self, answer: &Answer) {
        let inner = &self.inner;
        let encoded = codec::encode(answer);
        if let Some(claimed) = self.claimed.take()
            && let (Some(others), Some(encoded)) = (&inner.others, &encoded)
        {
            let name = RequestName { partner: &self.partner, id: &claimed.id };
            others.replace(name, &Note::answer(self.content, claimed.at, encoded), inner.options.kept_for);
        }
        let sealed = encoded.and_then(|encoded| inner.sealer.seal(&self.request, encoded));
        let row = Row {
            at: self.at,
            content: Content::Whole(inner.hasher.hash_one(self.content)),
            place: answer.entry.clone(),
            kept: sealed.map(|sealed| Kept { sealed, observed_at: answer.observed_at }),
        };
        inner.put(&self.shelf, self.request, row);
        self.is_done = true;
    }
}

impl Retry for Hold {
    fn answered(mut self: Box<Self>, answer: &Answer) {
        self.keep(answer);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        self.shelf.abandon(&self.request);
        if let Some((others, claimed)) = self.inner.others.as_ref().zip(self.claimed.take()) {
            others.take_away(RequestName { partner: &self.partner, id: &claimed.id });
        }
    }
}
