//! What issuing needs from outside.

use jiff::Timestamp;

use crate::domain::claim::ConsentEvidence;
use crate::domain::disclosure::FieldSet;
use crate::domain::licence::{Record, StopsFull};
use crate::domain::partner::{PartnerId, PartnerKind};
use crate::domain::presentation::{Presentation, PresentationId};
use crate::domain::question::Purpose;
use crate::domain::subject::SubjectId;
use crate::verification::ports::{EntryAt, EvidenceUnavailable, Later, StoreUnavailable};

/// Makes the texts of QR codes. Implemented by `tokens`, which owns the keys.
pub trait QrWriter: Send + Sync + 'static {
    /// Seals a presentation of kind QR into the text to show.
    ///
    /// # Errors
    /// [`Unsealable`]: no key, or a part the form has no room for. A person should look.
    fn write(&self, presentation: &Presentation) -> Result<String, Unsealable>;
}

/// A QR code cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the QR code cannot be sealed")]
pub struct Unsealable;

/// Randomness for ids and codes. Implemented by `tokens`.
pub trait Randomness: Send + Sync + 'static {
    /// Fills the bytes.
    ///
    /// # Errors
    /// [`NoRandomness`]. A person should look.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;
}

/// The random source failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the random source failed")]
pub struct NoRandomness;

/// Who the partners are. Implemented by `app` over the roster.
pub trait PartnerKinds: Send + Sync + 'static {
    /// Returns what kind of organisation a partner is; `None`: there is no contract of that id.
    fn kind_of(&self, partner: &PartnerId) -> Option<PartnerKind>;
}

/// Presentations as they are issued and taken back. QR codes are kept nowhere until they are spent. Implemented by `registry`.
pub trait PresentationBook: Send + Sync + 'static {
    /// Keeps a share code's presentation; durable before this completes. `false`: one of this id is kept already.
    fn keep(
        &self,
        presentation: Presentation,
        subject: SubjectId,
    ) -> Later<'_, Result<bool, StoreUnavailable>>;

    /// Takes back every use that is not spent: competes with redemptions for the same rows, durable before this completes.
    /// `None`: a share code nobody issued for this subject.
    fn revoke(&self, revocation: Revocation) -> Later<'_, Result<Option<RevokedUses>, StoreUnavailable>>;
}

/// What is taken back.
#[derive(Clone, Copy, Debug)]
pub struct Revocation {
    /// Which presentation. Of a QR code it is believed that it was issued: nothing of it is kept.
    pub id: PresentationId,
    /// Whose.
    pub subject: SubjectId,
    /// Until when a QR code that was issued just now could be spent.
    pub qr_ends_at: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// What became of the uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedUses {
    /// Nobody spent them, and nobody will.
    pub revoked: u16,
    /// Spent before.
    pub spent: u16,
}

/// The driver's side of consents. Implemented by `registry`.
pub trait DriverConsents: Send + Sync + 'static {
    /// Lists consents, newest first use first, at most `limit`, strictly before `before`.
    fn list(
        &self,
        subject: SubjectId,
        before: Option<ConsentPlace>,
        limit: usize,
    ) -> Later<'_, Result<Vec<ConsentOnBook>, StoreUnavailable>>;

    /// Withdraws a consent: notes it, and puts a stop on the subject's record, in one durable step through the feed. Returns since when, of a repeated
    /// withdrawal the first moment; `None`: the subject has no such consent.
    fn withdraw(
        &self,
        subject: SubjectId,
        consent: ConsentId,
        at: Timestamp,
    ) -> Later<'_, Result<Option<Timestamp>, StopFault>>;

    /// Puts an objection on the subject's record, durably and through the feed. Returns since when.
    fn object(
        &self,
        subject: SubjectId,
        partner: PartnerId,
        purpose: Purpose,
        at: Timestamp,
    ) -> Later<'_, Result<Timestamp, StopFault>>;
}

/// Why nothing was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopFault {
    /// The record holds as many stops as it may: one for each partner and purpose.
    #[error(transparent)]
    Full(#[from] StopsFull),
    /// Come back later; asking again is safe.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
}

/// Puts on record what a wallet did in a driver's name. Implemented by `audit`.
pub trait DeedLog: Send + Sync + 'static {
    /// Appends the entry of a deed; the future completes when it is durable.
    fn record_deed(&self, deed: &DeedToRecord<'_>) -> Later<'static, Result<EntryAt, EvidenceUnavailable>>;
}

/// What was done, by whom, for whom.
#[derive(Clone, Copy, Debug)]
pub struct DeedToRecord<'a> {
    /// When.
    pub at: Timestamp,
    /// Through which wallet.
    pub wallet: &'a PartnerId,
    /// Whose record.
    pub record: &'a Record,
    /// What.
    pub deed: Deed<'a>,
}

/// What a driver did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed<'a> {
    /// Withdrew a consent.
    Withdrawal(ConsentId),
    /// Objected.
    Objection {
        /// Against whom.
        against: &'a PartnerId,
        /// Against what.
        purpose: Purpose,
    },
}

/// Names a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsentId(pub [u8; 16]);

/// Where a consent stands in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentPlace {
    /// When it was first used.
    pub first_used_at: Timestamp,
    /// Which.
    pub id: ConsentId,
}

/// A consent a partner says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentOnBook {
    /// Its name.
    pub id: ConsentId,
    /// Who says so.
    pub partner: PartnerId,
    /// For what.
    pub purpose: Purpose,
    /// The fields that may have been released under it.
    pub fields: FieldSet,
    /// What the partner says of it.
    pub evidence: ConsentEvidence,
    /// The partner's category of the matter in which it was used last.
    pub case_category: String,
    /// When it was first used.
    pub first_used_at: Timestamp,
    /// Since when it is withdrawn.
    pub withdrawn_at: Option<Timestamp>,
}
