//! The life of one question, once it is parsed: authorise, look up, decide, disclose, record.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::answer::{Answer, Confirmed, NoAnswer};
use super::digest::{digest_content, digest_question};
use super::ports::{
    AnswerToRecord, Deadline, EvidenceLog, Fact, Facts, Pseudonyms, Quotas, RequestKey, SubjectBudget,
    SubjectToRecord,
};
use super::request::Request;
use crate::domain::decision::{Ruling, confirm, decide_over};
use crate::domain::disclosure::{Disclosure, disclose};
use crate::domain::licence::{AsOf, Known, Record};
use crate::domain::partner::{Contract, Standing};
use crate::domain::policy::{POLICY_VERSION, Permit, authorise};
use crate::domain::rules::Rules;
use crate::domain::subject::{NumberPseudonym, Position};
use crate::domain::time::Clock;

/// What a deadline must leave beyond the floor: look-up, record and the way back.
const FLOOR_MARGIN: Duration = Duration::from_millis(5);
/// How often facts that change under a question are read anew before it is given up.
const READINGS_MAX: usize = 3;

/// Answers questions. One for the whole gateway; holds no state of its own.
pub struct Verification {
    /// Derives pseudonyms.
    pub pseudonyms: Arc<dyn Pseudonyms>,
    /// Reads facts.
    pub facts: Arc<dyn Facts>,
    /// Counts answers.
    pub quotas: Arc<dyn Quotas>,
    /// Counts different questions.
    pub budget: Arc<dyn SubjectBudget>,
    /// Records answers.
    pub evidence: Arc<dyn EvidenceLog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The dated rules that decide.
    pub rules: Arc<Rules>,
    /// The oldest a reading may be when its answer leaves: the freshness bound.
    pub age_max: Duration,
    /// Answers about unconfirmed subjects leave this long after the question arrived, so that their cause cannot be timed.
    pub unconfirmed_floor: Duration,
}

/// Who asks: the contract as read for this request, and the standing, read again around the record.
pub struct Caller<'a> {
    /// The contract in force.
    pub contract: &'a Contract,
    /// Reads the standing now: right before the record, and once more after it.
    pub standing: &'a (dyn Fn() -> Standing + Sync),
}

impl Verification {
    /// Answers one question.
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
        let arrived = self.clock.since_boot();
        let now = self.clock.now();
        let partner = &caller.contract.partner;
        let permit =
            authorise(caller.contract, &request.claim, &request.question, request.fields, now, &self.rules)
                .map_err(NoAnswer::NotAuthorised)?;
        let pseudonym = self.pseudonyms.pseudonym(request.claim.document, &request.claim.number);
        let question_digest = digest_question(&request.question, request.known_at, request.known_position);
        let content = digest_content(request, question_digest, pseudonym);
        let key = request.request_id.as_deref().map(|id| RequestKey { id, content });
        let quota = self.quotas.reserve(partner, &caller.contract.allowance, key)?;
        self.budget
            .admit(partner, request.question.purpose(), pseudonym, question_digest, &request.case_reference)
            .map_err(|exceeded| NoAnswer::VariationExceeded { retry_after: exceeded.retry_after })?;
        self.demand_time_for_the_floor(arrived, deadline)?;

        let (fact, finding) = self.find(request, &permit, pseudonym, deadline, now).await?;
        demand_good_standing(&caller)?;
        let read_at = self.clock.since_boot();
        let entry = self.evidence.record(&AnswerToRecord {
            at: now,
            partner,
            purpose: request.question.purpose(),
            claim: &request.claim,
            case_reference: &request.case_reference,
            case_category: &request.case_category,
            operator_id: &request.operator_id,
            request_id: request.request_id.as_deref(),
            subject: finding.subject(fact.record.as_deref(), pseudonym),
            question: &request.question,
            question_digest,
            ruling: &finding.ruling,
            disclosure: &finding.disclosure,
            position: finding.known_position(&fact),
            known_at: request.known_at.unwrap_or(now),
            policy_version: POLICY_VERSION,
            charged: quota.counts(),
        });
        let entry = entry.await.map_err(|_unavailable| NoAnswer::NoEvidence)?;
        if self.clock.since_boot().saturating_sub(read_at) > self.age_max {
            return Err(NoAnswer::NotFreshEnough);
        }
        demand_good_standing(&caller)?;
        // From here on the answer counts, also when the caller leaves before the floor: waiting must not be free.
        let charged = quota.charge();
        let confirmed =
            fact.record.as_deref().filter(|_| finding.confirmed.is_some()).map(|record| Confirmed {
                subject_ref: self.pseudonyms.subject_ref(&record.subject, partner),
                position: finding.known_position(&fact),
                source: fact.source,
                changed_since: finding.changed_since,
            });
        if confirmed.is_none() {
            self.wait_for_floor(arrived).await;
        }
        Ok(Answer {
            ruling: finding.ruling,
            disclosure: finding.disclosure,
            confirmed,
            observed_at: fact.observed_at,
            known_at: request.known_at.unwrap_or(now),
            entry,
            charged,
        })
    }

    /// Looks up, confirms and decides on facts that are still usable right before the record.
    async fn find(
        &self,
        request: &Request,
        permit: &Permit,
        pseudonym: NumberPseudonym,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<(Fact, Finding), NoAnswer> {
        for _ in 0..READINGS_MAX {
            let fact = self
                .facts
                .look_up(pseudonym, request.max_age, deadline)
                .wait()
                .await
                .map_err(NoAnswer::NoFacts)?;
            let finding = self.judge(request, permit, &fact, now);
            if self.facts.still_usable(pseudonym, &fact) {
                return Ok((fact, finding));
            }
        }
        Err(NoAnswer::NotFreshEnough)
    }

    /// Judges what the reading holds. What is known is bounded twice, and the answer and its entry name both bounds: by the
    /// moment of recording asked for, and by the position asked for or the reading's. Whom it is about is as known now.
    fn judge(&self, request: &Request, permit: &Permit, fact: &Fact, now: Timestamp) -> Finding {
        let Some(record) = fact.record.as_deref() else { return Finding::unconfirmed() };
        let present = AsOf { moment: now, known: Known { at: now, position: fact.position } };
        let current = record.history.fold(present);
        if !confirm(&request.claim, &current) {
            return Finding::unconfirmed();
        }
        let asked = request.known_position.filter(|asked| asked.partition == fact.position.partition);
        let position = asked.filter(|asked| asked.is_reached_by(fact.position)).unwrap_or(fact.position);
        let known = Known { at: request.known_at.unwrap_or(now), position };
        let as_of = AsOf { moment: request.question.moment(now), known };
        let held = if as_of == present { current } else { record.history.fold(as_of) };
        let ruled = decide_over(&request.question, &record.history, held, as_of, now, &self.rules);
        let disclosure = disclose(permit, &request.question, &ruled, as_of);
        let changed_since = ruled.changed_since;
        Finding { confirmed: Some(position), changed_since, ruling: ruled.ruling, disclosure }
    }

    /// Refuses a deadline that the floor would overrun, before anything is looked up: else being late would tell that the
    /// subject was not confirmed.
    fn demand_time_for_the_floor(&self, arrived: Duration, deadline: Deadline) -> Result<(), NoAnswer> {
        let earliest = arrived + self.unconfirmed_floor + FLOOR_MARGIN;
        if deadline.since_boot < earliest { Err(NoAnswer::DeadlineTooShort) } else { Ok(()) }
    }

    async fn wait_for_floor(&self, arrived: Duration) {
        let since_arrival = self.clock.since_boot().saturating_sub(arrived);
        if let Some(rest) = self.unconfirmed_floor.checked_sub(since_arrival) {
            tokio::time::sleep(rest).await;
        }
    }
}

/// Reads the standing: right before the record, and after it, because what was known before a slow disk may have grown too old.
fn demand_good_standing(caller: &Caller<'_>) -> Result<(), NoAnswer> {
    match (caller.standing)() {
        Standing::Active => Ok(()),
        lost => Err(NoAnswer::StandingLost(lost)),
    }
}

/// What the rules found, before it is recorded.
struct Finding {
    /// By which position what was known had been handed in; `None`: the subject is not confirmed.
    confirmed: Option<Position>,
    ruling: Ruling,
    disclosure: Disclosure,
    changed_since: Option<Timestamp>,
}

impl Finding {
    /// No such number, another name, a protected person: one finding for all three.
    fn unconfirmed() -> Self {
        Self {
            confirmed: None,
            ruling: Ruling::not_confirmed(),
            disclosure: Disclosure::nothing(),
            changed_since: None,
        }
    }

    /// Returns the position the answer is true as of: the reading's if nothing is said of anybody.
    fn known_position(&self, fact: &Fact) -> Position {
        self.confirmed.unwrap_or(fact.position)
    }

    /// Says whose keys the entry derives from: an attempt on a held number is one the driver may learn of.
    fn subject<'a>(&self, record: Option<&'a Record>, pseudonym: NumberPseudonym) -> SubjectToRecord<'a> {
        match record {
            Some(record) if self.confirmed.is_some() => {
                SubjectToRecord::Confirmed(&record.subject, &record.secret)
            }
            Some(record) => SubjectToRecord::Unconfirmed(&record.subject, &record.secret),
            None => SubjectToRecord::Unknown(pseudonym),
        }
    }
}
