//! The clock of an open loop: when the next request is due, whatever became of those before.
//!
//! Tokio's timer counts milliseconds; at thousands of requests a second that is a burst every millisecond. Here a thread
//! of its own sleeps on the kernel's timer, which wakes within some ten microseconds, and wakes the runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::sync::Notify;

use crate::app::SystemClock;
use crate::domain::time::Clock as _;

/// The longest the thread sleeps without looking whether anybody still waits.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// When requests are due: the k-th at `start` + k · `interval`, as time since boot.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When the first is due.
    pub start: Duration,
    /// The time between two.
    pub interval: Duration,
    /// Nothing is due from here on.
    pub end: Duration,
}

impl Schedule {
    /// Returns when the k-th request is due; `None` past the end.
    pub fn due(&self, index: u64) -> Option<Duration> {
        let nanos = self.interval.as_nanos().checked_mul(index.into())?;
        let due = self.start.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))?;
        (due < self.end).then_some(due)
    }
}

/// A running clock. Dropping it ends its thread.
pub struct Pace {
    schedule: Schedule,
    shared: Arc<Shared>,
    taken: u64,
}

#[derive(Default)]
struct Shared {
    due: AtomicU64,
    over: AtomicBool,
    wake: Notify,
}

impl Pace {
    /// Starts the clock.
    ///
    /// # Errors
    /// When the kernel has no timer or thread left.
    pub fn start(schedule: Schedule) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        std::thread::Builder::new().name("pace".to_owned()).spawn(move || {
            // A timer that fails ends the schedule; what was due until then has been sent and counted.
            let _result = tick(schedule, &timer, &ticking);
            ticking.over.store(true, Ordering::Release);
            ticking.wake.notify_one();
        })?;
        Ok(Self { schedule, shared, taken: 0 })
    }

    /// Waits for the next request to be due; returns its index and when it was due. `None` past the end.
    pub async fn next(&mut self) -> Option<(u64, Duration)> {
        loop {
            let over = self.shared.over.load(Ordering::Acquire);
            if self.taken < self.shared.due.load(Ordering::Acquire) {
                let index = self.taken;
                self.taken += 1;
                return self.schedule.due(index).map(|due| (index, due));
            }
            if over {
                return None;
            }
            self.shared.wake.notified().await;
        }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
    }
}

fn tick(schedule: Schedule, timer: &std::os::fd::OwnedFd, shared: &Shared) -> io::Result<()> {
    let mut index = 0;
    while let Some(due) = schedule.due(index) {
        if shared.over.load(Ordering::Acquire) {
            return Ok(());
        }
        let now = SystemClock.since_boot();
        if due > now {
            sleep_until(timer, due.min(now + SLEEP_MAX))?;
            continue;
        }
        while schedule.due(index).is_some_and(|due| due <= now) {
            index += 1;
        }
        shared.due.store(index, Ordering::Release);
        shared.wake.notify_one();
    }
    Ok(())
}

fn sleep_until(timer: &std::os::fd::OwnedFd, since_boot: Duration) -> io::Result<()> {
    let due = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec {
            tv_sec: i64::try_from(since_boot.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: since_boot.subsec_nanos().max(1).into(),
        },
    };
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &due)?;
    match rustix::io::read(timer, &mut [0; 8]) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_due_once_in_order_and_nothing_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = SystemClock.since_boot() + Duration::from_millis(5);
            let interval = Duration::from_micros(500);
            let mut pace =
                Pace::start(Schedule { start, interval, end: start + Duration::from_millis(50) }).unwrap();
            let mut count = 0;
            while let Some((index, due)) = pace.next().await {
                assert_eq!((index, due), (count, start + interval * u32::try_from(count).unwrap()));
                assert!(SystemClock.since_boot() >= due);
                count += 1;
            }
            assert_eq!(count, 100);
        });
    }
}
