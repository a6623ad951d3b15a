//! Use case: what is on record is shown to those whom it concerns: a receipt to the partner that asked, who looked to the driver.
//!
//! May know: `domain`, `admission`'s words, `verification`'s ports. Must not know: files, stores, gRPC, the adapters that
//! implement its ports.

mod get_receipt;
pub mod ports;
#[cfg(test)]
mod tests;

pub use get_receipt::{Asked, NoReceipt, Receipt, ReceiptCaller, Receipts};
