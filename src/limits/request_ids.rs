//! Which request ids were reserved or charged lately: an answer is charged once per (partner, request_id).
//!
//! Ids are remembered as keyed 8-byte hashes, each with a keyed hash of what it was used for: the same id with other content is
//! refused. At the bound the oldest charged id is forgotten early: its retry would
//! be charged a second time, never refused. Two of 100,000 ids collide with a chance of 3 in 10¹⁰; the second would
//! then go uncharged.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use super::keyed::ByHash;
use super::windows::Counted;
use crate::verification::ports::RequestKey;

/// How long a charged id is remembered: as long as its answer may be replayed.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// The ids of one partner. Ids under way are few and stay in the processor's caches; charged ones are many and small.
pub(super) struct RequestIds {
    under_way: ByHash<UnderWay>,
    /// What each charged id was used for.
    charged: ByHash<u64>,
    oldest_first: VecDeque<(u64, Duration)>,
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

/// Requests with one id are under way; together they hold one answer of the quota.
struct UnderWay {
    serial: u64,
    content: u64,
    holders: u32,
    counted: Counted,
}

/// What is known about an id.
pub(super) enum Familiar {
    /// Its answer was charged: another costs nothing.
    Charged,
    /// A twin is under way: the new request shares its reservation.
    Joined(Key),
    /// It was used with other content.
    OtherContent,
    /// Nothing.
    New,
}

impl RequestIds {
    pub(super) fn new(charged_max: usize) -> Self {
        Self {
            under_way: ByHash::default(),
            charged: ByHash::default(),
            oldest_first: VecDeque::new(),
            charged_max,
            serial: 0,
            hasher: RandomState::new(),
        }
    }

    /// Looks an id up and joins a twin under way.
    pub(super) fn join(&mut self, request: RequestKey<'_>, now: Duration) -> Familiar {
        self.forget_expired(now);
        let hash = self.hasher.hash_one(request.id);
        let content = self.content(request);
        if let Some(twin) = self.under_way.get_mut(&hash) {
            if twin.content != content {
                return Familiar::OtherContent;
            }
            twin.holders += 1;
            return Familiar::Joined(Key { hash, serial: twin.serial });
        }
        match self.charged.get(&hash) {
            None => Familiar::New,
            Some(known) if *known == content => Familiar::Charged,
            Some(_) => Familiar::OtherContent,
        }
    }

    /// Remembers a new id whose answer was counted.
    pub(super) fn reserve(&mut self, request: RequestKey<'_>, counted: Counted) -> Key {
        let hash = self.hasher.hash_one(request.id);
        let content = self.content(request);
        self.serial += 1;
        self.under_way.insert(hash, UnderWay { serial: self.serial, content, holders: 1, counted });
        Key { hash, serial: self.serial }
    }

    /// Hashes what an id is used for under this process's own key: what is kept tells nobody anything.
    fn content(&self, request: RequestKey<'_>) -> u64 {
        self.hasher.hash_one(request.content)
    }

    /// Charges an id; returns whether it was the first time.
    pub(super) fn charge(&mut self, key: Key, now: Duration) -> bool {
        if self.alive(key).is_none() {
            return false;
        }
        let Some(ended) = self.under_way.remove(&key.hash) else { return false };
        self.charged.insert(key.hash, ended.content);
        self.oldest_first.push_back((key.hash, now));
        while self.oldest_first.len() > self.charged_max {
            self.forget_oldest();
        }
        true
    }

    /// Lets go of an id; returns what to give back when nobody holds it any more.
    pub(super) fn release(&mut self, key: Key) -> Option<Counted> {
        let held = self.alive(key)?;
        held.holders -= 1;
        if held.holders > 0 {
            return None;
        }
        self.under_way.remove(&key.hash).map(|held| held.counted)
    }

    fn alive(&mut self, key: Key) -> Option<&mut UnderWay> {
        self.under_way.get_mut(&key.hash).filter(|known| known.serial == key.serial)
    }

    fn forget_expired(&mut self, now: Duration) {
        while self.oldest_first.front().is_some_and(|(_, at)| now.saturating_sub(*at) >= REMEMBERED_FOR) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((hash, _)) = self.oldest_first.pop_front() {
            self.charged.remove(&hash);
        }
    }
}
