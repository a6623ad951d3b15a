//! Changes of the authority's stream: in, acknowledged, and (for our own client) out.

mod acknowledge;
mod compose;
mod parse;
#[cfg(test)]
mod tests;

pub(in crate::gateway) use acknowledge::{acknowledgement, rejection};
pub use compose::change_message;
pub(in crate::gateway) use parse::{ChangeRules, ParsedChange, parse_change};
