//! The Merkle tree over a log (RFC 6962 §2.1): grown beside the journal, signed, and proved from.
//!
//! May know: [`super::journal`]'s files, [`super::note`], the ports of `evidence`. Must not know: what an entry says.
//!
//! Read in this order: `tiles` (hashes in files, and proofs from them), `appender` (how they grow), `follower` (one thread that
//! takes durable entries, hashes, signs), `stored` (a log as whoever reads it sees it), `log_tree` (the part as a whole), `shelf`
//! (all logs of a folder), `peer` (another replica's, over HTTP), `cosign` (what witnesses sign), `witness` (one), `submit` (how
//! they are asked).
//!
//! Everything here but the checkpoint and the keys can be made again from the entries.

mod appender;
mod cosign;
mod follower;
mod log_tree;
mod peer;
mod prune;
#[cfg(test)]
mod remote_tests;
mod shelf;
mod site;
mod source;
mod stored;
mod submit;
#[cfg(test)]
mod tests;
mod tiles;
mod witness;

pub use cosign::{WitnessKey, WitnessVerifier};
pub use follower::{TreeHealth, TreeOptions, TreeStats};
pub use log_tree::{LogTree, TreeError};
pub use peer::{PeerFault, PeerLog};
pub use prune::Prunable;
pub use shelf::Shelf;
pub use source::{AllLogs, DiskLog};
pub use stored::{StoredLog, StoredLogError};
pub use submit::WitnessSite;
pub use witness::{Witness, WitnessRefusal};
