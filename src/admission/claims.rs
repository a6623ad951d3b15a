//! What replicas tell each other about claims: who was claimed, and how many claims came to nothing.

use jiff::Timestamp;

use super::standing::Later;
use crate::domain::partner::PartnerId;

/// News about claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimNews {
    /// Numbers claimed.
    pub marks: Vec<MarkNews>,
    /// Unconfirmed claims.
    pub tallies: Vec<TallyNews>,
}

/// A number was claimed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MarkNews {
    /// By whom.
    pub partner: PartnerId,
    /// Within the window that began then.
    pub window_began: Timestamp,
    /// Eight bytes of the number's keyed pseudonym.
    pub mark: u64,
    /// When the replica that heard the claim told of it.
    pub told_at: Timestamp,
}

/// So many claims came to nothing, on one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TallyNews {
    /// Whose.
    pub partner: PartnerId,
    /// Counted from then on.
    pub since: Timestamp,
    /// How many so far; it only grows.
    pub unconfirmed: u64,
}

/// What the others had to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Every mark put down after the one heard last, our own included; the others' tallies as they stand.
    pub news: ClaimNews,
    /// Up to where marks are known now.
    pub up_to: u64,
    /// No mark that was put down lies beyond it; else the next exchange goes on from there.
    pub is_all: bool,
}

/// Where replicas tell each other about claims. Implemented by `registry` where the registry is shared.
pub trait SharedClaims: Send + Sync + 'static {
    /// Leaves our news, durably, and returns the others': marks put down after `after` (0: all there are), of windows that are open
    /// `now`.
    ///
    /// # Errors
    /// [`ClaimsUnshared`]: our news may have been left all the same; leaving them twice is harmless.
    fn exchange(
        &self,
        news: ClaimNews,
        now: Timestamp,
        after: u64,
    ) -> Later<'_, Result<Heard, ClaimsUnshared>>;
}

/// The replicas' common store cannot be reached now.
#[derive(Debug, thiserror::Error)]
#[error("claims cannot be shared with the other replicas")]
pub struct ClaimsUnshared(#[source] pub Box<dyn std::error::Error + Send + Sync>);
