//! Adapter: rates, places in flight, quotas, question variation and guessed share codes, kept in this process; rates and quotas leased
//! from Redis where several replicas serve one deployment.
//!
//! May know: `domain`, the ports of `admission` and `verification`, `redis_link`. Must not know: other adapters, config, gRPC.

mod guesses;
mod keyed;
mod lease;
mod leasing;
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

pub use lease::{LeaseObserver, LeaseOutcome, LimitLeases};
pub use local::{LimitOptions, LocalLimits};
