//! Adapter: rates, places in flight, quotas, question variation, guessed share codes and the bounds on claims, kept in this process; rates and
//! quotas leased from Redis where several replicas serve one deployment; and the line in front of the registry.
//!
//! May know: `domain`, the ports of `admission` and `verification`, `redis_link`. Must not know: other adapters, config, gRPC.

mod claims;
mod guesses;
mod keyed;
mod lease;
mod leasing;
mod line;
mod local;
mod meter;
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
pub use lease::{LeaseObserver, LeaseOutcome, LimitLeases};
pub use line::{ClassStats, LineOptions, LineStats, RegistryLine};
pub use local::{LimitOptions, LocalLimits};
