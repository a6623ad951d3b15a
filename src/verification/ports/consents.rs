//! Consents that partners say they have.

use jiff::Timestamp;

use super::{Soon, StoreUnavailable};
use crate::domain::claim::ConsentEvidence;
use crate::domain::disclosure::FieldSet;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;
use crate::domain::subject::SubjectId;

/// Keeps every consent a confirmed claim was answered on, so that the driver can see and withdraw it. Grounds of other kinds are told by
/// the log alone: they have nothing that it does not hold. Implemented by `registry`.
pub trait ConsentBook: Send + Sync + 'static {
    /// Notes that a consent is being used. Durable before this completes; at once when it is known to be.
    fn note<'a>(&'a self, used: &ConsentUsed<'_>) -> Soon<'a, Result<(), StoreUnavailable>>;
}

/// A consent that is being used. The same (subject, partner, purpose, obtained, digest) is the same consent.
#[derive(Clone, Copy, Debug)]
pub struct ConsentUsed<'a> {
    /// Whose.
    pub subject: SubjectId,
    /// Who says it was given.
    pub partner: &'a PartnerId,
    /// For what.
    pub purpose: Purpose,
    /// The fields that may be released under it.
    pub fields: FieldSet,
    /// What the partner says of it.
    pub evidence: &'a ConsentEvidence,
    /// The partner's category of the matter.
    pub case_category: &'a str,
    /// Now.
    pub at: Timestamp,
}
