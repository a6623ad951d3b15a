//! The ports of the evidence room: entries are read and opened, receipts made, accesses put on record.

use std::sync::Arc;

use super::entry::{Access, AccessEntry, AccessOutcome, AnswerEntry, ENTRY_BYTES_MAX, Entry};
use super::journal::Journal;
use super::keys::{EntryKeys, LogSecret, Month};
use super::receipt::Receipt;
use crate::domain::decision::{CriterionKind, Outcome};
use crate::domain::partner::PartnerId;
use crate::domain::subject::{NumberPseudonym, SubjectSecret};
use crate::evidence::ports::{
    AccessLog, AccessToRecord, Answered, Entries, MadeReceipt, ReceiptImpossible, ReceiptParts,
};
use crate::verification::ports::{EntryAt, EvidenceUnavailable, Later};

/// Opens entries with the log's secret.
#[derive(Debug)]
pub struct Opener {
    secret: Arc<LogSecret>,
}

impl Opener {
    /// Opens with this secret.
    pub fn new(secret: Arc<LogSecret>) -> Self {
        Self { secret }
    }

    /// Finds the keys of an entry; `Ok(None)`: they are gone for ever.
    ///
    /// Of an unconfirmed entry the pseudonym cannot be made again, because it names the number: its key is that of the subject
    /// the handle names, and a false one would open nothing.
    fn keys(
        &self,
        answer: &AnswerEntry<'_>,
        secret: Option<&SubjectSecret>,
    ) -> Result<Option<EntryKeys>, ReceiptImpossible> {
        let is_of = |keys: &EntryKeys| keys.pseudonym() == answer.subject;
        match (secret, is_confirmed(answer)) {
            (Some(secret), true) => {
                Some(EntryKeys::confirmed(secret)).filter(is_of).map(Some).ok_or(ReceiptImpossible)
            }
            (Some(secret), false) => Ok(Some(EntryKeys::confirmed(secret))),
            (None, true) => Ok(None),
            (None, false) => {
                let number =
                    NumberPseudonym::from_bytes(self.secret.open_handle(&answer.nonce, answer.handle).0);
                Ok(Some(self.secret.unknown_number(Month::of(answer.at), number)).filter(is_of))
            }
        }
    }
}

fn is_confirmed(answer: &AnswerEntry<'_>) -> bool {
    let subject = answer.criteria.iter().find(|criterion| criterion.kind == CriterionKind::Subject);
    subject.is_none_or(|criterion| criterion.outcome == Outcome::Met)
}

impl Entries for Opener {
    fn request_digest(&self, partner: &PartnerId, request_id: &str) -> [u8; 16] {
        self.secret.request_digest(partner, request_id).0
    }

    fn answered(&self, entry: &[u8]) -> Option<Answered> {
        match Entry::decode(entry) {
            Ok(Entry::Answer(answer)) => Some(Answered {
                subject: self.secret.open_handle(&answer.nonce, answer.handle),
                confirmed: is_confirmed(&answer),
                partner: answer.partner.into_owned(),
            }),
            _ => None,
        }
    }

    fn receipt(&self, parts: ReceiptParts<'_>) -> Result<MadeReceipt, ReceiptImpossible> {
        let Ok(Entry::Answer(answer)) = Entry::decode(parts.entry) else { return Err(ReceiptImpossible) };
        let opening = self.keys(&answer, parts.secret)?.map(|keys| keys.opening(&answer.nonce));
        let salt_of = |code| opening.as_ref().map(|opening| opening.salt(code));
        let receipt = Receipt::build(parts.entry, salt_of, parts.index, parts.proof, &parts.checkpoint.note);
        match receipt {
            Ok(receipt) => Ok(MadeReceipt { text: receipt.to_text(), erased: opening.is_none() }),
            Err(error) => {
                tracing::error!(%error, index = parts.index, "a receipt cannot be made");
                Err(ReceiptImpossible)
            }
        }
    }
}

impl AccessLog for Journal {
    fn record_access(
        &self,
        access: &AccessToRecord<'_>,
    ) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        let outcome = if access.erased { AccessOutcome::Erased } else { AccessOutcome::Opened };
        let place = Access::Receipt { origin: access.place.origin.to_string(), index: access.place.index };
        let entry = AccessEntry { at: access.at, partner: access.partner.clone(), access: place, outcome };
        let mut bytes = Vec::with_capacity(ENTRY_BYTES_MAX);
        if let Err(error) = entry.encode(&mut bytes) {
            tracing::error!(%error, "an access cannot be put on record");
            return Box::pin(std::future::ready(Err(EvidenceUnavailable)));
        }
        match self.append(&bytes) {
            Ok(durable) => Box::pin(durable),
            Err(unavailable) => Box::pin(std::future::ready(Err(unavailable))),
        }
    }

    fn written(&self) -> (&str, u64) {
        (self.origin(), self.durable())
    }
}
