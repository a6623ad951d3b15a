//! What replicas tell each other about claims: who was claimed, how many claims came to nothing, and what was asked about whom more than
//! once.

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
    /// Different questions about one subject.
    pub questions: Vec<QuestionNews>,
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

/// One of several different questions about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuestionNews {
    /// Who asked.
    pub partner: PartnerId,
    /// `key` is a subject under a case reference; else a subject and purpose.
    pub is_case: bool,
    /// Eight keyed bytes of whom, or of which case.
    pub key: u64,
    /// Four keyed bytes of what.
    pub question: u32,
    /// When it was asked first.
    pub asked_at: Timestamp,
}

/// What the others had to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Every mark and question put down after the one heard last, our own included; the others' tallies as they stand. Questions may be
    /// told again.
    pub news: ClaimNews,
    /// Up to where marks and questions are known now.
    pub up_to: u64,
    /// Nothing that was put down lies beyond it; else the next exchange goes on from there.
    pub is_all: bool,
}

/// Where replicas tell each other about claims. Implemented by `registry` where the registry is shared.
pub trait SharedClaims: Send + Sync + 'static {
    /// Leaves our news, durably, and returns the others': what was put down after `after` (0: all there is), of windows that are open
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
