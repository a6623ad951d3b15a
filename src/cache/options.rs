//! Bounds of the in-process level and of the freshness rule, each with its reason.

use std::time::Duration;

/// How much is held in process, and how loads are bounded.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// Bytes of facts with a record. 256 MiB hold about 150,000 subjects.
    pub bytes_max: u64,
    /// Bytes of facts without one. A store of their own, so that a walk through unknown numbers cannot push the known out.
    pub negative_bytes_max: u64,
    /// How often one look-up reads anew because a change overtook its reading. Two overtakings in a row are
    /// already rare; the bound keeps a bulk import from holding a request.
    pub readings_max: u32,
    /// Look-ups that may go past the caches at once while the feed is stalled.
    pub bypass_places: usize,
    /// Loads that go on without a caller, so that impatient callers still warm the cache.
    pub abandoned_loads_max: usize,
    /// After this long a load is taken for lost: nobody joins it any more.
    pub load_time_max: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            negative_bytes_max: 16 << 20,
            readings_max: 4,
            bypass_places: 64,
            abandoned_loads_max: 256,
            load_time_max: Duration::from_secs(5),
        }
    }
}

/// How finely changes are told apart, and how old the feed may be.
#[derive(Clone, Copy, Debug)]
pub struct FreshnessOptions {
    /// Base-2 logarithm of the number of slots, 10 to 26. The default 19 takes 4 MiB, which a processor's caches hold: every look-up
    /// reads two slots, twice. A change makes one in 130,000 foreign facts be read anew.
    pub slots_log2: u8,
    /// How many partitions the registry's feed has: each has an equal part of the slots.
    pub partitions: u16,
    /// The oldest watermark under which a cached fact may be used.
    pub watermark_age_max: Duration,
}

impl Default for FreshnessOptions {
    fn default() -> Self {
        Self { slots_log2: 19, partitions: 1, watermark_age_max: Duration::from_secs(2) }
    }
}
