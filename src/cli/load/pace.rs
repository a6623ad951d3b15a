//! A timer for open loops: when the next request is due, whatever became of those before.
//!
//! Tokio's timer counts milliseconds; at thousands of requests a second that is a burst every millisecond. The
//! kernel's own timer wakes within some ten microseconds and costs nothing while it waits.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer of one runtime.
pub struct Pace {
    timer: AsyncFd<OwnedFd>,
}

impl Pace {
    /// Makes a timer. Call it inside the runtime that will wait.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: AsyncFd::with_interest(timer, Interest::READABLE)? })
    }

    /// Waits until a moment since boot.
    ///
    /// # Errors
    /// When the timer cannot be set or read.
    pub async fn until(&self, since_boot: Duration) -> io::Result<()> {
        let seconds = i64::try_from(since_boot.as_secs()).unwrap_or(i64::MAX);
        let due = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: seconds, tv_nsec: i64::from(since_boot.subsec_nanos().max(1)) },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &due)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expired = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expired)?)) {
                Ok(read) => return read.map(|_length| ()),
                Err(_not_yet) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::SystemClock;
    use crate::domain::time::Clock as _;

    #[test]
    fn nobody_is_woken_before_the_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pace = Pace::new().unwrap();
            for _ in 0..20 {
                let due = SystemClock.since_boot() + Duration::from_micros(300);
                pace.until(due).await.unwrap();
                assert!(SystemClock.since_boot() >= due);
            }
            pace.until(Duration::ZERO).await.unwrap();
        });
    }
}
