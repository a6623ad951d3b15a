//! What the layers and handlers of one call tell each other.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::refusal::Refusal;
use crate::domain::decision::Decision;
use crate::domain::partner::Contract;
use crate::domain::question::Purpose;
use crate::identity::Connection;
use crate::telemetry::labels::Method;
use crate::verification::ports::Deadline;

/// One call. Lives in the request's extensions.
pub(super) struct CallContext {
    /// Names this call in error details, logs and traces.
    pub(super) id: CallId,
    /// Which method was called.
    pub(super) method: Method,
    /// The connection it came on.
    pub(super) connection: Connection,
    /// When it arrived, since boot.
    pub(super) arrived: Duration,
    /// When its answer is worthless; `None`: the caller's deadline is malformed.
    pub(super) deadline: Option<Deadline>,
    /// The contract in force, once the standing was read.
    pub(super) contract: OnceLock<Arc<Contract>>,
    /// The purpose, once the request was read that far.
    pub(super) purpose: OnceLock<Purpose>,
    /// The decision, once there is one.
    pub(super) decision: OnceLock<Decision>,
    /// How long the answer may be handed over; not set: at any time.
    pub(super) leaving: OnceLock<Leaving>,
    /// Why there is no answer.
    pub(super) refusal: OnceLock<Refusal>,
}

impl CallContext {
    /// Notes why a handler gives no answer. The layer that makes statuses reads it; the status returned here is never
    /// sent.
    pub(super) fn refuse(&self, refusal: Refusal) -> tonic::Status {
        let _first_wins = self.refusal.set(refusal);
        tonic::Status::unknown("")
    }
}

/// The end of an answer's time.
pub(super) struct Leaving {
    /// The last moment, since boot, at which it may be handed over.
    pub(super) by: Duration,
    /// Called when that moment had passed, before the caller is told; `None`: nobody keeps the answer.
    pub(super) held_back: Option<Box<dyn Fn() + Send + Sync>>,
}

/// Names a call: random, so that two of them tell nothing about the calls in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallId(pub(super) u64);

impl std::fmt::Display for CallId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}
