//! The wallet's requests become the use cases' words, and what they say becomes messages.

mod request;
mod response;
#[cfg(test)]
mod tests;

pub(in crate::gateway) use request::{
    ListAsked, parse_list, parse_object, parse_qr, parse_revoke, parse_share_code, parse_watch,
    parse_withdraw,
};
pub(in crate::gateway) use response::{
    accesses_message, consents_message, objected_message, qr_message, revoked_message, share_code_message,
    told_message, withdrawn_message,
};
