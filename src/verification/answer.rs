//! What a verification ends in: an answer, or the reason there is none.

use std::time::Duration;

use jiff::Timestamp;

use super::ports::{
    ClaimRefused, EntryAt, FactSource, LookUpError, QuotaRefusal, StoreUnavailable, SubjectRef,
};
use crate::admission::LimitExceeded;
use crate::domain::decision::Ruling;
use crate::domain::disclosure::Disclosure;
use crate::domain::partner::Standing;
use crate::domain::policy::{AuthoriseRefusal, AuthorisedBy};
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
    /// How the look-up was authorised.
    pub authorised_by: AuthorisedBy,
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
    /// Up to when, since boot, it may leave: the facts it rests on, or that allow it to be given again, are older than the freshness
    /// bound then. `None` only while it is kept.
    pub leaves_by: Option<Duration>,
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
    /// Refused: too many different numbers were claimed.
    SubjectsSpent {
        /// How many are allowed …
        subjects_max: u32,
        /// … within so many hours.
        window_hours: u8,
        /// When one more is admitted.
        retry_after: Duration,
    },
    /// Refused: the partner's standing changed while the question was being answered.
    StandingLost(Standing),
    /// Refused: what was shown is not accepted.
    NotShown(ShownRefusal),
    /// Refused: too many share codes that were not accepted.
    GuessesExceeded {
        /// When the next may be tried.
        retry_after: Duration,
    },
    /// Refused: the driver has taken back the consent that was asserted. On record, for the driver to see.
    ConsentWithdrawn,
    /// Refused: who scans holds no e-licence that can be shown.
    ScannerNotAccepted,
    /// Error: redemptions or consents cannot be read or written now.
    StoreUnavailable,
    /// Error: the facts could not be had.
    NoFacts(LookUpError),
    /// Error: the facts went on changing, or grew too old while the answer was being recorded.
    NotFreshEnough,
    /// Error: the answer could not be put on record.
    NoEvidence,
}

/// Why what was shown is not accepted. None of these spends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownRefusal {
    /// No QR code of ours and no share code.
    Malformed,
    /// A QR code this deployment did not make, or one that was changed.
    NotGenuine,
    /// A QR code for somebody else.
    NotForYou,
    /// The driver agreed to another purpose.
    PurposeMismatch,
    /// Its time is over.
    Expired,
    /// Every use is spent, by other requests.
    AlreadyUsed,
    /// The driver took it back.
    Revoked,
    /// A share code whose check symbol does not fit.
    ShareCodeMistyped,
    /// A share code that is not known, or not for this partner: which, is not told.
    ShareCodeNotAccepted,
}

impl From<StoreUnavailable> for NoAnswer {
    fn from(_: StoreUnavailable) -> Self {
        Self::StoreUnavailable
    }
}

impl From<ClaimRefused> for NoAnswer {
    fn from(refused: ClaimRefused) -> Self {
        match refused {
            ClaimRefused::SubjectsSpent { subjects_max, window_hours, retry_after } => {
                Self::SubjectsSpent { subjects_max, window_hours, retry_after }
            }
            ClaimRefused::Stopped => Self::StandingLost(Standing::ClaimsSuspended),
        }
    }
}

impl From<QuotaRefusal> for NoAnswer {
    fn from(refusal: QuotaRefusal) -> Self {
        match refusal {
            QuotaRefusal::Exceeded(exceeded) => Self::QuotaExceeded(exceeded),
            QuotaRefusal::OtherContent => Self::OtherContent,
        }
    }
}
