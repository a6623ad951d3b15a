//! Metrics, traces and logs: all definitions in one place.
//!
//! May know: domain words. Must not know: use cases, adapters, config.

mod cells;
mod exposition;
pub mod labels;
mod metrics;
mod recorder;

pub use recorder::{Metrics, MetricsError};
