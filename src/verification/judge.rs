//! Looking up, confirming and deciding: the same for what was shown and what is claimed.

use std::time::Duration;

use jiff::Timestamp;

use super::answer::NoAnswer;
use super::ports::{Deadline, Fact, SubjectToRecord, Turn};
use super::verify::{Asking, Verification};
use crate::domain::claim::{Claim, Ground};
use crate::domain::decision::{Ruling, confirm, confirm_shown, decide_over};
use crate::domain::disclosure::{Disclosure, disclose};
use crate::domain::licence::{AsOf, Known, Qualification, Record};
use crate::domain::policy::Permit;
use crate::domain::subject::{NumberPseudonym, Position};

/// How often facts that change under a question are read anew before it is given up.
const READINGS_MAX: usize = 3;

/// Whom a number leads to.
#[derive(Clone, Copy)]
pub(super) enum Whom<'a> {
    /// Whoever the claim fits.
    Claimed(&'a Claim),
    /// Who showed it.
    Shown,
}

/// Which facts are read, and how.
pub(super) struct Reading<'a> {
    pub(super) number: NumberPseudonym,
    /// See [`Facts::look_up`](super::ports::Facts::look_up).
    pub(super) max_age: Option<Duration>,
    pub(super) deadline: Deadline,
    pub(super) turn: Turn<'a>,
}

impl Whom<'_> {
    fn is(&self, current: &Qualification) -> bool {
        match self {
            Self::Claimed(claim) => confirm(claim, current),
            Self::Shown => confirm_shown(current),
        }
    }
}

impl Verification {
    /// Looks up, confirms and decides on facts that are still usable right before the record. Returns with them the moment (since
    /// boot) as of which they are known to be true, from which their age counts.
    pub(super) async fn find(
        &self,
        asking: &Asking<'_>,
        permit: &Permit,
        number: NumberPseudonym,
        whom: Whom<'_>,
    ) -> Result<(Fact, Finding, Duration), NoAnswer> {
        let reading = Reading {
            number,
            max_age: asking.request.max_age,
            deadline: asking.deadline,
            turn: asking.turn(),
        };
        self.read_and_judge(reading, |fact| self.judge(asking, permit, whom, fact)).await
    }

    /// Reads facts and judges them, anew for as long as they change under it. Returns with both the moment (since boot) as of which the
    /// facts are known to be true.
    pub(super) async fn read_and_judge<T>(
        &self,
        reading: Reading<'_>,
        judge: impl Fn(&Fact) -> T,
    ) -> Result<(Fact, T, Duration), NoAnswer> {
        let Reading { number, max_age, deadline, turn } = reading;
        for _ in 0..READINGS_MAX {
            let fact = self
                .facts
                .look_up(number, max_age, deadline, turn)
                .wait()
                .await
                .map_err(NoAnswer::NoFacts)?;
            let judged = judge(&fact);
            if let Some(known_true_at) = self.facts.known_true_at(number, &fact) {
                return Ok((fact, judged, known_true_at));
            }
        }
        Err(NoAnswer::NotFreshEnough)
    }

    /// Judges what the reading holds. What is known is bounded twice, and the answer and its entry name both bounds: by the
    /// moment of recording asked for, and by the position asked for or the reading's. Whom it is about is as known now, and so is
    /// whether a consent still stands.
    fn judge(&self, asking: &Asking<'_>, permit: &Permit, whom: Whom<'_>, fact: &Fact) -> Finding {
        let Some(record) = fact.record.as_deref() else { return Finding::unconfirmed() };
        let (request, now) = (asking.request, asking.now);
        let present = AsOf { moment: now, known: Known { at: now, position: fact.position } };
        let current = record.history.fold(present);
        if !whom.is(&current) {
            return Finding::unconfirmed();
        }
        let asked = request.known_position.filter(|asked| asked.partition == fact.position.partition);
        let position = asked.filter(|asked| asked.is_reached_by(fact.position)).unwrap_or(fact.position);
        if is_withdrawn(asking, whom, record) {
            return Finding::withdrawn(position);
        }
        let known = Known { at: request.known_at.unwrap_or(now), position };
        let as_of = AsOf { moment: request.question.moment(now), known };
        let held = if as_of == present { current } else { record.history.fold(as_of) };
        let ruled = decide_over(&request.question, &record.history, held, as_of, now, &self.rules);
        let disclosure = disclose(permit, &request.question, &ruled, as_of);
        Finding {
            confirmed: Some(position),
            consent_withdrawn: false,
            changed_since: ruled.changed_since,
            ruling: ruled.ruling,
            disclosure,
        }
    }
}

/// Says whether a claim rests on a consent that the driver took back since. Other grounds do not hang on the driver's will, and who
/// shows the e-licence agrees anew.
fn is_withdrawn(asking: &Asking<'_>, whom: Whom<'_>, record: &Record) -> bool {
    match whom {
        Whom::Claimed(Claim { ground: Ground::Consent(consent), .. }) => {
            record.stops.stop(asking.partner(), asking.request.question.purpose(), consent.obtained_at)
        }
        Whom::Claimed(_) | Whom::Shown => false,
    }
}

/// What the rules found, before it is recorded.
pub(super) struct Finding {
    /// By which position what was known had been handed in; `None`: the subject is not confirmed.
    pub(super) confirmed: Option<Position>,
    /// The consent claimed was taken back: nothing was decided.
    pub(super) consent_withdrawn: bool,
    pub(super) ruling: Ruling,
    pub(super) disclosure: Disclosure,
    pub(super) changed_since: Option<Timestamp>,
}

impl Finding {
    /// No such number, another name, a protected person: one finding for all three.
    fn unconfirmed() -> Self {
        Self {
            confirmed: None,
            consent_withdrawn: false,
            ruling: Ruling::not_confirmed(),
            disclosure: Disclosure::nothing(),
            changed_since: None,
        }
    }

    fn withdrawn(position: Position) -> Self {
        Self {
            confirmed: Some(position),
            consent_withdrawn: true,
            ruling: Ruling::withheld(),
            disclosure: Disclosure::nothing(),
            changed_since: None,
        }
    }

    /// Returns the position the answer is true as of: the reading's if nothing is said of anybody.
    pub(super) fn known_position(&self, fact: &Fact) -> Position {
        self.confirmed.unwrap_or(fact.position)
    }

    /// Says whose keys the entry derives from: an attempt on a held number is one the driver may learn of.
    pub(super) fn subject<'a>(
        &self,
        record: Option<&'a Record>,
        number: NumberPseudonym,
    ) -> SubjectToRecord<'a> {
        match record {
            Some(record) if self.confirmed.is_some() => {
                SubjectToRecord::Confirmed(&record.subject, &record.secret)
            }
            Some(record) => SubjectToRecord::Unconfirmed(&record.subject, &record.secret),
            None => SubjectToRecord::Unknown(number),
        }
    }
}
