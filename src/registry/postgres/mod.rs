//! The PostgreSQL store: the same sealed, versioned records as the embedded one, for more than one gateway.
//!
//! Read in this order: `layout` (which partition, and why), `migrations/` (the tables), [`PostgresRegistry`] (opened, checked
//! against its keys), `reading` (a look-up is one statement on one server), `writing` and `plan` (a batch is one
//! transaction), `intake` (so is a batch of the authority's changes), `look_ups` (the index over the logs), `book` (what drivers showed,
//! agreed to and took back), `tail` (how every other replica hears of it), `standing` (who may call, told by the same tail), `clock`
//! (how far this machine's is off), `claims` (who was claimed, told among replicas), `server` (when a new epoch begins).
//!
//! Every statement of a look-up or an import names its partition, so that it can be sent to one server of several. Those of the
//! intake name all partitions of a batch, to make a handful of round trips.

mod book;
mod claims;
mod clock;
mod connection;
mod feed;
mod inspect;
mod intake;
mod known;
mod layout;
mod look_ups;
mod options;
mod plan;
mod readers;
mod reading;
mod schema;
mod secrets;
mod server;
mod standing;
mod stats;
mod store;
mod tail;
mod temporary;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod walk;
mod writing;

pub use clock::ClockOffset;
pub use layout::PARTITIONS_MAX;
pub use options::{PostgresOptions, PostgresOptionsFault, Tables};
pub use schema::SCHEMA_VERSION;
pub use store::PostgresRegistry;
pub use tail::TailOptions;
pub use temporary::TemporarySchema;
