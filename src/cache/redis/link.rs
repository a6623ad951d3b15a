//! One multiplexed connection, and the keeper that brings it back.
//!
//! The keeper runs on the background runtime: it connects, probes and reconnects, so that no request ever does. A request that finds no
//! connection, or an open breaker, goes on to the registry at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use super::RedisOptions;
use super::breaker::Breaker;
use crate::cache::{CacheObserver, RedisFault};
use crate::domain::time::Clock;
use crate::redis_link::{Connection, RedisClient};
use crate::verification::ports::Deadline;

pub(super) struct Link {
    connection: ArcSwapOption<Connection>,
    breaker: Breaker,
    trouble: Notify,
    places: Semaphore,
    read_time_max: Duration,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn CacheObserver>,
}

/// The longest value that is read or written; a record of some hundred changes has a few kilobytes.
pub(super) const VALUE_BYTES_MAX: usize = 64 << 10;
/// Reads at least this fraction of the full budget count for the breaker; a shorter one says more about the caller.
const TELLING_FRACTION: u32 = 4;
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// The keeper reads this key as requests read theirs: what they may not do, it may not either.
const PROBE_KEY: &str = "dg:1:probe";

impl Link {
    pub(super) fn new(
        options: &RedisOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CacheObserver>,
    ) -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            breaker: Breaker::new(options.failures_max, options.failing_time_max, Arc::clone(&observer)),
            trouble: Notify::new(),
            places: Semaphore::new(options.reads_in_flight_max),
            read_time_max: options.read_time_max,
            clock,
            observer,
        }
    }

    /// Starts the keeper.
    pub(super) fn keep(
        self: &Arc<Self>,
        client: RedisClient,
        options: RedisOptions,
        runtime: &Handle,
    ) -> tokio::task::AbortHandle {
        let link = Arc::clone(self);
        runtime.spawn(async move { keep(&link, &client, &options).await }).abort_handle()
    }

    /// Says whether requests ask now.
    pub(super) fn is_asked(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Returns the longest a read may take for a caller that grants so much. Nothing, if Redis is not asked now.
    pub(super) fn budget(&self, granted: Duration) -> Duration {
        if self.breaker.is_closed() { self.read_time_max.min(granted) } else { Duration::ZERO }
    }

    /// Returns how much time is left.
    pub(super) fn left(&self, deadline: Deadline) -> Duration {
        deadline.since_boot.saturating_sub(self.clock.since_boot())
    }

    /// Returns a handle of the connection, while the breaker is closed.
    pub(super) fn connection(&self) -> Option<Connection> {
        self.breaker.is_closed().then(|| self.connection.load().as_deref().cloned()).flatten()
    }

    /// Reads a value. `None`: there is none, or Redis did not give it.
    pub(super) async fn read(&self, key: &[u8], budget: Duration) -> Option<Vec<u8>> {
        let ask = |mut connection| async move { read_range(&mut connection, key).await };
        self.ask(budget, ask).await.filter(|value| !value.is_empty())
    }

    /// Writes a value unless there is one, and reads what is there then: `Some(None)` if it is the one written. `None`: Redis did
    /// not answer.
    #[allow(clippy::option_option, reason = "unanswered and unoccupied are two things")]
    pub(super) async fn write_or_read(
        &self,
        key: &[u8],
        value: &[u8],
        time_to_live: Duration,
        budget: Duration,
    ) -> Option<Option<Vec<u8>>> {
        let ask = |mut connection: Connection| async move {
            let mut both = redis::pipe();
            both.cmd("SET").arg(key).arg(value).arg("NX").arg("PX").arg(millis(time_to_live));
            both.cmd("GETRANGE").arg(key).arg(0).arg(VALUE_BYTES_MAX);
            both.query_async::<(Option<String>, Vec<u8>)>(&mut connection).await
        };
        let (written, there) = self.ask(budget, ask).await?;
        Some(written.is_none().then_some(there))
    }

    /// Asks within a budget: a place, the connection, the breaker.
    async fn ask<T, F>(&self, budget: Duration, ask: impl FnOnce(Connection) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let Some(connection) = self.connection().filter(|_| !budget.is_zero()) else {
            self.observer.redis_failed(RedisFault::NotAsked);
            return None;
        };
        let Ok(_place) = self.places.try_acquire() else {
            self.observer.redis_failed(RedisFault::Busy);
            return None;
        };
        match timeout(budget, ask(connection)).await {
            Ok(Ok(answer)) => {
                self.breaker.succeeded();
                Some(answer)
            }
            Ok(Err(error)) => {
                self.failed(&error);
                None
            }
            Err(_elapsed) => {
                self.observer.redis_failed(RedisFault::Timeout);
                if budget >= self.read_time_max / TELLING_FRACTION {
                    self.count_failure();
                }
                None
            }
        }
    }

    fn failed(&self, error: &RedisError) {
        self.observer.redis_failed(cause(error));
        if error.is_unrecoverable_error() {
            self.breaker.open();
            self.connection.store(None);
            self.trouble.notify_one();
        } else {
            self.count_failure();
        }
    }

    fn count_failure(&self) {
        if self.breaker.failed(self.clock.since_boot()) {
            self.trouble.notify_one();
        }
    }
}

async fn keep(link: &Link, client: &RedisClient, options: &RedisOptions) {
    let mut pause = RECONNECT_PAUSE;
    loop {
        // A connection that was lost or did not answer its probe is not used again: what is still queued on it dies with it.
        link.connection.store(None);
        match timeout(options.connect_time_max, connect(client)).await {
            Ok(Ok(connection)) => {
                link.connection.store(Some(Arc::new(connection.clone())));
                link.breaker.close();
                pause = RECONNECT_PAUSE;
                stay(link, connection, options).await;
            }
            failed => {
                link.observer.redis_failed(failed.map_or(RedisFault::Timeout, |outcome| {
                    outcome.err().as_ref().map_or(RedisFault::Disconnected, cause)
                }));
                link.breaker.open();
                sleep(pause).await;
                pause = (pause * 2).min(options.reconnect_pause_max);
                link.breaker.half_open();
            }
        }
    }
}

/// Stays with a connection until it is lost, or a probe on it fails.
async fn stay(link: &Link, mut connection: Connection, options: &RedisOptions) {
    loop {
        link.trouble.notified().await;
        if link.connection.load().is_none() {
            return;
        }
        if link.breaker.is_closed() {
            continue; // Word from before the last probe.
        }
        sleep(options.probe_every).await;
        link.breaker.half_open();
        match timeout(options.read_time_max * TELLING_FRACTION, probe(&mut connection)).await {
            Ok(Ok(())) => link.breaker.close(),
            _ => {
                link.breaker.open();
                return;
            }
        }
    }
}

async fn connect(client: &RedisClient) -> Result<Connection, RedisError> {
    let mut connection = client.connect().await?;
    probe(&mut connection).await?;
    Ok(connection)
}

async fn probe(connection: &mut Connection) -> Result<(), RedisError> {
    read_range(connection, PROBE_KEY.as_bytes()).await.map(drop)
}

/// Reads at most one byte more than a value may have: what somebody else left under our key must not fill our memory.
async fn read_range(connection: &mut Connection, key: &[u8]) -> Result<Vec<u8>, RedisError> {
    redis::cmd("GETRANGE").arg(key).arg(0).arg(VALUE_BYTES_MAX).query_async(connection).await
}

/// Returns a time to live as Redis takes it: none is not one.
pub(super) fn millis(time_to_live: Duration) -> u64 {
    u64::try_from(time_to_live.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Sorts an error of the client or the server into our closed set. The text stays behind: it may name keys.
pub(super) fn cause(error: &RedisError) -> RedisFault {
    if error.is_timeout() {
        return RedisFault::Timeout;
    }
    // Asked this way because an error of a batch does not tell its code otherwise, and OOM has no kind of its own.
    let replied = error.clone().into_server_errors();
    if replied.is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "OOM")) {
        return RedisFault::Full;
    }
    match error.kind() {
        ErrorKind::Io => RedisFault::Disconnected,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => RedisFault::ReadOnly,
        _ if error.is_unrecoverable_error() => RedisFault::Disconnected,
        _ => RedisFault::Refused,
    }
}
