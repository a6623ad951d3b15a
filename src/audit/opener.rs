//! The ports of the evidence room: entries are read and opened, receipts made, accesses put on record.

use std::sync::Arc;

use jiff::Timestamp;

use super::entry::{
    About, Access, AccessEntry, AccessOutcome, AnswerEntry, AuthorisedBy, ENTRY_BYTES_MAX, Entry, Part,
};
use super::journal::Journal;
use super::keys::{EntryKeys, LogSecret, Month};
use super::receipt::Receipt;
use crate::domain::decision::{CriterionKind, Decision, Outcome};
use crate::domain::disclosure::Field;
use crate::domain::partner::PartnerId;
use crate::domain::presentation::PresentationKind;
use crate::domain::subject::{NumberPseudonym, SubjectSecret};
use crate::evidence::ports::{
    AccessLog, AccessToRecord, Accessed, Accessing, Answered, Entries, LookUpOutcome, MadeReceipt,
    ReceiptImpossible, ReceiptParts, SubjectHandle, Whose,
};
use crate::issuing::ports::{Deed, DeedLog, DeedToRecord};
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

fn outcome(answer: &AnswerEntry<'_>) -> LookUpOutcome {
    match answer.decision {
        _ if answer.consent_withdrawn => LookUpOutcome::ConsentWithdrawn,
        _ if !is_confirmed(answer) => LookUpOutcome::NotConfirmed,
        Decision::Qualified => LookUpOutcome::Qualified,
        Decision::NotQualified => LookUpOutcome::NotQualified,
        Decision::Indeterminate => LookUpOutcome::Indeterminate,
    }
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

    fn at(&self, entry: &[u8]) -> Option<Timestamp> {
        Entry::decode(entry).ok().map(|entry| entry.at())
    }

    fn accessed(&self, entry: &[u8]) -> Option<Accessed> {
        let Ok(Entry::Answer(answer)) = Entry::decode(entry) else { return None };
        Some(Accessed {
            at: answer.at,
            subject: self.secret.open_handle(&answer.nonce, answer.handle),
            purpose: answer.purpose,
            ground: answer.ground,
            subject_is_party: answer.subject_is_party,
            shown: match answer.authorised_by {
                AuthorisedBy::Qr => Some(PresentationKind::Qr),
                AuthorisedBy::ShareCode => Some(PresentationKind::ShareCode),
                AuthorisedBy::Asserted => None,
            },
            outcome: outcome(&answer),
            fields: Field::ALL.iter().copied().filter(|field| answer.leaves.discloses(*field)).collect(),
            partner: answer.partner.into_owned(),
            case_category: answer.case_category.into_owned(),
        })
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
        let about = |of: Whose<'_>| about(self.secret(), of);
        let what = match access.what {
            Accessing::Receipt { place, erased } => {
                let outcome = if erased { AccessOutcome::Erased } else { AccessOutcome::Opened };
                Access::Receipt { origin: place.origin.to_string(), index: place.index, outcome }
            }
            Accessing::List { of, continued } => Access::List { about: about(of), part: part(continued) },
            Accessing::Watch { holders, continued } => Access::Watch { holders, part: part(continued) },
            Accessing::HoldBackSet { of, hold_back } => Access::HoldBackSet {
                about: about(of),
                id: hold_back.id,
                of: hold_back.partner.clone(),
                from: hold_back.from,
                until: hold_back.until,
                set_by: hold_back.set_by.clone(),
                ground: hold_back.ground.clone(),
            },
            Accessing::HoldBackLifted { of, id, lifted_by, ground } => Access::HoldBackLifted {
                about: about(of),
                id,
                lifted_by: lifted_by.to_owned(),
                ground: ground.to_owned(),
            },
        };
        append(self, &AccessEntry { at: access.at, partner: access.partner.cloned(), access: what })
    }

    fn written(&self) -> (&str, u64) {
        (self.origin(), self.durable())
    }
}

impl DeedLog for Journal {
    fn record_deed(&self, deed: &DeedToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        let of = Whose::from(deed.record);
        let what = match deed.deed {
            Deed::Withdrawal(consent) => {
                Access::Withdrawal { about: about(self.secret(), of), consent: consent.0 }
            }
            Deed::Objection { against, purpose } => {
                Access::Objection { about: about(self.secret(), of), against: against.clone(), purpose }
            }
        };
        append(self, &AccessEntry { at: deed.at, partner: Some(deed.wallet.clone()), access: what })
    }
}

/// Hides whose record it is, as an answer does.
fn about(secret: &LogSecret, of: Whose<'_>) -> About {
    let nonce = rand::random();
    let handle = secret.hide_handle(&nonce, SubjectHandle::of_subject(of.subject));
    About { nonce, subject: EntryKeys::confirmed(of.secret).pseudonym(), handle }
}

fn part(continued: bool) -> Part {
    if continued { Part::Continued } else { Part::First }
}

fn append(journal: &Journal, entry: &AccessEntry) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
    let mut bytes = Vec::with_capacity(ENTRY_BYTES_MAX);
    if let Err(error) = entry.encode(&mut bytes) {
        tracing::error!(%error, "an access cannot be put on record");
        return Box::pin(std::future::ready(Err(EvidenceUnavailable)));
    }
    match journal.append(&bytes) {
        Ok(durable) => Box::pin(durable),
        Err(unavailable) => Box::pin(std::future::ready(Err(unavailable))),
    }
}
