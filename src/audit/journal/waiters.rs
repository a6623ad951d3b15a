//! Who waits for a batch, and how they are woken: each core once per sync.
//!
//! Waking a task of another thread's runtime costs a lock and an unpark. So tasks of an attached core leave their wakers in the
//! core's own list, and the journal's thread wakes one task there ([`CoreTask`]), which wakes the others locally.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;

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

    pub(super) fn settled(&self) -> Option<Settled> {
        match self.state.load(Ordering::SeqCst) {
            OPEN => None,
            DURABLE => Some(Settled::Durable),
            _ => Some(Settled::Failed),
        }
    }
}

/// Wakers left behind, of one core or of everyone else.
#[derive(Default)]
pub(super) struct WaitList {
    waiting: AtomicBool,
    list: Mutex<List>,
    core: AtomicWaker,
}

#[derive(Default)]
struct List {
    wakers: Vec<(Arc<Batch>, Waker)>,
    detached: bool,
}

/// A waker left behind.
pub(super) struct Left {
    waker: Waker,
    core: Option<Arc<WaitList>>,
}

impl Left {
    /// Says whether this waker is the one, and will still be called.
    pub(super) fn serves(&self, waker: &Waker) -> bool {
        self.waker.will_wake(waker) && self.core.as_ref().is_none_or(|core| !core.is_detached())
    }
}

impl WaitList {
    /// Leaves a waker; `false` when nobody would call it any more. The caller must look at the batch once again afterwards.
    fn leave(&self, batch: &Arc<Batch>, waker: &Waker) -> bool {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.detached {
            return false;
        }
        list.wakers.push((Arc::clone(batch), waker.clone()));
        self.waiting.store(true, Ordering::SeqCst);
        true
    }

    fn is_detached(&self) -> bool {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).detached
    }

    /// Wakes everyone whose batch is settled.
    fn wake_settled(&self) {
        for (_, waker) in self.take_settled() {
            waker.wake();
        }
    }

    /// Takes everyone whose batch is settled. Whoever stays is announced again, and looked at once more afterwards: a batch
    /// settled in between was either seen by that look, or its journal saw the announcement.
    fn take_settled(&self) -> Vec<(Arc<Batch>, Waker)> {
        let is_settled = |(batch, _): &mut (Arc<Batch>, Waker)| batch.settled().is_some();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut settled: Vec<_> = list.wakers.extract_if(.., is_settled).collect();
        if !list.wakers.is_empty() {
            self.waiting.store(true, Ordering::SeqCst);
            settled.extend(list.wakers.extract_if(.., is_settled));
        }
        settled
    }

    /// Takes the list out of use and wakes everyone, so that they find another.
    fn detach(&self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.detached = true;
        let left = std::mem::take(&mut list.wakers);
        drop(list);
        left.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// All lists of one journal.
#[derive(Default)]
pub(super) struct Waiters {
    cores: Mutex<Vec<Arc<WaitList>>>,
    others: WaitList,
}

impl Waiters {
    /// Leaves a waker with this thread's core, or with the journal's thread itself.
    pub(super) fn leave(&self, batch: &Arc<Batch>, waker: &Waker) -> Left {
        let core = core_of_this_thread(self).filter(|core| core.leave(batch, waker));
        if core.is_none() {
            self.others.leave(batch, waker);
        }
        Left { waker: waker.clone(), core }
    }

    /// Tells every core with waiters, once, that batches were settled.
    pub(super) fn settled(&self) {
        for core in self.cores.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if core.waiting.swap(false, Ordering::SeqCst) {
                core.core.wake();
            }
        }
        if self.others.waiting.swap(false, Ordering::SeqCst) {
            self.others.wake_settled();
        }
    }
}

thread_local! {
    /// The lists attached to this thread, by journal. One, but in tests.
    static CORES: RefCell<Vec<(usize, Arc<WaitList>)>> = const { RefCell::new(Vec::new()) };
}

fn key_of(waiters: &Waiters) -> usize {
    std::ptr::from_ref(waiters).addr()
}

fn core_of_this_thread(waiters: &Waiters) -> Option<Arc<WaitList>> {
    let find = |cores: &RefCell<Vec<(usize, Arc<WaitList>)>>| {
        let cores = cores.borrow();
        cores.iter().find(|(key, _)| *key == key_of(waiters)).map(|(_, core)| Arc::clone(core))
    };
    CORES.try_with(find).ok().flatten()
}

/// Wakes the waiters of the core it runs on. Never completes; dropping it detaches the core.
#[must_use = "spawn it on the core's own runtime"]
pub(super) struct CoreTask {
    waiters: Arc<Waiters>,
    core: Option<Arc<WaitList>>,
}

impl CoreTask {
    pub(super) fn new(waiters: Arc<Waiters>) -> Self {
        Self { waiters, core: None }
    }

    /// Attaches the thread that polls first: the core's own.
    fn attach(&mut self) -> Arc<WaitList> {
        let core = Arc::new(WaitList::default());
        self.waiters.cores.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&core));
        let key = key_of(&self.waiters);
        let _ = CORES.try_with(|cores| {
            let mut cores = cores.borrow_mut();
            cores.retain(|(other, _)| *other != key);
            cores.push((key, Arc::clone(&core)));
        });
        self.core = Some(Arc::clone(&core));
        core
    }
}

impl Future for CoreTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let core = match &self.core {
            Some(core) => Arc::clone(core),
            None => self.attach(),
        };
        core.core.register(context.waker());
        core.wake_settled();
        Poll::Pending
    }
}

impl Drop for CoreTask {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else { return };
        let mut cores = self.waiters.cores.lock().unwrap_or_else(PoisonError::into_inner);
        cores.retain(|other| !Arc::ptr_eq(other, &core));
        drop(cores);
        core.detach();
        // The thread-local entry of the core's thread stays behind, marked as detached, until the thread attaches again.
    }
}
