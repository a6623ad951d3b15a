//! Use case: a partner asks. Parse, authorise, look up, decide, disclose, record.
//!
//! Two ways lead to the same judgement: what a driver showed (`shown`), and what a partner claims (`claimed`). `verify` tells them
//! apart, `judge` looks up and decides, `record` puts on record and answers.
//!
//! May know: `domain`, `admission`'s words. Must not know: gRPC, stores, the adapters that implement its ports.

#[cfg(test)]
mod age_tests;
mod answer;
mod claimed;
#[cfg(test)]
mod claimed_tests;
mod digest;
mod judge;
pub mod ports;
mod record;
mod request;
mod retried;
mod scanner;
mod shown;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verify;

pub use answer::{Answer, Confirmed, NoAnswer, ShownRefusal};
pub use request::{About, QrText, Request, Shown};
pub use verify::{Caller, Verification};
