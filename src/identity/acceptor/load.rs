//! How much a core has to do, and whose sockets it reads when that is too much.
//!
//! A call that was read costs work whether it is answered or refused: a core that is behind its work must not read more. So a core
//! that comes late to what is due lowers the number of calls it has begun and not ended, and while that many are open it reads no
//! socket: their requests stay with the partners, whose windows fill. As calls end, sockets are read again, partners in turn and a
//! piece at a time. A core that keeps up reads whatever comes, and the bound rises again while it is reached.
//!
//! How late a core is, is how long after its time a timer of the core fires: the time anything that could go on has to wait.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::admission::Turns;
use crate::domain::partner::PartnerId;

/// A core that is later than this is behind its work: hundreds of calls in one turn of its loop. Other threads on the same processor (the
/// log's, the book's) make it some milliseconds late at any load; a bound that followed those would cost throughput and save nothing.
const LATE: Duration = Duration::from_millis(25);
/// So many looks in a row must be late: one may be another process's doing.
const LATE_LOOKS: u32 = 2;
/// The fewest calls a core may have open, however late it is: enough to keep it busy while each waits for its sync.
const OPEN_MIN: usize = 256;

/// One core's load. Cheap to share: all but what waits is a few atomics of the core's own.
#[derive(Debug)]
pub struct CoreLoad {
    open: AtomicUsize,
    /// The most that were open since the last look.
    peak: AtomicUsize,
    open_max: AtomicUsize,
    bound: usize,
    late_looks: AtomicUsize,
    paused: AtomicU64,
    has_waiting: AtomicBool,
    waiting: Mutex<Turns<Option<PartnerId>, Paused>>,
}

/// A socket that is not read.
#[derive(Debug)]
struct Paused {
    waker: Waker,
    is_waiting: Arc<AtomicBool>,
}

/// What a core's load looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreLoadStats {
    /// Calls that are open.
    pub open: usize,
    /// Calls that may be, before sockets are left unread.
    pub open_max: usize,
    /// How often a socket was left unread.
    pub paused: u64,
}

impl CoreLoad {
    /// Makes the load of a core that has nothing to do. `bound`: the most calls it may ever have open.
    pub fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            open_max: AtomicUsize::new(bound),
            bound,
            late_looks: AtomicUsize::new(0),
            paused: AtomicU64::new(0),
            has_waiting: AtomicBool::new(false),
            waiting: Mutex::default(),
        })
    }

    /// Counts a call as open until what is returned is dropped.
    pub fn begin(self: &Arc<Self>) -> OpenOnCore {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        if open > self.peak.load(Ordering::Relaxed) {
            self.peak.store(open, Ordering::Relaxed);
        }
        OpenOnCore(Arc::clone(self))
    }

    /// Returns what it looks like.
    pub fn stats(&self) -> CoreLoadStats {
        CoreLoadStats {
            open: self.open.load(Ordering::Relaxed),
            open_max: self.open_max.load(Ordering::Relaxed),
            paused: self.paused.load(Ordering::Relaxed),
        }
    }

    /// Is told, now and then, how late the core came to a timer.
    pub fn came_late_by(&self, late: Duration) {
        let open = self.open.load(Ordering::Relaxed);
        let peak = self.peak.swap(open, Ordering::Relaxed).max(open);
        let open_max = self.open_max.load(Ordering::Relaxed);
        if late > LATE {
            let looks = self.late_looks.fetch_add(1, Ordering::Relaxed) + 1;
            if looks >= LATE_LOOKS as usize {
                // From what was really open: a bound nobody reached would be lowered many times before it is felt.
                let lowered = open_max.min(peak) / 8 * 7;
                self.open_max.store(lowered.max(OPEN_MIN).min(open_max), Ordering::Relaxed);
            }
        } else {
            self.late_looks.store(0, Ordering::Relaxed);
            if peak >= open_max {
                let raised = open_max.saturating_add(open_max / 8 + 1).min(self.bound);
                self.open_max.store(raised, Ordering::Relaxed);
            }
        }
        // The bound may have risen, and whoever was woken may have gone: nobody waits for longer than until the next look.
        self.wake_next();
    }

    /// Says whether sockets may be read. A core that keeps up reads all of them: what is too much then is refused, with a reason.
    pub(super) fn may_read(&self) -> bool {
        let open_max = self.open_max.load(Ordering::Relaxed);
        open_max == self.bound || self.open.load(Ordering::Relaxed) < open_max
    }

    /// Says whether the bound is near, so that sockets are read a piece at a time.
    pub(super) fn is_busy(&self) -> bool {
        let open_max = self.open_max.load(Ordering::Relaxed);
        open_max < self.bound && self.open.load(Ordering::Relaxed) > open_max / 2
    }

    /// Leaves a socket unread until its turn comes. `is_waiting` is set while it waits.
    pub(super) fn pause(&self, partner: Option<&PartnerId>, waker: &Waker, is_waiting: &Arc<AtomicBool>) {
        if is_waiting.swap(true, Ordering::AcqRel) {
            // The connection's task is the same as when it was paused.
            return;
        }
        self.paused.fetch_add(1, Ordering::Relaxed);
        let paused = Paused { waker: waker.clone(), is_waiting: Arc::clone(is_waiting) };
        self.waiting().push(partner.cloned(), paused);
        self.has_waiting.store(true, Ordering::Release);
    }

    /// Wakes the next socket, if the bound allows it. Whoever is woken and reads calls this again, so that as many are read as may be.
    pub(super) fn wake_next(&self) {
        if !self.has_waiting.load(Ordering::Acquire) || !self.may_read() {
            return;
        }
        let mut waiting = self.waiting();
        let mut next = waiting.pop();
        // One that was closed meanwhile takes nobody's turn.
        while next.as_ref().is_some_and(|paused| Arc::strong_count(&paused.is_waiting) == 1) {
            next = waiting.pop();
        }
        self.has_waiting.store(!waiting.is_empty(), Ordering::Release);
        drop(waiting);
        if let Some(Paused { waker, is_waiting }) = next {
            is_waiting.store(false, Ordering::Release);
            waker.wake();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Turns<Option<PartnerId>, Paused>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is open on a core.
#[derive(Debug)]
pub struct OpenOnCore(Arc<CoreLoad>);

impl Drop for OpenOnCore {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A socket of a partner's, as its stream sees it.
    struct Socket {
        partner: PartnerId,
        woken: Arc<Woken>,
        is_waiting: Arc<AtomicBool>,
    }

    impl Socket {
        fn of(partner: &str) -> Self {
            Self { partner: partner.parse().unwrap(), woken: Arc::default(), is_waiting: Arc::default() }
        }

        fn pause(&self, load: &CoreLoad) {
            load.pause(Some(&self.partner), &Arc::clone(&self.woken).into(), &self.is_waiting);
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::SeqCst)
        }
    }

    const SLOW: Duration = Duration::from_millis(50);

    /// A core that has been late until it may have no more than the least open.
    fn late(bound: usize, open: usize) -> (Arc<CoreLoad>, Vec<OpenOnCore>) {
        let load = CoreLoad::new(bound);
        let calls = (0..open).map(|_| load.begin()).collect();
        (0..100).for_each(|_| load.came_late_by(SLOW));
        assert_eq!(load.stats().open_max, OPEN_MIN);
        (load, calls)
    }

    #[test]
    fn a_core_that_keeps_up_reads_whatever_comes() {
        let load = CoreLoad::new(100);
        let _calls: Vec<_> = (0..500).map(|_| load.begin()).collect();
        load.came_late_by(Duration::from_millis(1));
        load.came_late_by(SLOW);
        load.came_late_by(Duration::from_millis(1));
        assert!(load.may_read() && !load.is_busy(), "late once is another process's doing");
        assert_eq!(load.stats(), CoreLoadStats { open: 500, open_max: 100, paused: 0 });
    }

    #[test]
    fn a_core_that_is_late_reads_no_more_than_it_can_serve_and_recovers() {
        let (load, mut calls) = late(4_096, 1_000);
        assert!(!load.may_read());
        calls.truncate(OPEN_MIN - 1);
        assert!(load.may_read() && load.is_busy());
        calls.clear();
        load.came_late_by(Duration::from_millis(1));
        let left = load.stats().open_max;
        assert!(left < OPEN_MIN + OPEN_MIN / 4, "{left}");
        for _ in 0..1_000 {
            load.came_late_by(Duration::from_millis(1));
        }
        assert_eq!(load.stats().open_max, left, "a bound that is not reached is not raised");
        let calls: Vec<_> = (0..5_000).map(|_| load.begin()).collect();
        for _ in 0..60 {
            load.came_late_by(Duration::from_millis(1));
        }
        assert_eq!(load.stats().open_max, 4_096);
        drop(calls);
        assert_eq!(load.stats().open, 0);
    }

    #[test]
    fn unread_sockets_are_read_again_as_calls_end_partners_in_turn() {
        let (load, mut calls) = late(4_096, OPEN_MIN + 2);
        let (flood, modest) =
            ([Socket::of("flood"), Socket::of("flood"), Socket::of("flood")], Socket::of("modest"));
        flood.iter().for_each(|socket| socket.pause(&load));
        modest.pause(&load);
        modest.pause(&load);
        assert_eq!(load.stats().paused, 4, "a socket waits once");
        calls.truncate(OPEN_MIN);
        assert_eq!(flood[0].woken(), 0, "as many as may be are open");
        calls.truncate(OPEN_MIN - 1);
        calls.truncate(OPEN_MIN - 2);
        assert_eq!(flood.each_ref().map(Socket::woken), [1, 0, 0]);
        assert_eq!(modest.woken(), 1);
        assert!(!modest.is_waiting.load(Ordering::SeqCst));
        load.wake_next();
        load.came_late_by(Duration::ZERO);
        assert_eq!(flood.each_ref().map(Socket::woken), [1, 1, 1], "nobody is forgotten");
        load.wake_next();
        assert_eq!(modest.woken(), 1);
    }
}
