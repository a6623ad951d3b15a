//! When the disk of the evidence log will be full, at the pace of the last hour: a full disk ends all answers.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The alarm is raised so long before.
const ALARM: Duration = Duration::from_secs(24 * 3600);
/// The pace is that of so long.
const HOUR: Duration = Duration::from_secs(3600);
/// A pace measured for less counts as if it were this long: a start is no trend.
const PACE_OVER_MIN: Duration = Duration::from_secs(600);
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// More is not told: ten years.
const TOLD_MAX_S: u64 = 10 * 365 * 24 * 3600;

/// Watches one disk.
pub(super) struct DiskWatch {
    folder: PathBuf,
    samples: Mutex<VecDeque<(Duration, u64)>>,
    left_s: AtomicU64,
}

impl DiskWatch {
    /// Watches the disk a folder lies on.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, samples: Mutex::default(), left_s: AtomicU64::new(TOLD_MAX_S) }
    }

    /// Looks at the disk: `grown` bytes were written since start. Returns whether the alarm was raised by this look.
    pub(super) fn look(&self, now: Duration, grown: u64) -> bool {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return false };
        self.measure(now, grown, disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn measure(&self, now: Duration, grown: u64, free: u64) -> bool {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= SAMPLE_EVERY) {
            samples.push_back((now, grown));
        }
        while samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= HOUR) {
            samples.pop_front();
        }
        let Some((since, before)) = samples.front().copied() else { return false };
        let over_s = now.saturating_sub(since).max(PACE_OVER_MIN).as_secs();
        let bytes = grown.saturating_sub(before);
        let left = u128::from(free) * u128::from(over_s) / u128::from(bytes.max(1));
        let left = u64::try_from(left).unwrap_or(u64::MAX).min(TOLD_MAX_S);
        let before = self.left_s.swap(left, Ordering::Relaxed);
        left < ALARM.as_secs() && before >= ALARM.as_secs()
    }

    /// Returns how long the disk lasts.
    pub(super) fn left(&self) -> Duration {
        Duration::from_secs(self.left_s.load(Ordering::Relaxed))
    }

    /// Says whether it will be full within 24 hours.
    pub(super) fn is_alarmed(&self) -> bool {
        self.left() < ALARM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn at(minutes: u64) -> Duration {
        Duration::from_secs(1_000_000 + minutes * 60)
    }

    #[test]
    fn the_alarm_is_raised_once_when_less_than_a_day_is_left_and_ends_by_itself() {
        let watch = DiskWatch::new(PathBuf::from("/"));
        assert!(!watch.measure(at(0), 0, 100 * GIB) && !watch.is_alarmed());
        // 5 GiB an hour: 100 GiB last 20 hours, 200 GiB 40.
        assert!(watch.measure(at(60), 5 * GIB, 100 * GIB) && watch.is_alarmed());
        assert_eq!(watch.left().as_secs() / 3600, 20);
        assert!(!watch.measure(at(60), 5 * GIB, 100 * GIB), "said once");
        assert!(!watch.measure(at(61), 5 * GIB, 200 * GIB) && !watch.is_alarmed(), "somebody made room");
        // An hour of nothing: the pace is forgotten.
        for minute in 62..200 {
            assert!(!watch.measure(at(minute), 5 * GIB, 200 * GIB), "minute {minute}");
            if minute > 121 {
                assert_eq!(watch.left().as_secs(), TOLD_MAX_S);
            }
        }
    }

    #[test]
    fn a_start_is_no_trend_and_a_real_disk_can_be_asked() {
        let watch = DiskWatch::new(std::env::temp_dir());
        watch.measure(at(0), 0, 100 * GIB);
        assert!(!watch.measure(at(0) + Duration::from_secs(1), GIB / 2, 100 * GIB));
        assert!(!watch.look(at(1), 0));
        assert!(!DiskWatch::new(PathBuf::from("/nowhere")).look(at(1), 0));
    }
}
