//! How many different questions a partner asked about one subject (`docs/policy.md` §4: no bisection).
//!
//! Held in memory as keyed 8-byte hashes, per partner, so that one partner's flood cannot push out what is known of
//! another. At the bound the oldest subject is forgotten, which admits more than the rule and never refuses wrongly;
//! so does a restart. The process-wide answer to that is the budget of distinct subjects.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use super::keyed::ByHash;
use crate::domain::question::Purpose;
use crate::domain::subject::NumberPseudonym;
use crate::verification::ports::{QuestionDigest, VariationExceeded};

/// Different questions per subject and purpose within [`QUESTIONS_WINDOW`].
const QUESTIONS_MAX: usize = 3;

/// The window of [`QUESTIONS_MAX`].
const QUESTIONS_WINDOW: Duration = Duration::from_hours(24);

/// Different insurance claims about one subject under one case reference: the first and one correction.
const CASE_QUESTIONS_MAX: usize = 2;

/// How long a case is remembered at most. The rule knows no end; memory does.
const CASE_WINDOW: Duration = Duration::from_hours(30 * 24);

/// What one partner asked.
pub(super) struct Questions {
    subjects: Asked,
    cases: Asked,
    hasher: RandomState,
}

impl Questions {
    /// Remembers at most so many subjects, and as many cases: about 60 bytes each.
    pub(super) fn new(subjects_max: usize) -> Self {
        Self {
            subjects: Asked::new(QUESTIONS_MAX, QUESTIONS_WINDOW, subjects_max),
            cases: Asked::new(CASE_QUESTIONS_MAX, CASE_WINDOW, subjects_max),
            hasher: RandomState::new(),
        }
    }

    /// Admits a question and remembers it, or refuses it and remembers nothing.
    pub(super) fn admit(
        &mut self,
        purpose: Purpose,
        pseudonym: NumberPseudonym,
        question: QuestionDigest,
        case_reference: &str,
        now: Duration,
    ) -> Result<(), VariationExceeded> {
        let now_s = whole_seconds(now).saturating_add(1);
        let question = low_half(self.hasher.hash_one(question));
        let subject = self.hasher.hash_one((pseudonym, purpose));
        let case = (purpose == Purpose::InsuranceClaim && !case_reference.is_empty())
            .then(|| self.hasher.hash_one((pseudonym, case_reference)));
        self.subjects.judge(subject, question, now_s)?;
        if let Some(case) = case {
            self.cases.judge(case, question, now_s)?;
            self.cases.remember(case, question, now_s);
        }
        self.subjects.remember(subject, question, now_s);
        Ok(())
    }
}

/// Different questions per key within a sliding window.
struct Asked {
    different_max: usize,
    window_s: u32,
    keys_max: usize,
    by_key: ByHash<Slots>,
    oldest_first: VecDeque<u64>,
}

/// Up to [`QUESTIONS_MAX`] questions of one key; a free slot was never asked. 24 bytes: there are many.
#[derive(Clone, Copy, Default)]
struct Slots([Slot; QUESTIONS_MAX]);

/// A question, by four bytes of its keyed hash, and the second of boot, from 1, at which it was first asked; 0: free.
/// Two questions that collide (one pair in 10⁹) count as one, which refuses nobody.
#[derive(Clone, Copy, Default)]
struct Slot {
    question: u32,
    asked_at_s: u32,
}

impl Slot {
    fn is_live(self, window_s: u32, now_s: u32) -> bool {
        self.asked_at_s != 0 && now_s.saturating_sub(self.asked_at_s) < window_s
    }
}

impl Asked {
    fn new(different_max: usize, window: Duration, keys_max: usize) -> Self {
        let window_s = whole_seconds(window);
        Self { different_max, window_s, keys_max, by_key: ByHash::default(), oldest_first: VecDeque::new() }
    }

    fn judge(&self, key: u64, question: u32, now_s: u32) -> Result<(), VariationExceeded> {
        let Some(slots) = self.by_key.get(&key) else { return Ok(()) };
        let live = || slots.0.iter().filter(|slot| slot.is_live(self.window_s, now_s));
        if live().count() < self.different_max || live().any(|slot| slot.question == question) {
            return Ok(());
        }
        let first_s = live().map(|slot| slot.asked_at_s).min().unwrap_or(now_s);
        let left_s = (first_s + self.window_s).saturating_sub(now_s);
        Err(VariationExceeded { retry_after: Duration::from_secs(left_s.into()) })
    }

    /// Remembers a question that was admitted; asking the same again does not prolong its stay.
    fn remember(&mut self, key: u64, question: u32, now_s: u32) {
        let window_s = self.window_s;
        if !self.by_key.contains_key(&key) {
            self.make_room(now_s);
            self.oldest_first.push_back(key);
        }
        let slots = self.by_key.entry(key).or_default();
        if slots.0.iter().any(|slot| slot.question == question && slot.is_live(window_s, now_s)) {
            return;
        }
        if let Some(free) = slots.0.iter_mut().find(|slot| !slot.is_live(window_s, now_s)) {
            *free = Slot { question, asked_at_s: now_s };
        }
    }

    /// Forgets what is over, two keys a call so that no call takes long, and the oldest key at the bound.
    fn make_room(&mut self, now_s: u32) {
        for _ in 0..2 {
            let Some(oldest) = self.oldest_first.front() else { return };
            let is_live = |slots: &Slots| slots.0.iter().any(|slot| slot.is_live(self.window_s, now_s));
            let is_over = !self.by_key.get(oldest).is_some_and(is_live);
            if !is_over && self.by_key.len() < self.keys_max {
                return;
            }
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_key.remove(&oldest);
            }
        }
    }
}

/// Returns four bytes of a keyed hash.
#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn low_half(hash: u64) -> u32 {
    hash as u32
}

/// Whole seconds, counted from 1 where they are a moment; a machine runs for less than the 136 years this holds.
fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn subject(number: u8) -> NumberPseudonym {
        NumberPseudonym::from_bytes([number; 16])
    }

    fn question(number: u8) -> QuestionDigest {
        QuestionDigest([number; 16])
    }

    fn rental(
        questions: &mut Questions,
        about: u8,
        asked: u8,
        now: Duration,
    ) -> Result<(), VariationExceeded> {
        questions.admit(Purpose::Rental, subject(about), question(asked), "case", now)
    }

    #[test]
    fn the_fourth_different_question_is_refused_and_an_old_one_is_not() {
        let mut questions = Questions::new(100);
        for asked in 1..=3 {
            rental(&mut questions, 1, asked, START + HOUR * u32::from(asked)).unwrap();
        }
        let now = START + HOUR * 5;
        assert_eq!(rental(&mut questions, 1, 4, now), Err(VariationExceeded { retry_after: HOUR * 20 }));
        assert_eq!(rental(&mut questions, 1, 2, now), Ok(()));
        assert_eq!(rental(&mut questions, 2, 4, now), Ok(()));
    }

    #[test]
    fn purposes_are_counted_apart() {
        let mut questions = Questions::new(100);
        for asked in 1..=3 {
            rental(&mut questions, 1, asked, START).unwrap();
        }
        let other = questions.admit(Purpose::Recruitment, subject(1), question(4), "case", START);
        assert_eq!(other, Ok(()));
    }

    #[test]
    fn a_refused_question_is_not_remembered_and_the_window_slides() {
        let mut questions = Questions::new(100);
        for asked in 1..=3 {
            rental(&mut questions, 1, asked, START + HOUR * u32::from(asked)).unwrap();
        }
        for asked in 4..=9 {
            assert!(rental(&mut questions, 1, asked, START + HOUR * 24).is_err());
        }
        assert_eq!(rental(&mut questions, 1, 4, START + HOUR * 25), Ok(()));
        assert_eq!(
            rental(&mut questions, 1, 5, START + HOUR * 25),
            Err(VariationExceeded { retry_after: HOUR })
        );
    }

    #[test]
    fn asking_the_same_again_does_not_prolong_the_window() {
        let mut questions = Questions::new(100);
        rental(&mut questions, 1, 1, START).unwrap();
        for asked in 1..=3 {
            rental(&mut questions, 1, asked, START + HOUR * 23).unwrap();
        }
        assert!(rental(&mut questions, 1, 4, START + HOUR * 24 - Duration::from_secs(1)).is_err());
        assert_eq!(rental(&mut questions, 1, 4, START + HOUR * 24), Ok(()));
    }

    #[test]
    fn a_case_has_one_question_and_one_correction() {
        let mut questions = Questions::new(100);
        let mut claim = |asked, case, now| {
            questions.admit(Purpose::InsuranceClaim, subject(1), question(asked), case, now)
        };
        claim(1, "C-1", START).unwrap();
        claim(2, "C-1", START).unwrap();
        assert!(claim(3, "C-1", START).is_err());
        assert_eq!(claim(1, "C-1", START), Ok(()));
        assert_eq!(claim(3, "C-2", START), Ok(()));
        assert!(claim(4, "C-1", START + HOUR * 48).is_err());
        assert_eq!(claim(4, "C-1", START + CASE_WINDOW), Ok(()));
    }

    #[test]
    fn two_drivers_of_one_case_do_not_share_its_questions() {
        let mut questions = Questions::new(100);
        for (about, asked) in [(1, 1), (1, 2), (2, 3), (2, 4)] {
            let asked = question(asked);
            questions.admit(Purpose::InsuranceClaim, subject(about), asked, "C-1", START).unwrap();
        }
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_subject_and_refuses_nobody() {
        let mut questions = Questions::new(3);
        for asked in 1..=3 {
            rental(&mut questions, 1, asked, START).unwrap();
        }
        for about in 2..=200 {
            assert_eq!(rental(&mut questions, about, 9, START), Ok(()));
            assert!(questions.subjects.by_key.len() <= 3);
        }
        assert_eq!(questions.subjects.oldest_first.len(), questions.subjects.by_key.len());
        assert_eq!(rental(&mut questions, 1, 4, START), Ok(()));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut questions = Questions::new(1_000);
        for about in 1..=100 {
            rental(&mut questions, about, 1, START).unwrap();
        }
        for about in 101..=200 {
            rental(&mut questions, about, 1, START + QUESTIONS_WINDOW).unwrap();
        }
        assert_eq!(questions.subjects.by_key.len(), 100);
    }
}
