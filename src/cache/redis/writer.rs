//! Writes facts to Redis off the request path: a bounded queue, one task, batches.
//!
//! Whatever goes wrong, the fact is simply not there next time. After a failure nothing is written for a pause, so that a
//! full or read-only Redis is not hammered.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::Pipeline;
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
use crate::redis_link::Connection;

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
            let written = self.write(&batch).await;
            batch.clear();
            if written.is_err() {
                sleep(self.options.write_pause).await;
            }
        }
    }

    /// Writes what is asked for now; the rest is told and dropped. In a Cluster each slot's facts go out by themselves.
    async fn write(&self, batch: &[ToWrite]) -> Result<(), RedisFault> {
        let mut pipelines = HashMap::new();
        for fact in batch {
            let Some(name) = self.sealer.name(fact.pseudonym) else {
                self.observer.redis_not_written(RedisFault::Unwritable);
                continue;
            };
            let Some(connection) = self.link.connection(&name) else {
                self.observer.redis_not_written(RedisFault::NotAsked);
                continue;
            };
            let Some(value) = self.seal(&name, fact) else {
                self.observer.redis_not_written(RedisFault::Unwritable);
                continue;
            };
            let (pipeline, _) =
                pipelines.entry(self.link.batch_of(&name)).or_insert_with(|| (redis::pipe(), connection));
            let time_to_live_ms = link::millis(self.options.time_to_live);
            pipeline.cmd("SET").arg(&name[..]).arg(value).arg("PX").arg(time_to_live_ms).ignore();
        }
        let writes = pipelines.into_values().map(|(pipeline, connection)| self.send(pipeline, connection));
        join_all(writes).await.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }

    /// Sends facts; tells of each that was not written.
    async fn send(&self, pipeline: Pipeline, mut connection: Connection) -> Result<(), RedisFault> {
        let sent = timeout(self.options.write_time_max, pipeline.query_async::<()>(&mut connection)).await;
        let outcome = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => link::cause(&error),
            Err(_elapsed) => RedisFault::Timeout,
        };
        (0..pipeline.len()).for_each(|_| self.observer.redis_not_written(outcome));
        Err(outcome)
    }

    fn seal(&self, name: &super::seal::RedisKey, fact: &ToWrite) -> Option<Vec<u8>> {
        let encoded = fact.record.as_ref().map(|record| Zeroizing::new(self.codec.encode(record)));
        let value = self.sealer.seal(name, fact.position, encoded.as_ref().map(|bytes| bytes.as_slice()))?;
        Some(value).filter(|value| value.len() <= VALUE_BYTES_MAX)
    }
}
