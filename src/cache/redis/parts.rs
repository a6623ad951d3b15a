//! What fails together: one server is one part; of a Cluster, each stretch of neighbouring slots is one.
//!
//! A Cluster fails by nodes. With one breaker before all of it, a third of the calls would wait for a node that hangs, and the others'
//! replies would keep the breaker closed. By node would be right until slots move or a replica is promoted: nodes change, slots do
//! not. So each stretch has a breaker of its own, short enough that hardly one lies on two nodes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::RedisOptions;
use super::breaker::Breaker;
use super::seal::FACT_PREFIX;
use crate::cache::{BreakerState, CacheObserver};
use crate::redis_link::{SLOTS, slot};

pub(super) struct Parts {
    all: Box<[Part]>,
    /// What the observer was told last: open, if any part is.
    told: Mutex<Option<BreakerState>>,
    observer: Arc<dyn CacheObserver>,
}

struct Part {
    breaker: Breaker,
    /// The keeper reads this key as requests read theirs: what they may not do, it may not either.
    probe_key: String,
}

/// 256 stretches of 64 slots: of three masters' slots two stretches, less than one call in a hundred, may lie on two.
const STRETCHES: u16 = 256;

impl Parts {
    /// Returns the parts of one server or of a Cluster, none of them asked yet.
    pub(super) fn new(options: &RedisOptions, has_slots: bool, observer: Arc<dyn CacheObserver>) -> Self {
        let part = |probe_key| Part {
            breaker: Breaker::new(options.failures_max, options.failing_time_max),
            probe_key,
        };
        let keys = if has_slots { probe_keys() } else { vec![probe_key("")] };
        Self { all: keys.into_iter().map(part).collect(), told: Mutex::new(None), observer }
    }

    /// Returns the part a key lies in.
    pub(super) fn of(&self, key: &[u8]) -> usize {
        if self.are_slots() { usize::from(stretch(key)) } else { 0 }
    }

    /// Says whether keys are spread over slots.
    pub(super) fn are_slots(&self) -> bool {
        self.all.len() > 1
    }

    /// Returns the keys to probe with, in the order of the parts.
    pub(super) fn probe_keys(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|part| part.probe_key.as_str())
    }

    pub(super) fn is_closed(&self, part: usize) -> bool {
        self.all.get(part).is_some_and(|part| part.breaker.is_closed())
    }

    /// Says whether any part is asked.
    pub(super) fn any_closed(&self) -> bool {
        self.all.iter().any(|part| part.breaker.is_closed())
    }

    /// Says whether every part is asked.
    pub(super) fn all_closed(&self) -> bool {
        self.all.iter().all(|part| part.breaker.is_closed())
    }

    /// Says whether a part's last call failed.
    pub(super) fn any_failing(&self) -> bool {
        self.all.iter().any(|part| part.breaker.is_failing())
    }

    /// Notes a reply.
    pub(super) fn succeeded(&self, part: usize) {
        if let Some(part) = self.all.get(part) {
            part.breaker.succeeded();
        }
    }

    /// Notes a failure. Returns whether it opened the breaker.
    pub(super) fn failed(&self, part: usize, now: Duration) -> bool {
        let opened = self.all.get(part).is_some_and(|part| part.breaker.failed(now));
        if opened {
            self.tell(BreakerState::Open);
        }
        opened
    }

    /// Opens a part's breaker at once.
    pub(super) fn open(&self, part: usize) {
        if self.all.get(part).is_some_and(|part| part.breaker.open()) {
            self.tell(BreakerState::Open);
        }
    }

    /// Opens every breaker.
    pub(super) fn open_all(&self) {
        self.all.iter().for_each(|part| {
            part.breaker.open();
        });
        self.tell(BreakerState::Open);
    }

    /// Notes that a probe of what is open is under way.
    pub(super) fn half_open(&self) {
        self.tell(BreakerState::HalfOpen);
    }

    /// Closes the parts whose probe was answered and opens the others. One that failed a request meanwhile is closed with them: it
    /// answers.
    pub(super) fn probed(&self, answered: &[bool]) {
        for (part, answered) in self.all.iter().zip(answered) {
            if *answered {
                part.breaker.close();
            } else {
                part.breaker.open();
            }
        }
        self.tell(if self.all_closed() { BreakerState::Closed } else { BreakerState::Open });
    }

    fn tell(&self, state: BreakerState) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing was asked before the first connection: that it is still so is no news.
        let news = told.unwrap_or(BreakerState::Open) != state;
        *told = Some(state);
        if news {
            self.observer.breaker(state);
        }
    }
}

fn stretch(key: &[u8]) -> u16 {
    slot(key) / (SLOTS / STRETCHES)
}

/// Like a fact's: what an ACL allows for one it allows for the other.
fn probe_key(which: &str) -> String {
    format!("{FACT_PREFIX}probe{which}")
}

/// Finds a key in each stretch, by trying.
fn probe_keys() -> Vec<String> {
    let mut keys = vec![String::new(); usize::from(STRETCHES)];
    let mut missing = keys.len();
    for n in 0_u32.. {
        let key = probe_key(&format!(":{n}"));
        let place = &mut keys[usize::from(stretch(key.as_bytes()))];
        if place.is_empty() {
            *place = key;
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::Notes;

    fn parts(has_slots: bool) -> (Parts, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        let options = RedisOptions::new("redis://nowhere");
        (Parts::new(&options, has_slots, Arc::clone(&notes) as Arc<dyn CacheObserver>), notes)
    }

    #[test]
    fn every_stretch_of_slots_has_a_key_to_probe_with() {
        let (parts, _) = parts(true);
        let places: Vec<usize> = parts.probe_keys().map(|key| parts.of(key.as_bytes())).collect();
        assert_eq!(places, (0..256).collect::<Vec<_>>());
    }

    #[test]
    fn one_server_is_one_part() {
        let (parts, _) = parts(false);
        assert_eq!(parts.probe_keys().count(), 1);
        assert_eq!((parts.of(b"foo"), parts.of(b"bar")), (0, 0));
    }

    #[test]
    fn a_part_that_fails_leaves_the_others_alone() {
        let (parts, notes) = parts(true);
        assert!(!parts.any_closed());
        parts.probed(&[true; 256]);
        for ms in 0..5 {
            parts.failed(7, Duration::from_millis(ms));
            parts.succeeded(8);
        }
        assert!(!parts.is_closed(7) && parts.is_closed(8) && parts.any_closed() && !parts.all_closed());
        let mut answered = [true; 256];
        answered[9] = false;
        parts.probed(&answered);
        assert!(parts.is_closed(7) && !parts.is_closed(9));
        parts.half_open();
        parts.probed(&[true; 256]);
        let told = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
        assert_eq!(*notes.breaker.lock().unwrap(), told, "the worst part is told, once");
    }
}
