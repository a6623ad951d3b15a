//! Where callers meet the journal's thread: one buffer of frames under a short mutex.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread::Thread;

use jiff::Timestamp;

use super::JournalOptions;
use super::frame::{FRAME_HEAD_BYTES, payload_checksum, push_frame};
use super::refusals::{Noted, RefusalTable};
use super::stats::{ClosedReason, Counters, JournalHealth};
use crate::admission::RefusalNote;
use crate::audit::entry::RefusalEntry;
use crate::verification::ports::{EntryAt, EvidenceUnavailable};
use crate::waking::{Awaited, Wait, Waiters};

/// How many refusals the thread takes at a time, so that a flood of them never holds an answer up for long.
const REFUSALS_PER_BATCH: usize = 256;

/// How far a journal reaches, for whoever reads its files beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::audit) struct Extent {
    /// Entries that are durable: nothing behind may be read.
    pub(in crate::audit) entries: u64,
    /// Segments begun since start: when it has changed, the folder's list has.
    pub(in crate::audit) segments_begun: u64,
}

/// What callers and the journal's thread share.
pub(super) struct Queue {
    origin: Arc<str>,
    gathering: Mutex<Gathering>,
    refusals: Mutex<RefusalTable>,
    bytes_max: usize,
    thread: OnceLock<Thread>,
    /// How many entries are durable.
    durable: AtomicU64,
    /// How many segments were begun since start.
    segments_begun: AtomicU64,
    pub(super) waiters: Arc<Waiters<Batch>>,
    pub(super) counters: Counters,
}

/// The batch that is being gathered.
struct Gathering {
    frames: Vec<u8>,
    batch: Arc<Batch>,
    first_index: u64,
    next_index: u64,
    refusals: u64,
    health: JournalHealth,
    shutting_down: bool,
    /// What has gathered may be written: a core's turn has ended, or somebody without a core appended.
    due: bool,
    /// The thread sleeps and wants to be woken when something is due.
    idle: bool,
}

const OPEN: u8 = 0;
const DURABLE: u8 = 1;
const FAILED: u8 = 2;

/// Entries that become durable, or fail, together.
#[derive(Default)]
pub(super) struct Batch {
    state: AtomicU8,
}

/// How a batch came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// On disk.
    Durable,
    /// Not known to be on disk.
    Failed,
}

impl Batch {
    /// Settles the batch; waiters are woken separately, once for all.
    pub(super) fn settle(&self, how: Settled) {
        let state = if how == Settled::Durable { DURABLE } else { FAILED };
        self.state.store(state, Ordering::SeqCst);
    }

    fn settled(&self) -> Option<Settled> {
        match self.state.load(Ordering::SeqCst) {
            OPEN => None,
            DURABLE => Some(Settled::Durable),
            _ => Some(Settled::Failed),
        }
    }
}

impl Awaited for Batch {
    fn is_settled(&self) -> bool {
        self.settled().is_some()
    }
}

/// A gathered batch, taken by the thread.
pub(super) struct Taken {
    pub(super) frames: Vec<u8>,
    pub(super) batch: Arc<Batch>,
    pub(super) first_index: u64,
    pub(super) next_index: u64,
    /// How many of its entries are refusals.
    pub(super) refusals: u64,
}

/// What the thread shall do next.
pub(super) enum Work {
    /// Write this.
    Write(Taken),
    /// Sleep until woken, but no longer than a turn of a core's loop can reasonably take.
    SleepATurn,
    /// Sleep until woken; refusals are waiting for their second to end.
    SleepASecond,
    /// Sleep until woken.
    Sleep,
    /// Everything is written, and no more will come.
    Stop,
}

impl Queue {
    /// Makes a queue that takes nothing until [`Self::reopen`].
    pub(super) fn new(origin: Arc<str>, options: &JournalOptions) -> Self {
        Self {
            origin,
            gathering: Mutex::new(Gathering {
                frames: Vec::new(),
                batch: Arc::default(),
                first_index: 0,
                next_index: 0,
                refusals: 0,
                health: JournalHealth::Closed(ClosedReason::ShutDown),
                shutting_down: false,
                due: false,
                idle: false,
            }),
            refusals: Mutex::new(RefusalTable::new(options.refusals_max)),
            bytes_max: options.buffer_bytes,
            thread: OnceLock::new(),
            durable: AtomicU64::new(0),
            segments_begun: AtomicU64::new(0),
            waiters: Arc::default(),
            counters: Counters::default(),
        }
    }

    pub(super) fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Names the thread to wake.
    pub(super) fn serve_by(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Appends an entry's bytes and gives it the next index.
    pub(super) fn append(self: &Arc<Self>, payload: &[u8]) -> Result<Durable, EvidenceUnavailable> {
        let checksum = payload_checksum(payload);
        let mut gathering = self.gathering();
        if gathering.health != JournalHealth::Writing || gathering.shutting_down {
            return Err(EvidenceUnavailable);
        }
        if gathering.frames.len() + FRAME_HEAD_BYTES + payload.len() > self.bytes_max {
            self.counters.overflows.fetch_add(1, Ordering::Relaxed);
            return Err(EvidenceUnavailable);
        }
        let index = gathering.push(payload, checksum);
        let batch = Arc::clone(&gathering.batch);
        drop(gathering);
        if !self.waiters.asked() {
            self.hand_over();
        }
        Ok(Durable { queue: Arc::clone(self), wait: Wait::new(&self.waiters, batch), index })
    }

    /// Lets the thread write what has gathered.
    pub(super) fn hand_over(&self) {
        let mut gathering = self.gathering();
        gathering.due = true;
        let sleeping = std::mem::take(&mut gathering.idle);
        drop(gathering);
        self.wake_if(sleeping);
    }

    /// Counts a refusal.
    pub(super) fn note(&self, at: Timestamp, refusal: RefusalNote<'_>) {
        let noted = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).note(at, refusal);
        match noted {
            Noted::Counted => {}
            Noted::Dropped => {
                self.counters.refusals_dropped.fetch_add(1, Ordering::Relaxed);
            }
            Noted::First => {
                let sleeping = std::mem::take(&mut self.gathering().idle);
                self.wake_if(sleeping);
            }
        }
    }

    /// Says what the thread shall do next. `now` tells which refusals are complete; the spare buffer, empty, becomes the one
    /// the next batch gathers in, so that callers do not grow a new one under the lock.
    pub(super) fn next_work(&self, now: Timestamp, spare: &mut Vec<u8>) -> Work {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gathering = self.gathering();
        let now = (!gathering.shutting_down).then_some(now);
        for refusal in refusals.take_due(now, REFUSALS_PER_BATCH) {
            gathering.push_refusal(&refusal);
        }
        let gathered = gathering.first_index < gathering.next_index;
        if gathered && (gathering.due || gathering.shutting_down) {
            return Work::Write(gathering.take(std::mem::take(spare)));
        }
        if gathering.shutting_down {
            return Work::Stop;
        }
        gathering.idle = true;
        if gathered {
            // The turn will end in microseconds; a core that is stuck must not keep another's entry waiting.
            gathering.due = true;
            return Work::SleepATurn;
        }
        if refusals.is_empty() { Work::Sleep } else { Work::SleepASecond }
    }

    /// Takes no more entries, and fails what has gathered. `durable` is the index the next entry will have.
    pub(super) fn close(&self, durable: u64, reason: ClosedReason) {
        let mut gathering = self.gathering();
        gathering.health = JournalHealth::Closed(reason);
        let failed = gathering.take(Vec::new());
        gathering.first_index = durable;
        gathering.next_index = durable;
        drop(gathering);
        self.counters.refusals_dropped.fetch_add(failed.refusals, Ordering::Relaxed);
        failed.batch.settle(Settled::Failed);
        self.waiters.settled();
    }

    /// Tells readers that everything before this index is durable.
    pub(super) fn is_durable_up_to(&self, next_index: u64) {
        self.durable.store(next_index, Ordering::Release);
    }

    /// Tells readers that there is another segment; always before anything in it is told to be durable.
    pub(super) fn segment_begun(&self) {
        self.segments_begun.fetch_add(1, Ordering::Release);
    }

    /// Returns how many entries are durable, and in how many segments begun since start they may lie.
    pub(super) fn extent(&self) -> Extent {
        // In this order: the segments include every one that holds a durable entry.
        let entries = self.durable.load(Ordering::Acquire);
        Extent { entries, segments_begun: self.segments_begun.load(Ordering::Acquire) }
    }

    /// Takes entries again, from this index on.
    pub(super) fn reopen(&self, next_index: u64) {
        self.is_durable_up_to(next_index);
        let mut gathering = self.gathering();
        gathering.first_index = next_index;
        gathering.next_index = next_index;
        gathering.health = JournalHealth::Writing;
    }

    /// Takes no more entries; what has gathered is still written.
    pub(super) fn shut_down(&self) {
        let mut gathering = self.gathering();
        gathering.shutting_down = true;
        gathering.idle = false;
        drop(gathering);
        self.wake_if(true);
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        self.gathering().shutting_down
    }

    pub(super) fn health(&self) -> JournalHealth {
        let gathering = self.gathering();
        match gathering.health {
            JournalHealth::Writing if gathering.shutting_down => {
                JournalHealth::Closed(ClosedReason::ShutDown)
            }
            ref health => health.clone(),
        }
    }

    /// Returns how many entries are gathered and not yet taken by the thread.
    pub(super) fn waiting(&self) -> u64 {
        let gathering = self.gathering();
        gathering.next_index - gathering.first_index
    }

    fn wake_if(&self, sleeping: bool) {
        if sleeping && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    fn push(&mut self, payload: &[u8], checksum: u32) -> u64 {
        let index = self.next_index;
        push_frame(&mut self.frames, index, payload, checksum);
        self.next_index += 1;
        index
    }

    fn push_refusal(&mut self, refusal: &RefusalEntry) {
        let mut payload = Vec::with_capacity(128);
        match refusal.encode(&mut payload) {
            Ok(()) => {
                self.push(&payload, payload_checksum(&payload));
                self.refusals += 1;
                self.due = true;
            }
            Err(error) => tracing::error!(%error, "refusal not put on record"),
        }
    }

    fn take(&mut self, empty: Vec<u8>) -> Taken {
        let taken = Taken {
            frames: std::mem::replace(&mut self.frames, empty),
            batch: std::mem::take(&mut self.batch),
            first_index: self.first_index,
            next_index: self.next_index,
            refusals: std::mem::take(&mut self.refusals),
        };
        self.first_index = self.next_index;
        self.due = false;
        taken
    }
}

/// Completes when an entry is durable, or its batch has failed. Dropping it leaves the entry where it is.
#[must_use = "no record, no disclosure"]
pub struct Durable {
    queue: Arc<Queue>,
    wait: Wait<Batch>,
    index: u64,
}

impl Future for Durable {
    type Output = Result<EntryAt, EvidenceUnavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let settled = match self.wait.poll_settled(context) {
            Poll::Ready(batch) => batch.settled(),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(match settled {
            Some(Settled::Durable) => {
                Ok(EntryAt { origin: Arc::clone(&self.queue.origin), index: self.index })
            }
            Some(Settled::Failed) | None => Err(EvidenceUnavailable),
        })
    }
}
