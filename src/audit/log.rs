//! The ports: answers and refusals go into the journal.

use super::entry::{ENTRY_BYTES_MAX, compose};
use super::journal::Journal;
use crate::admission::{RefusalLog, RefusalNote};
use crate::verification::ports::{AnswerToRecord, EntryAt, EvidenceLog, EvidenceUnavailable, Later};

impl EvidenceLog for Journal {
    fn record(&self, answer: &AnswerToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        let mut entry = Vec::with_capacity(ENTRY_BYTES_MAX);
        if let Err(error) = compose(answer, self.secret(), rand::random(), &mut entry) {
            tracing::error!(%error, "answer cannot be put on record");
            return Box::pin(std::future::ready(Err(EvidenceUnavailable)));
        }
        match self.append(&entry) {
            Ok(durable) => Box::pin(durable),
            Err(unavailable) => Box::pin(std::future::ready(Err(unavailable))),
        }
    }
}

impl RefusalLog for Journal {
    fn note(&self, refusal: RefusalNote<'_>) {
        self.note_refusal(refusal);
    }
}
