//! Answers kept for the retry of their request.

use std::time::Duration;

use jiff::Timestamp;

use super::{Deadline, EntryAt, Later, QuestionDigest, Soon};
use crate::domain::partner::PartnerId;
// What a kept answer is made of: whoever keeps one writes and reads it.
pub use crate::verification::{Answer, Confirmed};

/// Keeps answers by (partner, request id) for ten minutes, sealed and bounded in bytes, and where they stand for longer. Exact
/// within this process (the log tells it what was answered before a restart); across replicas best effort.
/// Implemented by `retries`.
pub trait Retries: Send + Sync + 'static {
    /// Takes a request up; waits for a twin that is under way, until the deadline.
    fn take_up<'a>(&'a self, key: RetryKey<'a>, deadline: Deadline) -> Soon<'a, TakenUp>;

    /// Lets go of an answer that never left, but not of where it stands: the request is answered anew, uncharged. An answer of the same
    /// request that stands elsewhere stays. Nobody waits for it.
    fn let_go(&self, partner: &PartnerId, id: &str, place: &EntryAt);
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
    /// Digest of the question alone, and …
    pub question: QuestionDigest,
    /// … the partner's serial: what the log tells of a request it holds.
    pub case_reference: &'a str,
    /// An answer observed before this moment is not given again; `None`: any kept one is.
    pub observed_since: Option<Timestamp>,
}

/// What is known of a request.
pub enum TakenUp {
    /// Nothing: it is this caller's to answer. Dropped unanswered, a waiting twin takes over.
    First(Box<dyn Retry>),
    /// It was answered a moment ago.
    Answered(Box<Answer>),
    /// It was put on record a moment ago, but that answer cannot be given again: lost in a restart, pushed out, never sent, or
    /// observed too long ago for this caller. It may be answered anew, uncharged.
    Recorded {
        /// Where the answer stands.
        place: EntryAt,
        /// Whom it was about, when all that is known of it comes from the log: the subject's id, or the pseudonym of a number
        /// nobody had.
        about: Option<[u8; 16]>,
        /// For the new answer.
        retry: Box<dyn Retry>,
    },
    /// It was answered longer ago than answers are kept.
    Spent(EntryAt),
    /// The id was used for another request.
    OtherContent,
    /// The twin took longer than the deadline.
    Late,
}

/// A request that is being answered.
pub trait Retry: Send {
    /// Keeps the answer for the next retry.
    fn answered(self: Box<Self>, answer: &Answer);
}

/// Digests what names a request, as entries of the log hold it. Implemented by `audit`, which owns the secret.
pub trait RequestDigests: Send + Sync + 'static {
    /// Digests an idempotency key of a partner.
    fn request(&self, partner: &PartnerId, id: &str) -> [u8; 16];

    /// Digests a case reference of a partner.
    fn case(&self, partner: &PartnerId, reference: &str) -> [u8; 16];
}

/// An answer the log holds from before this process started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// When it was put on record.
    pub at: Timestamp,
    /// Who asked.
    pub partner: PartnerId,
    /// See [`RequestDigests::request`].
    pub request: [u8; 16],
    /// Digest of what was asked.
    pub question: QuestionDigest,
    /// See [`RequestDigests::case`].
    pub case: [u8; 16],
    /// See [`TakenUp::Recorded`].
    pub about: [u8; 16],
    /// Where it stands.
    pub place: EntryAt,
}

/// Notes that replicas leave each other under a request's name, sealed, for a while. Best effort: a note may be lost, kept or old,
/// but it is always one that a replica of this deployment left under this very name. Implemented by `cache` over Redis.
pub trait SharedNotes: Send + Sync + 'static {
    /// Says whether asking makes sense now. While it does not, nobody waits.
    fn is_asked(&self) -> bool;

    /// Leaves a note unless there is one, and returns the one there is. Takes its own small bound of time at most.
    ///
    /// # Errors
    /// [`NotShared`]: not there, not in time, or what is there is no note of ours.
    fn leave_or_read<'a>(
        &'a self,
        name: RequestName<'a>,
        note: &[u8],
        kept_for: Duration,
        deadline: Deadline,
    ) -> Later<'a, Result<Option<Vec<u8>>, NotShared>>;

    /// Leaves a note in the place of whatever is there. Nobody waits for it.
    fn replace(&self, name: RequestName<'_>, note: &[u8], kept_for: Duration);

    /// Takes a note away. Nobody waits for it.
    fn take_away(&self, name: RequestName<'_>);
}

/// Whose request, and which.
#[derive(Clone, Copy, Debug)]
pub struct RequestName<'a> {
    /// Who asks.
    pub partner: &'a PartnerId,
    /// The partner's idempotency key.
    pub id: &'a str,
}

/// Notes cannot be shared now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("replicas cannot share notes now")]
pub struct NotShared;
