//! The end of every question: the standing is read again, the answer goes on record, and leaves if it is still fresh.

use std::time::Duration;

use super::answer::{Answer, Confirmed, NoAnswer};
use super::judge::Finding;
use super::ports::{AboutToRecord, AnswerToRecord, EntryAt, EvidenceUnavailable, Fact, Later};
use super::verify::{Asking, Verification};
use crate::domain::partner::Standing;
use crate::domain::policy::{AuthorisedBy, POLICY_VERSION};
use crate::domain::subject::NumberPseudonym;

/// A question that was looked up and decided, and is told to nobody yet.
pub(super) struct Decided {
    pub(super) number: NumberPseudonym,
    pub(super) fact: Fact,
    pub(super) finding: Finding,
    /// As of when the facts are known to be true, since boot.
    pub(super) known_true_at: Duration,
}

impl Verification {
    /// Reads the standing again: a suspension bites on a question that is under way. Right before the record, and once after it, because
    /// what was known before a slow disk may have grown too old.
    pub(super) fn demand_standing(asking: &Asking<'_>) -> Result<(), NoAnswer> {
        match (asking.caller.standing)() {
            Standing::Active => Ok(()),
            lost => Err(NoAnswer::StandingLost(lost)),
        }
    }

    /// Puts the answer on record. The entry is on its way when this returns; it is durable when the future completes.
    pub(super) fn record(
        &self,
        asking: &Asking<'_>,
        about: AboutToRecord<'_>,
        decided: &Decided,
        charged: bool,
    ) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        let Decided { number, fact, finding, .. } = decided;
        let request = asking.request;
        self.evidence.record(&AnswerToRecord {
            at: asking.now,
            partner: asking.partner(),
            purpose: request.question.purpose(),
            about,
            case_reference: &request.case_reference,
            case_category: &request.case_category,
            operator_id: &request.operator_id,
            request_id: request.request_id.as_deref(),
            subject: finding.subject(fact.record.as_deref(), *number),
            question: &request.question,
            question_digest: asking.question_digest,
            ruling: &finding.ruling,
            disclosure: &finding.disclosure,
            position: finding.known_position(fact),
            known_at: request.known_at.unwrap_or(asking.now),
            policy_version: POLICY_VERSION,
            charged,
            consent_withdrawn: finding.consent_withdrawn,
        })
    }

    /// Holds what was read to the freshness bound, once more before it counts; the last time is when it is handed over to the connection.
    pub(super) fn demand_freshness(&self, decided: &Decided) -> Result<(), NoAnswer> {
        let age = self.clock.since_boot().saturating_sub(decided.known_true_at);
        if age > self.age_max { Err(NoAnswer::NotFreshEnough) } else { Ok(()) }
    }

    /// Makes the answer that leaves.
    pub(super) fn tell(
        &self,
        asking: &Asking<'_>,
        authorised_by: AuthorisedBy,
        decided: Decided,
        entry: EntryAt,
        charged: bool,
    ) -> Answer {
        let Decided { number, fact, finding, known_true_at } = decided;
        let record = fact.record.as_deref().filter(|_| finding.confirmed.is_some());
        let confirmed = record.map(|record| Confirmed {
            subject_ref: self.pseudonyms.subject_ref(&record.subject, asking.partner()),
            position: finding.known_position(&fact),
            source: fact.source,
            changed_since: finding.changed_since,
        });
        Answer {
            ruling: finding.ruling,
            disclosure: finding.disclosure,
            confirmed,
            authorised_by,
            observed_at: fact.observed_at,
            known_at: asking.request.known_at.unwrap_or(asking.now),
            entry,
            charged,
            replayed: false,
            number,
            leaves_by: Some(known_true_at + self.age_max),
        }
    }
}
