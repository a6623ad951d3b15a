//! The licence registry: who holds what, as a history, sealed at rest; its change feed, import and synthetic population.
//!
//! May know: `domain`, the ports of `verification`. Must not know: other adapters, gRPC, configuration.
//!
//! Read in this order: [`submission`] (what comes in), [`codec`] (what lies on disk), [`embedded`] (where it lies),
//! [`import`] and [`generator`] (how it gets there).

pub mod codec;
pub mod embedded;
pub mod export;
pub mod generator;
pub mod import;
pub mod keys;
mod pseudonyms;
mod sealing;
pub mod submission;
#[cfg(test)]
mod suite;

pub use embedded::{EmbeddedRegistry, RegistryError, RegistryOptions, StoreError};
pub use keys::{KeyFault, RegistryKeys};
pub use submission::{Extent, NewChange, NewSubject, Outcome, Rejection, Submission};
