//! How long a qualification lasts, as far as can be known today: expiry, ages, deferrals, changes recorded ahead.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use super::outcome::Outcome;
use super::ruled::Case;
use crate::domain::licence::{AsOf, Qualification};
use crate::domain::time::age_on;
use crate::domain::vehicle::Requirement;

/// What an answer about the present rests on and that time can take away.
pub(super) struct Relied {
    /// The classes needed.
    pub(super) required: Requirement,
    /// The role's greatest age.
    pub(super) age_max: Option<u8>,
}

/// Says whether nothing known ends the qualification by a moment, that moment included: NOT_MET if something does, UNKNOWN
/// if what holds today becomes doubtful. What is doubtful or against the driver already shows elsewhere.
pub(super) fn lasts_until(case: &Case<'_>, relied: &Relied, until: Timestamp) -> Outcome {
    let today = Standing::of(case, relied);
    let mut worst = today.lasting_as(Standing::at(case, relied, until));
    for change in case.history.known_ahead(case.known, case.moment, until) {
        for moment in [just_before(change), change] {
            if worst != Outcome::NotMet && moment > case.moment {
                worst = worse(worst, today.lasting_as(Standing::at(case, relied, moment)));
            }
        }
    }
    worst
}

/// What time can take away, at one moment. Time only takes until the next recorded change: ages and dates do not run back.
#[derive(Clone, Copy)]
struct Standing {
    licence: Outcome,
    class: Outcome,
    age: Outcome,
}

impl Standing {
    fn at(case: &Case<'_>, relied: &Relied, moment: Timestamp) -> Self {
        let held = case.held_at(moment);
        Self::of(&case.at(moment, &held), relied)
    }

    fn of(case: &Case<'_>, relied: &Relied) -> Self {
        let age = match (relied.age_max, case.held.birth_day) {
            (None, _) => Outcome::Met,
            (Some(_), None) => Outcome::Unknown,
            (Some(most), Some(born)) if age_on(born, case.day) <= i16::from(most) => Outcome::Met,
            (Some(_), Some(_)) => Outcome::NotMet,
        };
        Self { licence: case.grounds().in_force().outcome, class: case.class(relied.required).outcome, age }
    }

    /// How a later standing compares with this one: MET unless something became worse.
    fn lasting_as(self, later: Self) -> Outcome {
        [(self.licence, later.licence), (self.class, later.class), (self.age, later.age)]
            .into_iter()
            .filter(|(now, then)| badness(*then) > badness(*now))
            .fold(Outcome::Met, |worst, (_, then)| worse(worst, then))
    }
}

fn worse(one: Outcome, other: Outcome) -> Outcome {
    if badness(other) > badness(one) { other } else { one }
}

const fn badness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Met | Outcome::Noted => 0,
        Outcome::Unknown => 1,
        Outcome::NotMet => 2,
    }
}

/// The last moment before another.
pub(super) fn just_before(moment: Timestamp) -> Timestamp {
    moment.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN)
}

impl<'a> Case<'a> {
    /// What will be held at a later moment: the same, unless something recorded takes effect before.
    fn held_at(&self, moment: Timestamp) -> Cow<'a, Qualification> {
        match self.history.known_ahead(self.known, self.moment, moment).next() {
            None => Cow::Borrowed(self.held),
            Some(_) => Cow::Owned(self.history.fold(AsOf { moment, known: self.known })),
        }
    }
}
