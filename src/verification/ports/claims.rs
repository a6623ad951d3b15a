//! How many people a partner may claim to know.

use std::time::Duration;

use crate::domain::partner::{ClaimTerms, PartnerId};
use crate::domain::subject::{NumberPseudonym, SubjectId};

/// Holds partners to the bounds on claims. Implemented by `limits`. Nothing here waits for anybody.
pub trait ClaimWatch: Send + Sync + 'static {
    /// Says how long every claim of the partner waits before anything is done about it; usually not at all.
    ///
    /// # Errors
    /// [`ClaimRefused::Stopped`].
    fn pace(&self, partner: &PartnerId, terms: &ClaimTerms) -> Result<Duration, ClaimRefused>;

    /// Admits a claim about a number: one that was claimed within the window before, or for which the budget has room. Called after
    /// authorise, before the look-up.
    ///
    /// # Errors
    /// [`ClaimRefused`]; which number it is makes no difference but by what this partner claimed itself.
    fn admit(
        &self,
        partner: &PartnerId,
        terms: &ClaimTerms,
        number: NumberPseudonym,
    ) -> Result<Admission, ClaimRefused>;

    /// The number leads to this subject. Says whether the subject was claimed before the start, as the log told: then the number is known
    /// from now on.
    fn found(
        &self,
        partner: &PartnerId,
        terms: &ClaimTerms,
        number: NumberPseudonym,
        subject: &SubjectId,
    ) -> bool;

    /// Returns the refusal for a number that was admitted only if it leads to such a subject, and does not.
    fn spent(&self, partner: &PartnerId, terms: &ClaimTerms) -> ClaimRefused;

    /// A claim came to nothing: no such number, another name, a protected person.
    fn unconfirmed(&self, partner: &PartnerId, terms: &ClaimTerms);

    /// Says what is left; spends nothing.
    fn level(&self, partner: &PartnerId, terms: &ClaimTerms) -> ClaimLevel;
}

/// How a claim is within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Known,
    /// The budget is spent, but the log of before the start names subjects whose numbers have not been seen since: it is, if it leads to one
    /// of them.
    IfRecalled,
}

/// Why a claim is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimRefused {
    /// As many different numbers were claimed as the contract allows.
    SubjectsSpent {
        /// How many that is …
        subjects_max: u32,
        /// … within so many hours.
        window_hours: u8,
        /// When the window ends.
        retry_after: Duration,
    },
    /// Too many claims came to nothing: none is answered until an operator lets the partner claim again.
    Stopped,
}

/// What is left of the bounds on claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLevel {
    /// Different numbers that may still be claimed in this window.
    pub remaining: u64,
    /// When the window ends.
    pub reset_after: Duration,
    /// Claims wait, because many came to nothing.
    pub is_slowed: bool,
    /// Claims are not answered, because too many came to nothing.
    pub is_stopped: bool,
}
