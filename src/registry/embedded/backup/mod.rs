//! Backups: one file that holds a snapshot of the store, sealed as the store is, and whole or refused.
//!
//! ```text
//! file    = "drivegate-registry-backup 1\n" · block × n
//! block   = kind u8 · length u32 · payload · CRC-32 of all before in the block u32
//! 1 store = number of subjects u64 · (name length u32 · name · value length u32 · value) × every fact of the store
//! 2 numbers · 3 records · 4 feed = (key · value) × n, in order, as the store holds them; where a key or value has no fixed
//!           size, its length u32 stands ahead of it
//! 6 to 10 = what the intake keeps, 11 to 15 = the book, as 2 to 4
//! 5 end   = HMAC-SHA-256 of the file up to this block
//! ```
//!
//! Integers of the frame are big-endian. The CRC finds rot where it is; the HMAC's key derives from the registry's keys, so that only
//! somebody who has them can make a backup that is restored. The keys are not in it: without them it is noise.

mod blocks;
mod error;
mod restore;
mod save;
#[cfg(test)]
mod tests;

pub use error::BackupError;
pub(super) use restore::move_into_place;
pub use restore::{RestoreReport, restore};
pub use save::BackupReport;
