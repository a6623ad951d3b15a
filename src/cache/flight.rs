//! Many misses of one number, one load.
//!
//! Loads are of the registry. What Redis holds each caller asks for itself: that costs less than finding out who else asks.
//!
//! A load is a shared future that its callers drive themselves: the registry's reader thread wakes whoever
//! waits, on the waiter's own core. A cold look-up thus costs no task and no hop over a foreign runtime. It is as safe as a
//! spawned load:
//! - *A caller leaves:* every waiter is woken when the load can go on, and any one of them may drive it. The first who
//!   leaves early also hands the load to the background runtime (bounded, timed), so it ends and fills the cache even
//!   when nobody waits any more.
//! - *Everybody is gone and the background has no place*, or the load still stands in line for the registry: the load is dropped, and
//!   its entry with it.
//! - *A load hangs:* after `load_time_max` nobody joins it; the next caller starts another.
//!
//! Who joins a load may get a reading from before the join; the joiner judges it like any cached fact.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::domain::subject::NumberPseudonym;

type Load<T> = Shared<BoxFuture<'static, T>>;

/// The loads under way.
pub(super) struct Flights<T> {
    shards: [Mutex<HashMap<NumberPseudonym, Listed<T>>>; SHARDS],
    next: AtomicU64,
    abandoned: Arc<Semaphore>,
    load_time_max: Duration,
    runtime: Handle,
}

/// A load as it stands in the list: alive as long as somebody drives it.
struct Listed<T> {
    load: WeakShared<BoxFuture<'static, T>>,
    mark: Arc<Mark>,
}

struct Mark {
    id: u64,
    began: Duration,
    adopted: AtomicBool,
    /// It stands in line: nothing is under way that could fill the cache.
    waits: AtomicBool,
}

/// Takes the load off the list when it ends or is dropped.
pub(super) struct Landing<T: Clone> {
    flights: Arc<Flights<T>>,
    pseudonym: NumberPseudonym,
    mark: Arc<Mark>,
}

const SHARDS: usize = 16;

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(super) fn new(abandoned_loads_max: usize, load_time_max: Duration, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next: AtomicU64::new(0),
            abandoned: Arc::new(Semaphore::new(abandoned_loads_max)),
            load_time_max,
            runtime,
        })
    }

    /// Joins the load of this number, or starts one. Says whether it was joined, and what it brought.
    pub(super) async fn board(
        self: &Arc<Self>,
        pseudonym: NumberPseudonym,
        now: Duration,
        load: impl FnOnce(Landing<T>) -> BoxFuture<'static, T>,
    ) -> (bool, T) {
        let (joined, load, mark) = self.find(pseudonym, now, load);
        let mut seat = Seat { flights: self, load: Some(load.clone()), mark };
        let outcome = load.await;
        seat.load = None;
        (joined, outcome)
    }

    fn find(
        self: &Arc<Self>,
        pseudonym: NumberPseudonym,
        now: Duration,
        load: impl FnOnce(Landing<T>) -> BoxFuture<'static, T>,
    ) -> (bool, Load<T>, Arc<Mark>) {
        // A load that is not joined may be held by us alone: it must be dropped after the lock, because its landing takes it.
        let mut not_joined = None;
        let mut listed = self.shard(pseudonym);
        if let Some(flight) = listed.get(&pseudonym)
            && let Some(running) = flight.load.upgrade()
        {
            if now.saturating_sub(flight.mark.began) <= self.load_time_max {
                return (true, running, Arc::clone(&flight.mark));
            }
            not_joined = Some(running);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mark =
            Arc::new(Mark { id, began: now, adopted: AtomicBool::new(false), waits: AtomicBool::new(false) });
        let landing = Landing { flights: Arc::clone(self), pseudonym, mark: Arc::clone(&mark) };
        let started = load(landing).shared();
        if let Some(weak) = started.downgrade() {
            listed.insert(pseudonym, Listed { load: weak, mark: Arc::clone(&mark) });
        }
        drop(listed);
        drop(not_joined);
        (false, started, mark)
    }

    fn shard(&self, pseudonym: NumberPseudonym) -> MutexGuard<'_, HashMap<NumberPseudonym, Listed<T>>> {
        let index = usize::from(pseudonym.as_bytes()[0]) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn adopt(&self, load: Load<T>, mark: &Mark) {
        if load.peek().is_some()
            || mark.waits.load(Ordering::Relaxed)
            || mark.adopted.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let Ok(place) = Arc::clone(&self.abandoned).try_acquire_owned() else { return };
        let time_max = self.load_time_max;
        self.runtime.spawn(async move {
            // Whether it ended in time does not matter: it has filled the cache, or is dropped.
            let _ = tokio::time::timeout(time_max, load).await;
            drop(place);
        });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

impl<T: Clone> Landing<T> {
    /// Says whether the load stands in line now: then it ends with its last caller.
    pub(super) fn waits(&self, waits: bool) {
        self.mark.waits.store(waits, Ordering::Relaxed);
    }
}

impl<T: Clone> Drop for Landing<T> {
    fn drop(&mut self) {
        let index = usize::from(self.pseudonym.as_bytes()[0]) % SHARDS;
        let mut listed = self.flights.shards[index].lock().unwrap_or_else(PoisonError::into_inner);
        if listed.get(&self.pseudonym).is_some_and(|flight| flight.mark.id == self.mark.id) {
            listed.remove(&self.pseudonym);
        }
    }
}

/// A caller's place: left before the load ended, it hands the load to the background.
struct Seat<'a, T: Clone + Send + Sync + 'static> {
    flights: &'a Flights<T>,
    load: Option<Load<T>>,
    mark: Arc<Mark>,
}

impl<T: Clone + Send + Sync + 'static> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        if let Some(load) = self.load.take() {
            self.flights.adopt(load, &self.mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::cache::testing::number;

    const SOON: Duration = Duration::ZERO;

    fn flights(abandoned: usize) -> Arc<Flights<usize>> {
        Flights::new(abandoned, Duration::from_secs(5), Handle::current())
    }

    fn load(
        begun: &Arc<AtomicUsize>,
        gate: &Arc<Semaphore>,
    ) -> impl FnOnce(Landing<usize>) -> BoxFuture<'static, usize> + use<> {
        let (begun, gate) = (Arc::clone(begun), Arc::clone(gate));
        move |landing| {
            Box::pin(async move {
                let _landing = landing;
                let turn = begun.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                turn
            })
        }
    }

    #[tokio::test]
    async fn misses_at_the_same_time_share_one_load() {
        let (flights, begun, gate) = (flights(4), Arc::default(), Arc::new(Semaphore::new(0)));
        let board = || async { flights.board(number(1), SOON, load(&begun, &gate)).await };
        let open = async { gate.add_permits(1) };
        let (first, second, third, ()) = tokio::join!(board(), board(), board(), open);
        assert_eq!((first, second, third), ((false, 0), (true, 0), (true, 0)));
        assert_eq!(flights.len(), 0);
        gate.add_permits(1);
        assert_eq!(board().await, (false, 1), "a later miss loads anew");
    }

    #[tokio::test]
    async fn the_others_go_on_when_the_first_leaves() {
        let (flights, begun, gate) = (flights(0), Arc::default(), Arc::new(Semaphore::new(0)));
        let first = tokio::spawn({
            let (flights, load) = (Arc::clone(&flights), load(&begun, &gate));
            async move { flights.board(number(1), SOON, load).await }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn({
            let (flights, load) = (Arc::clone(&flights), load(&begun, &gate));
            async move { flights.board(number(1), SOON, load).await }
        });
        tokio::task::yield_now().await;
        first.abort();
        tokio::task::yield_now().await;
        gate.add_permits(1);
        assert_eq!(second.await.unwrap(), (true, 0));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_load_without_callers_ends_in_the_background_if_it_has_a_place() {
        for (places, ends) in [(1, true), (0, false)] {
            let (flights, begun, gate) = (flights(places), Arc::default(), Arc::new(Semaphore::new(0)));
            let left = tokio::time::timeout(
                Duration::from_millis(5),
                flights.board(number(1), SOON, load(&begun, &gate)),
            );
            assert!(left.await.is_err());
            assert_eq!(flights.len(), usize::from(ends), "still listed iff adopted");
            gate.add_permits(1);
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert_eq!(gate.available_permits(), usize::from(!ends));
            assert_eq!(flights.len(), 0);
        }
    }

    #[tokio::test]
    async fn nobody_joins_a_load_that_hangs() {
        let (flights, begun, gate) = (flights(4), Arc::default(), Arc::new(Semaphore::new(0)));
        let mut hanging = Box::pin(flights.board(number(1), SOON, load(&begun, &gate)));
        assert!(futures_util::poll!(&mut hanging).is_pending());
        gate.add_permits(2);
        let later = SOON + Duration::from_secs(6);
        assert_eq!(flights.board(number(1), later, load(&begun, &gate)).await, (false, 1));
        assert_eq!(hanging.await, (false, 0));
        assert_eq!(flights.len(), 0);
    }
}
