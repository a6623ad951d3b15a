//! Gets entries onto disk before anyone is answered.
//!
//! May know: `domain`'s clock and words, [`super::entry`]'s refusals, files. Must not know: what an answer is.
//!
//! Read in this order: `queue` (callers push frames into one buffer), `writer` (one thread takes what has gathered, writes,
//! syncs, and settles the whole batch), `waiters` (each core is woken once per sync), `segment`, `frame` and `storage`
//! (bytes), `folder` (whose log this is), `reader` and `walk` (what is on disk).

mod folder;
mod frame;
mod handle;
mod options;
mod past_cache;
mod queue;
mod reader;
mod refusals;
mod segment;
mod stats;
mod storage;
mod waiters;
mod walk;
mod writer;

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod tests;

pub use handle::Journal;
pub use options::{JournalOptions, OpenError};
pub use queue::Durable;
pub use reader::{JournalReader, ReadError, StoredEntry};
pub use stats::{
    ClosedReason, JournalHealth, JournalObserver, JournalStats, JournalStep, NoObserver, StepFailure,
};
pub use walk::{Flaw, LogWalk, Walked};
