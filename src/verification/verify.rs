//! The life of one question, once it is parsed: by what the driver showed, or by what the partner claims.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::answer::{Answer, NoAnswer};
use super::ports::{
    ClaimWatch, Class, ConsentBook, Deadline, EvidenceLog, Facts, GuessBudget, Pseudonyms, QrReader,
    QuestionDigest, Quotas, Redemptions, Retries, ShareCodeIds, SubjectBudget, Turn,
};
use super::request::{About, Request};
use crate::domain::partner::{Contract, PartnerId, Standing};
use crate::domain::rules::Rules;
use crate::domain::time::Clock;

/// What a deadline must leave beyond the floor: look-up, record and the way back.
const FLOOR_MARGIN: Duration = Duration::from_millis(5);

/// Answers questions. One for the whole gateway; holds no state of its own.
pub struct Verification {
    /// Derives pseudonyms.
    pub pseudonyms: Arc<dyn Pseudonyms>,
    /// Reads facts.
    pub facts: Arc<dyn Facts>,
    /// Opens QR codes.
    pub qr_codes: Arc<dyn QrReader>,
    /// Names share codes.
    pub share_codes: Arc<dyn ShareCodeIds>,
    /// Spends what was shown.
    pub redemptions: Arc<dyn Redemptions>,
    /// Keeps the consents that claims are answered on.
    pub consents: Arc<dyn ConsentBook>,
    /// Counts share codes that were not accepted.
    pub guesses: Arc<dyn GuessBudget>,
    /// Counts answers.
    pub quotas: Arc<dyn Quotas>,
    /// Counts different questions.
    pub budget: Arc<dyn SubjectBudget>,
    /// Counts whom a partner claims to know, and how often it is wrong.
    pub claims: Arc<dyn ClaimWatch>,
    /// Records answers.
    pub evidence: Arc<dyn EvidenceLog>,
    /// Keeps answers for the retry of their request.
    pub retries: Arc<dyn Retries>,
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
    /// Reads the standing now, that of claims for a claim: first of all, right before the record, and once more after it.
    pub standing: &'a (dyn Fn() -> Standing + Sync),
}

/// One question on its way: who asks what, by when, and since when it is here.
pub(super) struct Asking<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) request: &'a Request,
    pub(super) question_digest: QuestionDigest,
    pub(super) deadline: Deadline,
    /// It was answered before, as far as others remember: answering it anew costs nothing.
    pub(super) before: Option<Before>,
    /// Since boot.
    pub(super) arrived: Duration,
    pub(super) now: Timestamp,
}

/// What is remembered of the answer a request had before.
#[derive(Clone, Copy)]
pub(super) struct Before {
    /// Whom it was about, where only the log knows: see [`TakenUp::Recorded`](super::ports::TakenUp::Recorded).
    pub(super) about: Option<[u8; 16]>,
}

impl Asking<'_> {
    pub(super) fn partner(&self) -> &PartnerId {
        &self.caller.contract.partner
    }

    pub(super) fn turn(&self) -> Turn<'_> {
        turn_of(self.caller, self.request)
    }
}

/// Says how urgent a question's readings are: what a driver shows goes before what is claimed of one.
pub(super) fn turn_of<'a>(caller: &Caller<'a>, request: &Request) -> Turn<'a> {
    let class = match request.about {
        About::Shown(_) => Class::Presentation,
        About::Claimed(_) => Class::Claim,
    };
    Turn { class, partner: Some(&caller.contract.partner) }
}

impl Verification {
    /// Answers one question anew, whatever was answered before. Whoever gives the answer waits for the floor first.
    ///
    /// Cancel-safe: dropped before the end, nothing is charged; the entry may stand without an answer, and a use of what was shown be
    /// spent, which the same request may still finish.
    pub(super) async fn answer(
        &self,
        caller: &Caller<'_>,
        request: &Request,
        question_digest: QuestionDigest,
        deadline: Deadline,
        before: Option<Before>,
    ) -> Result<Answer, NoAnswer> {
        let asking = Asking {
            caller,
            request,
            question_digest,
            deadline,
            before,
            arrived: self.clock.since_boot(),
            now: self.clock.now(),
        };
        match &request.about {
            About::Claimed(claim) => self.answer_claim(&asking, claim).await,
            // In a box: what waits for a redemption is larger, and most of what waits are claims.
            About::Shown(shown) => Box::pin(self.answer_shown(&asking, shown)).await,
        }
    }

    /// Refuses a deadline that the floor would overrun, before anything is looked up: else being late would tell that the
    /// subject was not confirmed.
    pub(super) fn demand_time_for_the_floor(
        &self,
        arrived: Duration,
        deadline: Deadline,
    ) -> Result<(), NoAnswer> {
        let earliest = arrived + self.unconfirmed_floor + FLOOR_MARGIN;
        if deadline.since_boot < earliest { Err(NoAnswer::DeadlineTooShort) } else { Ok(()) }
    }

    pub(super) async fn wait_for_floor(&self, arrived: Duration) {
        let since_arrival = self.clock.since_boot().saturating_sub(arrived);
        if let Some(rest) = self.unconfirmed_floor.checked_sub(since_arrival) {
            tokio::time::sleep(rest).await;
        }
    }
}
