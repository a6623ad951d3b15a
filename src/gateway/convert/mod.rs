//! Between the generated messages and the domain's types: parsed once, at the edge.

mod contract;
mod request;
mod response;
mod words;

pub(super) use contract::{contract_message, limits_message};
pub(super) use request::{FieldFault, RequestRules, parse_request};
pub(super) use response::answer_message;
