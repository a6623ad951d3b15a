//! Adapter: rates, places in flight, quotas, question variation, guessed share codes and the bounds on claims, kept in this process,
//! and the line in front of the registry.
//!
//! May know: `domain`, the ports of `admission` and `verification`. Must not know: other adapters, config, gRPC.

mod claims;
mod guesses;
mod keyed;
mod line;
mod local;
mod partners;
mod places;
mod questions;
mod quotas;
mod rate;
mod request_ids;
mod subjects;
#[cfg(test)]
mod testing;
mod tripwire;
mod windows;

pub use claims::{Alarmed, ClaimLimits, PastClaim};
pub use line::{ClassStats, LineOptions, LineStats, RegistryLine};
pub use local::{LimitOptions, LocalLimits};
