//! How long anything may wait for Redis, and how much.

use std::time::Duration;

use crate::redis_link::RedisAddress;

/// The bounds of the Redis level.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where it is.
    pub address: RedisAddress,
    /// The longest a read may take; half of the caller's remaining time if that is less. 50 ms are fifty slow replies.
    pub read_time_max: Duration,
    /// The longest a batch of writes may take. Nobody waits for it.
    pub write_time_max: Duration,
    /// The longest connecting and the first probe may take.
    pub connect_time_max: Duration,
    /// Reads under way at once; one more is a miss.
    pub reads_in_flight_max: usize,
    /// Facts waiting to be written; one more is dropped.
    pub writes_waiting_max: usize,
    /// How long Redis keeps a value. Memory hygiene only.
    pub time_to_live: Duration,
    /// Failures in a row that open the breaker.
    pub failures_max: u32,
    /// An unbroken run of failures this long opens it earlier, so that it opens in time under light load too.
    pub failing_time_max: Duration,
    /// Time between probes while the breaker is open.
    pub probe_every: Duration,
    /// The longest pause between attempts to connect.
    pub reconnect_pause_max: Duration,
    /// How long nothing is written after a write failed.
    pub write_pause: Duration,
}

impl RedisOptions {
    /// Returns the defaults for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            address: RedisAddress::new(url),
            read_time_max: Duration::from_millis(50),
            write_time_max: Duration::from_millis(500),
            connect_time_max: Duration::from_secs(1),
            reads_in_flight_max: 1_024,
            writes_waiting_max: 4_096,
            time_to_live: Duration::from_secs(3_600),
            failures_max: 5,
            failing_time_max: Duration::from_millis(500),
            probe_every: Duration::from_millis(500),
            reconnect_pause_max: Duration::from_secs(2),
            write_pause: Duration::from_secs(1),
        }
    }
}
