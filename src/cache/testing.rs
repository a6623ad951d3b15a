//! Numbers, subjects, records, clocks and a scripted registry for this room's tests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;

use super::{BreakerState, CacheObserver, RedisFault, StaleCause};
use crate::domain::licence::{Change, ChangeKind, History, Record, Stops};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};
use crate::domain::time::{Clock, Effective};
use crate::verification::ports::{
    Class, Deadline, FactSource, Later, LookUpError, Reading, RecordSource, Turn,
};

fn bytes(n: u64, kind: u8) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

pub(crate) fn number(n: u64) -> NumberPseudonym {
    NumberPseudonym::from_bytes(bytes(n, 0x4e))
}

pub(crate) fn subject(n: u64) -> SubjectId {
    SubjectId::from_bytes(bytes(n, 0x53))
}

pub(crate) fn at(epoch: u32, seq: u64) -> Position {
    Position { epoch, partition: 0, seq }
}

pub(crate) fn record(n: u64, changes: usize) -> Record {
    let change = |index: usize| Change {
        effective: Effective::At(Timestamp::UNIX_EPOCH),
        recorded_at: Timestamp::UNIX_EPOCH,
        position: at(1, index as u64),
        kind: ChangeKind::StateSet { letter: b'A', original_end: None },
    };
    Record {
        subject: subject(n),
        secret: SubjectSecret::from_bytes([7; 32]),
        history: History::from_changes((0..changes).map(change).collect()),
        stops: Stops::default(),
    }
}

/// A clock that moves when told.
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_000_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(1_700_000_000_000_000_000 + i128::from(self.0.load(Ordering::SeqCst)))
            .unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// The machine's clock.
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::Realtime);
        Timestamp::new(now.tv_sec, i32::try_from(now.tv_nsec).unwrap()).unwrap()
    }

    fn since_boot(&self) -> Duration {
        let boot = clock_gettime(ClockId::Boottime);
        Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).unwrap())
    }
}

/// A turn like any other.
pub(crate) const CLAIM: Turn<'static> = Turn { class: Class::Claim, partner: None };

pub(crate) fn within(time: Duration) -> Deadline {
    Deadline { since_boot: RealClock.since_boot() + time }
}

/// A registry that answers when let, with a snapshot taken when the read began.
pub(crate) struct ScriptedSource {
    records: Mutex<HashMap<NumberPseudonym, Arc<Record>>>,
    head: AtomicU64,
    epoch: AtomicU32,
    pub(crate) reads: AtomicUsize,
    pub(crate) finished: AtomicUsize,
    fault: Mutex<Option<LookUpError>>,
    /// Reads wait here for a permit when the gate is shut.
    pub(crate) gate: Semaphore,
    overtake: Mutex<Option<Box<dyn Fn() + Send>>>,
}

const OPEN: usize = 1_000_000;

impl ScriptedSource {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::default(),
            head: AtomicU64::new(1),
            epoch: AtomicU32::new(1),
            reads: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            fault: Mutex::default(),
            gate: Semaphore::new(OPEN),
            overtake: Mutex::default(),
        })
    }

    pub(crate) fn put(&self, n: u64, changes: usize) -> Position {
        let mut records = self.records.lock().unwrap();
        records.insert(number(n), Arc::new(record(n, changes)));
        at(self.epoch(), self.head.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub(crate) fn restore(&self, epoch: u32, head: u64) {
        self.epoch.store(epoch, Ordering::SeqCst);
        self.head.store(head, Ordering::SeqCst);
    }

    pub(crate) fn fail_with(&self, fault: Option<LookUpError>) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn shut(&self) {
        self.gate.forget_permits(OPEN);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(OPEN);
    }

    /// Runs after a snapshot was taken and before it is handed over.
    pub(crate) fn overtake_with(&self, change: impl Fn() + Send + 'static) {
        *self.overtake.lock().unwrap() = Some(Box::new(change));
    }

    pub(crate) fn read_count(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn snapshot(&self, pseudonym: NumberPseudonym) -> Reading {
        let records = self.records.lock().unwrap();
        Reading {
            record: records.get(&pseudonym).cloned(),
            position: at(self.epoch(), self.head.load(Ordering::SeqCst)),
        }
    }
}

impl RecordSource for ScriptedSource {
    fn read(&self, pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let reading = self.snapshot(pseudonym);
            if let Some(overtake) = &*self.overtake.lock().unwrap() {
                overtake();
            }
            self.gate.acquire().await.unwrap().forget();
            self.finished.fetch_add(1, Ordering::SeqCst);
            match self.fault.lock().unwrap().clone() {
                Some(fault) => Err(fault),
                None => Ok(reading),
            }
        })
    }

    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::SeqCst)
    }
}

/// Remembers what it was told.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) hits: Mutex<Vec<(FactSource, bool)>>,
    pub(crate) refused: Mutex<Vec<(FactSource, StaleCause)>>,
    pub(crate) redis_faults: Mutex<Vec<RedisFault>>,
    pub(crate) unwritten: Mutex<Vec<RedisFault>>,
    pub(crate) breaker: Mutex<Vec<BreakerState>>,
    pub(crate) joined: AtomicUsize,
    /// Readings that were tried again.
    pub(crate) retried: AtomicUsize,
}

impl CacheObserver for Notes {
    fn hit(&self, level: FactSource, negative: bool) {
        self.hits.lock().unwrap().push((level, negative));
    }

    fn refused(&self, level: FactSource, cause: StaleCause) {
        self.refused.lock().unwrap().push((level, cause));
    }

    fn retried(&self, is_tried_again: bool) {
        self.retried.fetch_add(usize::from(is_tried_again), Ordering::SeqCst);
    }

    fn joined(&self) {
        self.joined.fetch_add(1, Ordering::SeqCst);
    }

    fn redis_failed(&self, cause: RedisFault) {
        self.redis_faults.lock().unwrap().push(cause);
    }

    fn redis_not_written(&self, cause: RedisFault) {
        self.unwritten.lock().unwrap().push(cause);
    }

    fn breaker(&self, state: BreakerState) {
        self.breaker.lock().unwrap().push(state);
    }
}
