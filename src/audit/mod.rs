//! Adapter: the journal every answer is in before it leaves.
//!
//! May know: `domain`, the ports of `verification` and `admission`. Must not know: other adapters, configuration, gRPC.
//!
//! [`entry`] says what an entry's bytes are, [`keys`] where pseudonyms and openings come from, [`journal`] how entries get
//! onto disk before anyone is answered, [`check`] what an auditor does with the files. `docs/evidence.md` specifies every byte for strangers.

pub mod check;
pub mod entry;
pub mod journal;
pub mod keys;
mod log;

pub use journal::{
    ClosedReason, Durable, Journal, JournalHealth, JournalObserver, JournalOptions, JournalReader,
    JournalStats, JournalStep, LogWalk, NoObserver, OpenError, ReadError, StepFailure, StoredEntry, Walked,
};
