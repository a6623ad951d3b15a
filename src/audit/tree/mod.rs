//! The Merkle tree over a log (RFC 6962 §2.1): grown beside the journal, signed, and proved from.
//!
//! May know: [`super::journal`]'s files, [`super::note`], the ports of `evidence`. Must not know: what an entry says.
//!
//! Read in this order: `tiles` (hashes in files, and proofs from them), `appender` (how they grow), `follower` (one thread that
//! takes durable entries, hashes, signs), `stored` (a log as whoever reads it sees it), `log_tree` (the part as a whole).
//!
//! Everything here but the checkpoint and the keys can be made again from the entries.

mod appender;
mod follower;
mod log_tree;
mod source;
mod stored;
#[cfg(test)]
mod tests;
mod tiles;

pub use follower::{TreeHealth, TreeOptions, TreeStats};
pub use log_tree::{LogTree, TreeError};
pub use source::{AllLogs, DiskLog};
pub use stored::{StoredLog, StoredLogError};
