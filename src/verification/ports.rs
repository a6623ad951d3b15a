//! What a verification needs from outside.

mod claims;
mod consents;
mod retries;
mod shown;

pub use claims::{Admission, ClaimLevel, ClaimRefused, ClaimWatch};
pub use consents::{ConsentBook, ConsentUsed};
pub use retries::{
    Answer, Confirmed, NotShared, Recalled, RequestDigests, RequestName, Retries, Retry, RetryKey,
    SharedNotes, TakenUp,
};
pub use shown::{
    GuessBudget, GuessesExceeded, QrFault, QrReader, Redeemed, Redemption, Redemptions, ShareCodeIds,
    StoreUnavailable,
};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::admission::LimitExceeded;
pub use crate::admission::line::{Class, Turn};
use crate::domain::claim::Claim;
use crate::domain::decision::Ruling;
use crate::domain::disclosure::Disclosure;
use crate::domain::licence::{DocumentKind, LicenceNumber, Record};
use crate::domain::partner::{Allowance, PartnerId};
use crate::domain::presentation::PresentationKind;
use crate::domain::question::{Purpose, Question};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId, SubjectSecret};

/// A future a port returns when it cannot answer at once.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An answer that is often there at once: the warm path costs no allocation and no scheduling.
pub enum Soon<'a, T> {
    /// Here it is.
    Now(T),
    /// It takes a while.
    Later(Later<'a, T>),
}

impl<T> Soon<'_, T> {
    /// Waits for the answer.
    pub async fn wait(self) -> T {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

/// Derives keyed pseudonyms of numbers. Implemented by `registry`, which owns the key.
pub trait Pseudonyms: Send + Sync + 'static {
    /// Derives the pseudonym of a number: HMAC-SHA-256 over document kind and canonical number, first 16 bytes.
    fn pseudonym(&self, document: DocumentKind, number: &LicenceNumber) -> NumberPseudonym;

    /// Derives the pairwise reference of a subject for a partner: stable for this partner, useless to another.
    fn subject_ref(&self, subject: &SubjectId, partner: &PartnerId) -> SubjectRef;
}

/// A pairwise subject reference: 16 bytes, shown as 22 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubjectRef(pub [u8; 16]);

/// Facts for a verification: in process, then Redis, then the registry. Implemented by `cache`.
pub trait Facts: Send + Sync + 'static {
    /// Looks up what is known about a number, no older than `max_age` (`None`: the gateway's own bound). The turn counts where the
    /// registry itself is read.
    /// Cancel-safe: a load that others wait for goes on when one caller leaves.
    fn look_up(
        &self,
        pseudonym: NumberPseudonym,
        max_age: Option<Duration>,
        deadline: Deadline,
        turn: Turn<'_>,
    ) -> Soon<'_, Result<Fact, LookUpError>>;

    /// Judges a fact again, right before it is put on record. Returns up to when (time since boot) it is known to be true: its
    /// answer must leave within the freshness bound after that moment, however long ago this was asked. `None`: it may not be
    /// used any more.
    fn known_true_at(&self, pseudonym: NumberPseudonym, fact: &Fact) -> Option<Duration>;
}

/// A registry reading with its feed position. Caches hold these; decisions are never cached.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The record; `None`: no such number.
    pub record: Option<Arc<Record>>,
    /// The feed position as of which the reading is true.
    pub position: Position,
    /// When the gateway last knew the reading to be current.
    pub observed_at: Timestamp,
    /// The same moment on the clock that counts suspension and is never set back (time since boot).
    pub observed_since_boot: Duration,
    /// Where it came from.
    pub source: FactSource,
}

/// Where a fact came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactSource {
    /// This process.
    InProcess,
    /// Redis.
    Redis,
    /// The registry.
    Registry,
}

/// Why there is no fact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// The registry cannot be read now. Come back later.
    #[error("registry unavailable")]
    RegistryUnavailable,
    /// A record exists but cannot be read (damage, wrong key). A person should look.
    #[error("record unreadable")]
    RecordUnreadable,
    /// Not in time.
    #[error("deadline exceeded")]
    DeadlineExceeded,
    /// The feed is stalled and every bypass place is taken.
    #[error("facts cannot be kept fresh")]
    FreshnessUnavailable,
    /// Too many wait for the registry.
    #[error("too many wait for the registry")]
    Overloaded,
}

/// The registry, read by number. Implemented by `registry`, used by `cache`.
pub trait RecordSource: Send + Sync + 'static {
    /// Reads the record of a number and the feed's head position, from one snapshot. Never on a core's own loop.
    fn read(&self, pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>>;

    /// As [`Self::read`], but as of its own start: never from a copy that may lag. For callers who accept no age, and while
    /// the feed is stalled.
    fn read_latest(&self, pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>> {
        self.read(pseudonym)
    }

    /// Returns the epoch in force.
    fn epoch(&self) -> u32;
}

/// One reading of the registry.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The record; `None`: no such number.
    pub record: Option<Arc<Record>>,
    /// The head, in the snapshot that was read, of the partition in which the next change of this reading will lie.
    pub position: Position,
}

/// Says whether a cached fact may still be used. Implemented by `cache` over the feed's slots.
pub trait Freshness: Send + Sync + 'static {
    /// Judges a fact read at `position` for this number (and subject, if any).
    fn judge(&self, pseudonym: NumberPseudonym, subject: Option<&SubjectId>, position: Position)
    -> Usability;
}

/// Whether a cached fact may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usability {
    /// No change lies after its position.
    Usable,
    /// A change may lie after it: read anew.
    Outdated,
    /// Of another epoch: read anew.
    OtherEpoch,
    /// The feed is older than the bound: bypass the caches.
    FeedStalled,
}

/// Hears of every change before its writer is told that it is durable. Implemented by `cache`, called by `registry`.
pub trait ChangeObserver: Send + Sync + 'static {
    /// A change of this subject, reachable under these numbers, now lies at `position`.
    fn changed(&self, subject: &SubjectId, pseudonyms: &[NumberPseudonym], position: Position);
}

/// Follows the feed of a registry that lives elsewhere. Implemented by `cache`, called by `registry`.
pub trait FeedFollower: ChangeObserver {
    /// Tailing begins, at the start or anew in a later epoch: every change after these positions, one for each partition, will
    /// be told.
    fn follows_from(&self, positions: &[Position]);

    /// Every change that was committed when this poll began (time since boot) has been told.
    fn caught_up(&self, poll_began: Duration);
}

/// A request's deadline, on the clock that does not stand still in suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// Time since boot at which the answer is worthless.
    pub since_boot: Duration,
}

/// Holds partners to their quotas. Implemented by `limits`.
pub trait Quotas: Send + Sync + 'static {
    /// Reserves one answer. Dropping the reservation gives it back; `charge` keeps it.
    ///
    /// # Errors
    /// [`QuotaRefusal`]: a window is spent, or the request id belongs to another question.
    fn reserve(
        &self,
        partner: &PartnerId,
        allowance: &Allowance,
        request: Option<RequestKey<'_>>,
    ) -> Result<Box<dyn QuotaReservation>, QuotaRefusal>;
}

/// A partner's idempotency key, and what it was used for.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey<'a> {
    /// The key.
    pub id: &'a str,
    /// Digest of subject, question and matter: the same id with another content is a mistake, never a second answer.
    pub content: QuestionDigest,
    /// It was answered before, as far as others remember: answering it anew costs nothing.
    pub answered_before: bool,
}

/// Why no answer was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaRefusal {
    /// A window is spent.
    Exceeded(LimitExceeded),
    /// The request id was used with other content within the last 10 minutes.
    OtherContent,
}

/// A reserved answer.
pub trait QuotaReservation: Send {
    /// Says whether charging this answer will count: false for a request id that was already charged. Of two answers to one
    /// request id given at the same moment both may say so; only one is charged.
    fn counts(&self) -> bool;

    /// Charges the answer: once per (partner, request_id). Returns whether it counted this time.
    fn charge(self: Box<Self>) -> bool;
}

/// Limits how many different questions may be asked about one subject (`docs/policy.md` §4). Implemented by `limits`.
/// Called after authorise, before the look-up.
pub trait SubjectBudget: Send + Sync + 'static {
    /// Admits a question about a subject, or refuses it without a look-up.
    ///
    /// # Errors
    /// [`VariationExceeded`] when this partner asked too many different questions about this number.
    fn admit_question(
        &self,
        partner: &PartnerId,
        purpose: Purpose,
        pseudonym: NumberPseudonym,
        question: QuestionDigest,
        case_reference: &str,
    ) -> Result<(), VariationExceeded>;
}

/// A digest of a question's content, for telling questions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuestionDigest(pub [u8; 16]);

/// Too many different questions about one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariationExceeded {
    /// When one more different question is admitted.
    pub retry_after: Duration,
}

/// The evidence log. Implemented by `audit`.
pub trait EvidenceLog: Send + Sync + 'static {
    /// Appends an answer's entry; the future completes when it is durable. No record, no disclosure.
    fn record(&self, answer: &AnswerToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>>;
}

/// Everything an entry commits to. Borrowed: the entry's bytes are built before `record` returns.
#[derive(Clone, Copy)]
pub struct AnswerToRecord<'a> {
    /// When.
    pub at: Timestamp,
    /// Who asked.
    pub partner: &'a PartnerId,
    /// Why.
    pub purpose: Purpose,
    /// What was sent about whom.
    pub about: AboutToRecord<'a>,
    /// The partner's serial; committed, never held in the clear.
    pub case_reference: &'a str,
    /// The partner's category.
    pub case_category: &'a str,
    /// The partner's employee; committed.
    pub operator_id: &'a str,
    /// The partner's idempotency key.
    pub request_id: Option<&'a str>,
    /// Whom it was confirmed to be about.
    pub subject: SubjectToRecord<'a>,
    /// What was asked.
    pub question: &'a Question,
    /// Digest of what was asked.
    pub question_digest: QuestionDigest,
    /// How it came out.
    pub ruling: &'a Ruling,
    /// What was released.
    pub disclosure: &'a Disclosure,
    /// What was known: handed in by this feed position …
    pub position: Position,
    /// … and recorded by this moment.
    pub known_at: Timestamp,
    /// Under which rules.
    pub policy_version: &'a str,
    /// Whether it will be charged.
    pub charged: bool,
    /// Whether it was refused, because the driver had taken back the consent asserted: an entry the driver can see, and nothing told.
    pub consent_withdrawn: bool,
}

/// What was sent about whom.
#[derive(Clone, Copy)]
pub enum AboutToRecord<'a> {
    /// A claim, with its ground.
    Claimed(&'a Claim),
    /// What the driver showed or sent.
    Shown {
        /// In which way.
        by: PresentationKind,
        /// The text that was sent; a share code as it is written ([`ShareCode::to_text`](crate::domain::presentation::ShareCode)).
        text: &'a str,
        /// The number it leads to.
        number: NumberPseudonym,
    },
}

/// Whom an entry is about.
#[derive(Clone, Copy)]
pub enum SubjectToRecord<'a> {
    /// A confirmed subject: pseudonym and openings derive from its secret.
    Confirmed(&'a SubjectId, &'a SubjectSecret),
    /// Not confirmed, but the number belongs to a subject who may learn of the attempt.
    Unconfirmed(&'a SubjectId, &'a SubjectSecret),
    /// No such number: a monthly key takes the secret's place.
    Unknown(NumberPseudonym),
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryAt {
    /// The log's name.
    pub origin: Arc<str>,
    /// The entry's number, from 0.
    pub index: u64,
}

/// The entry could not be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("evidence log cannot be written")]
pub struct EvidenceUnavailable;
