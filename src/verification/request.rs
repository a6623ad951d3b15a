//! A parsed request: nothing in it is left to check but policy and contract.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::claim::Claim;
use crate::domain::disclosure::FieldSet;
use crate::domain::question::Question;
use crate::domain::subject::Position;

/// One question about one driver, parsed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who is asked about, on what ground.
    pub claim: Claim,
    /// What is asked.
    pub question: Question,
    /// The partner's serial: 1 to 64 visible ASCII characters.
    pub case_reference: String,
    /// The partner's category: 0 to 32 characters.
    pub case_category: String,
    /// The partner's employee: 1 to 64 visible ASCII characters.
    pub operator_id: String,
    /// Only what was recorded by then counts; `None`: now.
    pub known_at: Option<Timestamp>,
    /// Only what had been handed in by this position counts; `None`: all that was read.
    pub known_position: Option<Position>,
    /// The oldest reading accepted; `None`: the gateway's own bound.
    pub max_age: Option<Duration>,
    /// Fields asked for; empty: every permitted one.
    pub fields: FieldSet,
    /// Idempotency key: 8 to 64 characters.
    pub request_id: Option<String>,
}
