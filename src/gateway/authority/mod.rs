//! `AuthorityService`: streams of changes, each with a session of its own.

mod handlers;
mod session;
mod streams;

pub(super) use handlers::AuthorityHandlers;
pub(super) use streams::StreamPlace;
pub use streams::Streams;
