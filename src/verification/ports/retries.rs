//! Answers kept for the retry of their request.

use jiff::Timestamp;

use super::{Deadline, EntryAt, QuestionDigest, Soon};
use crate::domain::partner::PartnerId;
use crate::domain::subject::NumberPseudonym;
use crate::verification::Answer;

/// Keeps answers by (partner, request id) for ten minutes, sealed and bounded in bytes, and what was answered before for longer. Exact
/// within this process (the journal tells it what was answered before a restart); across replicas best effort.
/// Implemented by `cache`.
pub trait Retries: Send + Sync + 'static {
    /// Takes a request up; waits for a twin that is under way, until the deadline.
    fn take_up<'a>(&'a self, key: RetryKey<'a>, deadline: Deadline) -> Soon<'a, TakenUp>;
}

/// Names a request.
#[derive(Clone, Copy, Debug)]
pub struct RetryKey<'a> {
    /// Who asks.
    pub partner: &'a PartnerId,
    /// The partner's idempotency key.
    pub id: &'a str,
    /// Digest of the whole request: what makes it the same.
    pub content: QuestionDigest,
}

/// What is known of a request.
pub enum TakenUp {
    /// Nothing: it is this caller's to answer. Dropped unanswered, a waiting twin takes over.
    First(Box<dyn Retry>),
    /// It was answered a moment ago.
    Answered(Box<KeptAnswer>),
    /// It was put on record within ten minutes, but the answer was lost (a restart): it may be answered anew, uncharged.
    Recorded {
        /// Where the answer stands.
        place: EntryAt,
        /// For the new answer.
        retry: Box<dyn Retry>,
    },
    /// It was answered longer than ten minutes ago.
    Spent(EntryAt),
    /// The id was used for another request.
    OtherContent,
    /// The twin took longer than the deadline.
    Late,
}

/// A request that is being answered.
pub trait Retry: Send {
    /// Keeps the answer for the next retry, with the number under which its facts are looked up.
    fn answered(self: Box<Self>, number: NumberPseudonym, answer: &Answer);
}

/// An answer that was kept.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    /// The answer, as it left.
    pub answer: Answer,
    /// Under which number its facts are looked up: consent and standing of the record are judged anew.
    pub number: NumberPseudonym,
    /// When it was given.
    pub at: Timestamp,
}
