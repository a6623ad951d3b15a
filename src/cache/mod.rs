//! Adapter: facts in process and in Redis, and the freshness rule that admits them.
//!
//! May know: `domain`, `admission`, the ports of `verification`, `redis_link`. Must not know: other adapters, configuration, gRPC.
//!
//! Read in this order: [`freshness`](SlotTable) (may a fact still be used), `in_process` (where facts are held),
//! `flight` (many misses, one load), `access` (the way to the registry), `facts` (a look-up from end to end), `redis` (the second level).

mod access;
mod facts;
mod flight;
mod freshness;
mod in_process;
mod observer;
mod options;
mod redis;
mod watermark;

#[cfg(test)]
mod testing;

pub use access::RegistryAccess;
pub use facts::FactCache;
pub use freshness::{FeedAge, SlotTable};
pub use observer::{BreakerState, CacheObserver, RedisFault, StaleCause, Unobserved};
pub use options::{CacheOptions, FreshnessOptions};
pub use redis::{
    CodecFault, RecordCodec, RedisLevel, RedisOptions, RedisSecrets, RedisStartError, SealingKey,
};
pub use watermark::{FeedWatermark, Watermark};
