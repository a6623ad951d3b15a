//! Use case: a partner knocks. May it call now, and how much?
//!
//! May know: `domain`. Must not know: gRPC, TLS, stores, the adapters that implement its ports.

mod ports;
pub mod ratelimit;
pub mod standing;

pub use ports::{
    InFlight, LimitExceeded, LimitLevel, LimitMode, LimitWindow, Meters, RefusalLog, RefusalNote,
};
