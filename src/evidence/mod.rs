//! Use case: what is on record is shown to those whom it concerns: a receipt to the partner that asked, who looked to the driver.
//!
//! May know: `domain`, `admission`'s words, `verification`'s ports, how `issuing` finds a wallet's holders. Must not know: files,
//! stores, gRPC, the adapters that implement its ports.

mod accesses;
#[cfg(test)]
mod accesses_tests;
mod get_receipt;
mod hold_backs;
mod list_accesses;
pub mod ports;
#[cfg(test)]
mod tests;
mod watch_accesses;

pub use accesses::{Access, Accesses, NotShown};
pub use get_receipt::{Asked, NoReceipt, Receipt, ReceiptCaller, Receipts};
pub use hold_backs::{GROUND_BYTES_MAX, HoldBackDesk, HoldBackWanted, NoHoldBack, SETTER_BYTES_MAX};
pub use list_accesses::AccessPage;
pub use watch_accesses::{LOOKED_BACK_MAX, NewLookUp, Told, WATCHED_HOLDERS_MAX, WatchEnd, Watching};
