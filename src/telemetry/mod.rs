//! Metrics, traces and logs: all definitions in one place.
//!
//! May know: domain words. Must not know: use cases, adapters, config.

mod cells;
mod exposition;
pub mod fields;
pub mod labels;
pub mod logs;
mod metrics;
mod recorder;
pub mod traceparent;
pub mod traces;

pub use recorder::{Metrics, MetricsError};
