//! What admission needs from outside.

use std::time::Duration;

use crate::domain::partner::{Allowance, PartnerId};
use crate::domain::question::Purpose;

/// Holds partners to their rates. Implemented by `limits`.
pub trait Meters: Send + Sync + 'static {
    /// Spends one request from the rate and takes a place in flight. Never refunded; the place is freed on drop.
    ///
    /// # Errors
    /// [`LimitExceeded`] names the window and when to come back.
    fn spend(&self, partner: &PartnerId, allowance: &Allowance) -> Result<InFlight, LimitExceeded>;

    /// Takes a place in flight for a call that spends nothing (what is left, health), within a small rate of its own.
    ///
    /// # Errors
    /// [`LimitExceeded`] as for [`Self::spend`].
    fn look(&self, partner: &PartnerId, allowance: &Allowance) -> Result<InFlight, LimitExceeded>;

    /// Takes a place among the partner's connections; freed on drop.
    ///
    /// # Errors
    /// [`LimitExceeded`] with [`LimitWindow::Connections`].
    fn connect(&self, partner: &PartnerId, allowance: &Allowance) -> Result<InFlight, LimitExceeded>;

    /// Says what is left of every window; spends nothing.
    fn levels(&self, partner: &PartnerId, allowance: &Allowance) -> Vec<LimitLevel>;

    /// Says how rate and quota are kept now.
    fn mode(&self, _partner: &PartnerId, _allowance: &Allowance) -> LimitMode {
        LimitMode::Local
    }
}

/// A place in flight (or a connection); dropping it frees the place.
pub struct InFlight(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl InFlight {
    /// Wraps whatever frees the place when dropped.
    pub fn new(place: impl Send + Sync + 'static) -> Self {
        Self(Box::new(place))
    }
}

/// A window of one of the two meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitWindow {
    /// Requests per second with burst.
    Rate,
    /// Requests served at once.
    InFlight,
    /// Connections open at once.
    Connections,
    /// Answers per minute.
    QuotaMinute,
    /// Answers per hour.
    QuotaHour,
    /// Answers per day of China Standard Time.
    QuotaDay,
}

/// How rate and quota are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitMode {
    /// By this replica alone.
    Local,
    /// By the deployment: every replica spends from slices of one limit.
    Leased,
    /// The replicas cannot reach what they share: each keeps to its share.
    Divided,
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Which window.
    pub window: LimitWindow,
    /// Its limit.
    pub limit: u64,
    /// When to come back.
    pub retry_after: Duration,
}

/// What is left of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitLevel {
    /// Which window.
    pub window: LimitWindow,
    /// The most it admits.
    pub limit: u64,
    /// What is left.
    pub remaining: u64,
    /// When it is whole again (rate: when one more request is admitted).
    pub reset_after: Duration,
}

/// Puts refusals on record without making the caller wait. Implemented by `audit`.
pub trait RefusalLog: Send + Sync + 'static {
    /// Notes a refusal after authentication; identical ones of one second are counted as one entry.
    fn note(&self, refusal: RefusalNote<'_>);
}

/// One refusal.
#[derive(Clone, Copy, Debug)]
pub struct RefusalNote<'a> {
    /// Whose.
    pub partner: &'a PartnerId,
    /// The stable reason word of `error.proto`, without prefix.
    pub reason: &'static str,
    /// The purpose, when the request was read that far.
    pub purpose: Option<Purpose>,
}
