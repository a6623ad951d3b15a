//! Use case: the wallet issues presentations, takes them back, and speaks for the driver about consents.
//!
//! May know: `domain`, the ports of `verification`. Must not know: gRPC, stores, the adapters that implement its ports.

mod holder;
pub mod ports;
#[cfg(test)]
pub(crate) mod testing;

pub use holder::{Holders, KnownHolder, NoHolder};
