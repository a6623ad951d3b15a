//! Which request ids were reserved or charged lately: an answer is charged once per (partner, request_id).
//!
//! Ids are remembered as keyed 8-byte hashes. At the bound the oldest charged id is forgotten early: its retry would
//! be charged a second time, never refused. Two of 100,000 ids collide with a chance of 3 in 10¹⁰; the second would
//! then go uncharged.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use super::windows::Counted;

/// How long a charged id is remembered: as long as its answer may be replayed (issue 5 §4).
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// The ids of one partner.
pub(super) struct RequestIds {
    known: HashMap<u64, Known>,
    charged: VecDeque<(Key, Duration)>,
    charged_max: usize,
    serial: u64,
    hasher: RandomState,
}

/// Names one life of an id; a later life of the same id has another serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    hash: u64,
    serial: u64,
}

struct Known {
    serial: u64,
    state: State,
}

enum State {
    /// Requests with this id are under way; together they hold one answer of the quota.
    Reserved { holders: u32, counted: Counted },
    /// The answer was charged.
    Charged,
}

/// What is known about an id.
pub(super) enum Familiar {
    /// Its answer was charged: another costs nothing.
    Charged,
    /// A twin is under way: the new request shares its reservation.
    Joined(Key),
    /// Nothing.
    New,
}

impl RequestIds {
    pub(super) fn new(charged_max: usize) -> Self {
        Self {
            known: HashMap::new(),
            charged: VecDeque::new(),
            charged_max,
            serial: 0,
            hasher: RandomState::new(),
        }
    }

    /// Looks an id up and joins a twin under way.
    pub(super) fn join(&mut self, request_id: &str, now: Duration) -> Familiar {
        self.forget_expired(now);
        let hash = self.hasher.hash_one(request_id);
        let Some(known) = self.known.get_mut(&hash) else { return Familiar::New };
        match &mut known.state {
            State::Charged => Familiar::Charged,
            State::Reserved { holders, .. } => {
                *holders += 1;
                Familiar::Joined(Key { hash, serial: known.serial })
            }
        }
    }

    /// Remembers a new id whose answer was counted.
    pub(super) fn reserve(&mut self, request_id: &str, counted: Counted) -> Key {
        let hash = self.hasher.hash_one(request_id);
        self.serial += 1;
        let known = Known { serial: self.serial, state: State::Reserved { holders: 1, counted } };
        self.known.insert(hash, known);
        Key { hash, serial: self.serial }
    }

    /// Charges an id; returns whether it was the first time.
    pub(super) fn charge(&mut self, key: Key, now: Duration) -> bool {
        let Some(known) = self.alive(key) else { return false };
        if matches!(known.state, State::Charged) {
            return false;
        }
        known.state = State::Charged;
        self.charged.push_back((key, now));
        while self.charged.len() > self.charged_max {
            self.forget_oldest();
        }
        true
    }

    /// Lets go of an id; returns what to give back when nobody holds it any more.
    pub(super) fn release(&mut self, key: Key) -> Option<Counted> {
        let State::Reserved { holders, counted } = &mut self.alive(key)?.state else { return None };
        *holders -= 1;
        if *holders > 0 {
            return None;
        }
        let counted = *counted;
        self.known.remove(&key.hash);
        Some(counted)
    }

    fn alive(&mut self, key: Key) -> Option<&mut Known> {
        self.known.get_mut(&key.hash).filter(|known| known.serial == key.serial)
    }

    fn forget_expired(&mut self, now: Duration) {
        while self.charged.front().is_some_and(|(_, at)| now.saturating_sub(*at) >= REMEMBERED_FOR) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, _)) = self.charged.pop_front()
            && self.alive(key).is_some()
        {
            self.known.remove(&key.hash);
        }
    }
}
