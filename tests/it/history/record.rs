//! What was changed and what was answered, and whether the answers may stand beside the changes.
//!
//! Everything is timed by one clock, CLOCK_BOOTTIME of the machine all processes run on. What a client cannot know is counted in the
//! gateway's favour, and only that:
//! - A change takes effect at some moment between its sending and its acknowledgement.
//! - An answer was handed over some time before it arrived: at most [`WIRE`] before, and what the client itself overslept.
//! - A moment in the answer is of the wall clock; turning it into the other one costs [`CLOCKS`].

use std::fmt;
use std::time::Duration;

/// The promise: what an answer says was true so recently when it was handed over.
pub(super) const BOUND: Duration = Duration::from_secs(2);
/// From the gateway's connection over the loopback to this process.
const WIRE: Duration = Duration::from_millis(100);
const CLOCKS: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Licence {
    Good,
    Revoked,
}

/// Epoch, partition, sequence.
pub(super) type Position = (u32, u32, u64);

/// A change of the authority's. Those of one driver follow each other: the next is sent after the one before was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) makes: Licence,
    pub(super) sent: Duration,
    pub(super) acknowledged: Option<Duration>,
    pub(super) position: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    InProcess,
    Redis,
    Registry,
}

/// An answer, as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) driver: usize,
    pub(super) replica: usize,
    pub(super) asked: Duration,
    pub(super) arrived: Duration,
    pub(super) says: Licence,
    pub(super) position: Position,
    /// The answer's `observed_at`, on the one clock.
    pub(super) observed: Duration,
    pub(super) from: Level,
}

/// A time in which Redis cannot have answered anybody.
pub(super) type Silence = (Duration, Duration);

/// Everything that happened.
#[derive(Default)]
pub(super) struct History {
    /// Of each driver, in order. Everybody begins with a good licence.
    pub(super) changes: Vec<Vec<Change>>,
    pub(super) answers: Vec<Answer>,
    /// When this process overslept, and how long.
    pub(super) overslept: Vec<(Duration, Duration)>,
    pub(super) redis_silent: Vec<Silence>,
    /// The replica that keeps nothing in process.
    pub(super) without_memory: Option<usize>,
}

/// An answer that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// What it says had ceased to be true longer ago than the bound.
    Stale,
    /// What it says is not what was so at its position.
    OtherThanItsPosition,
    /// A change after its position was acknowledged before its `observed_at`: the reading lacks what it is said to hold.
    ObservedLaterThanTrue,
    /// Its `observed_at` is older than the bound, or yet to come.
    ObservedOutOfBound,
    /// It says it comes from where nothing can have come from.
    FromNowhere,
}

impl History {
    /// Returns the answers that must not be, with what is wrong about each.
    pub(super) fn breaches(&self) -> Vec<(Breach, &Answer)> {
        let of = |answer| self.judge(answer).into_iter().map(move |breach| (breach, answer));
        self.answers.iter().flat_map(of).collect()
    }

    fn judge(&self, answer: &Answer) -> Vec<Breach> {
        let bound = BOUND + WIRE + self.overslept_at(answer.arrived);
        let changes = &self.changes[answer.driver];
        let age = answer.arrived.saturating_sub(answer.observed);
        let checks = [
            (may_have_been(changes, answer, bound), Breach::Stale),
            (is_of_its_position(changes, answer), Breach::OtherThanItsPosition),
            (no_change_before(changes, answer), Breach::ObservedLaterThanTrue),
            (age <= bound + CLOCKS && answer.observed <= answer.arrived + CLOCKS, Breach::ObservedOutOfBound),
            (self.has_a_source(answer), Breach::FromNowhere),
        ];
        checks.into_iter().filter(|(holds, _)| !holds).map(|(_, breach)| breach).collect()
    }

    /// Returns how long this process may have had the answer without looking.
    fn overslept_at(&self, arrived: Duration) -> Duration {
        let near = self.overslept.iter().filter(|(until, by)| {
            (*until + Duration::from_millis(50) >= arrived) && (until.saturating_sub(*by) <= arrived)
        });
        near.map(|(_, by)| *by).max().unwrap_or_default()
    }

    fn has_a_source(&self, answer: &Answer) -> bool {
        let silent = |(from, until): &Silence| *from <= answer.asked && answer.arrived <= *until;
        match answer.from {
            Level::InProcess => self.without_memory != Some(answer.replica),
            Level::Redis => !self.redis_silent.iter().any(silent),
            Level::Registry => true,
        }
    }
}

/// Says whether the licence may have been so at some moment not longer than `bound` before the answer arrived.
fn may_have_been(changes: &[Change], answer: &Answer, bound: Duration) -> bool {
    let earliest = answer.arrived.saturating_sub(bound);
    let first = (Licence::Good, Duration::ZERO);
    let begins = std::iter::once(first).chain(changes.iter().map(|change| (change.makes, change.sent)));
    let ends = changes.iter().map(|next| next.acknowledged.unwrap_or(Duration::MAX));
    begins
        .zip(ends.chain([Duration::MAX]))
        .any(|((licence, from), until)| licence == answer.says && from <= answer.arrived && until >= earliest)
}

fn is_after(change: &Change, answer: &Answer) -> Option<bool> {
    let ((epoch, _, seq), (answer_epoch, _, answer_seq)) = (change.position?, answer.position);
    Some((epoch, seq) > (answer_epoch, answer_seq))
}

/// Says whether the answer is what the changes up to its position make of the licence. One without a known position may count or not. One
/// that was sent after the question was asked may be known and not in force yet: the answer is as of the question's moment.
fn is_of_its_position(changes: &[Change], answer: &Answer) -> bool {
    let same_partition =
        changes.iter().filter_map(|change| change.position).all(|position| position.1 == answer.position.1);
    let counted = changes.iter().rposition(|change| is_after(change, answer) == Some(false));
    let so_far = counted.map_or(0, |last| last + 1);
    let unknown = changes[so_far..].iter().take_while(|change| is_after(change, answer).is_none());
    let in_force = changes[..so_far].iter().rposition(|change| change.sent + CLOCKS <= answer.asked);
    let after = |count: usize| count.checked_sub(1).map_or(Licence::Good, |last| changes[last].makes);
    let mut as_of = (in_force.map_or(0, |last| last + 1)..=so_far).map(after);
    let says_so = |change: &Change| change.makes == answer.says;
    same_partition && (as_of.any(|makes| makes == answer.says) || unknown.clone().any(says_so))
}

/// Says whether every change that had been handed in by the answer's `observed_at` is counted in.
fn no_change_before(changes: &[Change], answer: &Answer) -> bool {
    let mut after = changes.iter().filter(|change| is_after(change, answer) == Some(true));
    after.all(|change| change.acknowledged.is_none_or(|at| at + CLOCKS >= answer.observed))
}

impl fmt::Display for History {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: usize = self.changes.iter().map(Vec::len).sum();
        let from = |from| self.answers.iter().filter(|answer| answer.from == from).count();
        write!(
            out,
            "{changes} changes, {} answers ({} in process, {} Redis, {} registry)",
            self.answers.len(),
            from(Level::InProcess),
            from(Level::Redis),
            from(Level::Registry)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Revoked from 10 s on, good again from 20 s on; each acknowledged 100 ms after it was sent.
    fn changes() -> Vec<Change> {
        let change = |makes, at: u64, seq| Change {
            makes,
            sent: ms(at),
            acknowledged: Some(ms(at + 100)),
            position: Some((1, 3, seq)),
        };
        vec![change(Licence::Revoked, 10_000, 7), change(Licence::Good, 20_000, 9)]
    }

    fn answer(says: Licence, arrived: u64, seq: u64, observed: u64) -> Answer {
        Answer {
            driver: 0,
            replica: 1,
            asked: ms(arrived - 5),
            arrived: ms(arrived),
            says,
            position: (1, 3, seq),
            observed: ms(observed),
            from: Level::Redis,
        }
    }

    fn breaches(answer: Answer) -> Vec<Breach> {
        let history = History {
            changes: vec![changes()],
            answers: vec![answer],
            overslept: vec![(ms(13_000), ms(600))],
            redis_silent: vec![(ms(30_000), ms(40_000))],
            without_memory: Some(1),
        };
        history.breaches().into_iter().map(|(breach, _)| breach).collect()
    }

    #[test]
    fn what_a_gateway_may_say_is_no_breach() {
        for good in [
            answer(Licence::Good, 5_000, 0, 4_990),
            answer(Licence::Good, 12_150, 6, 10_095),
            answer(Licence::Revoked, 10_050, 7, 10_040),
            answer(Licence::Revoked, 19_000, 8, 18_000),
            answer(Licence::Revoked, 22_000, 8, 20_050),
            answer(Licence::Good, 20_060, 9, 20_050),
            // Asked before it was revoked, and read after.
            Answer { asked: ms(9_990), ..answer(Licence::Good, 10_120, 7, 10_110) },
            // The client slept from 12.4 s to 13 s: the answer may have lain there.
            answer(Licence::Good, 12_600, 6, 10_100),
        ] {
            assert_eq!(breaches(good.clone()), [], "{good:?}");
        }
    }

    /// Each falsified answer is found, and for what it is.
    #[test]
    fn falsified_histories_are_found() {
        let late = |answer: Answer, from| Answer { from, ..answer };
        for (falsified, found) in [
            (answer(Licence::Good, 12_250, 6, 10_050), vec![Breach::Stale, Breach::ObservedOutOfBound]),
            (answer(Licence::Good, 18_000, 6, 17_900), vec![Breach::Stale, Breach::ObservedLaterThanTrue]),
            (answer(Licence::Good, 11_000, 7, 10_900), vec![Breach::OtherThanItsPosition]),
            (answer(Licence::Revoked, 21_000, 9, 20_500), vec![Breach::OtherThanItsPosition]),
            (answer(Licence::Good, 11_000, 6, 10_500), vec![Breach::ObservedLaterThanTrue]),
            (answer(Licence::Good, 5_000, 0, 2_000), vec![Breach::ObservedOutOfBound]),
            (answer(Licence::Good, 5_000, 0, 5_500), vec![Breach::ObservedOutOfBound]),
            (answer(Licence::Good, 35_000, 9, 34_900), vec![Breach::FromNowhere]),
            (late(answer(Licence::Good, 5_000, 0, 4_990), Level::InProcess), vec![Breach::FromNowhere]),
            (
                Answer { position: (1, 4, 9), ..answer(Licence::Good, 25_000, 9, 24_900) },
                vec![Breach::OtherThanItsPosition],
            ),
            (
                Answer { position: (2, 3, 0), ..answer(Licence::Revoked, 21_000, 0, 20_500) },
                vec![Breach::OtherThanItsPosition],
            ),
        ] {
            assert_eq!(breaches(falsified.clone()), found, "{falsified:?}");
        }
    }

    #[test]
    fn a_change_nobody_acknowledged_may_have_happened_or_not() {
        let lost = Change { acknowledged: None, position: None, ..changes()[0] };
        let history = |says| History {
            changes: vec![vec![lost]],
            answers: vec![answer(says, 60_000, 8, 59_900)],
            ..History::default()
        };
        for says in [Licence::Good, Licence::Revoked] {
            assert_eq!(history(says).breaches(), []);
        }
    }
}
