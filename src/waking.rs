//! Many wait on another thread; each core is woken once for all of them.
//!
//! Waking a task of another thread's runtime costs a lock and an unpark. So tasks of an attached core leave their wakers in the
//! core's own list, and the other thread wakes one task there ([`CoreTask`]), which wakes the others locally.
//!
//! The other way round it is the same: a core hands over what the turns of its loop have asked for when a turn has added
//! nothing, or when enough has gathered. A lone request waits for nobody; under load a hand-over covers whole turns instead of
//! a single request, and the core and the other thread change places less often.
//!
//! The journal's thread and the registry's readers stand on the other side. A leaf: knows nobody.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;

/// Requests after which a core hands over although its turns still add more: some milliseconds of a core's work.
const HANDED_OVER_MAX: usize = 128;

/// What tasks wait for. Settling is final, and must happen before [`Waiters::settled`] is called.
pub trait Awaited: Send + Sync + 'static {
    /// Says whether it is settled. Sequentially consistent with the settling store.
    fn is_settled(&self) -> bool;
}

/// Wakers left behind, of one core or of everyone else.
struct WaitList<T> {
    waiting: AtomicBool,
    /// How much the core has asked for and not handed over.
    asked: AtomicUsize,
    list: Mutex<List<T>>,
    core: AtomicWaker,
}

struct List<T> {
    wakers: Vec<(Arc<T>, Waker)>,
    detached: bool,
}

/// A waker left behind.
struct Left<T> {
    waker: Waker,
    core: Option<Arc<WaitList<T>>>,
}

impl<T: Awaited> Left<T> {
    /// Says whether this waker is the one, and will still be called.
    fn serves(&self, waker: &Waker) -> bool {
        self.waker.will_wake(waker) && self.core.as_ref().is_none_or(|core| !core.is_detached())
    }
}

impl<T: Awaited> WaitList<T> {
    fn new() -> Self {
        Self {
            waiting: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            list: Mutex::new(List { wakers: Vec::new(), detached: false }),
            core: AtomicWaker::new(),
        }
    }

    /// Leaves a waker; `false` when nobody would call it any more. The caller must look once again afterwards.
    fn leave(&self, what: &Arc<T>, waker: &Waker) -> bool {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.detached {
            return false;
        }
        list.wakers.push((Arc::clone(what), waker.clone()));
        self.waiting.store(true, Ordering::SeqCst);
        true
    }

    fn is_detached(&self) -> bool {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).detached
    }

    /// Wakes everyone whose wait is over.
    fn wake_settled(&self) {
        for (_, waker) in self.take_settled() {
            waker.wake();
        }
    }

    /// Takes everyone whose wait is over. Whoever stays is announced again, and looked at once more afterwards: what was
    /// settled in between was either seen by that look, or the other thread saw the announcement.
    fn take_settled(&self) -> Vec<(Arc<T>, Waker)> {
        let is_settled = |(what, _): &mut (Arc<T>, Waker)| what.is_settled();
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

/// Everybody who waits for one other side.
pub struct Waiters<T> {
    cores: Mutex<Vec<Arc<WaitList<T>>>>,
    others: WaitList<T>,
}

impl<T: Awaited> Default for Waiters<T> {
    fn default() -> Self {
        Self { cores: Mutex::default(), others: WaitList::new() }
    }
}

impl<T: Awaited> Waiters<T> {
    /// Leaves a waker with this thread's core, or with the other side's thread itself.
    fn leave(&self, what: &Arc<T>, waker: &Waker) -> Left<T> {
        let core = core_of_this_thread(self).filter(|core| core.leave(what, waker));
        if core.is_none() {
            self.others.leave(what, waker);
        }
        Left { waker: waker.clone(), core }
    }

    /// Notes that this thread asked for something; `false`: it has no core to hand it over at the end of the turn.
    pub fn asked(&self) -> bool {
        let Some(core) = core_of_this_thread(self).filter(|core| !core.is_detached()) else { return false };
        if core.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            core.core.wake();
        }
        true
    }

    /// Tells every core with waiters, once, that something was settled.
    pub fn settled(&self) {
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

/// A task's wait for one thing. Poll it until it is settled; dropping it gives the wait up.
pub struct Wait<T> {
    waiters: Arc<Waiters<T>>,
    what: Arc<T>,
    left: Option<Left<T>>,
}

impl<T: Awaited> Wait<T> {
    /// Begins to wait.
    pub fn new(waiters: &Arc<Waiters<T>>, what: Arc<T>) -> Self {
        Self { waiters: Arc::clone(waiters), what, left: None }
    }

    /// Returns what is settled; leaves the task's waker otherwise.
    pub fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<&T> {
        if !self.what.is_settled() {
            let waker = context.waker();
            if !self.left.as_ref().is_some_and(|left| left.serves(waker)) {
                self.left = Some(self.waiters.leave(&self.what, waker));
            }
            if !self.what.is_settled() {
                return Poll::Pending;
            }
        }
        Poll::Ready(&self.what)
    }
}

thread_local! {
    /// The lists attached to this thread, by other side. Some two, but in tests.
    static CORES: RefCell<Vec<(usize, Arc<dyn Any + Send + Sync>)>> = const { RefCell::new(Vec::new()) };
}

fn key_of<T>(waiters: &Waiters<T>) -> usize {
    std::ptr::from_ref(waiters).addr()
}

fn core_of_this_thread<T: Awaited>(waiters: &Waiters<T>) -> Option<Arc<WaitList<T>>> {
    let find = |cores: &RefCell<Vec<(usize, Arc<dyn Any + Send + Sync>)>>| {
        let cores = cores.borrow();
        cores.iter().find(|(key, _)| *key == key_of(waiters)).map(|(_, core)| Arc::clone(core))
    };
    CORES.try_with(find).ok().flatten()?.downcast().ok()
}

/// Wakes the waiters of the core it runs on, and hands over what a turn has asked for. Never completes; dropping it detaches
/// the core. Spawn one on each core's own current-thread runtime; whoever waits on another thread is woken directly.
#[must_use = "spawn it on the core's own runtime"]
pub struct CoreTask<T: Awaited> {
    waiters: Arc<Waiters<T>>,
    core: Option<Arc<WaitList<T>>>,
    hand_over: HandOver,
    turn: Option<Turn>,
}

/// The turn of the loop whose end a core waits for.
struct Turn {
    rest: BoxFuture<'static, ()>,
    /// How much had gathered when it began.
    asked_before: usize,
}

impl Turn {
    fn beginning(asked_before: usize) -> Self {
        Self { rest: Box::pin(tokio::task::yield_now()), asked_before }
    }
}

/// Lets the other side begin with what has gathered.
pub type HandOver = Arc<dyn Fn() + Send + Sync>;

impl<T: Awaited> CoreTask<T> {
    /// Makes the task of a core that has not begun.
    pub fn new(waiters: Arc<Waiters<T>>, hand_over: HandOver) -> Self {
        Self { waiters, core: None, hand_over, turn: None }
    }

    /// Waits until everyone who was ready has been polled and that has added nothing, or enough has gathered; then hands over.
    fn end_turn(&mut self, core: &WaitList<T>, context: &mut Context<'_>) {
        loop {
            let asked = core.asked.load(Ordering::SeqCst);
            if asked == 0 {
                return;
            }
            let turn = self.turn.get_or_insert_with(|| Turn::beginning(asked));
            if turn.rest.as_mut().poll(context).is_pending() {
                return;
            }
            let is_last = asked == turn.asked_before || asked >= HANDED_OVER_MAX;
            self.turn = None;
            if is_last {
                core.asked.store(0, Ordering::SeqCst);
                (self.hand_over)();
            }
        }
    }

    /// Attaches the thread that polls first: the core's own.
    fn attach(&mut self) -> Arc<WaitList<T>> {
        let core = Arc::new(WaitList::new());
        self.waiters.cores.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&core));
        let key = key_of(&self.waiters);
        let _ = CORES.try_with(|cores| {
            let mut cores = cores.borrow_mut();
            cores.retain(|(other, _)| *other != key);
            cores.push((key, Arc::<WaitList<T>>::clone(&core)));
        });
        self.core = Some(Arc::clone(&core));
        core
    }
}

impl<T: Awaited> Future for CoreTask<T> {
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

impl<T: Awaited> Drop for CoreTask<T> {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else { return };
        let mut cores = self.waiters.cores.lock().unwrap_or_else(PoisonError::into_inner);
        cores.retain(|other| !Arc::ptr_eq(other, &core));
        drop(cores);
        core.detach();
        // What the last turn asked for must not wait for a turn that never ends.
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
    struct Thing(AtomicBool);

    impl Thing {
        fn settle(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Awaited for Thing {
        fn is_settled(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    type Waiters = super::Waiters<Thing>;

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

        let (now, later) = (Arc::<Thing>::default(), Arc::<Thing>::default());
        let (first, first_waker) = counted();
        let (second, second_waker) = counted();
        let (third, third_waker) = counted();
        waiters.leave(&later, &third_waker);
        waiters.leave(&now, &first_waker);
        waiters.leave(&now, &second_waker);

        now.settle();
        waiters.settled();
        assert_eq!((woken(&core), woken(&first), woken(&second)), (1, 0, 0));
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!((woken(&first), woken(&second), woken(&third)), (1, 1, 0));

        later.settle();
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
        assert!(!waiters.asked(), "without a core there is no turn");
        let mut task = Box::pin(CoreTask::new(Arc::clone(&waiters), hand_over));
        let (core, core_waker) = counted();
        let mut on_core = Context::from_waker(&core_waker);
        assert!(task.as_mut().poll(&mut on_core).is_pending());

        assert!(waiters.asked() && waiters.asked());
        assert_eq!(woken(&core), 1, "one turn, one wake");
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 0, "the turn is not over");
        assert!(waiters.asked());
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 0, "the turn has added an entry");
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 1);
        assert!(task.as_mut().poll(&mut on_core).is_pending());
        assert_eq!(handed_over.load(Ordering::SeqCst), 1);
        for _ in 0..3 {
            for _ in 0..HANDED_OVER_MAX / 2 {
                waiters.asked();
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
        let thing = Arc::<Thing>::default();
        let (count, waker) = counted();
        waiters.leave(&thing, &waker);
        thing.settle();
        waiters.settled();
        assert_eq!(woken(&count), 1);
    }

    #[test]
    fn a_core_that_leaves_wakes_everyone_to_wait_elsewhere() {
        let waiters = Arc::<Waiters>::default();
        let mut task = Box::pin(CoreTask::new(Arc::clone(&waiters), Arc::new(|| {})));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let thing = Arc::<Thing>::default();
        let (count, waker) = counted();
        let left = waiters.leave(&thing, &waker);
        assert!(left.serves(&waker));
        drop(task);
        assert_eq!(woken(&count), 1);
        assert!(!left.serves(&waker));
        waiters.leave(&thing, &waker);
        thing.settle();
        waiters.settled();
        assert_eq!(woken(&count), 2);
    }
}
