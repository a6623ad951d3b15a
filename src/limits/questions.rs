//! How many different questions a partner asked about one subject (`docs/policy.md` §4: no bisection).
//!
//! Held in memory as keyed bytes, per partner, so that one partner's flood cannot push out what is known of
//! another. At the bound the oldest subject is forgotten, which admits more than the rule and never refuses wrongly;
//! so does a restart. The process-wide answer to that is the budget of distinct subjects.
//!
//! # Several replicas
//! A subject's questions are told to the others once there are two of them on one replica, and whoever has asked about it too
//! tells its own then. Nearly everybody is asked about once a day: to tell of everything would cost more than it brings. So
//! a partner that spreads its questions has at most one for each replica and one more, where that is more than the rule's three; and
//! within the second between two tellings what each replica admits by itself.

use std::collections::VecDeque;
use std::time::Duration;

use super::keyed::ByHash;
use crate::domain::question::Purpose;
use crate::domain::subject::NumberPseudonym;
use crate::hashing::{first_half, sha256};
use crate::verification::ports::{QuestionDigest, VariationExceeded};

/// Different questions per subject and purpose within [`QUESTIONS_WINDOW`].
const QUESTIONS_MAX: usize = 3;

/// The window of [`QUESTIONS_MAX`].
const QUESTIONS_WINDOW: Duration = Duration::from_hours(24);

/// Different insurance claims about one subject under one case reference: the first and one correction.
const CASE_QUESTIONS_MAX: usize = 2;

/// How long a case is remembered at most. The rule knows no end; memory does.
const CASE_WINDOW: Duration = Duration::from_hours(30 * 24);

/// Questions of one subject on one replica, from which on the others are told.
const TOLD_FROM: usize = 2;

/// What one partner asked.
pub(super) struct Questions {
    subjects: Asked,
    cases: Asked,
}

/// A question that was asked, as replicas tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// About a case; else about a subject and purpose.
    pub(super) is_case: bool,
    /// Whom, or which case.
    pub(super) key: u64,
    /// What.
    pub(super) question: u32,
    /// How long ago it was asked first.
    pub(super) age: Duration,
}

impl Questions {
    /// Remembers at most so many subjects, and as many cases: about 60 bytes each. `shares`: there are others to tell.
    pub(super) fn new(subjects_max: usize, shares: bool) -> Self {
        Self {
            subjects: Asked::new(QUESTIONS_MAX, QUESTIONS_WINDOW, subjects_max, shares),
            cases: Asked::new(CASE_QUESTIONS_MAX, CASE_WINDOW, subjects_max, shares),
        }
    }

    /// Admits a question and remembers it, or refuses it and remembers nothing. `now` is since boot, here and below.
    pub(super) fn admit(
        &mut self,
        purpose: Purpose,
        pseudonym: NumberPseudonym,
        question: QuestionDigest,
        case_reference: &str,
        now: Duration,
    ) -> Result<(), VariationExceeded> {
        let now_s = seconds_at(now);
        let key = Key::of(pseudonym);
        let question = key.four_bytes(question);
        let subject = key.eight_bytes(u64::from(purpose.code()));
        let case = (purpose == Purpose::InsuranceClaim && !case_reference.is_empty()).then(|| {
            let [high, low] = halves(first_half(&sha256(case_reference.as_bytes())));
            key.eight_bytes(high ^ low.rotate_left(1))
        });
        self.subjects.judge(subject, question, now_s)?;
        if let Some(case) = case {
            self.cases.judge(case, question, now_s)?;
            self.cases.remember(case, question, now_s);
        }
        self.subjects.remember(subject, question, now_s);
        Ok(())
    }

    /// Takes what the other replicas are to be told.
    pub(super) fn take_untold(&mut self, now: Duration) -> Vec<Told> {
        let now_s = seconds_at(now);
        let told = |is_case: bool, untold: Untold| Told {
            is_case,
            key: untold.key,
            question: untold.slot.question,
            age: Duration::from_secs(now_s.saturating_sub(untold.slot.asked_at_s).into()),
        };
        let subjects = std::mem::take(&mut self.subjects.untold).into_iter().map(|one| told(false, one));
        let cases = std::mem::take(&mut self.cases.untold).into_iter().map(|one| told(true, one));
        subjects.chain(cases).collect()
    }

    /// Puts back what could not be told.
    pub(super) fn put_back(&mut self, told: &Told, now: Duration) {
        if let Some(slot) = Slot::of(told, seconds_at(now)) {
            self.asked(told.is_case).tell(told.key, slot);
        }
    }

    /// Takes in what another replica told, or this one before it was started anew.
    pub(super) fn learn(&mut self, told: &Told, now: Duration) {
        let now_s = seconds_at(now);
        if let Some(slot) = Slot::of(told, now_s) {
            self.asked(told.is_case).learn(told.key, slot, now_s);
        }
    }

    fn asked(&mut self, is_case: bool) -> &mut Asked {
        if is_case { &mut self.cases } else { &mut self.subjects }
    }
}

/// Hashes under a subject's pseudonym, by multiplication. Whoever asks does not know the pseudonym, which is keyed, and so can choose
/// neither keys nor two questions that look alike (one pair in 10⁹ does, and counts as one, which refuses nobody). The same on every
/// replica.
struct Key([u64; 2]);

impl Key {
    fn of(pseudonym: NumberPseudonym) -> Self {
        Self(halves(*pseudonym.as_bytes()))
    }

    fn eight_bytes(&self, word: u64) -> u64 {
        let [high, low] = self.0;
        let wide = u128::from(word.wrapping_mul(SPREAD) ^ high) * u128::from(low | 1);
        let [high, low] = halves(wide.to_be_bytes());
        high ^ low
    }

    #[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
    fn four_bytes(&self, question: QuestionDigest) -> u32 {
        let [one, other] = halves(question.0);
        (self.eight_bytes(one) ^ self.eight_bytes(!other).rotate_left(1)) as u32
    }
}

/// Makes small words differ in all bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let word = u128::from_be_bytes(bytes);
    #[allow(clippy::cast_possible_truncation, reason = "both halves are wanted, one after the other")]
    [(word >> 64) as u64, word as u64]
}

/// Different questions per key within a sliding window.
struct Asked {
    different_max: usize,
    window_s: u32,
    keys_max: usize,
    by_key: ByHash<Slots>,
    oldest_first: VecDeque<u64>,
    shares: bool,
    /// What the others are to be told; no more than keys are held.
    untold: Vec<Untold>,
}

/// Up to [`QUESTIONS_MAX`] questions of one key; a free slot was never asked. 28 bytes: there are many.
#[derive(Clone, Copy, Default)]
struct Slots {
    all: [Slot; QUESTIONS_MAX],
    /// The others are told of them.
    are_told: bool,
}

/// A question, by four bytes of its keyed hash, and the second of [`seconds_at`] at which it was first asked; 0: free.
#[derive(Clone, Copy, Default)]
struct Slot {
    question: u32,
    asked_at_s: u32,
}

struct Untold {
    key: u64,
    slot: Slot,
}

impl Slot {
    /// Finds when a question was asked by this machine's clock; `None`: too long ago to be told here.
    fn of(told: &Told, now_s: u32) -> Option<Self> {
        let age_s = u32::try_from(told.age.as_secs()).ok()?;
        let asked_at_s = now_s.checked_sub(age_s).filter(|at| *at > 0)?;
        Some(Self { question: told.question, asked_at_s })
    }

    fn is_live(self, window_s: u32, now_s: u32) -> bool {
        self.asked_at_s != 0 && now_s.saturating_sub(self.asked_at_s) < window_s
    }
}

impl Asked {
    fn new(different_max: usize, window: Duration, keys_max: usize, shares: bool) -> Self {
        Self {
            different_max,
            window_s: whole_seconds(window),
            keys_max,
            by_key: ByHash::default(),
            oldest_first: VecDeque::new(),
            shares,
            untold: Vec::new(),
        }
    }

    fn judge(&self, key: u64, question: u32, now_s: u32) -> Result<(), VariationExceeded> {
        let Some(slots) = self.by_key.get(&key) else { return Ok(()) };
        let live = || slots.all.iter().filter(|slot| slot.is_live(self.window_s, now_s));
        if live().count() < self.different_max || live().any(|slot| slot.question == question) {
            return Ok(());
        }
        let first_s = live().map(|slot| slot.asked_at_s).min().unwrap_or(now_s);
        let left_s = (first_s + self.window_s).saturating_sub(now_s);
        Err(VariationExceeded { retry_after: Duration::from_secs(left_s.into()) })
    }

    /// Remembers a question that was admitted; asking the same again does not prolong its stay.
    fn remember(&mut self, key: u64, question: u32, now_s: u32) {
        let asked = Slot { question, asked_at_s: now_s };
        let Some(slots) = self.put(key, asked, now_s) else { return };
        if !self.shares {
            return;
        }
        if slots.are_told {
            self.tell(key, asked);
        } else if slots.all.iter().filter(|slot| slot.is_live(self.window_s, now_s)).count() >= TOLD_FROM {
            self.tell_all(key, slots, now_s);
        }
    }

    /// Takes in a question asked elsewhere; what was asked here and nobody was told of is told now.
    fn learn(&mut self, key: u64, asked: Slot, now_s: u32) {
        if !asked.is_live(self.window_s, now_s) {
            return;
        }
        match self.by_key.get(&key).copied() {
            Some(slots) if !slots.are_told => self.tell_all(key, slots, now_s),
            _ => {}
        }
        self.put(key, asked, now_s);
        if let Some(slots) = self.by_key.get_mut(&key) {
            slots.are_told = true;
        }
    }

    /// Puts a question where it is not yet and there is room. Returns the key's questions if it was put.
    fn put(&mut self, key: u64, asked: Slot, now_s: u32) -> Option<Slots> {
        let window_s = self.window_s;
        if !self.by_key.contains_key(&key) {
            self.make_room(now_s);
            self.oldest_first.push_back(key);
        }
        let slots = self.by_key.entry(key).or_default();
        if slots.all.iter().any(|slot| slot.question == asked.question && slot.is_live(window_s, now_s)) {
            return None;
        }
        *slots.all.iter_mut().find(|slot| !slot.is_live(window_s, now_s))? = asked;
        Some(*slots)
    }

    fn tell_all(&mut self, key: u64, slots: Slots, now_s: u32) {
        let window_s = self.window_s;
        slots
            .all
            .into_iter()
            .filter(|slot| slot.is_live(window_s, now_s))
            .for_each(|slot| self.tell(key, slot));
        if let Some(slots) = self.by_key.get_mut(&key) {
            slots.are_told = true;
        }
    }

    fn tell(&mut self, key: u64, slot: Slot) {
        if self.untold.len() < self.keys_max {
            self.untold.push(Untold { key, slot });
        }
    }

    /// Forgets what is over, two keys a call so that no call takes long, and the oldest key at the bound.
    fn make_room(&mut self, now_s: u32) {
        for _ in 0..2 {
            let Some(oldest) = self.oldest_first.front() else { return };
            let is_live = |slots: &Slots| slots.all.iter().any(|slot| slot.is_live(self.window_s, now_s));
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

/// Counts the seconds of this machine's clock from so long before its boot that whatever may be remembered lies after 0.
fn seconds_at(now: Duration) -> u32 {
    whole_seconds(now + CASE_WINDOW).saturating_add(1)
}

/// Whole seconds; a machine runs for less than the 136 years this holds.
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
        let mut questions = Questions::new(100, false);
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
        let mut questions = Questions::new(100, false);
        for asked in 1..=3 {
            rental(&mut questions, 1, asked, START).unwrap();
        }
        let other = questions.admit(Purpose::Recruitment, subject(1), question(4), "case", START);
        assert_eq!(other, Ok(()));
    }

    #[test]
    fn a_refused_question_is_not_remembered_and_the_window_slides() {
        let mut questions = Questions::new(100, false);
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
        let mut questions = Questions::new(100, false);
        rental(&mut questions, 1, 1, START).unwrap();
        for asked in 1..=3 {
            rental(&mut questions, 1, asked, START + HOUR * 23).unwrap();
        }
        assert!(rental(&mut questions, 1, 4, START + HOUR * 24 - Duration::from_secs(1)).is_err());
        assert_eq!(rental(&mut questions, 1, 4, START + HOUR * 24), Ok(()));
    }

    #[test]
    fn a_case_has_one_question_and_one_correction() {
        let mut questions = Questions::new(100, false);
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
        let mut questions = Questions::new(100, false);
        for (about, asked) in [(1, 1), (1, 2), (2, 3), (2, 4)] {
            let asked = question(asked);
            questions.admit(Purpose::InsuranceClaim, subject(about), asked, "C-1", START).unwrap();
        }
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_subject_and_refuses_nobody() {
        let mut questions = Questions::new(3, false);
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
        let mut questions = Questions::new(1_000, false);
        for about in 1..=100 {
            rental(&mut questions, about, 1, START).unwrap();
        }
        for about in 101..=200 {
            rental(&mut questions, about, 1, START + QUESTIONS_WINDOW).unwrap();
        }
        assert_eq!(questions.subjects.by_key.len(), 100);
    }

    /// Tells `to` what `from` has to tell.
    fn tell(from: &mut Questions, to: &mut Questions, now: Duration) -> usize {
        let told = from.take_untold(now);
        told.iter().for_each(|told| to.learn(told, now));
        told.len()
    }

    #[test]
    fn what_is_asked_once_is_told_to_nobody_and_a_second_question_tells_both() {
        let [mut one, mut two] = [(), ()].map(|()| Questions::new(100, true));
        rental(&mut one, 1, 1, START).unwrap();
        rental(&mut one, 2, 1, START).unwrap();
        rental(&mut one, 1, 1, START + HOUR).unwrap();
        assert_eq!(tell(&mut one, &mut two, START + HOUR), 0);
        rental(&mut one, 1, 2, START + HOUR).unwrap();
        assert_eq!(tell(&mut one, &mut two, START + HOUR * 2), 2);
        assert_eq!(rental(&mut two, 1, 1, START + HOUR * 3), Ok(()), "known");
        assert_eq!(tell(&mut two, &mut one, START + HOUR * 3), 0, "nothing new");
        rental(&mut two, 1, 3, START + HOUR * 3).unwrap();
        assert_eq!(tell(&mut two, &mut one, START + HOUR * 3), 1);
        for replica in [&mut one, &mut two] {
            let refused = VariationExceeded { retry_after: HOUR * 20 };
            assert_eq!(rental(replica, 1, 4, START + HOUR * 4), Err(refused), "since the first of all");
            assert_eq!(rental(replica, 2, 4, START + HOUR * 4), Ok(()));
        }
    }

    /// Goal: who spreads questions gains one more for each replica at most, and never beyond one for each and one.
    #[test]
    fn spread_over_replicas_there_is_one_question_for_each_and_one_more() {
        for replicas in 2..=5_u8 {
            let mut all: Vec<_> = (0..replicas).map(|_| Questions::new(100, true)).collect();
            let mut admitted = 0;
            for asked in 0..40_u8 {
                let at = usize::from(asked % replicas);
                admitted += u8::from(rental(&mut all[at], 1, asked, START).is_ok());
                // Each tells all others, twice: whoever learns may have something to tell.
                for from in (0..all.len()).chain(0..all.len()) {
                    let told = all[from].take_untold(START);
                    all.iter_mut().for_each(|to| told.iter().for_each(|told| to.learn(told, START)));
                }
            }
            assert_eq!(admitted, 3.max(replicas + 1), "{replicas} replicas");
        }
    }

    #[test]
    fn cases_are_told_too_and_what_could_not_be_told_is_told_later() {
        let [mut one, mut two] = [(), ()].map(|()| Questions::new(100, true));
        let claim = |questions: &mut Questions, asked| {
            questions.admit(Purpose::InsuranceClaim, subject(1), question(asked), "C-1", START)
        };
        claim(&mut one, 1).unwrap();
        claim(&mut one, 2).unwrap();
        let told = one.take_untold(START);
        assert_eq!(told.iter().filter(|told| told.is_case).count(), 2);
        told.iter().for_each(|told| one.put_back(told, START));
        assert_eq!(tell(&mut one, &mut two, START + HOUR), 4);
        assert!(claim(&mut two, 3).is_err());
        assert_eq!(claim(&mut two, 2), Ok(()));
    }

    /// Goal: what was asked before this machine was booted counts for as long as it did; what is over does not.
    #[test]
    fn what_others_tell_is_as_old_as_they_say() {
        let mut questions = Questions::new(100, true);
        let told = |question, age| Told { is_case: false, key: 7, question, age };
        questions.learn(&told(1, HOUR * 23), Duration::from_secs(1));
        questions.learn(&told(2, HOUR * 24), Duration::from_secs(1));
        questions.learn(&told(3, Duration::MAX), Duration::from_secs(1));
        let live = |questions: &Questions, now| {
            let slots = questions.subjects.by_key[&7].all;
            slots.iter().filter(|slot| slot.is_live(questions.subjects.window_s, seconds_at(now))).count()
        };
        assert_eq!(live(&questions, HOUR), 1);
        assert_eq!(live(&questions, HOUR + Duration::from_secs(1)), 0);
    }

    /// Goal: nobody can look for two questions that count as one, or a subject that counts as another.
    #[test]
    fn keys_depend_on_every_bit() {
        let key = Key::of(NumberPseudonym::from_bytes(*b"sixteen bytes!!!"));
        let base = (key.eight_bytes(3), key.four_bytes(QuestionDigest([5; 16])));
        for bit in 0..128 {
            let mut bytes = *b"sixteen bytes!!!";
            bytes[bit / 8] ^= 1 << (bit % 8);
            let other = Key::of(NumberPseudonym::from_bytes(bytes));
            // The lowest bit makes the multiplier odd.
            assert!(bit == 120 || other.eight_bytes(3) != base.0, "bit {bit}");
            let mut question = [5; 16];
            question[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(key.four_bytes(QuestionDigest(question)), base.1, "bit {bit}");
        }
        assert_ne!(key.eight_bytes(2), base.0);
    }
}
