//! How long a qualification lasts, as far as can be known today: expiry, ages, deferrals, changes recorded ahead.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use super::ages;
use super::ground::Ground;
use super::outcome::Outcome;
use super::ruled::Case;
use crate::domain::licence::{AsOf, Qualification};
use crate::domain::time::{age_on, birthday, end_of, start_of};
use crate::domain::vehicle::Requirement;

/// What an answer about the present rests on and that time can take away.
pub(super) struct Relied {
    /// The classes needed.
    pub(super) required: Requirement,
    /// An overdue review shows apart.
    pub(super) review_apart: bool,
    /// The role's greatest age.
    pub(super) age_max: Option<u8>,
}

/// Says whether nothing known ends the qualification by a moment, that moment included.
pub(super) fn lasts_until(case: &Case<'_>, relied: &Relied, until: Timestamp) -> bool {
    changes_ahead(case, until)
        .all(|change| holds_at(case, relied, just_before(change)) && holds_at(case, relied, change))
        && holds_at(case, relied, until)
}

/// Finds the first moment, up to `until`, at which something known ends the qualification.
pub(super) fn first_end(case: &Case<'_>, relied: &Relied, until: Timestamp) -> Option<Timestamp> {
    let mut moments: Vec<Timestamp> = ends(case.held, case, relied).collect();
    for change in changes_ahead(case, until) {
        moments.push(change);
        // A change ahead may bring an end of its own.
        moments.extend(ends(&case.held_at(change), case, relied));
    }
    moments.retain(|moment| *moment > case.moment && *moment <= until);
    moments.sort_unstable();
    moments.into_iter().find(|moment| !holds_at(case, relied, *moment))
}

/// The moments at which dates alone may end a qualification.
fn ends(held: &Qualification, case: &Case<'_>, relied: &Relied) -> impl Iterator<Item = Timestamp> {
    let validity = held.validity.and_then(|validity| validity.last_day).map(end_of);
    let deferrals: Vec<_> = held.deferred_until.iter().filter_map(|(_, until)| until.map(end_of)).collect();
    let too_old = relied.age_max.zip(held.birth_day).map(|(most, born)| start_of(birthday(born, most + 1)));
    let classes: Vec<_> = ages::ends(held, case.rules, case.day).map(start_of).collect();
    validity.into_iter().chain(deferrals).chain(too_old).chain(classes)
}

fn changes_ahead(case: &Case<'_>, until: Timestamp) -> impl Iterator<Item = Timestamp> {
    case.history.known_ahead(case.known_at, case.moment, until)
}

/// Says whether licence, class and age still hold at a later moment.
fn holds_at(case: &Case<'_>, relied: &Relied, moment: Timestamp) -> bool {
    let held = case.held_at(moment);
    let then = case.at(moment, &held);
    let grounds = then.grounds();
    let grounds = if relied.review_apart { grounds.without(Ground::ReviewOverdue) } else { grounds };
    let age = relied
        .age_max
        .zip(held.birth_day)
        .is_none_or(|(most, born)| age_on(born, then.day) <= i16::from(most));
    grounds.in_force().outcome != Outcome::NotMet
        && then.class(relied.required).outcome != Outcome::NotMet
        && age
}

fn just_before(moment: Timestamp) -> Timestamp {
    moment.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN)
}

impl<'a> Case<'a> {
    /// What will be held at a later moment: the same, unless something recorded takes effect before.
    fn held_at(&self, moment: Timestamp) -> Cow<'a, Qualification> {
        match self.history.known_ahead(self.known_at, self.moment, moment).next() {
            None => Cow::Borrowed(self.held),
            Some(_) => Cow::Owned(self.history.fold(AsOf { moment, known_at: self.known_at })),
        }
    }
}
