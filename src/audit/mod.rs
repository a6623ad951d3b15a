//! Adapter: the journal every answer is in before it leaves.
//!
//! May know: `domain`, the ports of `verification`, `evidence` and `admission`. Must not know: other adapters, configuration, gRPC.
//!
//! [`entry`] says what an entry's bytes are, [`keys`] where pseudonyms and openings come from, [`journal`] how entries get
//! onto disk before anyone is answered, [`tree`] how they are hashed, signed and proved, [`note`] with which keys. `docs/evidence.md` specifies every byte for strangers.

pub mod entry;
pub mod journal;
pub mod keys;
mod log;
pub mod note;
pub mod tree;

pub use journal::{
    ClosedReason, Durable, Journal, JournalHealth, JournalObserver, JournalOptions, JournalReader,
    JournalStats, JournalStep, NoObserver, OpenError, ReadError, StepFailure, StoredEntry,
};
pub use note::{LogVerifier, NoteFault};
pub use tree::{
    AllLogs, DiskLog, LogTree, PeerFault, PeerLog, Prunable, Shelf, StoredLog, StoredLogError, TreeError,
    TreeHealth, TreeOptions, TreeStats, Witness, WitnessKey, WitnessRefusal, WitnessSite, WitnessVerifier,
};
