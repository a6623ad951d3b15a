//! Writes facts to Redis off the request path: a bounded queue, one task, batches.
//!
//! Whatever goes wrong, the fact is simply not there next time. After a failure nothing is written for a pause, so that a
//! full or read-only Redis is not hammered.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::link::{self, Link, VALUE_BYTES_MAX};
use super::seal::Sealer;
use super::{RecordCodec, RedisOptions};
use crate::cache::{CacheObserver, RedisFault};
use crate::domain::licence::Record;
use crate::domain::subject::{NumberPseudonym, Position};

/// A fact to be written.
pub(super) struct ToWrite {
    pub(super) pseudonym: NumberPseudonym,
    pub(super) record: Option<Arc<Record>>,
    pub(super) position: Position,
}

/// The queue's entrance.
pub(super) struct Writer {
    queue: mpsc::Sender<ToWrite>,
    observer: Arc<dyn CacheObserver>,
    task: AbortHandle,
}

struct Writing {
    link: Arc<Link>,
    sealer: Arc<Sealer>,
    codec: Arc<dyn RecordCodec>,
    observer: Arc<dyn CacheObserver>,
    options: RedisOptions,
}

/// Facts in one round trip.
const BATCH_MAX: usize = 64;

impl Writer {
    pub(super) fn start(
        link: Arc<Link>,
        sealer: Arc<Sealer>,
        codec: Arc<dyn RecordCodec>,
        observer: Arc<dyn CacheObserver>,
        options: RedisOptions,
        runtime: &Handle,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(options.writes_waiting_max.max(1));
        let writing = Writing { link, sealer, codec, observer: Arc::clone(&observer), options };
        let task = runtime.spawn(async move { writing.run(waiting).await }).abort_handle();
        Self { queue, observer, task }
    }

    /// Queues a fact, or drops it when the queue is full.
    pub(super) fn offer(&self, fact: ToWrite) {
        match self.queue.try_send(fact) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.observer.redis_not_written(RedisFault::Busy),
            Err(TrySendError::Closed(_)) => self.observer.redis_not_written(RedisFault::NotAsked),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writing {
    async fn run(self, mut waiting: mpsc::Receiver<ToWrite>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let Err(cause) = self.write(&batch).await else {
                batch.clear();
                continue;
            };
            batch.drain(..).for_each(|_| self.observer.redis_not_written(cause));
            sleep(self.options.write_pause).await;
        }
    }

    async fn write(&self, batch: &[ToWrite]) -> Result<(), RedisFault> {
        let mut connection = self.link.connection().ok_or(RedisFault::NotAsked)?;
        let mut pipeline = redis::pipe();
        let mut written = false;
        for fact in batch {
            let name = self.sealer.name(fact.pseudonym);
            let Some(value) = self.seal(&name, fact) else {
                self.observer.redis_not_written(RedisFault::Unwritable);
                continue;
            };
            let time_to_live_ms = link::millis(self.options.time_to_live);
            pipeline.cmd("SET").arg(&name[..]).arg(value).arg("PX").arg(time_to_live_ms).ignore();
            written = true;
        }
        if !written {
            return Ok(());
        }
        match timeout(self.options.write_time_max, pipeline.query_async::<()>(&mut connection)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(link::cause(&error)),
            Err(_elapsed) => Err(RedisFault::Timeout),
        }
    }

    fn seal(&self, name: &super::seal::RedisKey, fact: &ToWrite) -> Option<Vec<u8>> {
        let encoded = fact.record.as_ref().map(|record| Zeroizing::new(self.codec.encode(record)));
        let value = self.sealer.seal(name, fact.position, encoded.as_ref().map(|bytes| bytes.as_slice()))?;
        Some(value).filter(|value| value.len() <= VALUE_BYTES_MAX)
    }
}
