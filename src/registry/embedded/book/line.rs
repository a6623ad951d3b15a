//! Whoever wants to write stands in line; one thread serves everybody who stands there with one sync ([`super::writer`]).
//!
//! Who only wants something noted ([`Line::leave`]) stands there too, in order, and waits for nobody: whoever comes after finds it noted,
//! and the sync is that of the next who waits, or soon comes by itself.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::tables::Tables;
use super::writer::Writer;
use crate::registry::book::unavailable;
use crate::registry::embedded::error::RegistryError;
use crate::verification::ports::{Later, StoreUnavailable};
use crate::waking::{Awaited, CoreTask, Wait, Waiters};

/// Who may stand in line; whoever comes then is told that the store is away. Some hundred milliseconds of work.
const LENGTH_MAX: usize = 16_384;
/// Who is served with one sync, at most: nobody waits for more than this many others.
const TOGETHER_MAX: usize = 2_048;

/// When nobody came for this long, the tree is written out.
const REST_AFTER: Duration = Duration::from_secs(1);
/// When nobody who waits came for this long, what was left to be noted is synced by itself.
const NOTED_AFTER: Duration = Duration::from_millis(20);

const GAVE_UP: RegistryError = RegistryError::Damaged("the engine gave up on the book");

const WAITS: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// Work on the tables. Says whether it changed anything. What it finds damaged it finds before it writes.
pub(super) type Work = Box<dyn FnOnce(&mut Tables<'_>) -> Result<bool, RegistryError> + Send>;

/// Somebody in line.
pub(in crate::registry::embedded) struct Job {
    work: Mutex<Option<Work>>,
    fate: AtomicU8,
    is_awaited: bool,
}

impl Job {
    fn new(work: Work, is_awaited: bool) -> Arc<Self> {
        Arc::new(Self { work: Mutex::new(Some(work)), fate: AtomicU8::new(WAITS), is_awaited })
    }

    /// Takes the work, once.
    pub(super) fn take(&self) -> Option<Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells this one alone that it failed.
    pub(super) fn fail(&self) {
        self.settle(FAILED);
    }

    fn settle(&self, fate: u8) {
        self.fate.store(fate, Ordering::SeqCst);
    }
}

impl Awaited for Job {
    fn is_settled(&self) -> bool {
        self.fate.load(Ordering::SeqCst) != WAITS
    }
}

/// The line, and the thread that serves it. Dropping it serves whoever stands in line, and ends.
pub(super) struct Line {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    waiters: Arc<Waiters<Job>>,
}

#[derive(Default)]
struct State {
    standing: Vec<Arc<Job>>,
    /// Of those, how many wait to be told.
    awaited: usize,
    /// The thread is asleep: waking costs a system call.
    is_idle: bool,
    is_closed: bool,
}

impl State {
    /// Says whether to serve now: somebody waits, or as many stand here as are served together.
    fn is_pressing(&self) -> bool {
        self.awaited > 0 || self.standing.len() >= TOGETHER_MAX
    }

    /// Takes the first who stand here.
    fn take_first(&mut self) -> Vec<Arc<Job>> {
        let count = self.standing.len().min(TOGETHER_MAX);
        let first: Vec<_> = self.standing.drain(..count).collect();
        self.awaited -= first.iter().filter(|job| job.is_awaited).count();
        first
    }

    fn has_room(&self) -> bool {
        !self.is_closed && self.standing.len() < LENGTH_MAX
    }
}

impl Line {
    /// Starts the thread.
    pub(super) fn start(mut writer: Writer) -> Result<Self, RegistryError> {
        let queue =
            Arc::new(Queue { state: Mutex::default(), wake: Condvar::new(), waiters: Arc::default() });
        let serving = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("registry-book".to_owned())
            .spawn(move || serving.serve(&mut writer))
            .map_err(RegistryError::Threads)?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Stands in line with work. When this completes, what was done is durable. Leaving early does not stop it.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<(T, bool), RegistryError> + Send + 'static,
    ) -> Later<'static, Result<T, StoreUnavailable>> {
        let answer = Arc::new(Mutex::new(None));
        let here = Arc::clone(&answer);
        let work: Work = Box::new(move |tables| {
            let (told, is_changed) = work(tables)?;
            *here.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
            Ok(is_changed)
        });
        let job = Job::new(work, true);
        let mut state = self.queue.lock();
        if !state.has_room() {
            return Box::pin(std::future::ready(Err(StoreUnavailable)));
        }
        state.standing.push(Arc::clone(&job));
        state.awaited += 1;
        drop(state);
        if !self.queue.waiters.asked() {
            self.queue.hand_over();
        }
        let mut wait = Wait::new(&self.queue.waiters, job);
        Box::pin(poll_fn(move |context| {
            wait.poll_settled(context).map(|job| {
                let told = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
                told.filter(|_| job.fate.load(Ordering::SeqCst) == DONE).ok_or(StoreUnavailable)
            })
        }))
    }

    /// Stands in line with work that nobody waits for. Whoever stands here afterwards finds it done; it is durable with the next that is
    /// asked for, or when nobody was for a while ([`NOTED_AFTER`]).
    ///
    /// # Errors
    /// [`StoreUnavailable`] if it was not taken. Of work that was taken and failed the log tells.
    pub(super) fn leave(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<bool, RegistryError> + Send + 'static,
    ) -> Result<(), StoreUnavailable> {
        let job = Job::new(Box::new(work), false);
        let mut state = self.queue.lock();
        if !state.has_room() {
            return Err(StoreUnavailable);
        }
        // It may sleep for longer than a note may lie here. Once woken for one it knows of those after it.
        let is_wanted = state.is_idle && state.standing.is_empty();
        state.standing.push(job);
        drop(state);
        if is_wanted {
            self.queue.wake.notify_one();
        }
        Ok(())
    }

    /// Returns the task that hands over what a core asks for once per turn, and wakes those who wait for it together.
    pub(super) fn core_task(&self) -> CoreTask<Job> {
        let queue = Arc::clone(&self.queue);
        CoreTask::new(Arc::clone(&self.queue.waiters), Arc::new(move || queue.hand_over()))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // It catches its own panics; one that died anyway has nothing left to say.
            let _ended = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self) {
        let state = self.lock();
        let is_wanted = state.is_idle && state.is_pressing();
        drop(state);
        if is_wanted {
            self.wake.notify_one();
        }
    }

    fn serve(&self, writer: &mut Writer) {
        while let Some(together) = self.take(writer.has_unwritten()) {
            // A damaged file can make the engine panic; that costs those who stand here, not the thread.
            let served = catch_unwind(AssertUnwindSafe(|| match together.as_slice() {
                [] => writer.checkpoint(),
                together => writer.serve(together),
            }));
            let served = served.unwrap_or(Err(GAVE_UP));
            if let Err(error) = &served {
                unavailable(error);
            }
            let fate = if served.is_ok() { DONE } else { FAILED };
            for job in together.iter().filter(|job| !job.is_settled()) {
                job.settle(fate);
            }
            self.waiters.settled();
            let checked = catch_unwind(AssertUnwindSafe(|| writer.checkpoint_if_due()));
            if let Err(error) = checked.unwrap_or(Err(GAVE_UP)) {
                unavailable(&error);
            }
        }
        if let Err(error) = writer.close() {
            unavailable(&error);
        }
    }

    /// Waits for somebody. Nobody at all: nobody came for a while, and whoever asks wanted to know. `None`: the line is closed and
    /// everybody was served.
    fn take(&self, tells_of_rest: bool) -> Option<Vec<Arc<Job>>> {
        let mut state = self.lock();
        loop {
            if state.is_pressing() {
                return Some(state.take_first());
            }
            if state.is_closed {
                return (!state.standing.is_empty()).then(|| state.take_first());
            }
            let has_notes = !state.standing.is_empty();
            state.is_idle = true;
            let is_rested;
            (state, is_rested) = if has_notes || tells_of_rest {
                let for_long = if has_notes { NOTED_AFTER } else { REST_AFTER };
                let napped = self.wake.wait_timeout(state, for_long).unwrap_or_else(PoisonError::into_inner);
                (napped.0, napped.1.timed_out())
            } else {
                (self.wake.wait(state).unwrap_or_else(PoisonError::into_inner), false)
            };
            state.is_idle = false;
            if is_rested && !state.is_closed {
                return Some(state.take_first());
            }
        }
    }
}
