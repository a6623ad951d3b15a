//! A question about whom the partner claims to know: number, name and the ground on which it may ask.

use super::answer::{Answer, NoAnswer};
use super::digest::digest_content;
use super::judge::Whom;
use super::ports::{
    AboutToRecord, Admission, ConsentUsed, Deadline, Fact, RequestKey, Soon, StoreUnavailable,
};
use super::record::Decided;
use super::verify::{Asking, Before, Caller, Verification};
use crate::domain::claim::{Claim, Ground};
use crate::domain::partner::Standing;
use crate::domain::policy::{AuthorisedBy, Permit, authorise_claim};
use crate::domain::subject::NumberPseudonym;

impl Verification {
    /// Holds a claim up as long as the partner's unconfirmed claims have earned, before anything is done about it. The floor counts from
    /// the end of it, so that it tells no kind of claim from another.
    pub(super) async fn slow_down(&self, caller: &Caller<'_>, deadline: Deadline) -> Result<(), NoAnswer> {
        match (caller.standing)() {
            Standing::Active => {}
            lost => return Err(NoAnswer::StandingLost(lost)),
        }
        let wait = self.claims.pace(&caller.contract.partner, &caller.contract.claims)?;
        if !wait.is_zero() {
            self.demand_time_for_the_floor(self.clock.since_boot() + wait, deadline)?;
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Authorise, count, look up, confirm, decide, record, answer.
    pub(super) async fn answer_claim(&self, asking: &Asking<'_>, claim: &Claim) -> Result<Answer, NoAnswer> {
        let Asking { caller, request, question_digest, now, .. } = asking;
        let permit =
            authorise_claim(caller.contract, claim, &request.question, request.fields, *now, &self.rules)
                .map_err(NoAnswer::NotAuthorised)?;
        let number = self.pseudonyms.pseudonym(claim.document, &claim.number);
        let content = digest_content(request, *question_digest, Some(number));
        let key = request.request_id.as_deref().map(|id| RequestKey {
            id,
            content,
            answered_before: asking.before.is_some(),
        });
        let quota = self.quotas.reserve(asking.partner(), &caller.contract.allowance, key)?;
        self.demand_time_for_the_floor(asking.arrived, asking.deadline)?;
        self.admit_question(asking, number)?;
        let terms = &caller.contract.claims;
        if self.claims.admit(asking.partner(), terms, number)? == Admission::IfRecalled {
            self.demand_recalled(asking, number).await?;
        }

        let (fact, finding, known_true_at) = self.find(asking, &permit, number, Whom::Claimed(claim)).await?;
        Self::demand_standing(asking)?;
        self.demand_same_subject(asking, number, &fact).await?;
        if let Some(record) = fact.record.as_deref() {
            self.claims.found(asking.partner(), terms, number, &record.subject);
        }
        if finding.confirmed.is_none() {
            // Before the record: who leaves while it is written has been counted, too.
            self.claims.unconfirmed(asking.partner(), terms);
        }
        let decided = Decided { number, fact, finding, known_true_at };
        let about = AboutToRecord::Claimed(claim);
        if decided.finding.consent_withdrawn {
            // Told only because the claim was confirmed, and only once the driver can see that it was asked.
            let recorded = self.record(asking, about, &decided, false).await;
            return Err(recorded.map_or(NoAnswer::NoEvidence, |_entry| NoAnswer::ConsentWithdrawn));
        }
        let recording = self.record(asking, about, &decided, quota.counts());
        let entry = match self.note_consent(asking, claim, &permit, &decided) {
            Soon::Now(noted) => {
                noted?;
                recording.await
            }
            Soon::Later(noting) => {
                let (recorded, noted) = tokio::join!(recording, noting);
                noted?;
                recorded
            }
        };
        let entry = entry.map_err(|_unavailable| NoAnswer::NoEvidence)?;
        self.demand_freshness(&decided)?;
        Self::demand_standing(asking)?;
        // From here on the answer counts, also when the caller leaves before it is given: waiting must not be free.
        let charged = quota.charge();
        Ok(self.tell(asking, AuthorisedBy::Asserted, decided, entry, charged))
    }

    /// The budget is spent, and only whom the log of before the start names is known. Whom the number leads to says a look-up, and only that:
    /// who is refused waits for the floor, so that it does not tell whether there is such a number.
    async fn demand_recalled(&self, asking: &Asking<'_>, number: NumberPseudonym) -> Result<(), NoAnswer> {
        let Asking { caller, arrived, deadline, .. } = asking;
        let terms = &caller.contract.claims;
        let fact = self
            .facts
            .look_up(number, None, *deadline, asking.turn())
            .wait()
            .await
            .map_err(NoAnswer::NoFacts)?;
        let record = fact.record.as_deref();
        if record.is_some_and(|record| self.claims.found(asking.partner(), terms, number, &record.subject)) {
            return Ok(());
        }
        self.wait_for_floor(*arrived).await;
        Err(self.claims.spent(asking.partner(), terms).into())
    }

    /// Refuses another subject under the id of a request of which only the log knows: there it stands under the subject's id, or the
    /// number's pseudonym if nobody had the number. Whoever else the number leads to, and if to nobody, it counts as a claim that came to
    /// nothing, and the refusal waits for the floor: neither tells which.
    async fn demand_same_subject(
        &self,
        asking: &Asking<'_>,
        number: NumberPseudonym,
        fact: &Fact,
    ) -> Result<(), NoAnswer> {
        let Some(Before { about: Some(about) }) = asking.before else { return Ok(()) };
        let subject = fact.record.as_deref().map(|record| record.subject);
        if *number.as_bytes() == about || subject.is_some_and(|subject| *subject.as_bytes() == about) {
            return Ok(());
        }
        self.claims.unconfirmed(asking.partner(), &asking.caller.contract.claims);
        self.wait_for_floor(asking.arrived).await;
        Err(NoAnswer::OtherContent)
    }

    /// Keeps the consent a confirmed claim is answered on, so that the driver can see it and take it back. It costs nothing when it is
    /// known to be kept; otherwise it is written while the entry is.
    fn note_consent(
        &self,
        asking: &Asking<'_>,
        claim: &Claim,
        permit: &Permit,
        decided: &Decided,
    ) -> Soon<'_, Result<(), StoreUnavailable>> {
        let record = decided.fact.record.as_deref().filter(|_| decided.finding.confirmed.is_some());
        let (Some(record), Ground::Consent(evidence)) = (record, &claim.ground) else {
            return Soon::Now(Ok(()));
        };
        self.consents.note(&ConsentUsed {
            subject: record.subject,
            partner: asking.partner(),
            purpose: asking.request.question.purpose(),
            fields: permit.fields(),
            evidence,
            case_category: &asking.request.case_category,
            at: asking.now,
        })
    }

    /// Holds the question to the number of different ones about one subject, before anything is looked up.
    pub(super) fn admit_question(
        &self,
        asking: &Asking<'_>,
        number: NumberPseudonym,
    ) -> Result<(), NoAnswer> {
        let request = asking.request;
        self.budget
            .admit_question(
                asking.partner(),
                request.question.purpose(),
                number,
                asking.question_digest,
                &request.case_reference,
            )
            .map_err(|exceeded| NoAnswer::VariationExceeded { retry_after: exceeded.retry_after })
    }
}
