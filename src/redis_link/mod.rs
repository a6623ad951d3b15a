//! Leaf: how Redis is reached, one server or a Cluster. The level of facts and the leases of limits connect the same way.
//!
//! May know: nobody. Must not know: what is kept in Redis, configuration, gRPC.

mod address;
mod connection;
#[cfg(test)]
pub(crate) mod testing;

pub use address::{RedisAddress, RedisAddressFault, RedisClientIdentity, RedisPlace};
pub use connection::{Connection, RedisClient};
