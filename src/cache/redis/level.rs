//! The Redis level as the look-up sees it: fetch within a budget, offer and forget.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use super::link::{Link, VALUE_BYTES_MAX};
use super::notes::RedisNotes;
use super::own;
use super::seal::Sealer;
use super::writer::{ToWrite, Writer};
use super::{RedisOptions, RedisSecrets};
use crate::cache::{CacheObserver, RedisFault};
use crate::domain::licence::Record;
use crate::domain::subject::{NumberPseudonym, Position};
use crate::domain::time::Clock;
use crate::redis_link::{RedisAddressFault, RedisClient};
use crate::verification::ports::SharedNotes;

/// Encodes records. The registry has such an encoding; the application hands it in.
pub trait RecordCodec: Send + Sync + 'static {
    /// Encodes a record, its version included.
    fn encode(&self, record: &Record) -> Vec<u8>;

    /// Decodes a record.
    ///
    /// # Errors
    /// [`CodecFault`] for anything `encode` would not have written, unknown versions included.
    fn decode(&self, bytes: &[u8]) -> Result<Record, CodecFault>;
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes do not decode to a record")]
pub struct CodecFault;

/// Why the level cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RedisStartError {
    /// The address cannot work whatever Redis does.
    #[error(transparent)]
    Address(#[from] RedisAddressFault),
    /// The cipher library is out of memory.
    #[error("no cipher could be made of the key")]
    Cipher,
}

/// Sealed facts in one Redis, a server or a Cluster.
pub struct RedisLevel {
    link: Arc<Link>,
    sealer: Arc<Sealer>,
    codec: Arc<dyn RecordCodec>,
    observer: Arc<dyn CacheObserver>,
    writer: Writer,
    keeper: AbortHandle,
    /// What a core connects with.
    client: RedisClient,
    options: RedisOptions,
    notes: Arc<RedisNotes>,
}

impl RedisLevel {
    /// Starts the level. Redis need not be there: it is connected to in the background, on `runtime`.
    ///
    /// # Errors
    /// [`RedisStartError`], whatever Redis does.
    pub fn start(
        options: RedisOptions,
        secrets: &RedisSecrets,
        codec: Arc<dyn RecordCodec>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CacheObserver>,
        runtime: &Handle,
    ) -> Result<Self, RedisStartError> {
        let client = options.address.client()?;
        let link = Arc::new(Link::new(&options, client.has_slots(), clock, Arc::clone(&observer)));
        let sealer = Arc::new(Sealer::new(secrets).map_err(|_unspecified| RedisStartError::Cipher)?);
        let keeper = link.keep(client.clone(), options.clone(), runtime);
        let notes = RedisNotes::new(&link, &sealer, &observer, &options, runtime);
        let writer = Writer::start(
            Arc::clone(&link),
            Arc::clone(&sealer),
            Arc::clone(&codec),
            Arc::clone(&observer),
            options.clone(),
            runtime,
        );
        Ok(Self { link, sealer, codec, observer, writer, keeper, client, options, notes: Arc::new(notes) })
    }

    /// Returns the task that keeps a core's own connection. Spawn one on each core's own runtime; other threads share one.
    pub(in crate::cache) fn core_task(&self) -> impl Future<Output = ()> + Send + 'static {
        own::keep(Arc::clone(&self.link), self.client.clone(), self.options.clone())
    }

    /// Returns the notes replicas leave each other over the same connection.
    pub fn notes(&self) -> Arc<dyn SharedNotes> {
        Arc::clone(&self.notes) as _
    }

    /// Says whether this thread asks over a connection of its own.
    #[cfg(test)]
    pub(super) fn asks_by_itself(&self) -> bool {
        own::of_this_thread(&self.link).is_some()
    }

    /// Says whether all of Redis is asked now: not before the first connection, and not while a breaker is open.
    pub(in crate::cache) fn is_whole(&self) -> bool {
        self.link.is_whole()
    }

    /// Returns how long a fetch may take for a caller that grants so much; zero while Redis is not asked.
    pub(in crate::cache) fn budget(&self, granted: Duration) -> Duration {
        self.link.budget(granted)
    }

    /// Fetches a fact. `None`: a miss, whatever the reason. Whether it may be used is not judged here.
    pub(in crate::cache) async fn fetch(
        &self,
        pseudonym: NumberPseudonym,
        budget: Duration,
    ) -> Option<(Option<Record>, Position)> {
        let name = self.sealer.name(pseudonym)?;
        // Opened where it lies, and overwritten when it is done with.
        let mut value = Zeroizing::new(self.link.read(&name, budget).await?);
        let opened = match value.len() {
            ..=VALUE_BYTES_MAX => self.sealer.open(&name, &mut value).ok(),
            _ => None,
        };
        let Some(opened) = opened else {
            self.observer.redis_failed(RedisFault::Unsealable);
            return None;
        };
        let Some(encoded) = opened.record else { return Some((None, opened.position)) };
        match self.codec.decode(encoded) {
            Ok(record) => Some((Some(record), opened.position)),
            Err(CodecFault) => {
                self.observer.redis_failed(RedisFault::Undecodable);
                None
            }
        }
    }

    /// Hands a fact over to be written some time, perhaps.
    pub(in crate::cache) fn offer(
        &self,
        pseudonym: NumberPseudonym,
        record: Option<Arc<Record>>,
        position: Position,
    ) {
        self.writer.offer(ToWrite { pseudonym, record, position });
    }
}

impl Drop for RedisLevel {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}
