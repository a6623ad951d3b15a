//! A multiplexed connection, to a server or a Cluster, and the keeper that brings it back.
//!
//! The keeper runs on the background runtime: it connects, probes and reconnects, so that no request ever does. A request that finds no
//! connection, or an open breaker, goes on to the registry at once. Cores have connections beside the keeper's ([`own`]); breakers and
//! probes are for all of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use super::RedisOptions;
use super::own::{self, Generation};
use super::parts::Parts;
use super::seal::RedisKey;
use crate::cache::{CacheObserver, RedisFault};
use crate::domain::time::Clock;
use crate::redis_link::{Connection, RedisClient, slot};
use crate::verification::ports::Deadline;

pub(super) struct Link {
    /// The keeper's. Changed by [`Link::renew`] alone.
    connection: ArcSwapOption<Connection>,
    pub(super) generation: Generation,
    parts: Parts,
    trouble: Notify,
    places: Semaphore,
    read_time_max: Duration,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn CacheObserver>,
}

/// The longest value that is read or written; a record of some hundred changes has a few kilobytes.
pub(super) const VALUE_BYTES_MAX: usize = 64 << 10;
/// The same as a word: it goes out with every read.
pub(super) const LAST_BYTE_READ: &str = "65536";
/// What the words of a read take.
const READ_BYTES: usize = "GETRANGE".len() + size_of::<RedisKey>() + "0".len() + LAST_BYTE_READ.len();
/// Reads at least this fraction of the full budget count for the breaker; a shorter one says more about the caller.
const TELLING_FRACTION: u32 = 4;
pub(super) const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Between two rounds of probes for failures that turn out to be none.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

impl Link {
    /// Returns a link that is not connected yet. `has_slots`: to a Cluster.
    pub(super) fn new(
        options: &RedisOptions,
        has_slots: bool,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CacheObserver>,
    ) -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            generation: Generation::default(),
            parts: Parts::new(options, has_slots, Arc::clone(&observer)),
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

    /// Says whether requests ask now, for some keys at least.
    pub(super) fn is_asked(&self) -> bool {
        self.parts.any_closed()
    }

    /// Says whether requests ask now, whatever the key.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.all_closed()
    }

    /// Returns the longest a read may take for a caller that grants so much. Nothing, if Redis is not asked now.
    pub(super) fn budget(&self, granted: Duration) -> Duration {
        if self.is_asked() { self.read_time_max.min(granted) } else { Duration::ZERO }
    }

    /// Returns how much time is left.
    pub(super) fn left(&self, deadline: Deadline) -> Duration {
        deadline.since_boot.saturating_sub(self.clock.since_boot())
    }

    /// Returns a handle of the connection, while the breaker before a key is closed.
    pub(super) fn connection(&self, key: &[u8]) -> Option<Connection> {
        self.connection_to(self.parts.of(key))
    }

    fn connection_to(&self, part: usize) -> Option<Connection> {
        if !self.parts.is_closed(part) {
            return None;
        }
        own::of_this_thread(self).or_else(|| self.connection.load().as_deref().cloned())
    }

    /// Says whether the keeper has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Replaces the keeper's connection, and with it those of the cores.
    fn renew(&self, connection: Option<Connection>) {
        self.connection.store(connection.map(Arc::new));
        self.generation.renew();
    }

    /// Tells the operator of a fault.
    pub(super) fn tell(&self, fault: RedisFault) {
        self.observer.redis_failed(fault);
    }

    /// Returns what commands must have in common to go out in one pipeline: a Cluster takes one slot's at a time.
    pub(super) fn batch_of(&self, key: &[u8]) -> u16 {
        if self.parts.are_slots() { slot(key) } else { 0 }
    }

    /// Reads a value. `None`: there is none, or Redis did not give it.
    pub(super) async fn read(&self, key: &[u8], budget: Duration) -> Option<Vec<u8>> {
        let ask = |mut connection| async move { read_range(&mut connection, key).await };
        self.ask(key, budget, ask).await.filter(|value| !value.is_empty())
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
        let (written, there) = self.ask(key, budget, ask).await?;
        Some(written.is_none().then_some(there))
    }

    /// Asks within a budget: a place, the breaker before the key, the connection.
    async fn ask<T, F>(&self, key: &[u8], budget: Duration, ask: impl FnOnce(Connection) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let part = self.parts.of(key);
        let Some(connection) = self.connection_to(part).filter(|_| !budget.is_zero()) else {
            self.observer.redis_failed(RedisFault::NotAsked);
            return None;
        };
        let Ok(_place) = self.places.try_acquire() else {
            self.observer.redis_failed(RedisFault::Busy);
            return None;
        };
        match timeout(budget, ask(connection)).await {
            Ok(Ok(answer)) => {
                self.parts.succeeded(part);
                Some(answer)
            }
            Ok(Err(error)) => {
                self.failed(part, &error);
                None
            }
            Err(_elapsed) => {
                self.observer.redis_failed(RedisFault::Timeout);
                if budget >= self.read_time_max / TELLING_FRACTION {
                    self.count_failure(part);
                }
                None
            }
        }
    }

    fn failed(&self, part: usize, error: &RedisError) {
        self.observer.redis_failed(cause(error));
        if error.is_unrecoverable_error() {
            self.parts.open(part);
            // The connection to a Cluster outlives those to its nodes.
            if self.parts.are_slots() {
                self.generation.renew();
            } else {
                self.renew(None);
            }
            self.trouble.notify_one();
        } else {
            self.count_failure(part);
        }
    }

    /// Counts a failure. In a Cluster the first one makes the keeper look at all parts: what hangs behind the neighbours' breakers
    /// opens them before they have counted for themselves.
    fn count_failure(&self, part: usize) {
        let opened = self.parts.failed(part, self.clock.since_boot());
        if opened {
            // It may be a core's own that hangs, and no probe would find it out.
            self.generation.renew();
        }
        if opened || self.parts.are_slots() {
            self.trouble.notify_one();
        }
    }

    /// Reads a key of every part; returns which answered, and why none did if none did.
    async fn probe(&self, connection: &Connection, time_max: Duration) -> Result<Vec<bool>, RedisFault> {
        let probes = self.parts.probe_keys().map(|key| async move {
            match timeout(time_max, read_range(&mut connection.clone(), key.as_bytes())).await {
                Ok(outcome) => outcome.map(drop).map_err(|error| cause(&error)),
                Err(_elapsed) => Err(RedisFault::Timeout),
            }
        });
        let outcomes = join_all(probes).await;
        if outcomes.iter().all(Result::is_err) {
            return Err(outcomes.into_iter().find_map(Result::err).unwrap_or(RedisFault::Disconnected));
        }
        Ok(outcomes.iter().map(Result::is_ok).collect())
    }
}

async fn keep(link: &Link, client: &RedisClient, options: &RedisOptions) {
    let mut pause = RECONNECT_PAUSE;
    loop {
        match connect_and_probe(link, client, options).await {
            Ok((connection, answered)) => {
                link.renew(Some(connection.clone()));
                link.parts.probed(&answered);
                pause = RECONNECT_PAUSE;
                stay(link, connection, options).await;
            }
            Err(fault) => {
                link.observer.redis_failed(fault);
                // The rest of a Cluster that lost a part is asked over the old connection until there is a better one.
                let nothing_is_left = link.connection.load().is_none();
                if nothing_is_left {
                    link.parts.open_all();
                }
                sleep(pause).await;
                pause = (pause * 2).min(options.reconnect_pause_max);
                if nothing_is_left {
                    link.parts.half_open();
                }
            }
        }
    }
}

/// Stays with a connection until it is lost, or a part of it does not answer two probes. A Cluster is connected to anew then: what
/// its client knows of slots and nodes may be from before a failover, and callers who leave early never make it look.
async fn stay(link: &Link, connection: Connection, options: &RedisOptions) {
    loop {
        if link.parts.all_closed() {
            link.trouble.notified().await;
        }
        if link.connection.load().is_none() {
            return;
        }
        if !link.parts.all_closed() {
            sleep(options.probe_every).await;
            link.parts.half_open();
        } else if !link.parts.are_slots() || !link.parts.any_failing() {
            continue; // Word from before the last probe.
        }
        let were_open = !link.parts.all_closed();
        match link.probe(&connection, probe_time_max(options)).await {
            Ok(answered) => link.parts.probed(&answered),
            Err(_none_answered) => {
                // It is not used again: what is still queued on it dies with it.
                link.renew(None);
                link.parts.open_all();
                return;
            }
        }
        match link.parts.all_closed() {
            true => sleep(ROUND_PAUSE).await,
            false if were_open => return,
            false => {}
        }
    }
}

/// Connects on the calling runtime, within a bound.
pub(super) async fn connect(client: &RedisClient, time_max: Duration) -> Result<Connection, RedisFault> {
    let connected = timeout(time_max, client.connect()).await.map_err(|_elapsed| RedisFault::Timeout)?;
    connected.map_err(|error| cause(&error))
}

async fn connect_and_probe(
    link: &Link,
    client: &RedisClient,
    options: &RedisOptions,
) -> Result<(Connection, Vec<bool>), RedisFault> {
    let connection = connect(client, options.connect_time_max).await?;
    let answered = link.probe(&connection, probe_time_max(options)).await?;
    Ok((connection, answered))
}

fn probe_time_max(options: &RedisOptions) -> Duration {
    options.read_time_max * TELLING_FRACTION
}

/// Reads at most one byte more than a value may have: what somebody else left under our key must not fill our memory.
async fn read_range(connection: &mut Connection, key: &[u8]) -> Result<Vec<u8>, RedisError> {
    let mut command = Cmd::with_capacity(4, READ_BYTES);
    command.arg("GETRANGE").arg(key).arg("0").arg(LAST_BYTE_READ);
    Ok(redis::from_redis_value(connection.ask(&command).await?.extract_error()?)?)
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
