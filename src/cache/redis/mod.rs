//! The second level: sealed facts in Redis. Over the same connection, replicas leave each other notes about requests (`notes`).
//!
//! Redis may lose, keep, reorder or invent anything: it can only cost time. Every value is sealed for its own key and carries its
//! position, and is judged like any other fact. Every call has a place, a budget and a breaker before it.

mod breaker;
mod level;
mod link;
mod notes;
mod options;
mod own;
mod parts;
mod seal;
mod writer;

#[cfg(test)]
mod tests;

pub use level::{CodecFault, RecordCodec, RedisLevel, RedisStartError};
pub use options::RedisOptions;
pub use seal::{RedisSecrets, SealingKey};
