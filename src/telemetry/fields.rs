//! The names of every field in logs and spans. There is none for a driver: no number, name, plate, token or case.

/// The partner's id.
pub const PARTNER: &str = "partner";
/// The gateway's own id of a request, the one RequestInfo carries.
pub const REQUEST: &str = "request";
/// The method of the contract.
pub const METHOD: &str = "method";
/// The purpose of a question.
pub const PURPOSE: &str = "purpose";
/// The stable reason of a refusal or error.
pub const REASON: &str = "reason";
/// How a request ended.
pub const OUTCOME: &str = "outcome";
/// From which level the fact came.
pub const SOURCE: &str = "source";
/// How long it took, in microseconds.
pub const TOOK_US: &str = "took_us";
/// Lines of this reason left out since the last one.
pub const SUPPRESSED: &str = "suppressed";
/// The chain of causes, for the operator alone.
pub const CAUSES: &str = "causes";
