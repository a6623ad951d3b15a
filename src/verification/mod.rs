//! Use case: a partner asks. Parse, authorise, look up, decide, disclose, record.
//!
//! May know: `domain`, `admission`'s words. Must not know: gRPC, stores, the adapters that implement its ports.

pub mod ports;
