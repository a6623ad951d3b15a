use std::sync::Mutex;

use super::super::fate::{Fate, QuarantineReason};
use super::super::ports::Later;
use super::super::testing::{Shelf, at, change, stated};
use super::*;
use crate::domain::licence::ChangeKind;

/// One subject behind the port, and a disk that can be full.
struct OneSubject {
    shelf: Mutex<Shelf>,
    batches: Mutex<Vec<usize>>,
    is_full: Mutex<bool>,
    /// Closed while a commit is to take long.
    gate: tokio::sync::Semaphore,
}

impl ChangeStore for Arc<OneSubject> {
    fn take(&self, batch: Vec<IncomingChange>, now: Timestamp) -> Later<'_, Result<Taken, StoreFault>> {
        Box::pin(async move {
            let _commit = self.gate.acquire().await.map_err(|closed| StoreFault(Box::new(closed)))?;
            if *self.is_full.lock().unwrap() {
                return Err(StoreFault(Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull))));
            }
            self.batches.lock().unwrap().push(batch.len());
            let outcomes = self.shelf.lock().unwrap().take(batch, now);
            let applied =
                outcomes.iter().filter(|told| matches!(told, Outcome::New(Fate::Applied(_)))).count();
            Ok(Taken { outcomes, applied: applied as u64, latest_recorded: None })
        })
    }

    fn expire(&self, now: Timestamp) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        self.shelf.lock().unwrap().take(Vec::new(), now);
        self.waiting()
    }

    fn waiting(&self) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        let counts = self.shelf.lock().unwrap().state.counts();
        Box::pin(async move { Ok(counts) })
    }

    fn quarantine(
        &self,
        _after: Option<Handle>,
        _count_max: usize,
    ) -> Later<'_, Result<Vec<QuarantineEntry>, StoreFault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn judge(
        &self,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Later<'_, Result<Result<u64, VerdictFault>, StoreFault>> {
        let judged = self.shelf.lock().unwrap().judge(handle, verdict, now).map(|()| 1);
        Box::pin(async move { Ok(judged) })
    }
}

/// Time that stands still until it is moved.
struct Stopped(Mutex<Timestamp>);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[derive(Default)]
struct Heard {
    waiting: Mutex<Vec<WaitingCounts>>,
    failures: Mutex<usize>,
}

impl IntakeObserver for Heard {
    fn taken(&self, _taken: &Taken, _now: Timestamp, _elapsed: Duration) {}

    fn released(&self, _count: u64) {}

    fn waiting(&self, counts: WaitingCounts) {
        self.waiting.lock().unwrap().push(counts);
    }

    fn failed(&self, _fault: &StoreFault) {
        *self.failures.lock().unwrap() += 1;
    }
}

struct Played {
    store: Arc<OneSubject>,
    clock: Arc<Stopped>,
    heard: Arc<Heard>,
    intake: Arc<Intake>,
}

impl Played {
    /// Waits until the observer was told of such counts.
    async fn hears(&self, is_told: impl Fn(WaitingCounts) -> bool) {
        for _ in 0..400 {
            if self.heard.waiting.lock().unwrap().last().is_some_and(|counts| is_told(*counts)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never told: {:?}", self.heard.waiting.lock().unwrap());
    }
}

fn play(options: IntakeOptions, commits: usize) -> Played {
    let store = Arc::new(OneSubject {
        shelf: Mutex::new(Shelf::licensed()),
        batches: Mutex::default(),
        is_full: Mutex::default(),
        gate: tokio::sync::Semaphore::new(commits),
    });
    let clock = Arc::new(Stopped(Mutex::new(at(0))));
    let heard = Arc::new(Heard::default());
    let intake = Intake::start(
        Arc::new(Arc::clone(&store)),
        Arc::clone(&clock) as _,
        Arc::clone(&heard) as _,
        options,
        &Runtime::current(),
    );
    Played { store, clock, heard, intake }
}

fn points(sequence: u64) -> IncomingChange {
    change(sequence, stated(5, ChangeKind::PointsSet { points: 1 }))
}

#[tokio::test]
async fn what_arrives_during_a_commit_goes_into_the_next_one() {
    let played = play(IntakeOptions::default(), 0);
    let mut tickets = Vec::new();
    for sequence in 1..=20 {
        tickets.push(played.intake.hand_in(vec![points(sequence)]).await.unwrap());
        if sequence == 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    played.store.gate.add_permits(1);
    for ticket in tickets {
        assert!(matches!(ticket.outcomes().await.unwrap()[..], [Outcome::New(Fate::Applied(_))]));
    }
    assert_eq!(*played.store.batches.lock().unwrap(), [1, 19]);
}

#[tokio::test]
async fn a_full_queue_holds_streams_back() {
    let played = play(IntakeOptions { queue_length: 2, ..IntakeOptions::default() }, 0);
    let _begun = played.intake.hand_in(vec![points(1)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _queued = [
        played.intake.hand_in(vec![points(2)]).await.unwrap(),
        played.intake.hand_in(vec![points(3)]).await.unwrap(),
    ];
    let waits =
        tokio::time::timeout(Duration::from_millis(200), played.intake.hand_in(vec![points(4)])).await;
    assert!(waits.is_err(), "it waits for room");
    played.store.gate.add_permits(1);
    played.intake.hand_in(vec![points(4)]).await.unwrap().outcomes().await.unwrap();
}

#[tokio::test]
async fn a_store_that_fails_acknowledges_nothing_and_goes_on_when_it_can() {
    let played = play(IntakeOptions::default(), 1);
    *played.store.is_full.lock().unwrap() = true;
    let ticket = played.intake.hand_in(vec![points(1)]).await.unwrap();
    assert_eq!(ticket.outcomes().await, Err(IntakeUnavailable));
    assert_eq!(*played.heard.failures.lock().unwrap(), 1);
    *played.store.is_full.lock().unwrap() = false;
    let again = played.intake.hand_in(vec![points(1)]).await.unwrap().outcomes().await.unwrap();
    assert!(matches!(again[..], [Outcome::New(Fate::Applied(_))]), "nothing was taken the first time");
}

#[tokio::test]
async fn what_is_held_too_long_goes_into_quarantine_without_anybody_asking() {
    let played = play(IntakeOptions::default(), 1);
    let ticket = played.intake.hand_in(vec![points(2)]).await.unwrap();
    assert_eq!(ticket.outcomes().await.unwrap(), [Outcome::New(Fate::Held)]);
    played.hears(|counts| counts.held == 1).await;
    *played.clock.0.lock().unwrap() = at(5);
    played.hears(|counts| (counts.held, counts.quarantined) == (0, 1)).await;
    let again = played.intake.hand_in(vec![points(2)]).await.unwrap().outcomes().await.unwrap();
    assert_eq!(again, [Outcome::Duplicate(Fate::Quarantined(QuarantineReason::SequenceGap))]);
}
