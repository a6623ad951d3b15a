//! The book of the embedded store, in a file of its own beside the registry's: what drivers showed, agreed to and took back.
//!
//! Its own, because a use must be spent durably before it counts, within a driver's patience, and the registry's one writer
//! may be busy with thousands of the authority's changes. It belongs to the registry all the same: it is bound to its id,
//! opened, backed up, restored, verified and compacted with it.
//!
//! ```text
//! uses        presentation (16) · use u16 -> 1 · request (16) · digest (16) · moment i64 µs · [entry u64 · log's name]
//!                                          | 2: taken back · moment i64 µs
//! codes       share code's id (16) -> as issued, sealed
//! ends        moment u64 s · share code's id (16) -> nothing: from then on its rows are swept
//! consents    subject (16) · consent (16) -> sealed
//! hold-backs  subject (16) · id (16) -> sealed
//! ```
//!
//! **Group commit**: one thread takes whatever waits, does it in one transaction, syncs once, and only then answers
//! everybody ([`line`]). Inside, one after the other: of two requests for a use the first has it. What is synced is a log before
//! the tree ([`log`]); the tree's file follows.

mod consents;
mod hold_backs;
pub(super) mod line;
mod log;
mod store;
pub(super) mod tables;
#[cfg(test)]
mod tests;
mod uses;
mod walk;
mod writer;

pub use store::BOOK_FILE;
pub(super) use store::{About, BOOK_LOG, Book, CACHE_BYTES, check, write_about};
