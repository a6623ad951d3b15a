//! Adapter: the journal every answer is in before it leaves.
//!
//! May know: `domain`, the ports of `verification` and `admission`. Must not know: other adapters, configuration, gRPC.
//!
//! [`entry`] says what an entry's bytes are, [`keys`] where pseudonyms and openings come from, [`journal`] how entries get
//! onto disk before anyone is answered. `docs/evidence.md` specifies every byte for strangers.

pub mod entry;
pub mod journal;
pub mod keys;
mod log;

pub use journal::{
    ClosedReason, Journal, JournalHealth, JournalObserver, JournalOptions, JournalReader, JournalStats,
    JournalStep, NoObserver, OpenError, ReadError, StoredEntry,
};
