//! What a verification of something shown needs from outside.

use std::time::Duration;

use jiff::Timestamp;

use super::{EntryAt, Later, QuestionDigest};
use crate::domain::partner::PartnerId;
use crate::domain::presentation::{Presentation, PresentationId, ShareCode};

/// Opens the texts of QR codes. Implemented by `tokens`, which owns the keys. Touches no store.
pub trait QrReader: Send + Sync + 'static {
    /// Opens a text as it was scanned.
    ///
    /// # Errors
    /// [`QrFault`].
    fn read(&self, text: &str) -> Result<Presentation, QrFault>;
}

/// Why a text is no QR code of this deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QrFault {
    /// Not in the form of one: another code was scanned, or a part of one.
    #[error("the text is not in the form of a QR code of an e-licence")]
    Malformed,
    /// In the form of one, but not sealed by a live key of this deployment, or changed since.
    #[error("the QR code was not made by this deployment, or was changed, or is of an old key")]
    NotGenuine,
}

/// Names share codes: only the keyed name is kept, never the code. Implemented by `tokens`, which owns the key: the same on every
/// replica, and for as long as codes live.
pub trait ShareCodeIds: Send + Sync + 'static {
    /// Derives the id of a code: HMAC-SHA-256 over its symbols, first 16 bytes, marked as a share code's. Touches no store.
    fn id(&self, code: &ShareCode) -> PresentationId;
}

/// Who spent what: one conditional write on the registry's primary, no cache in its way. Implemented by `registry`.
pub trait Redemptions: Send + Sync + 'static {
    /// Finds what a share code was issued as, by its id; `None`: nobody issued it, or it is long over.
    fn share_code(&self, id: PresentationId) -> Later<'_, Result<Option<Presentation>, StoreUnavailable>>;

    /// Spends a use for a request: (presentation, use) ← (partner, request id, digest). Durable before this completes. The
    /// request that spent a use before is told so and spends no other.
    fn redeem(&self, redemption: Redemption) -> Later<'_, Result<Redeemed, StoreUnavailable>>;

    /// Notes where the answer of a redemption stands: every redemption after this completes is told so. Of two answers of one
    /// redemption the first is kept. It may become durable some milliseconds later: the entry is on record, and the use is this request's.
    fn settle(
        &self,
        id: PresentationId,
        use_number: u16,
        place: EntryAt,
    ) -> Later<'_, Result<(), StoreUnavailable>>;
}

/// A request that wants to spend a use.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// Of which presentation.
    pub id: PresentationId,
    /// How many uses it has.
    pub uses_max: u16,
    /// Its first moment: one issued before a backup that was restored is spent no more, because its uses may be unknown.
    pub issued_at: Timestamp,
    /// The end of its time: nothing about it need be kept for longer than ten minutes and the clocks' skew after it. What is kept
    /// while grounds and accesses are (3 years) is the log's.
    pub expires_at: Timestamp,
    /// Whether a use may be spent now; `false`: only an earlier redemption of this request is looked for.
    pub may_spend: bool,
    /// Who asks.
    pub partner: PartnerId,
    /// The partner's idempotency key.
    pub request_id: String,
    /// Digest of the whole request.
    pub digest: QuestionDigest,
    /// Now.
    pub at: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// A use is spent, by this request.
    Now {
        /// Which, from 1.
        use_number: u16,
    },
    /// This request had spent a use before.
    Before {
        /// Which, from 1.
        use_number: u16,
        /// When.
        at: Timestamp,
        /// Where its answer stands, as far as that was noted.
        place: Option<EntryAt>,
    },
    /// The partner used the request id on this presentation with another content.
    OtherContent,
    /// Every use is spent by others.
    Used,
    /// The driver took back what was left.
    Revoked,
    /// `may_spend` was false and this request had not spent a use.
    NotBefore,
}

/// The store cannot be read or written now. Come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store unavailable")]
pub struct StoreUnavailable;

/// Limits how often a partner may try share codes that are not accepted. Implemented by `limits`.
pub trait GuessBudget: Send + Sync + 'static {
    /// Says whether another share code may be tried, before it is looked up.
    ///
    /// # Errors
    /// [`GuessesExceeded`].
    fn may_try(&self, partner: &PartnerId) -> Result<(), GuessesExceeded>;

    /// Counts a share code that was not accepted.
    fn missed(&self, partner: &PartnerId);
}

/// Too many share codes that were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuessesExceeded {
    /// When the next may be tried.
    pub retry_after: Duration,
}
