//! What showing the record needs from outside.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::claim::GroundKind;
use crate::domain::disclosure::FieldSet;
use crate::domain::licence::Record;
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::presentation::PresentationKind;
use crate::domain::question::Purpose;
use crate::domain::subject::{NumberPseudonym, SubjectId, SubjectSecret};
use crate::verification::ports::{EntryAt, EvidenceUnavailable, Later};

/// A log that can be read: this replica's own, or another's. Implemented by `audit`.
pub trait LogSource: Send + Sync + 'static {
    /// Returns the log's name.
    fn origin(&self) -> &str;

    /// Returns the newest signed checkpoint; `None` before the first.
    fn checkpoint(&self) -> Later<'_, Result<Option<SignedCheckpoint>, LogUnavailable>>;

    /// Returns the bytes of an entry that a checkpoint covers; `None` when there is none (yet, or any more).
    fn entry(&self, index: u64) -> Later<'_, Result<Option<Vec<u8>>, LogUnavailable>>;

    /// Reads entries from `from` on, in order, at most `count_max` and possibly fewer: what is durable in this replica's own log, what
    /// a checkpoint covers in others.
    fn stretch(&self, from: u64, count_max: u64) -> Later<'_, Result<Stretch, LogUnavailable>>;

    /// Returns how many entries can be read or were pruned: those with an index below.
    fn length(&self) -> Later<'_, Result<u64, LogUnavailable>>;

    /// Proves that entry `index` is in the tree of `size` entries (RFC 6962 §2.1.1): hashes from the leaf upwards.
    /// `index` < `size` ≤ the newest checkpoint's size.
    fn inclusion(&self, index: u64, size: u64) -> Later<'_, Result<Vec<[u8; 32]>, LogUnavailable>>;
}

/// Some entries of a log, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The index of the first: later than asked for when those before were pruned by retention.
    pub first: u64,
    /// Their bytes; empty: there are none yet.
    pub entries: Vec<Vec<u8>>,
}

/// A tree head somebody signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// How many entries it covers.
    pub size: u64,
    /// The tree hash over them (RFC 6962 §2.1).
    pub root: [u8; 32],
    /// The signed note (C2SP `signed-note` and `tlog-checkpoint`), witnesses' signatures included.
    pub note: Arc<[u8]>,
}

/// The log cannot be read now. Come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log unavailable")]
pub struct LogUnavailable;

/// All logs this gateway can read. Implemented by `audit`.
pub trait Logs: Send + Sync + 'static {
    /// Returns the log of this name, if it is this replica's own or a configured peer's.
    fn log(&self, origin: &str) -> Option<Arc<dyn LogSource>>;

    /// Returns every log that can be read.
    fn all(&self) -> Vec<Arc<dyn LogSource>>;

    /// Returns the logs that may still grow: this replica's own, and its peers'.
    fn growing(&self) -> Vec<Arc<dyn LogSource>>;
}

/// Whom an entry is about, as the log's own secret tells: what the log alone does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectHandle(pub [u8; 16]);

impl SubjectHandle {
    /// The handle of somebody in the registry, confirmed or not.
    pub fn of_subject(subject: &SubjectId) -> Self {
        Self(*subject.as_bytes())
    }

    /// The handle of a number nobody had.
    pub fn of_number(pseudonym: &NumberPseudonym) -> Self {
        Self(*pseudonym.as_bytes())
    }
}

/// One look-up as the index keeps it: of which entry, and under what it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookUp {
    /// The entry's number in its log.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// Whom it was about.
    pub subject: SubjectHandle,
    /// The partner's idempotency key, digested under the log's secret (it names the partner too).
    pub request: Option<[u8; 16]>,
    /// The partner's case reference, digested under the log's secret (it names the partner too).
    pub case: [u8; 16],
}

/// The index over all logs of a deployment: who looked at whom, and where a request's or a case's entries lie. In the
/// registry's store or beside it, fed off the hot path, rebuildable from the logs. Implemented by `registry`.
pub trait LookUpIndex: Send + Sync + 'static {
    /// Returns how many entries of a log have been read into the index; 0 for a log it does not know.
    fn cursor(&self, origin: &str) -> Later<'_, Result<u64, IndexUnavailable>>;

    /// Takes in the look-ups among the entries `from` to `to` (exclusive) of a log and moves its cursor to `to`, both or
    /// neither. A crash may take the last batches back, rows and cursor together: they are fed again. Entries that are no look-ups are simply not in `look_ups`. If the cursor is not at `from`, nothing
    /// happens and the cursor is returned, else `to`.
    fn take_in(
        &self,
        origin: &str,
        from: u64,
        to: u64,
        look_ups: Vec<LookUp>,
    ) -> Later<'_, Result<u64, IndexUnavailable>>;

    /// Forgets a log: its cursor is 0 again.
    fn forget(&self, origin: &str) -> Later<'_, Result<(), IndexUnavailable>>;

    /// Finds look-ups about a subject, newest first, at most `limit`, strictly before `before` (moment, then place).
    fn by_subject(
        &self,
        subject: SubjectHandle,
        before: Option<Found>,
        limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>>;

    /// Finds the entries of one request, oldest first (one, unless it was answered again after its charge was forgotten); the
    /// last 64 if there are more.
    fn by_request(&self, request: [u8; 16]) -> Later<'_, Result<Vec<Found>, IndexUnavailable>>;

    /// Finds the entries of one case of a partner, newest first, at most `limit`, strictly before `before`.
    fn by_case(
        &self,
        case: [u8; 16],
        before: Option<Found>,
        limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>>;
}

/// Where a look-up lies, and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub place: EntryAt,
}

/// The index cannot be read or written now. Come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index unavailable")]
pub struct IndexUnavailable;

/// The subjects' secrets. Implemented by `registry`.
pub trait SubjectSecrets: Send + Sync + 'static {
    /// Returns a subject's secret; `None` when there is no such subject, or no longer.
    fn secret(&self, subject: SubjectId) -> Later<'_, Result<Option<SubjectSecret>, IndexUnavailable>>;
}

/// Reads and opens entries, with the log's secret. Implemented by `audit`.
pub trait Entries: Send + Sync + 'static {
    /// Digests an idempotency key of a partner, as [`LookUp::request`] holds it.
    fn request_digest(&self, partner: &PartnerId, request_id: &str) -> [u8; 16];

    /// Reads the entry of an answer; `None` when it is something else.
    fn answered(&self, entry: &[u8]) -> Option<Answered>;

    /// Returns when an entry of any kind was made; `None` when it cannot be read.
    fn at(&self, entry: &[u8]) -> Option<Timestamp>;

    /// Reads a look-up as its driver may see it; `None` when the entry is something else.
    fn accessed(&self, entry: &[u8]) -> Option<Accessed>;

    /// Makes the receipt of an answer. `secret` is that of the subject the handle names, if the registry has it.
    ///
    /// # Errors
    /// [`ReceiptImpossible`]: entry, secret and log do not belong together. A person should look.
    fn receipt(&self, parts: ReceiptParts<'_>) -> Result<MadeReceipt, ReceiptImpossible>;
}

/// An answer on record, as far as giving its receipt depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Who asked.
    pub partner: PartnerId,
    /// Whom it is about.
    pub subject: SubjectHandle,
    /// Whether the claim was confirmed.
    pub confirmed: bool,
}

/// A look-up on record, as far as its driver may see it: neither the partner's operator nor its case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accessed {
    /// When.
    pub at: Timestamp,
    /// Who asked.
    pub partner: PartnerId,
    /// Whom it was about.
    pub subject: SubjectHandle,
    /// Why.
    pub purpose: Purpose,
    /// The partner's category of the matter.
    pub case_category: String,
    /// The ground asserted; `None` when the driver showed something.
    pub ground: Option<GroundKind>,
    /// For a contract: the partner stated that the driver is a party to it.
    pub subject_is_party: bool,
    /// What the driver showed; `None`: nothing, it was the partner's assertion.
    pub shown: Option<PresentationKind>,
    /// How it came out.
    pub outcome: LookUpOutcome,
    /// The fields released.
    pub fields: FieldSet,
}

/// How a look-up came out, in as many words as a driver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUpOutcome {
    /// Qualified for what was asked.
    Qualified,
    /// Not qualified for what was asked.
    NotQualified,
    /// It could not be determined.
    Indeterminate,
    /// An attempt: what was asserted did not fit, and the partner learned nothing.
    NotConfirmed,
    /// Refused, because the driver had withdrawn the consent.
    ConsentWithdrawn,
}

/// What a receipt is made of.
#[derive(Clone, Debug)]
pub struct ReceiptParts<'a> {
    /// The entry's bytes.
    pub entry: &'a [u8],
    /// Its number.
    pub index: u64,
    /// The proof that it is in the tree of the checkpoint.
    pub proof: Vec<[u8; 32]>,
    /// A checkpoint that covers it.
    pub checkpoint: &'a SignedCheckpoint,
    /// The subject's secret.
    pub secret: Option<&'a SubjectSecret>,
}

/// A receipt, ready to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeReceipt {
    /// The file (C2SP `tlog-proof`).
    pub text: String,
    /// The subject's secret was destroyed: nothing can be opened any more.
    pub erased: bool,
}

/// Entry, secret and log do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry, secret and checkpoint do not belong together")]
pub struct ReceiptImpossible;

/// What drivers call partners. Implemented over the contracts.
pub trait PartnerNames: Send + Sync + 'static {
    /// Returns a partner's names; `None` when there is no contract any more.
    fn names(&self, partner: &PartnerId) -> Option<PartnerNamed>;
}

/// A partner's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerNamed {
    /// In full.
    pub legal_name: String,
    /// In short.
    pub display_name: String,
    /// What kind of organisation.
    pub kind: PartnerKind,
}

/// The log of this replica, into which accesses go. Implemented by `audit`.
pub trait AccessLog: Send + Sync + 'static {
    /// Appends the entry of an access; the future completes when it is durable. No record, no disclosure.
    fn record_access(
        &self,
        access: &AccessToRecord<'_>,
    ) -> Later<'static, Result<EntryAt, EvidenceUnavailable>>;

    /// Returns the log's name and how many entries are durable in it.
    fn written(&self) -> (&str, u64);
}

/// An access: the record is shown to somebody, or somebody decides about what is shown.
#[derive(Clone, Copy, Debug)]
pub struct AccessToRecord<'a> {
    /// When.
    pub at: Timestamp,
    /// To whom, or who decides; `None`: the operator.
    pub partner: Option<&'a PartnerId>,
    /// To what.
    pub what: Accessing<'a>,
}

/// What is shown, or decided.
#[derive(Clone, Copy, Debug)]
pub enum Accessing<'a> {
    /// A partner is given the receipt of an entry of its own.
    Receipt {
        /// Of which entry.
        place: &'a EntryAt,
        /// Nothing could be opened.
        erased: bool,
    },
    /// A wallet is shown who looked at a driver.
    List {
        /// Whose record.
        of: Whose<'a>,
        /// Not the first page.
        continued: bool,
    },
    /// A wallet is told of look-ups as they come.
    Watch {
        /// About how many drivers; 0: about every driver.
        holders: u16,
        /// It goes on where it was.
        continued: bool,
    },
    /// The operator holds look-ups back.
    HoldBackSet {
        /// From whom.
        of: Whose<'a>,
        /// What is kept.
        hold_back: &'a HoldBack,
    },
    /// The operator lifts a hold-back before its time.
    HoldBackLifted {
        /// From whom.
        of: Whose<'a>,
        /// Which.
        id: [u8; 16],
        /// Who lifts it.
        lifted_by: &'a str,
        /// Why.
        ground: &'a str,
    },
}

/// Whose record: pseudonym and handle of the entry derive from these.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// Who.
    pub subject: &'a SubjectId,
    /// The subject's own secret.
    pub secret: &'a SubjectSecret,
}

impl<'a> From<&'a Record> for Whose<'a> {
    fn from(record: &'a Record) -> Self {
        Self { subject: &record.subject, secret: &record.secret }
    }
}

/// Look-ups a driver is not told of for a while, because telling would endanger an investigation. It lifts itself. Implemented by
/// `registry`.
pub trait HoldBacks: Send + Sync + 'static {
    /// Keeps a hold-back, in place of one with the same subject and id; durable before this completes.
    fn set(&self, hold_back: HoldBack) -> Later<'_, Result<(), IndexUnavailable>>;

    /// Returns every hold-back of a subject, those that lifted themselves included, the one set last first.
    fn of_subject(&self, subject: SubjectId) -> Later<'_, Result<Vec<HoldBack>, IndexUnavailable>>;

    /// Lifts a hold-back before its time; durable before this completes. `false`: the subject has none of this id.
    fn lift(&self, subject: SubjectId, id: [u8; 16]) -> Later<'_, Result<bool, IndexUnavailable>>;
}

/// Look-ups of a subject that are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldBack {
    /// Names it.
    pub id: [u8; 16],
    /// Whose look-ups.
    pub subject: SubjectId,
    /// Look-ups by whom; `None`: every police check, whoever makes it.
    pub partner: Option<PartnerId>,
    /// Look-ups from this moment on …
    pub from: Timestamp,
    /// … are not told before this one: it lifts itself.
    pub until: Timestamp,
    /// Who set it.
    pub set_by: String,
    /// Why.
    pub ground: String,
    /// When it was set.
    pub set_at: Timestamp,
}
