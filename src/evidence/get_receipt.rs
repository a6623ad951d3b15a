//! A partner asks for the receipt of an answer of its own.

use std::sync::Arc;
use std::time::Duration;

use super::ports::{
    AccessLog, AccessToRecord, Accessing, Answered, Entries, LogSource, Logs, LookUpIndex, MadeReceipt,
    ReceiptParts, SignedCheckpoint, SubjectSecrets,
};
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::subject::SubjectId;
use crate::domain::time::Clock;
use crate::verification::ports::EntryAt;

/// How long a receipt waits for the index and for the checkpoint that covers its entry: both come within half a second.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A refusal leaves this long after arrival, whatever its cause: later than every wait has ended.
const REFUSED_AFTER: Duration = Duration::from_millis(1_100);

/// Gives receipts. One for the whole gateway; holds no state of its own.
pub struct Receipts {
    /// The logs that can be read.
    pub logs: Arc<dyn Logs>,
    /// Where a request's entries lie.
    pub index: Arc<dyn LookUpIndex>,
    /// The subjects' secrets.
    pub secrets: Arc<dyn SubjectSecrets>,
    /// Reads and opens entries.
    pub entries: Arc<dyn Entries>,
    /// Receipts given go on record here.
    pub accesses: Arc<dyn AccessLog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Receipts of answers about unconfirmed subjects leave this long after the request arrived, as those answers did: whether a
    /// secret was found tells whether the number exists.
    pub unconfirmed_floor: Duration,
}

/// Who asks: the partner, and its standing, read again around the record.
#[derive(Clone, Copy)]
pub struct ReceiptCaller<'a> {
    /// Who.
    pub partner: &'a PartnerId,
    /// Reads the standing now.
    pub standing: &'a (dyn Fn() -> Standing + Sync),
}

/// Which answer's receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The one at this place.
    Place(EntryAt),
    /// The newest one given to this idempotency key of the partner's own.
    Request(String),
}

/// A receipt that is on record as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The file (C2SP `tlog-proof`).
    pub text: String,
    /// Of which entry.
    pub place: EntryAt,
    /// The subject's record was erased: nothing can be opened any more.
    pub subject_erased: bool,
}

/// Why there is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReceipt {
    /// Refused: no such entry, or none of this partner's answers. Which of the two is not said.
    NotFound,
    /// Refused: the partner's standing changed meanwhile.
    StandingLost(Standing),
    /// Error: the log cannot be read, or its checkpoint does not reach the entry yet.
    NoLog,
    /// Error: the index cannot be read, or does not reach the entry yet.
    NoIndex,
    /// Error: the access could not be put on record.
    NoEvidence,
    /// Error: what is on record does not fit together. A person should look.
    Damaged,
}

impl Receipts {
    /// Gives one receipt. Cancel-safe.
    ///
    /// # Errors
    /// [`NoReceipt`] says whose turn it is.
    pub async fn receipt(&self, caller: ReceiptCaller<'_>, asked: &Asked) -> Result<Receipt, NoReceipt> {
        let arrived = self.clock.since_boot();
        let given = self.find_and_give(caller, asked, arrived).await;
        if matches!(given, Err(NoReceipt::NotFound)) {
            self.wait_until(arrived + REFUSED_AFTER).await;
        }
        given
    }

    async fn find_and_give(
        &self,
        caller: ReceiptCaller<'_>,
        asked: &Asked,
        arrived: Duration,
    ) -> Result<Receipt, NoReceipt> {
        let place = match asked {
            Asked::Place(place) => place.clone(),
            Asked::Request(id) => self.place_of_request(caller.partner, id, arrived).await?,
        };
        let log = self.logs.log(&place.origin).ok_or(NoReceipt::NotFound)?;
        let checkpoint = self.checkpoint_over(&*log, &place, arrived).await?;
        let entry = log.entry(place.index).await.map_err(|_unavailable| NoReceipt::NoLog)?;
        let entry = entry.ok_or(NoReceipt::NotFound)?;
        let own = self.entries.answered(&entry).filter(|answered| answered.partner == *caller.partner);
        let answered = own.ok_or(NoReceipt::NotFound)?;
        let made = self.make(&*log, &entry, &place, &answered, &checkpoint).await?;
        demand_good_standing(caller)?;
        let access = AccessToRecord {
            at: self.clock.now(),
            partner: Some(caller.partner),
            what: Accessing::Receipt { place: &place, erased: made.erased },
        };
        let recorded = self.accesses.record_access(&access).await;
        recorded.map_err(|_unavailable| NoReceipt::NoEvidence)?;
        demand_good_standing(caller)?;
        if !answered.confirmed {
            self.wait_until(arrived + self.unconfirmed_floor).await;
        }
        Ok(Receipt { text: made.text, place, subject_erased: made.erased })
    }

    /// Finds the newest answer to an idempotency key.
    async fn place_of_request(
        &self,
        partner: &PartnerId,
        request_id: &str,
        arrived: Duration,
    ) -> Result<EntryAt, NoReceipt> {
        let digest = self.entries.request_digest(partner, request_id);
        let (origin, durable) = self.accesses.written();
        loop {
            let found = self.index.by_request(digest).await.map_err(|_unavailable| NoReceipt::NoIndex)?;
            if let Some(newest) = found.into_iter().next_back() {
                return Ok(newest.place);
            }
            if !self.may_look_again(arrived).await {
                break;
            }
        }
        // An answer of this replica, given before the request arrived, would be below this length of its log.
        let cursor = self.index.cursor(origin).await.map_err(|_unavailable| NoReceipt::NoIndex)?;
        Err(if cursor < durable { NoReceipt::NoIndex } else { NoReceipt::NotFound })
    }

    /// Waits for a checkpoint that covers the entry.
    async fn checkpoint_over(
        &self,
        log: &dyn LogSource,
        place: &EntryAt,
        arrived: Duration,
    ) -> Result<SignedCheckpoint, NoReceipt> {
        loop {
            let checkpoint = log.checkpoint().await.map_err(|_unavailable| NoReceipt::NoLog)?;
            if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.size > place.index) {
                return Ok(checkpoint);
            }
            if !self.may_look_again(arrived).await {
                break;
            }
        }
        let (origin, durable) = self.accesses.written();
        let is_there = *origin == *place.origin && place.index < durable;
        Err(if is_there { NoReceipt::NoLog } else { NoReceipt::NotFound })
    }

    async fn make(
        &self,
        log: &dyn LogSource,
        entry: &[u8],
        place: &EntryAt,
        answered: &Answered,
        checkpoint: &SignedCheckpoint,
    ) -> Result<MadeReceipt, NoReceipt> {
        let proof = log.inclusion(place.index, checkpoint.size).await;
        let proof = proof.map_err(|_unavailable| NoReceipt::NoLog)?;
        let subject = SubjectId::from_bytes(answered.subject.0);
        let secret = self.secrets.secret(subject).await.map_err(|_unavailable| NoReceipt::NoIndex)?;
        let parts = ReceiptParts { entry, index: place.index, proof, checkpoint, secret: secret.as_ref() };
        self.entries.receipt(parts).map_err(|_impossible| NoReceipt::Damaged)
    }

    /// Waits a little; `false` when the wait is over.
    async fn may_look_again(&self, arrived: Duration) -> bool {
        if self.clock.since_boot() >= arrived + WAIT_MAX {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        true
    }

    async fn wait_until(&self, moment: Duration) {
        if let Some(rest) = moment.checked_sub(self.clock.since_boot()) {
            tokio::time::sleep(rest).await;
        }
    }
}

/// Reads the standing: right before the record, and after it, because what was known before a slow disk may have grown too old.
fn demand_good_standing(caller: ReceiptCaller<'_>) -> Result<(), NoReceipt> {
    match (caller.standing)() {
        Standing::Active => Ok(()),
        lost => Err(NoReceipt::StandingLost(lost)),
    }
}
