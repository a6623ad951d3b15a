//! The standing that all replicas share, as this one was told of it.
//!
//! Beside the files of [`super::StandingBook`]: the stricter of both counts. What is known has an age. Whoever asks compares it
//! with the freshness bound *before* reading the words (`Acquire` here pairs with the `Release` after they were told), so that a
//! young age always stands for the words that belong to it.
//!
//! A word against somebody that is gone when the words are read anew (a restore, a promotion that lost the last commits) stays in
//! force here until a later word is told, and is a fault until then: nobody comes back by an accident of the database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::admission::standing::{StandingFollower, StandingWord};
use crate::domain::partner::PartnerId;
use crate::domain::standing::{KeyPin, RecordedState, StandingOf};
use crate::domain::time::Clock;

/// What this replica was told of the shared record.
pub struct SharedBook {
    words: ArcSwap<Words>,
    /// Held while the words change.
    changing: Mutex<()>,
    generation: AtomicU64,
    /// The local start (nanoseconds since boot) of the last poll that brought every word so far; 0: none yet.
    current_as_of: AtomicU64,
    age_max: Duration,
    clock: Arc<dyn Clock>,
}

/// The latest word about each.
type Words = HashMap<StandingOf, Held>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    word: StandingWord,
    /// The record does not hold it any more.
    has_vanished: bool,
}

impl SharedBook {
    /// Begins with nothing known. `age_max` is the freshness bound.
    pub(super) fn new(age_max: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            words: ArcSwap::default(),
            changing: Mutex::new(()),
            generation: AtomicU64::new(1),
            current_as_of: AtomicU64::new(0),
            age_max,
            clock,
        }
    }

    /// Says whether what is known is younger than the freshness bound. Ask before reading the words.
    pub fn is_current(&self) -> bool {
        let as_of = Duration::from_nanos(self.current_as_of.load(Ordering::Acquire));
        !as_of.is_zero() && self.clock.since_boot().saturating_sub(as_of) <= self.age_max
    }

    /// Says whether the latest word suspends the partner.
    pub fn is_suspended(&self, partner: &PartnerId) -> bool {
        self.is_against(&StandingOf::Partner(partner.clone()))
    }

    /// Says whether the latest word suspends the partner's claims.
    pub fn are_claims_suspended(&self, partner: &PartnerId) -> bool {
        self.is_against(&StandingOf::Claims(partner.clone()))
    }

    /// Says whether the latest word denies the key.
    pub fn is_denied(&self, pin: KeyPin) -> bool {
        self.is_against(&StandingOf::Key(pin))
    }

    fn is_against(&self, of: &StandingOf) -> bool {
        self.words.load().get(of).is_some_and(Held::is_against)
    }

    /// Returns the latest word about a partner or a key.
    pub fn word(&self, of: &StandingOf) -> Option<StandingWord> {
        self.words.load().get(of).map(|held| held.word.clone())
    }

    /// Returns the latest words about all, in the order they were put on record.
    pub fn list(&self) -> Vec<StandingWord> {
        let mut words: Vec<_> = self.words.load().values().map(|held| held.word.clone()).collect();
        words.sort_by_key(|word| word.seq);
        words
    }

    /// Counts how often the words have changed.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Names the words that vanished from the record and are held all the same.
    pub(super) fn faults(&self) -> Vec<String> {
        let words = self.words.load();
        let vanished = words.values().filter(|held| held.has_vanished);
        let mut faults: Vec<_> = vanished
            .map(|held| {
                let of = &held.word.change.of;
                format!("the word against {of} vanished from the shared standing record; this replica holds it until it is said anew")
            })
            .collect();
        faults.sort();
        faults
    }

    fn change(&self, change: impl FnOnce(&mut Words)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.words.load_full();
        let mut words = Words::clone(&known);
        change(&mut words);
        if words != *known {
            self.words.store(Arc::new(words));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}

impl Held {
    fn of(word: StandingWord) -> Self {
        Self { word, has_vanished: false }
    }

    fn is_against(&self) -> bool {
        self.word.change.state == RecordedState::Suspended
    }
}

impl StandingFollower for SharedBook {
    fn begins_with(&self, words: Vec<StandingWord>) {
        self.change(|known| {
            let former = std::mem::take(known);
            known.extend(words.into_iter().map(|word| (word.change.of.clone(), Held::of(word))));
            for (of, held) in former.into_iter().filter(|(_, held)| held.is_against()) {
                let went_back = known.get(&of).is_none_or(|now| now.word.seq < held.word.seq);
                if went_back {
                    known.insert(of, Held { has_vanished: true, ..held });
                }
            }
        });
    }

    fn told(&self, words: Vec<StandingWord>) {
        if words.is_empty() {
            return;
        }
        self.change(|known| {
            for word in words {
                let is_later = known
                    .get(&word.change.of)
                    .is_none_or(|held| held.has_vanished || held.word.seq < word.seq);
                if is_later {
                    known.insert(word.change.of.clone(), Held::of(word));
                }
            }
        });
    }

    fn current_as_of(&self, poll_began: Duration) {
        let nanoseconds = u64::try_from(poll_began.as_nanos()).unwrap_or(u64::MAX);
        self.current_as_of.fetch_max(nanoseconds, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::standing::StandingChange;
    use crate::identity::testing::SetClock;

    fn one() -> PartnerId {
        "one".parse().unwrap()
    }

    fn book() -> (SharedBook, Arc<SetClock>) {
        let clock = Arc::new(SetClock::at("2026-11-22T00:00:00Z"));
        clock.boot_at(Duration::from_secs(100));
        (SharedBook::new(Duration::from_secs(2), Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    fn word(seq: u64, of: &str, state: RecordedState) -> StandingWord {
        let change = StandingChange {
            of: of.parse().unwrap(),
            state,
            reason: "test".to_owned(),
            by: "op".to_owned(),
            at: "2026-11-22T00:00:00Z".parse().unwrap(),
        };
        StandingWord { seq, change }
    }

    use RecordedState::{Active, Suspended};

    #[test]
    fn the_later_word_counts_in_whatever_order_words_are_told() {
        let (book, _) = book();
        book.begins_with(vec![word(1, "one", Suspended)]);
        assert!(book.is_suspended(&one()));
        book.told(vec![word(3, "one", Active)]);
        book.told(vec![word(2, "one", Suspended), word(3, "one", Active)]);
        assert!(!book.is_suspended(&one()), "an earlier word, told late");
        let generation = book.generation();
        book.told(vec![word(3, "one", Active)]);
        assert_eq!(book.generation(), generation, "nothing new");
        book.told(vec![word(4, &format!("key-{}", "0c".repeat(32)), Suspended)]);
        assert_eq!(book.generation(), generation + 1);
        assert!(book.is_denied(KeyPin([12; 32])) && !book.is_denied(KeyPin([13; 32])));
        let seqs: Vec<u64> = book.list().iter().map(|word| word.seq).collect();
        assert_eq!(seqs, [3, 4]);
    }

    #[test]
    fn a_word_against_somebody_that_vanishes_stays_until_it_is_said_anew() {
        let (book, _) = book();
        book.begins_with(vec![
            word(1, "two", Suspended),
            word(7, "one", Suspended),
            word(8, "three", Active),
        ]);
        assert_eq!(book.faults(), Vec::<String>::new());
        // Restored to a moment at which only the first word was there, and `three` was suspended.
        book.begins_with(vec![word(1, "two", Suspended), word(2, "three", Suspended)]);
        assert!(book.is_suspended(&one()) && book.is_suspended(&"three".parse().unwrap()));
        let faults = book.faults();
        assert!(faults.len() == 1 && faults[0].contains("against one vanished"), "{faults:?}");
        book.begins_with(vec![word(1, "two", Suspended), word(2, "three", Suspended)]);
        assert!(book.is_suspended(&one()), "however often it is read anew");
        // Sequences began again lower: the next word counts all the same.
        book.told(vec![word(3, "one", Active)]);
        assert!(!book.is_suspended(&one()));
        assert_eq!(book.faults(), Vec::<String>::new());
    }

    #[test]
    fn what_is_known_is_current_for_the_bound_and_not_before_the_first_poll() {
        let (book, clock) = book();
        book.begins_with(vec![]);
        assert!(!book.is_current(), "no poll has ended");
        book.current_as_of(Duration::from_secs(100));
        book.current_as_of(Duration::from_secs(99));
        assert!(book.is_current());
        clock.boot_at(Duration::from_secs(102));
        assert!(book.is_current());
        clock.boot_at(Duration::from_nanos(102_000_000_001));
        assert!(!book.is_current());
    }
}
