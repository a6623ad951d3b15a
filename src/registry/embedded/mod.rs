//! The embedded store: one redb file, records sealed, numbers only as keyed pseudonyms, one writer, a few reader threads; and
//! beside it the book (`book`), with a file and a writer of its own.
//!
//! A commit is durable before its writer hears of it, and every observer hears of it in between. A reading and the feed's
//! head it is told at come from one snapshot.

mod backup;
mod book;
mod bulk;
mod compact;
mod error;
mod feed;
mod filling;
pub(in crate::registry) mod intake;
mod look_ups;
pub(in crate::registry) mod merge;
mod newcomer;
mod preparing;
mod progress;
mod readers;
mod secrets;
mod stats;
mod stops;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod writer;

pub use backup::{BackupError, BackupReport, RestoreReport, restore};
pub use book::BOOK_FILE;
pub use bulk::{BulkLoad, BulkReport, BulkWorker};
pub use compact::{CompactReport, compact};
pub use error::{RegistryError, StoreError};
pub use feed::FeedRow;
pub use look_ups::{EmbeddedLookUps, LOOK_UPS_FILE};
pub use progress::{Progress, Stage, Watcher};
pub use readers::Reader;
pub use stats::RegistryStats;
pub use store::{EmbeddedRegistry, RegistryOptions, STORE_FILE};
pub use verify::{Finding, VerifyReport};
