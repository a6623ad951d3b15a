//! Metrics, traces and logs
//!
//! May know:  all definitions in one place.. Must not know: domain words:use cases, adapters.
