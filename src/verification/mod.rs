//! Use case: a partner asks. Parse, authorise, look up, decide, disclose, record.
//!
//! May know: `domain`, `admission`'s words. Must not know: gRPC, stores, the adapters that implement its ports.

mod answer;
mod digest;
pub mod ports;
mod request;
mod retried;
mod verify;

pub use answer::{Answer, Confirmed, NoAnswer};
pub use request::Request;
pub use verify::{Caller, Verification};
