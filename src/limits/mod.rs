//! Adapter: rates, places in flight, quotas, question variation and guessed share codes, kept in this process,
//! and the line in front of the registry.
//!
//! May know: `domain`, the ports of `admission` and `verification`. Must not know: other adapters, config, gRPC.

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
#[cfg(test)]
mod testing;
mod windows;

pub use line::{ClassStats, LineOptions, LineStats, RegistryLine};
pub use local::{LimitOptions, LocalLimits};
