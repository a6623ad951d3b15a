//! Which numbers a partner has claimed within the window now open: exactly, by eight bytes of their keyed pseudonym.
//!
//! Two of 100,000 numbers share eight bytes once in 4 × 10⁹ windows; that one is admitted. Windows lie side by side from midnight in
//! China, so that replicas agree on them without a word: around a boundary twice the budget may be claimed within a window's length.

use jiff::{SignedDuration, Timestamp};

use super::keyed::ByHash;
use crate::domain::partner::SUBJECTS_MAX;
use crate::domain::subject::NumberPseudonym;
use crate::domain::time::{civil_day, start_of};

/// The most numbers held: the largest budget, and as many again that other replicas admitted before they knew of ours. What lies beyond
/// is not remembered, and refused once the budget is spent.
pub(super) const HELD_MAX: usize = 2 * SUBJECTS_MAX as usize;

/// Eight bytes of a number's keyed pseudonym. Whoever claims cannot choose them: the key is the registry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectMark(pub u64);

impl SubjectMark {
    /// Takes the first eight of sixteen keyed or random bytes.
    pub const fn of(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl From<NumberPseudonym> for SubjectMark {
    fn from(pseudonym: NumberPseudonym) -> Self {
        Self::of(*pseudonym.as_bytes())
    }
}

/// Whether a number is within the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It is if it leads to somebody of whom the log told: a look-up says so.
    IfNameless,
}

/// A stretch of time: from `starts_at` up to, not including, `ends_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
}

impl Window {
    /// Finds the window of so many hours around a moment.
    pub(super) fn around(hours: u8, now: Timestamp) -> Self {
        let length = SignedDuration::from_hours(i64::from(hours.clamp(1, 24)));
        let midnight = start_of(civil_day(now));
        let since = now.duration_since(midnight).as_secs() / length.as_secs();
        let starts_at = midnight + SignedDuration::from_secs(since * length.as_secs());
        Self { starts_at, ends_at: starts_at + length }
    }

    /// A clock set back by less than a window must not open the window before a second time.
    fn is_over_at(self, now: Timestamp) -> bool {
        let length = self.ends_at.duration_since(self.starts_at);
        now >= self.ends_at || self.starts_at.duration_since(now) > length
    }

    fn hours(self) -> i64 {
        self.ends_at.duration_since(self.starts_at).as_hours()
    }
}

/// The numbers one partner has claimed.
pub(super) struct Subjects {
    window: Window,
    known: ByHash<()>,
    /// Those of whom the log tells a new process, by their subject's id: their number shows when they are claimed again.
    nameless: ByHash<()>,
    /// What the other replicas have not been told; `None`: there are none.
    untold: Option<Vec<SubjectMark>>,
}

impl Subjects {
    /// Begins with the window around `now`. `shares`: there are other replicas to be told.
    pub(super) fn new(hours: u8, now: Timestamp, shares: bool) -> Self {
        Self::of(Window::around(hours, now), shares.then(Vec::new))
    }

    fn of(window: Window, untold: Option<Vec<SubjectMark>>) -> Self {
        Self { window, known: ByHash::default(), nameless: ByHash::default(), untold }
    }

    /// Opens the window around `now` if the present one is over, or of another length. Says whether it did.
    pub(super) fn roll(&mut self, hours: u8, now: Timestamp) -> bool {
        let stays = !self.window.is_over_at(now) && self.window.hours() == i64::from(hours);
        if !stays {
            let untold = self.untold.take().map(|_of_another_window| Vec::new());
            *self = Self::of(Window::around(hours, now), untold);
        }
        !stays
    }

    /// Admits a number that is known, or for which the budget has room.
    pub(super) fn admit(&mut self, mark: SubjectMark, subjects_max: u32) -> Admitted {
        if self.known.contains_key(&mark.0) {
            return Admitted::Yes;
        }
        // A number nobody had stands in the log under its own mark.
        let has_room = self.nameless.remove(&mark.0).is_some() || self.count() < u64::from(subjects_max);
        if has_room {
            self.known.insert(mark.0, ());
            self.untold.iter_mut().for_each(|untold| untold.push(mark));
            return Admitted::Yes;
        }
        if self.nameless.is_empty() { Admitted::No } else { Admitted::IfNameless }
    }

    /// A number was looked up and is this subject's: if the log told of the subject, the two are one. Says whether it did.
    pub(super) fn name(&mut self, mark: SubjectMark, subject: SubjectMark) -> bool {
        let was_nameless = self.nameless.remove(&subject.0).is_some();
        if was_nameless {
            self.known.insert(mark.0, ());
        }
        was_nameless
    }

    /// Takes in a number claimed elsewhere, within a window that began then; one of another window is none of ours. Says whether it is new.
    pub(super) fn learn(&mut self, mark: SubjectMark, window_began: Timestamp) -> bool {
        window_began == self.window.starts_at
            && self.known.len() < HELD_MAX
            && self.known.insert(mark.0, ()).is_none()
    }

    /// Takes in whom the log names as claimed before the start, at that moment.
    pub(super) fn recall(&mut self, subject: SubjectMark, at: Timestamp) {
        let is_of_window = self.window.starts_at <= at && at < self.window.ends_at;
        if is_of_window && !self.known.contains_key(&subject.0) && self.nameless.len() < HELD_MAX {
            self.nameless.insert(subject.0, ());
        }
    }

    /// Takes out what the others have not been told, with the start of its window.
    pub(super) fn take_untold(&mut self) -> (Timestamp, Vec<SubjectMark>) {
        (self.window.starts_at, self.untold.as_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Puts back what could not be told.
    pub(super) fn put_back(&mut self, window_began: Timestamp, marks: Vec<SubjectMark>) {
        if let Some(untold) = self.untold.as_mut().filter(|_| window_began == self.window.starts_at) {
            untold.extend(marks);
        }
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    pub(super) fn count(&self) -> u64 {
        (self.known.len() + self.nameless.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn noon() -> Timestamp {
        at("2026-03-01T04:00:00Z")
    }

    #[test]
    fn windows_lie_side_by_side_from_midnight_in_china() {
        for (hours, now, starts_at, ends_at) in [
            (24, "2026-03-01T04:00:00Z", "2026-02-28T16:00:00Z", "2026-03-01T16:00:00Z"),
            (24, "2026-02-28T15:59:59.999Z", "2026-02-27T16:00:00Z", "2026-02-28T16:00:00Z"),
            (6, "2026-03-01T04:00:00Z", "2026-03-01T04:00:00Z", "2026-03-01T10:00:00Z"),
            (1, "2026-03-01T04:59:59Z", "2026-03-01T04:00:00Z", "2026-03-01T05:00:00Z"),
        ] {
            let window = Window { starts_at: at(starts_at), ends_at: at(ends_at) };
            assert_eq!(Window::around(hours, at(now)), window, "{hours} {now}");
        }
    }

    #[test]
    fn a_window_s_end_forgets_and_a_clock_set_back_does_not() {
        let mut subjects = Subjects::new(1, noon(), false);
        let admits = |subjects: &mut Subjects, mark| subjects.admit(SubjectMark(mark), 1) == Admitted::Yes;
        assert!(admits(&mut subjects, 1) && !admits(&mut subjects, 2));
        assert!(!subjects.roll(1, at("2026-03-01T03:30:00Z")), "half an hour back");
        assert!(!admits(&mut subjects, 2));
        assert!(subjects.roll(1, at("2026-03-01T05:00:00Z")));
        assert!(admits(&mut subjects, 2) && !admits(&mut subjects, 1));
        assert!(subjects.roll(2, at("2026-03-01T05:00:00Z")), "a contract with another window");
        assert_eq!(subjects.count(), 0);
    }

    #[test]
    fn what_others_admitted_is_known_and_fills_the_budget() {
        let mut subjects = Subjects::new(24, noon(), true);
        let began = subjects.window().starts_at;
        assert_eq!(subjects.admit(SubjectMark(1), 3), Admitted::Yes);
        subjects.learn(SubjectMark(2), began);
        subjects.learn(SubjectMark(3), began - SignedDuration::from_hours(24));
        assert_eq!(subjects.count(), 2, "yesterday's is none of today's");
        subjects.learn(SubjectMark(4), began);
        assert_eq!(subjects.admit(SubjectMark(5), 3), Admitted::No, "three are three");
        for known in [2, 4] {
            assert_eq!(subjects.admit(SubjectMark(known), 3), Admitted::Yes, "known elsewhere is known");
        }
        let (told_of, untold) = subjects.take_untold();
        assert_eq!((told_of, untold), (began, vec![SubjectMark(1)]), "not what came from others");
        subjects.put_back(told_of, vec![SubjectMark(1)]);
        subjects.put_back(began - SignedDuration::from_hours(24), vec![SubjectMark(9)]);
        assert_eq!(subjects.take_untold().1, [SubjectMark(1)]);
    }

    /// Goal: after a restart nobody who was claimed before is refused, and nobody counts twice.
    #[test]
    fn whom_the_log_names_counts_at_once_and_is_known_once_a_look_up_names_the_number() {
        let mut subjects = Subjects::new(24, noon(), false);
        let began = subjects.window().starts_at;
        let (person, nobody) = (SubjectMark(100), SubjectMark(7));
        subjects.recall(person, noon());
        subjects.recall(person, noon());
        subjects.recall(nobody, noon());
        subjects.recall(SubjectMark(101), began - SignedDuration::from_secs(1));
        assert_eq!(subjects.count(), 2);
        assert_eq!(
            subjects.admit(nobody, 2),
            Admitted::Yes,
            "a number nobody had is named by the log itself"
        );
        assert_eq!(subjects.admit(SubjectMark(1), 2), Admitted::IfNameless);
        assert!(!subjects.name(SubjectMark(1), SubjectMark(55)), "somebody else");
        assert!(subjects.name(SubjectMark(2), person), "it was the one");
        assert_eq!((subjects.count(), subjects.admit(SubjectMark(2), 2)), (2, Admitted::Yes));
        assert_eq!(subjects.admit(SubjectMark(1), 2), Admitted::No, "nobody is left whom it could be");
    }

    #[test]
    fn the_set_is_bounded_whatever_others_tell() {
        let mut subjects = Subjects::new(24, noon(), true);
        let began = subjects.window().starts_at;
        for mark in 0..=HELD_MAX as u64 {
            subjects.learn(SubjectMark(mark.wrapping_mul(0x9E37_79B9_7F4A_7C15)), began);
        }
        assert_eq!(subjects.count(), HELD_MAX as u64);
        // Eight bytes each and one of control, in a table at least half full: below 5 MiB.
        assert!(subjects.known.capacity() * 9 < 5 << 20, "{}", subjects.known.capacity());
        assert!(subjects.take_untold().1.is_empty(), "what others told is not told again");
    }

    proptest! {
        /// Goal: the set is exact. Method: any order of claims, over few and many numbers, beside a plain model.
        #[test]
        fn it_admits_exactly_the_budget_and_never_refuses_a_known_number(
            claims in proptest::collection::vec(0_u64..60, 0..400), subjects_max in 1_u32..50,
        ) {
            let (mut subjects, mut model) = (Subjects::new(24, noon(), false), HashSet::new());
            for claim in claims {
                let expected = model.contains(&claim) || model.len() < subjects_max as usize;
                if expected {
                    model.insert(claim);
                }
                let mark = SubjectMark(claim.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                prop_assert_eq!(subjects.admit(mark, subjects_max) == Admitted::Yes, expected);
                prop_assert_eq!(subjects.count(), model.len() as u64);
            }
        }
    }
}
