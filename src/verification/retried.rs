//! One request, one answer: a retry is given the answer again, while everything that allowed it still does.

use jiff::{SignedDuration, Timestamp};

use super::answer::{Answer, NoAnswer};
use super::digest::{digest_question, digest_request};
use super::judge::Reading;
use super::ports::{Deadline, Fact, LookUpError, QuestionDigest, Retry, RetryKey, TakenUp};
use super::request::{About, Request};
use super::verify::{Before, Caller, Verification, turn_of};
use crate::domain::claim::{Claim, Ground};
use crate::domain::licence::{AsOf, Known, Record};
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::policy::{authorise_claim, authorise_presentation};

#[cfg(test)]
mod tests;

/// A kept answer that may not be given again is asked for once more, as one that is never given again.
const LOOKS_MAX: usize = 3;

impl Verification {
    /// Answers one question, once: a retry with the same request id is given the same answer.
    ///
    /// Cancel-safe: dropped before the end, nothing is charged; the entry may stand without an answer.
    ///
    /// # Errors
    /// [`NoAnswer`] says whose turn it is.
    pub async fn verify(
        &self,
        caller: Caller<'_>,
        request: &Request,
        deadline: Deadline,
    ) -> Result<Answer, NoAnswer> {
        if matches!(request.about, About::Claimed(_)) {
            self.slow_down(&caller, deadline).await?;
        }
        let arrived = self.clock.since_boot();
        let question = digest_question(&request.question, request.known_at, request.known_position);
        let answer = match request.request_id.as_deref() {
            None => self.answer(&caller, request, question, deadline, None).await?,
            Some(id) => self.answer_once(&caller, request, (id, question), deadline).await?,
        };
        if answer.confirmed.is_none() {
            self.wait_for_floor(arrived).await;
        }
        Ok(answer)
    }

    async fn answer_once(
        &self,
        caller: &Caller<'_>,
        request: &Request,
        (id, question): (&str, QuestionDigest),
        deadline: Deadline,
    ) -> Result<Answer, NoAnswer> {
        let mut key = RetryKey {
            partner: &caller.contract.partner,
            id,
            content: digest_request(request, question),
            question,
            case_reference: &request.case_reference,
            observed_since: self.observed_since(request),
        };
        for _ in 0..LOOKS_MAX {
            match self.retries.take_up(key, deadline).wait().await {
                TakenUp::First(retry) => {
                    return self.answer_and_keep(caller, request, (question, deadline), retry, None).await;
                }
                TakenUp::Recorded { about, retry, .. } => {
                    let before = Some(Before { about });
                    return self.answer_and_keep(caller, request, (question, deadline), retry, before).await;
                }
                TakenUp::Answered(kept) => match self.give_again(caller, request, *kept, deadline).await? {
                    Some(answer) => return Ok(answer),
                    None => key.observed_since = Some(Timestamp::MAX),
                },
                TakenUp::Spent(place) => return Err(NoAnswer::RequestIdSpent(place)),
                TakenUp::OtherContent => return Err(NoAnswer::OtherContent),
                TakenUp::Late => return Err(NoAnswer::NoFacts(LookUpError::DeadlineExceeded)),
            }
        }
        Err(NoAnswer::NotFreshEnough)
    }

    /// Returns the moment before which no kept answer may have been observed; `None`: the caller accepts any.
    fn observed_since(&self, request: &Request) -> Option<Timestamp> {
        let age = SignedDuration::try_from(request.max_age?).ok()?;
        Some(self.clock.now().checked_sub(age).unwrap_or(Timestamp::MIN))
    }

    /// Answers anew. The answer is kept before anybody waits for the floor: whoever leaves meanwhile finds it.
    async fn answer_and_keep(
        &self,
        caller: &Caller<'_>,
        request: &Request,
        (question, deadline): (QuestionDigest, Deadline),
        retry: Box<dyn Retry>,
        before: Option<Before>,
    ) -> Result<Answer, NoAnswer> {
        let answer = self.answer(caller, request, question, deadline, before).await?;
        retry.answered(&answer);
        Ok(answer)
    }

    /// Gives a kept answer again; `None`: something that is known now stands against it, and the question is to be answered anew.
    ///
    /// It discloses what was on record before it first left, to whom it was disclosed then: it is no new entry. What allows it is what is
    /// looked up here, so it leaves before that is too old.
    async fn give_again(
        &self,
        caller: &Caller<'_>,
        request: &Request,
        kept: Answer,
        deadline: Deadline,
    ) -> Result<Option<Answer>, NoAnswer> {
        let now = self.clock.now();
        let Request { about, question, fields, .. } = request;
        match about {
            About::Claimed(claim) => {
                authorise_claim(caller.contract, claim, question, *fields, now, &self.rules)
            }
            About::Shown(_) => authorise_presentation(caller.contract, question, *fields, now, &self.rules),
        }
        .map_err(NoAnswer::NotAuthorised)?;
        self.demand_time_for_the_floor(self.clock.since_boot(), deadline)?;
        // Whatever the kept answer says: how long this takes must not tell it.
        let reading =
            Reading { number: kept.number, max_age: None, deadline, turn: turn_of(caller, request) };
        let partner = &caller.contract.partner;
        let judge = |fact: &Fact| self.may_be_given_again(&kept, partner, request, fact, now);
        let (_, may_be_given, known_true_at) = self.read_and_judge(reading, judge).await?;
        match (caller.standing)() {
            Standing::Active => {}
            lost => return Err(NoAnswer::StandingLost(lost)),
        }
        let leaves_by = Some(known_true_at + self.age_max);
        Ok(may_be_given.then_some(Answer { charged: false, replayed: true, leaves_by, ..kept }))
    }

    /// Says whether nothing that is known of the subject now forbids what was said of it: erased, protected, somebody else's record, a
    /// consent that was withdrawn since. What else has changed does not: the answer says as of when it is true.
    fn may_be_given_again(
        &self,
        kept: &Answer,
        partner: &PartnerId,
        request: &Request,
        fact: &Fact,
        now: Timestamp,
    ) -> bool {
        let Some(confirmed) = kept.confirmed else { return true };
        let Some(record) = fact.record.as_deref() else { return false };
        let current =
            record.history.fold(AsOf { moment: now, known: Known { at: now, position: fact.position } });
        !current.protected
            && !current.erased
            && !is_stopped(record, partner, request)
            && self.pseudonyms.subject_ref(&record.subject, partner) == confirmed.subject_ref
    }
}

/// Says whether the consent the request stands on was withdrawn since.
fn is_stopped(record: &Record, partner: &PartnerId, request: &Request) -> bool {
    match &request.about {
        About::Claimed(Claim { ground: Ground::Consent(evidence), .. }) => {
            record.stops.stop(partner, request.question.purpose(), evidence.obtained_at)
        }
        About::Claimed(_) | About::Shown(_) => false,
    }
}
