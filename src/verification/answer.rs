//! What a verification ends in: an answer, or the reason there is none.

use std::time::Duration;

use jiff::Timestamp;

use super::ports::{EntryAt, FactSource, LookUpError, QuotaRefusal, SubjectRef};
use crate::admission::LimitExceeded;
use crate::domain::decision::Ruling;
use crate::domain::disclosure::Disclosure;
use crate::domain::partner::Standing;
use crate::domain::policy::AuthoriseRefusal;
use crate::domain::subject::{NumberPseudonym, Position};

/// An answer that is on record.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Decision, criteria, what is not covered.
    pub ruling: Ruling,
    /// The fields released.
    pub disclosure: Disclosure,
    /// Whom it is about; `None`: the subject was not confirmed.
    pub confirmed: Option<Confirmed>,
    /// When the reading was last known to be current.
    pub observed_at: Timestamp,
    /// Only what had been recorded by then, and handed in by the position, was used.
    pub known_at: Timestamp,
    /// Where it stands in the log.
    pub entry: EntryAt,
    /// Whether giving it counted against the quota.
    pub charged: bool,
    /// Whether it is an earlier answer given again for the same request id.
    pub replayed: bool,
    /// Under which number its facts were looked up. Never shown.
    pub number: NumberPseudonym,
}

/// What only an answer about a confirmed subject says.
#[derive(Clone, Copy, Debug)]
pub struct Confirmed {
    /// The pairwise reference.
    pub subject_ref: SubjectRef,
    /// The feed position as of which the answer is true. With `known_at` it names what was known, for ever: whatever is handed in
    /// later, the same moment asked about with the same pair under the same policy gives the same answer.
    pub position: Position,
    /// Where the reading came from.
    pub source: FactSource,
    /// See `Ruled::changed_since`; only for questions about the past.
    pub changed_since: Option<Timestamp>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum NoAnswer {
    /// Refused: policy or contract does not allow the question.
    NotAuthorised(AuthoriseRefusal),
    /// Refused: a quota is spent.
    QuotaExceeded(LimitExceeded),
    /// Refused: the request id was used with other content.
    OtherContent,
    /// Refused: the request was answered before, and the answer is no longer kept. It stands there.
    RequestIdSpent(EntryAt),
    /// Refused: the deadline leaves less than every answer takes at least.
    DeadlineTooShort,
    /// Refused: too many different questions about one subject.
    VariationExceeded {
        /// When one more is admitted.
        retry_after: Duration,
    },
    /// Refused: the partner's standing changed while the question was being answered.
    StandingLost(Standing),
    /// Error: the facts could not be had.
    NoFacts(LookUpError),
    /// Error: the facts went on changing, or grew too old while the answer was being recorded.
    NotFreshEnough,
    /// Error: the answer could not be put on record.
    NoEvidence,
}

impl From<QuotaRefusal> for NoAnswer {
    fn from(refusal: QuotaRefusal) -> Self {
        match refusal {
            QuotaRefusal::Exceeded(exceeded) => Self::QuotaExceeded(exceeded),
            QuotaRefusal::OtherContent => Self::OtherContent,
        }
    }
}
