//! Use case: what is on record is shown to those whom it concerns: a receipt to the partner that asked, who looked to the driver.
//!
//! May know: `domain`, `admission`'s words, `verification`'s ports. Must not know: files, stores, gRPC, the adapters that
//! implement its ports.

pub mod ports;
