//! Adapter: the journal every answer is in before it leaves.
//!
//! May know: `domain`, the ports of `verification`, `evidence` and `admission`. Must not know: other adapters, configuration, gRPC.
//!
//! [`entry`] says what an entry's bytes are, [`keys`] where pseudonyms and openings come from, [`journal`] how entries get
//! onto disk before anyone is answered, [`tree`] how they are hashed, signed and proved, [`note`] with which keys, [`check`] what
//! an auditor does with the files, [`IndexFeed`] how look-ups get into the index. `docs/evidence.md` specifies every byte for strangers.

pub mod check;
pub mod entry;
mod index_feed;
pub mod journal;
pub mod keys;
mod log;
pub mod note;
mod opener;
mod recall;
pub mod receipt;
pub mod tree;

pub use index_feed::{BATCH_ENTRIES_MAX, FeedFault, FeedObserver, IndexFeed, look_up_in};
pub use journal::{
    ClosedReason, Durable, Journal, JournalHealth, JournalObserver, JournalOptions, JournalReader,
    JournalStats, JournalStep, LogWalk, NoObserver, OpenError, ReadError, StepFailure, StoredEntry, Walked,
};
pub use note::{LogVerifier, NoteFault};
pub use opener::Opener;
pub use recall::{RecallBounds, RecalledClaim, recall, recall_claims};
pub use tree::{
    AllLogs, DiskLog, LogTree, PeerFault, PeerLog, Prunable, Shelf, StoredLog, StoredLogError, TreeError,
    TreeHealth, TreeOptions, TreeStats, Witness, WitnessKey, WitnessRefusal, WitnessSite, WitnessVerifier,
};
