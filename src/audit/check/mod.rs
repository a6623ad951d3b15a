//! The auditor's side: is a log what it should be, and what does it say? Computed from the entries alone.
//!
//! May know: [`super::journal`]'s files, [`super::entry`], [`super::note`]'s signatures. Must not know: how the tree that is
//! served was made; what is rebuilt here is held against its files.
//!
//! [`fsck`](self::fsck::check) rebuilds the tree and says the first bad index, [`consistency`] proves that one size of the log is
//! the beginning of another, [`export`] writes entries as lines, [`stats`] counts them and holds a bill against the counts.

pub mod consistency;
pub mod export;
pub mod fsck;
pub mod stats;
mod tiles;
mod tree;

#[cfg(test)]
mod tests;

pub use consistency::{ConsistencyProof, ProveError, prove};
pub use export::{ExportLine, Selection};
pub use fsck::{Finding, FindingKind, FsckOptions, FsckReport, TreeHead, check};
pub use stats::{Bill, BillError, BillLine, Line, LogStats};
pub use tree::TreeHash;
