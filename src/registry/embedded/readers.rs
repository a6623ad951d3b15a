//! Look-ups by number on a few threads of their own: a page fault there stops nobody's event loop.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{ReadOnlyTable, ReadableDatabase as _};
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::store::{EmbeddedRegistry, PARTITION, Shared};
use super::tables::{META, NUMBERS, RECORDS, epoch_and_head};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::registry::codec;
use crate::verification::ports::{Later, LookUpError, Reading, RecordSource};
use crate::waking::{Awaited, CoreTask, Wait, Waiters};

/// An idle reader lets go of its snapshot after this long, so that the engine can reuse the pages it holds.
const SNAPSHOT_IDLE_MAX: Duration = Duration::from_millis(100);

/// The most look-ups a reader takes at a time: enough to spare the queue's lock, few enough to leave the others theirs.
const TAKEN_MAX: usize = 16;

/// Answers are announced together, but none later than this after it was found: a page of the disk may lie between them.
const ANNOUNCED_WITHIN: Duration = Duration::from_micros(50);

type Answer = Result<Reading, LookUpError>;

impl RecordSource for EmbeddedRegistry {
    fn read(&self, pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>> {
        match self.readers.ask(pseudonym) {
            Some(asked) => Box::pin(asked),
            None => Box::pin(std::future::ready(Err(LookUpError::RegistryUnavailable))),
        }
    }

    fn epoch(&self) -> u32 {
        self.shared.epoch.load(Ordering::Acquire)
    }
}

/// The reader threads and the queue in front of them.
pub(super) struct Readers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
    length_max: usize,
    waiters: Arc<Waiters<LookUp>>,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Arc<LookUp>>,
    /// Readers asleep: waking costs a system call, so nobody is woken who is awake.
    idle: usize,
    closed: bool,
}

/// A look-up, and its answer once there is one.
struct LookUp {
    pseudonym: NumberPseudonym,
    is_answered: AtomicBool,
    answer: Mutex<Option<Answer>>,
}

impl LookUp {
    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        self.is_answered.store(true, Ordering::SeqCst);
    }
}

impl Awaited for LookUp {
    fn is_settled(&self) -> bool {
        self.is_answered.load(Ordering::SeqCst)
    }
}

/// Completes when a reader has answered.
struct Asked(Wait<LookUp>);

impl Future for Asked {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.0.poll_settled(context).map(|look_up| {
            let answer = look_up.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
            answer.unwrap_or(Err(LookUpError::RegistryUnavailable))
        })
    }
}

impl Readers {
    pub(super) fn start(
        shared: &Arc<Shared>,
        count: usize,
        length_max: usize,
    ) -> Result<Self, RegistryError> {
        let queue = Queue {
            state: Mutex::new(QueueState {
                waiting: VecDeque::with_capacity(length_max),
                ..QueueState::default()
            }),
            wake: Condvar::new(),
            length_max,
            waiters: Arc::default(),
        };
        let mut readers = Self { queue: Arc::new(queue), threads: Vec::new() };
        for index in 0..count.max(1) {
            let mut reader = Reader::of(shared);
            let queue = Arc::clone(&readers.queue);
            let thread = std::thread::Builder::new()
                .name(format!("registry-read-{index}"))
                .spawn(move || reader.run(&queue))
                .map_err(RegistryError::Threads)?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Queues a look-up; `None` when the queue is full or closed.
    fn ask(&self, pseudonym: NumberPseudonym) -> Option<Asked> {
        let look_up =
            Arc::new(LookUp { pseudonym, is_answered: AtomicBool::new(false), answer: Mutex::default() });
        let mut state = self.queue.lock();
        if state.closed || state.waiting.len() >= self.queue.length_max {
            return None;
        }
        state.waiting.push_back(Arc::clone(&look_up));
        drop(state);
        if !self.queue.waiters.asked() {
            self.queue.hand_over();
        }
        Some(Asked(Wait::new(&self.queue.waiters, look_up)))
    }

    /// Returns the task that hands over a core's look-ups once per turn and wakes those who wait for them together.
    pub(super) fn core_task(&self) -> impl Future<Output = ()> + Send + 'static {
        let queue = Arc::clone(&self.queue);
        CoreTask::new(Arc::clone(&self.queue.waiters), Arc::new(move || queue.hand_over()))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.queue.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A reader catches its own panics; one that died anyway has nothing left to say.
            let _ = thread.join();
        }
        for look_up in &left {
            look_up.answer(Err(LookUpError::RegistryUnavailable));
        }
        self.queue.waiters.settled();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes as many readers as there is work for.
    fn hand_over(&self) {
        let state = self.lock();
        let wanted = state.idle.min(state.waiting.len());
        drop(state);
        for _ in 0..wanted {
            self.wake.notify_one();
        }
    }
}

/// Answers look-ups on the thread that has it. Blocking: for tools and measurements; a gateway asks [`RecordSource`].
pub struct Reader {
    shared: Arc<Shared>,
    snapshot: Option<Snapshot>,
    scratch: Zeroizing<Vec<u8>>,
}

/// Tables of one read transaction, kept open until a commit makes them old.
struct Snapshot {
    commits: u64,
    position: Position,
    numbers: ReadOnlyTable<&'static [u8; 16], &'static [u8; 16]>,
    records: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
}

impl EmbeddedRegistry {
    /// Returns a reader for the calling thread.
    pub fn reader(&self) -> Reader {
        Reader::of(&self.shared)
    }
}

impl Reader {
    fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), snapshot: None, scratch: Zeroizing::default() }
    }

    #[allow(clippy::disallowed_methods, reason = "how long answers have lain here is nobody else's business")]
    fn run(&mut self, queue: &Queue) {
        let mut taken = Vec::with_capacity(TAKEN_MAX);
        while self.take(queue, &mut taken) {
            let mut unannounced: Option<Instant> = None;
            for look_up in taken.drain(..) {
                // The reader's own hold is the last: whoever asked has left.
                if Arc::strong_count(&look_up) > 1 {
                    look_up.answer(self.look_up_carefully(look_up.pseudonym));
                    let since = *unannounced.get_or_insert_with(Instant::now);
                    if since.elapsed() >= ANNOUNCED_WITHIN {
                        queue.waiters.settled();
                        unannounced = None;
                    }
                }
            }
            if unannounced.is_some() {
                queue.waiters.settled();
            }
        }
    }

    /// A damaged file can make the engine panic; that must cost one answer, not the reader.
    fn look_up_carefully(&mut self, pseudonym: NumberPseudonym) -> Answer {
        catch_unwind(AssertUnwindSafe(|| self.look_up(pseudonym))).unwrap_or_else(|_| {
            self.snapshot = None;
            Err(LookUpError::RecordUnreadable)
        })
    }

    /// Waits for work and takes some; `false` when the registry closes.
    fn take(&mut self, queue: &Queue, taken: &mut Vec<Arc<LookUp>>) -> bool {
        let mut state = queue.lock();
        loop {
            if state.closed {
                return false;
            }
            if !state.waiting.is_empty() {
                // With idle readers beside it, a reader leaves them their part: each look-up may wait for the disk.
                let share = state.waiting.len().div_ceil(state.idle + 1).min(TAKEN_MAX);
                taken.extend(state.waiting.drain(..share));
                return true;
            }
            state.idle += 1;
            state = if self.snapshot.is_some() {
                let (state, timeout) =
                    queue.wake.wait_timeout(state, SNAPSHOT_IDLE_MAX).unwrap_or_else(PoisonError::into_inner);
                if timeout.timed_out() {
                    self.snapshot = None;
                }
                state
            } else {
                queue.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
            state.idle -= 1;
        }
    }

    /// Reads the record of a number and the feed's head, from one snapshot.
    ///
    /// # Errors
    /// [`LookUpError::RegistryUnavailable`] or [`LookUpError::RecordUnreadable`].
    pub fn look_up(&mut self, pseudonym: NumberPseudonym) -> Result<Reading, LookUpError> {
        self.refresh().map_err(|_| LookUpError::RegistryUnavailable)?;
        let Some(snapshot) = &self.snapshot else { return Err(LookUpError::RegistryUnavailable) };
        let found =
            snapshot.numbers.get(pseudonym.as_bytes()).map_err(|_| LookUpError::RegistryUnavailable)?;
        let Some(found) = found else {
            return Ok(Reading { record: None, position: snapshot.position });
        };
        let subject = SubjectId::from_bytes(*found.value());
        let sealed =
            snapshot.records.get(subject.as_bytes()).map_err(|_| LookUpError::RegistryUnavailable)?;
        let sealed = sealed.ok_or(LookUpError::RecordUnreadable)?;
        let opened = self.shared.keys.sealing.open(sealed.value(), subject.as_bytes(), &mut self.scratch);
        let plain = opened.map_err(|_| LookUpError::RecordUnreadable)?;
        let record = codec::decode(subject, plain).map_err(|_| LookUpError::RecordUnreadable)?;
        let record = (!record.history.is_erased()).then(|| Arc::new(record));
        Ok(Reading { record, position: snapshot.position })
    }

    /// Takes a new snapshot if a commit happened since the last. The count is read first: a commit in between makes the
    /// snapshot newer than it claims, which costs one more refresh and hides nothing.
    fn refresh(&mut self) -> Result<(), RegistryError> {
        let commits = self.shared.commits.load(Ordering::Acquire);
        if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.commits == commits) {
            return Ok(());
        }
        self.snapshot = None;
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let (epoch, seq) = epoch_and_head(&reading.open_table(META).trying_to("read")?)?;
        self.snapshot = Some(Snapshot {
            commits,
            position: Position { epoch, partition: PARTITION, seq },
            numbers: reading.open_table(NUMBERS).trying_to("read")?,
            records: reading.open_table(RECORDS).trying_to("read")?,
        });
        Ok(())
    }
}
