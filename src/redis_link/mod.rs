//! Leaf: how Redis is reached. The level of facts and the leases of limits connect the same way.
//!
//! May know: nobody. Must not know: what is kept in Redis, configuration, gRPC.

mod address;

pub use address::{RedisAddress, RedisAddressFault, RedisClientIdentity};
