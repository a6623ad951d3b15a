//! Look-ups by number on a few threads of their own: a page fault there stops nobody's event loop.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{ReadOnlyTable, ReadableDatabase as _};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::store::{EmbeddedRegistry, PARTITION, Shared};
use super::tables::{META, NUMBERS, RECORDS, epoch_and_head};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::registry::codec;
use crate::verification::ports::{Later, LookUpError, Reading, RecordSource};

/// An idle reader lets go of its snapshot after this long, so that the engine can reuse the pages it holds.
const SNAPSHOT_IDLE_MAX: Duration = Duration::from_millis(100);

type Answer = Result<Reading, LookUpError>;

impl RecordSource for EmbeddedRegistry {
    fn read(&self, pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>> {
        let asked = self.readers.ask(pseudonym);
        Box::pin(async move {
            match asked {
                Some(answer) => answer.await.unwrap_or(Err(LookUpError::RegistryUnavailable)),
                None => Err(LookUpError::RegistryUnavailable),
            }
        })
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
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<LookUp>,
    /// Readers asleep: waking costs a system call, so nobody is woken who is awake.
    idle: usize,
    closed: bool,
}

struct LookUp {
    pseudonym: NumberPseudonym,
    answer: oneshot::Sender<Answer>,
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
    fn ask(&self, pseudonym: NumberPseudonym) -> Option<oneshot::Receiver<Answer>> {
        let (answer, asked) = oneshot::channel();
        let mut state = self.queue.lock();
        if state.closed || state.waiting.len() >= self.queue.length_max {
            return None;
        }
        state.waiting.push_back(LookUp { pseudonym, answer });
        let wake = state.idle > 0;
        drop(state);
        if wake {
            self.queue.wake.notify_one();
        }
        Some(asked)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A reader catches its own panics; one that died anyway has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn run(&mut self, queue: &Queue) {
        while let Some(look_up) = self.next(queue) {
            if look_up.answer.is_closed() {
                continue;
            }
            // A damaged file can make the engine panic; that must cost one answer, not the reader.
            let answer = catch_unwind(AssertUnwindSafe(|| self.look_up(look_up.pseudonym)));
            let answer = answer.unwrap_or_else(|_| {
                self.snapshot = None;
                Err(LookUpError::RecordUnreadable)
            });
            let _ = look_up.answer.send(answer);
        }
    }

    /// Waits for work; `None` when the registry closes.
    fn next(&mut self, queue: &Queue) -> Option<LookUp> {
        let mut state = queue.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(look_up) = state.waiting.pop_front() {
                return Some(look_up);
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
        Ok(Reading { record: Some(Arc::new(record)), position: snapshot.position })
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
