//! Between the generated messages and the domain's types: parsed once, at the edge.

mod change;
mod contract;
mod receipt;
mod request;
mod response;
mod wallet;
mod words;

pub use change::change_message;
pub(super) use change::{ChangeRules, ParsedChange, acknowledgement, parse_change, rejection};
pub(super) use contract::{claims_message, contract_message, limits_message};
pub(super) use receipt::{parse_receipt_request, receipt_message};
pub(super) use request::{FieldFault, RequestFault, RequestRules, parse_request};
pub(super) use response::answer_message;
pub(super) use wallet::{
    ListAsked, accesses_message, consents_message, objected_message, parse_list, parse_object, parse_qr,
    parse_revoke, parse_share_code, parse_watch, parse_withdraw, qr_message, revoked_message,
    share_code_message, told_message, withdrawn_message,
};
