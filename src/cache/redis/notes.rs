//! Notes that replicas leave each other about a request, over the connection the facts take: the same breaker, the same places, the
//! same bound on a read.

use std::sync::Arc;
use std::time::Duration;

use redis::Pipeline;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::RedisOptions;
use super::link::{Link, VALUE_BYTES_MAX, cause, millis};
use super::seal::{RedisKey, Sealer};
use crate::cache::{CacheObserver, RedisFault};
use crate::verification::ports::{Deadline, Later, NotShared, RequestName, SharedNotes};

/// Notes being written at once; one more is dropped.
const WRITES_MAX: usize = 1_024;
/// The part of a caller's remaining time a note may take.
const SHARE_OF_TIME: u32 = 4;

/// Sealed notes in one Redis.
pub(super) struct RedisNotes {
    link: Arc<Link>,
    sealer: Arc<Sealer>,
    observer: Arc<dyn CacheObserver>,
    write_time_max: Duration,
    places: Arc<Semaphore>,
    runtime: Handle,
}

impl RedisNotes {
    pub(super) fn new(
        link: &Arc<Link>,
        sealer: &Arc<Sealer>,
        observer: &Arc<dyn CacheObserver>,
        options: &RedisOptions,
        runtime: &Handle,
    ) -> Self {
        Self {
            link: Arc::clone(link),
            sealer: Arc::clone(sealer),
            observer: Arc::clone(observer),
            write_time_max: options.write_time_max,
            places: Arc::new(Semaphore::new(WRITES_MAX)),
            runtime: runtime.clone(),
        }
    }

    /// Has Redis do something some time, perhaps.
    fn have_done(&self, name: &RedisKey, what: Pipeline) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.observer.redis_not_written(RedisFault::Busy);
            return;
        };
        let Some(mut connection) = self.link.connection(name) else {
            self.observer.redis_not_written(RedisFault::NotAsked);
            return;
        };
        let (observer, time_max) = (Arc::clone(&self.observer), self.write_time_max);
        self.runtime.spawn(async move {
            let _place = place;
            match timeout(time_max, what.query_async::<()>(&mut connection)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => observer.redis_not_written(cause(&error)),
                Err(_elapsed) => observer.redis_not_written(RedisFault::Timeout),
            }
        });
    }
}

impl SharedNotes for RedisNotes {
    fn is_asked(&self) -> bool {
        self.link.is_asked()
    }

    fn leave_or_read<'a>(
        &'a self,
        name: RequestName<'a>,
        note: &[u8],
        kept_for: Duration,
        deadline: Deadline,
    ) -> Later<'a, Result<Option<Vec<u8>>, NotShared>> {
        let name = self.sealer.note_name(name);
        let value = self.sealer.seal_bytes(&name, &[note]);
        let budget = self.link.budget(self.link.left(deadline) / SHARE_OF_TIME);
        Box::pin(async move {
            let value = value.ok_or(NotShared)?;
            let there = self.link.write_or_read(&name, &value, kept_for, budget).await.ok_or(NotShared)?;
            let Some(mut there) = there else { return Ok(None) };
            // Between the two halves of the question it may have gone.
            if there.is_empty() {
                return Err(NotShared);
            }
            let opened = (there.len() <= VALUE_BYTES_MAX).then(|| self.sealer.open_bytes(&name, &mut there));
            match opened {
                Some(Ok(note)) => Ok(Some(note.to_vec())),
                _ => {
                    self.observer.redis_failed(RedisFault::Unsealable);
                    Err(NotShared)
                }
            }
        })
    }

    fn replace(&self, name: RequestName<'_>, note: &[u8], kept_for: Duration) {
        let name = self.sealer.note_name(name);
        let Some(value) = self.sealer.seal_bytes(&name, &[note]) else {
            self.observer.redis_not_written(RedisFault::Unwritable);
            return;
        };
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(&name[..]).arg(value).arg("PX").arg(millis(kept_for)).ignore();
        self.have_done(&name, pipeline);
    }

    fn take_away(&self, name: RequestName<'_>) {
        let name = self.sealer.note_name(name);
        let mut pipeline = redis::pipe();
        pipeline.cmd("DEL").arg(&name[..]).ignore();
        self.have_done(&name, pipeline);
    }
}
