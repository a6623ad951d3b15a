//! What the log tells a process that starts about requests answered before: for their retries, and for the bounds on claims.

use jiff::Timestamp;

use super::Journal;
use super::entry::{AnswerEntry, Entry};
use super::journal::{EntryFiles, ReadError};
use super::keys::LogSecret;
use crate::domain::decision::{Criterion, Reason};
use crate::domain::partner::PartnerId;
use crate::domain::policy::AuthorisedBy;
use crate::verification::ports::{EntryAt, Recalled, RequestDigests};

/// How far back the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecallBounds {
    /// Entries dated before this moment are not told.
    pub since: Timestamp,
    /// The most entries read.
    pub entries_max: u64,
}

/// A claim that was answered before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecalledClaim {
    /// Whose.
    pub partner: PartnerId,
    /// When.
    pub at: Timestamp,
    /// Whom it was about: the subject's id, or for a number nobody had its pseudonym.
    pub about: [u8; 16],
    /// It came to nothing.
    pub unconfirmed: bool,
}

/// Reads the answers of requests with an id from the end of a journal's log, oldest first. Reads whole segments, from the last one backwards, and of
/// the first of them only what the bound leaves.
///
/// # Errors
/// [`ReadError`] when the files cannot be read, or what should be durable is not there.
pub fn recall(journal: &Journal, bounds: RecallBounds) -> Result<Vec<Recalled>, ReadError> {
    let mut recalled = Vec::new();
    each_answer(journal, bounds, |answer, index| {
        let place = EntryAt { origin: journal.origin().clone(), index };
        recalled.extend(told_of(answer, place, journal.secret()));
    })?;
    Ok(recalled)
}

/// Tells the claims answered before, one after the other, as [`recall`] reads requests.
///
/// # Errors
/// As [`recall`].
pub fn recall_claims(
    journal: &Journal,
    bounds: RecallBounds,
    mut tell: impl FnMut(RecalledClaim),
) -> Result<(), ReadError> {
    each_answer(journal, bounds, |answer, _| {
        if answer.authorised_by == AuthorisedBy::Asserted {
            let unconfirmed = |criterion: &Criterion| criterion.reason == Some(Reason::SubjectNotConfirmed);
            tell(RecalledClaim {
                at: answer.at,
                about: journal.secret().open_handle(&answer.nonce, answer.handle).0,
                unconfirmed: answer.criteria.iter().any(unconfirmed),
                partner: answer.partner.into_owned(),
            });
        }
    })
}

fn each_answer(
    journal: &Journal,
    bounds: RecallBounds,
    mut tell: impl FnMut(AnswerEntry<'static>, u64),
) -> Result<(), ReadError> {
    let end = journal.durable();
    let files = EntryFiles::open(journal.folder(), journal.origin())?;
    let segments = files.segments();
    let first = segments.first().copied().unwrap_or(end);
    let mut from = end.saturating_sub(bounds.entries_max).max(first);
    // The youngest segment that begins before the moment holds the first entry that counts.
    for segment in segments.iter().rev().filter(|segment| **segment < end) {
        if *segment <= from {
            break;
        }
        if files
            .walk(*segment, end, None)
            .next_entry()?
            .is_some_and(|(_, entry)| is_before(&entry.bytes, bounds))
        {
            from = *segment;
            break;
        }
    }
    let mut walk = files.walk(from, end, None);
    while let Some((_, entry)) = walk.next_entry()? {
        // What cannot be read is `audit fsck`'s to tell: a retry of it is answered as a new request.
        let Ok(Entry::Answer(answer)) = Entry::decode(&entry.bytes) else { continue };
        if answer.at >= bounds.since {
            tell(answer, entry.index);
        }
    }
    Ok(())
}

fn is_before(entry: &[u8], bounds: RecallBounds) -> bool {
    Entry::decode(entry).is_ok_and(|entry| entry.at() < bounds.since)
}

fn told_of(answer: AnswerEntry<'static>, place: EntryAt, secret: &LogSecret) -> Option<Recalled> {
    Some(Recalled {
        at: answer.at,
        request: answer.request?.0,
        question: answer.question,
        case: answer.case.0,
        about: secret.open_handle(&answer.nonce, answer.handle).0,
        partner: answer.partner.into_owned(),
        place,
    })
}

impl RequestDigests for LogSecret {
    fn request(&self, partner: &PartnerId, id: &str) -> [u8; 16] {
        self.request_digest(partner, id).0
    }

    fn case(&self, partner: &PartnerId, reference: &str) -> [u8; 16] {
        self.case_digest(partner, reference).0
    }
}

#[cfg(test)]
mod tests;
