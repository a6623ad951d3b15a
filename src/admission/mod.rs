//! Use case: a partner knocks. May it call now, and how much?
//!
//! May know: `domain`. Must not know: gRPC, TLS, stores, the adapters that implement its ports.

pub mod claims;
pub mod line;
mod ports;
pub mod ratelimit;
mod retry_budget;
pub mod standing;
mod turns;

pub use ports::{
    InFlight, LimitExceeded, LimitLevel, LimitMode, LimitWindow, Meters, RefusalLog, RefusalNote,
};
pub use retry_budget::RetryBudget;
pub use turns::Turns;
