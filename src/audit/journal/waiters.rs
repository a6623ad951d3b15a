//! Who waits for a batch, and how they are woken: each core once per sync.
//!
//! Waking a task of another thread's runtime costs a lock and an unpark. So tasks of an attached core leave their wakers in the
//! core's own list, and the journal's thread wakes one task there ([`CoreTask`]), which wakes the others locally.
//!
//! The other way round it is the same: a core hands over what the turns of its loop have appended when a turn has added
//! nothing, or when enough has gathered. A lone entry waits for nobody; under load a sync covers whole turns instead of a
//! single entry, and the core and the journal's thread change places less often.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;

const OPEN: u8 = 0;
const DURABLE: u8 = 1;
const FAILED: u8 = 2;

/// Entries after which a core hands over although its turns still add more: some milliseconds of a core's work.
const ENTRIES_HANDED_OVER: usize = 128;

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
    /// How many entries the core has appended and not handed over.
    appended: AtomicUsize,
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

    /// Notes that this thread appended an entry; `false`: it has no core to hand it over at the end of the turn.
    pub(super) fn appended(&self) -> bool {
        let Some(core) = core_of_this_thread(self).filter(|core| !core.is_detached()) else { return false };
        if core.appended.fetch_add(1, Ordering::SeqCst) == 0 {
            core.core.wake();
        }
        true
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

/// Wakes the waiters of the core it runs on, and hands over what a turn has appended. Never completes; dropping it detaches
/// the core.
#[must_use = "spawn it on the core's own runtime"]
pub(super) struct CoreTask {
    waiters: Arc<Waiters>,
    core: Option<Arc<WaitList>>,
    hand_over: HandOver,
    turn: Option<Turn>,
}

/// The turn of the loop whose end a core waits for.
struct Turn {
    rest: BoxFuture<'static, ()>,
    /// How many entries had gathered when it began.
    appended_before: usize,
}

impl Turn {
    fn beginning(appended_before: usize) -> Self {
        Self { rest: Box::pin(tokio::task::yield_now()), appended_before }
    }
}

/// Asks the journal's thread to write what has gathered.
pub(super) type HandOver = Arc<dyn Fn() + Send + Sync>;

impl CoreTask {
    pub(super) fn new(waiters: Arc<Waiters>, hand_over: HandOver) -> Self {
        Self { waiters, core: None, hand_over, turn: None }
    }

    /// Waits until everyone who was ready has been polled and that has added nothing, or enough has gathered; then hands over.
    fn end_turn(&mut self, core: &WaitList, context: &mut Context<'_>) {
        loop {
            let appended = core.appended.load(Ordering::SeqCst);
            if appended == 0 {
                return;
            }
            let turn = self.turn.get_or_insert_with(|| Turn::beginning(appended));
            if turn.rest.as_mut().poll(context).is_pending() {
                return;
            }
            let is_last = appended == turn.appended_before || appended >= ENTRIES_HANDED_OVER;
            self.turn = None;
            if is_last {
                core.appended.store(0, Ordering::SeqCst);
                (self.hand_over)();
            }
        }
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
        self.end_turn(&core, context);
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
        // What the last turn appended must not wait for a turn that never ends.
        (self.hand_over)();
        // The thread-local entry of the core's thread stays behind, marked as detached, until the thread attaches again.
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::<Count>::default();
        (Arc::clone(&count), Waker::from(count))
    }

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn a_core_is_woken_once_for_all_its_waiters_and_wakes_them_itself() {
        let waiters = Arc::<Waiters>::default();
        let mut task = Box::pin(CoreTask::new(Arc::clone(&waiters), Arc::new(|| {})));
        let (core, core_waker) = counted();
        let mut on_core = Context::from_waker(&core_waker);
        assert!(task.as_mut().poll(&mut on_core).is_pending());

        let (now, later) = (Arc::<Batch>::default(), Arc::<Batch>::default());
        let (first, first_waker) = counted();
        let (second, second_waker) = counted();
        let (third, third_waker) = counted();
        waiters.leave(&later, &third_waker);
        waiters.leave(&now, &first_waker);
        waiters.leave(&now, &second_waker);

        now.settle(Settled::Durable);
        waiters.settled();
        assert_eq!((woken(&core), woken(&first), woken(&second)), (1, 0, 0));
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!((woken(&first), woken(&second), woken(&third)), (1, 1, 0));

        later.settle(Settled::Failed);
        waiters.settled();
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!((woken(&core), woken(&third)), (2, 1));
        waiters.settled();
        assert_eq!(woken(&core), 2, "nobody waits, nobody is woken");
    }

    #[test]
    fn a_turn_is_handed_over_once_and_only_after_everyone_else_had_his() {
        let waiters = Arc::<Waiters>::default();
        let handed_over = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&handed_over);
        let hand_over: HandOver = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert!(!waiters.appended(), "without a core there is no turn");
        let mut task = Box::pin(CoreTask::new(Arc::clone(&waiters), hand_over));
        let (core, core_waker) = counted();
        let mut on_core = Context::from_waker(&core_waker);
        assert!(task.as_mut().poll(&mut on_core).is_pending());

        assert!(waiters.appended() && waiters.appended());
        assert_eq!(woken(&core), 1, "one turn, one wake");
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 0, "the turn is not over");
        assert!(waiters.appended());
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 0, "the turn has added an entry");
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 1);
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 1);
        for _ in 0..3 {
            for _ in 0..ENTRIES_HANDED_OVER / 2 {
                waiters.appended();
            }
            assert!(task.as_mut().poll(&mut on_core).is_pending());
        }
        assert_eq!(handed_over.load(Ordering::SeqCst), 2, "a core that never pauses hands over all the same");
        drop(task);
        assert_eq!(handed_over.load(Ordering::SeqCst), 3, "whoever leaves hands over first");
    }

    #[test]
    fn threads_without_a_core_are_woken_directly() {
        let waiters = Waiters::default();
        let batch = Arc::<Batch>::default();
        let (count, waker) = counted();
        waiters.leave(&batch, &waker);
        batch.settle(Settled::Durable);
        waiters.settled();
        assert_eq!(woken(&count), 1);
    }

    #[test]
    fn a_core_that_leaves_wakes_everyone_to_wait_elsewhere() {
        let waiters = Arc::<Waiters>::default();
        let mut task = Box::pin(CoreTask::new(Arc::clone(&waiters), Arc::new(|| {})));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let batch = Arc::<Batch>::default();
        let (count, waker) = counted();
        let left = waiters.leave(&batch, &waker);
        assert!(left.serves(&waker));
        drop(task);
        assert_eq!(woken(&count), 1);
        assert!(!left.serves(&waker));
        waiters.leave(&batch, &waker);
        batch.settle(Settled::Durable);
        waiters.settled();
        assert_eq!(woken(&count), 2);
    }
}
