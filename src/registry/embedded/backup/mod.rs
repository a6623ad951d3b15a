//! Backups: one file that holds a snapshot of the store, sealed as the store is, and whole or refused.
//!
//! ```text
//! file    = "drivegate-registry-backup 1\n" · block × n
//! block   = kind u8 · length u32 · payload · CRC-32 of all before in the block u32
//! 1 store = format u32 · registry id 16 · epoch u32 · head u64 · counts u64 × 3 (numbers, records, feed rows)
//!           · pseudonym check 16 · sealing check
//! 2 numbers = (pseudonym 16 · subject 16) × n, in order
//! 3 records = (subject 16 · length u32 · sealed) × n, in order
//! 4 feed  = (seq u64 · length u32 · row) × n, in order
//! 5 end   = HMAC-SHA-256 of the file up to this block
//! ```
//!
//! Integers are big-endian. The CRC finds rot where it is; the HMAC's key derives from the registry's keys, so that only
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
