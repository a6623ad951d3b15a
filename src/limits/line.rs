//! The line in front of the registry.
//!
//! As many readings are under way as the registry bears ([`bearable`]); whoever comes then stands in line. Presentations go before claims,
//! but every eighth place is a claim's, so that claims never starve. Within a class partners take turns.
//!
//! Nobody waits for long: a claim that has waited longer than the bound is refused instead of served, because its caller is about to
//! give up. While the line does not get empty, the bound shrinks to a fifth (controlled delay): a burst may wait, a standing line
//! may not, and who is served was served soon. That is judged when a place becomes free or somebody comes: it needs no timer.
//!
//! A reading that finds a place takes one uncontended lock before and one after; what is found in a cache never comes here.

mod bearable;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use self::bearable::Bearable;
use crate::admission::Turns;
use crate::admission::line::{Class, Entering, Line, Overloaded, Place, TakenPlace, Turn};
use crate::domain::partner::PartnerId;
use crate::domain::time::Clock;

/// Of so many places that are given away while claims wait, one is a claim's.
const CLAIMS_ONE_IN: u32 = 8;
/// The part of the bound a claim may wait while the line does not get empty.
const STANDING_LINE: u32 = 5;
/// How much longer than a claim a presentation may wait.
const PRESENTATIONS: u32 = 2;

/// Bounds of the line.
#[derive(Clone, Copy, Debug)]
pub struct LineOptions {
    /// Readings under way at the start. 32: two rounds of what PostgreSQL answers in one message.
    pub places: usize,
    /// The fewest there ever are. 8: a registry is not to be starved by what was learned in a bad moment.
    pub places_min: usize,
    /// The most there ever are. 256: what one waits behind them stays below the call's time.
    pub places_max: usize,
    /// How many of a class may wait.
    pub waiting_max: usize,
    /// How long a claim may wait in a burst: a fifth of it in a standing line, presentations twice as long.
    pub wait_max: Duration,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self {
            places: 32,
            places_min: 8,
            places_max: 256,
            waiting_max: 2_048,
            wait_max: Duration::from_millis(100),
        }
    }
}

/// The line, for all cores.
pub struct RegistryLine {
    shared: Arc<Shared>,
}

struct Shared {
    options: LineOptions,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    refused: [RefusedOf; 2],
}

/// How many of a class were refused.
#[derive(Debug, Default)]
struct RefusedOf {
    full: AtomicU64,
    late: AtomicU64,
}

struct State {
    taken: usize,
    bearable: Bearable,
    presentations: Turns<Option<PartnerId>, Waiting>,
    claims: Turns<Option<PartnerId>, Waiting>,
    /// Places given to presentations while claims waited.
    passed_over: u32,
    /// When nobody was waiting, last.
    empty_at: Duration,
}

struct Waiting {
    since: Duration,
    answer: oneshot::Sender<Result<Place, Overloaded>>,
}

/// What the line looks like, and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Readings that may be under way.
    pub places: usize,
    /// Readings that are.
    pub taken: usize,
    /// Presentations.
    pub presentations: ClassStats,
    /// Claims.
    pub claims: ClassStats,
}

/// One class in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// How many wait.
    pub waiting: usize,
    /// How many were refused because too many were waiting.
    pub refused_full: u64,
    /// How many were refused because they had waited too long.
    pub refused_late: u64,
}

impl RegistryLine {
    /// Opens the line.
    pub fn new(options: LineOptions, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            taken: 0,
            bearable: Bearable::new(options.places, options.places_min, options.places_max),
            presentations: Turns::default(),
            claims: Turns::default(),
            passed_over: 0,
            empty_at: clock.since_boot(),
        };
        let refused = [RefusedOf::default(), RefusedOf::default()];
        Self { shared: Arc::new(Shared { options, clock, state: Mutex::new(state), refused }) }
    }

    /// Returns what the line looks like now.
    pub fn stats(&self) -> LineStats {
        let state = self.shared.lock();
        let of = |class: Class, waiting: usize| {
            let refused = self.shared.refused(class);
            ClassStats {
                waiting,
                refused_full: refused.full.load(Ordering::Relaxed),
                refused_late: refused.late.load(Ordering::Relaxed),
            }
        };
        LineStats {
            places: state.bearable.places(),
            taken: state.taken,
            presentations: of(Class::Presentation, state.presentations.len()),
            claims: of(Class::Claim, state.claims.len()),
        }
    }
}

impl Line for RegistryLine {
    fn enter(&self, turn: Turn<'_>) -> Entering {
        let shared = &self.shared;
        let now = shared.clock.since_boot();
        let mut state = shared.lock();
        if state.is_empty() {
            state.empty_at = now;
            if state.taken < state.bearable.places() {
                state.taken += 1;
                drop(state);
                return Entering::Here(shared.place(now));
            }
        }
        let pushed_out = match state.make_room(turn.class, shared.options.waiting_max) {
            Room::Free => None,
            Room::MadeBy(other) => Some(other),
            Room::No => {
                drop(state);
                shared.refused(turn.class).full.fetch_add(1, Ordering::Relaxed);
                return Entering::Refused(Overloaded);
            }
        };
        let (answer, told) = oneshot::channel();
        state.line(turn.class).push(turn.partner.cloned(), Waiting { since: now, answer });
        let next = state.serve(now, &shared.options);
        drop(state);
        if let Some(other) = pushed_out {
            shared.refused(turn.class).full.fetch_add(1, Ordering::Relaxed);
            let _left = other.answer.send(Err(Overloaded));
        }
        shared.tell(next, now);
        Entering::Waits(Box::pin(async move { told.await.unwrap_or(Err(Overloaded)) }))
    }
}

/// Whether one more may wait.
enum Room {
    Free,
    /// This one has to leave for it.
    MadeBy(Waiting),
    No,
}

/// Who is told what, once the lock is free.
#[derive(Default)]
struct Next {
    served: Vec<Waiting>,
    late: Vec<(Class, Waiting)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, class: Class) -> &RefusedOf {
        &self.refused[class as usize]
    }

    fn place(self: &Arc<Self>, began: Duration) -> Place {
        Place::new(Taken { shared: Arc::clone(self), began, is_answered: false })
    }

    fn tell(self: &Arc<Self>, next: Next, now: Duration) {
        for (class, waiting) in next.late {
            self.refused(class).late.fetch_add(1, Ordering::Relaxed);
            let _left = waiting.answer.send(Err(Overloaded));
        }
        for waiting in next.served {
            // Who left in between gives the place back by its drop.
            let _left = waiting.answer.send(Ok(self.place(now)));
        }
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.presentations.is_empty() && self.claims.is_empty()
    }

    fn line(&mut self, class: Class) -> &mut Turns<Option<PartnerId>, Waiting> {
        match class {
            Class::Presentation => &mut self.presentations,
            Class::Claim => &mut self.claims,
        }
    }

    /// Makes room for one more. In a full line the partner with the most waiting gives one up.
    fn make_room(&mut self, class: Class, waiting_max: usize) -> Room {
        let line = self.line(class);
        if line.len() < waiting_max {
            return Room::Free;
        }
        line.retain(|waiting| !waiting.answer.is_closed());
        if line.len() < waiting_max {
            return Room::Free;
        }
        line.pop_longest().map_or(Room::No, Room::MadeBy)
    }

    /// Gives free places away, and takes out who has waited too long.
    fn serve(&mut self, now: Duration, options: &LineOptions) -> Next {
        let mut next = Next::default();
        while self.taken < self.bearable.places()
            && let Some((class, waiting)) = self.pop()
        {
            if waiting.answer.is_closed() {
                continue;
            }
            if self.is_late(class, &waiting, now, options) {
                next.late.push((class, waiting));
                continue;
            }
            self.taken += 1;
            next.served.push(waiting);
        }
        for class in [Class::Presentation, Class::Claim] {
            while self.line(class).next().is_some_and(|waiting| {
                waiting.answer.is_closed() || {
                    let waited = now.saturating_sub(waiting.since);
                    waited > options.wait_max * PRESENTATIONS
                }
            }) {
                let late = self.line(class).pop().filter(|waiting| !waiting.answer.is_closed());
                next.late.extend(late.map(|waiting| (class, waiting)));
            }
        }
        if self.is_empty() {
            self.empty_at = now;
        }
        self.bearable.contended(!self.is_empty(), now);
        next
    }

    /// Takes out whose turn it is.
    fn pop(&mut self) -> Option<(Class, Waiting)> {
        let is_claims_turn = self.passed_over >= CLAIMS_ONE_IN - 1;
        if self.presentations.is_empty() || (is_claims_turn && !self.claims.is_empty()) {
            self.passed_over = 0;
            return self.claims.pop().map(|waiting| (Class::Claim, waiting));
        }
        self.passed_over += u32::from(!self.claims.is_empty());
        self.presentations.pop().map(|waiting| (Class::Presentation, waiting))
    }

    fn is_late(&self, class: Class, waiting: &Waiting, now: Duration, options: &LineOptions) -> bool {
        let is_standing = now.saturating_sub(self.empty_at) > options.wait_max;
        let patience = match class {
            Class::Presentation => options.wait_max * PRESENTATIONS,
            Class::Claim if is_standing => options.wait_max / STANDING_LINE,
            Class::Claim => options.wait_max,
        };
        now.saturating_sub(waiting.since) > patience
    }
}

/// A place that is taken.
struct Taken {
    shared: Arc<Shared>,
    began: Duration,
    is_answered: bool,
}

impl TakenPlace for Taken {
    fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let now = self.shared.clock.since_boot();
        let mut state = self.shared.lock();
        state.taken = state.taken.saturating_sub(1);
        if self.is_answered {
            state.bearable.answered(now.saturating_sub(self.began), now);
        }
        if state.is_empty() {
            return;
        }
        let next = state.serve(now, &self.shared.options);
        drop(state);
        self.shared.tell(next, now);
    }
}
