//! Plain structs read from TOML, parsed into domain types at start.
//!
//! May know: domain. Must not know: adapters, use cases.

mod hex;
pub mod partner;

pub use hex::{hex, unhex};
