//! The first load of a registry: millions of whole histories at once.
//!
//! Subjects and pseudonyms are random, so what comes in one by one would touch a page each. A load deals sealed rows into
//! files by their key's first bits, sorts one file after the other in memory, and fills the tables in key order in one
//! transaction: all of it becomes visible at once, or nothing. What it spills is sealed, private, and removed at its end,
//! or when the store is next opened.

mod load;
mod spill;
#[cfg(test)]
mod tests;

pub use load::{BulkLoad, BulkReport, BulkWorker};
pub(super) use spill::SpillFolder;
