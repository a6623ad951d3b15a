//! The licence registry: who holds what, as a history, sealed at rest; its change feed, import and synthetic
//! population; and the index over the logs.
//!
//! May know: `domain`, the ports of `verification`, `intake` and `evidence`. Must not know: other adapters, gRPC, configuration.
//!
//! Read in this order: [`submission`] (what comes in), [`codec`] (what lies on disk), [`store`] (the port of stores), [`embedded`] and
//! [`postgres`] (where it lies),
//! [`import`] and [`generator`] (how it gets there).

mod book;
#[cfg(test)]
mod book_suite;
mod changes;
pub mod codec;
pub mod embedded;
pub mod export;
pub mod generator;
pub mod import;
pub mod keys;
#[cfg(test)]
mod look_ups_suite;
pub mod postgres;
mod pseudonyms;
mod sealing;
mod secrets;
#[cfg(test)]
mod secrets_suite;
pub mod store;
pub mod submission;
#[cfg(test)]
mod suite;

pub use embedded::{EmbeddedLookUps, EmbeddedRegistry, RegistryError, RegistryOptions, StoreError};
pub use keys::{KeyFault, RegistryKeys};
pub use postgres::PostgresRegistry;
pub use store::{FeedHeads, LicenceStore};
pub use submission::{Extent, NewChange, NewSubject, Outcome, Rejection, Submission};
