//! Plain structs read from TOML, parsed into domain types at start.
//!
//! May know: domain. Must not know: adapters, use cases.

pub mod gateway;
mod hex;
pub mod limits;
pub mod partner;
pub mod postgres;
pub mod presentations;
pub mod redis;
pub mod rules;
mod secret;
pub mod witness;

pub use gateway::GatewayConfig;
pub use hex::{hex, unhex};
pub use secret::SecretText;
