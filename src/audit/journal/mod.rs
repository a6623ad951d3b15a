//! Gets entries onto disk before anyone is answered.
//!
//! May know: `domain`'s clock and words, [`super::entry`]'s refusals, [`super::note`]'s checkpoint, files. Must not know: what an answer is.
//!
//! Read in this order: `queue` (callers push frames into one buffer), `writer` (one thread takes what has gathered, writes,
//! syncs, and settles the whole batch; `crate::waking` wakes each core once per sync), `segment`, `frame` and `storage`
//! (bytes), `folder` (whose log this is), `reader`, `walk` and `entries` (what is on disk, from the first to the last, whatever
//! its state, or at a known place).

mod entries;
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
mod walk;
mod writer;

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod tests;

pub use entries::{EntryFiles, Place, Walk};
pub(in crate::audit) use folder::is_origin;
pub use handle::Journal;
pub use options::{JournalOptions, OpenError};
pub use queue::Durable;
pub(in crate::audit) use queue::Extent;
pub use reader::{JournalReader, ReadError, StoredEntry};
pub(in crate::audit) use segment::segment_path;
pub use stats::{
    ClosedReason, JournalHealth, JournalObserver, JournalStats, JournalStep, NoObserver, StepFailure,
};
pub(in crate::audit) use storage::sync_folder;
pub use walk::{Flaw, LogWalk, Walked};
