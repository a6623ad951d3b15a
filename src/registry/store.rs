//! The port of licence stores: what a registry does for whoever fills, follows and inspects it, whatever it stands on.
//!
//! Futures are answered at once by the embedded store, which does its work in the call (call it from a thread that may
//! block), and after a round trip or more by PostgreSQL. They need no runtime of the caller's: [`wait`] waits for one anywhere.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use jiff::Timestamp;

use super::embedded::{BulkLoad, EmbeddedRegistry, FeedRow, RegistryError, RegistryStats};
use super::export::Records;
use super::keys::RegistryKeys;
use super::submission::{Outcome, Submission};
use crate::domain::subject::Position;
use crate::verification::ports::{ChangeObserver, Later, RecordSource};

/// A licence store. Look-ups are its [`RecordSource`]; [`Records`] goes through everything, at one moment.
pub trait LicenceStore: RecordSource + Records {
    /// Applies a batch in one durable transaction. Outcomes stand in the batch's order; a rejected submission leaves the
    /// others untouched. When this completes, every observer has heard of every change.
    ///
    /// With `began`, a whole history of a subject that was created later is a duplicate: the same import brought it.
    ///
    /// # Errors
    /// [`RegistryError`]; then nothing of the batch was taken, unless the answer to the commit was lost: applying the same
    /// batch again is safe in any case.
    fn apply_since<'a>(
        &'a self,
        batch: &'a [Submission],
        began: Option<&'a FeedHeads>,
    ) -> Later<'a, Result<Vec<Outcome>, RegistryError>>;

    /// As [`Self::apply_since`], outside an import.
    fn apply<'a>(&'a self, batch: &'a [Submission]) -> Later<'a, Result<Vec<Outcome>, RegistryError>> {
        self.apply_since(batch, None)
    }

    /// Begins a first load, of all histories at once; `None` where there is no such way: this store has none, or holds subjects already. No other
    /// change goes in while it is under way.
    ///
    /// # Errors
    /// [`RegistryError`].
    fn first_load(&self) -> Result<Option<BulkLoad<'_>>, RegistryError> {
        Ok(None)
    }

    /// Tells an observer of every change this process makes, before its writer hears that it is durable. Changes of other
    /// processes come by the feed alone.
    fn observe(&self, observer: Arc<dyn ChangeObserver>);

    /// Reads up to `count_max` rows of the feed after a position, oldest first, in that position's partition.
    ///
    /// # Errors
    /// [`RegistryError`]; [`RegistryError::Forgotten`] when rows after the position are no longer kept.
    fn feed_after(&self, after: Position, count_max: usize)
    -> Later<'_, Result<Vec<FeedRow>, RegistryError>>;

    /// Reads where the feed stands now.
    ///
    /// # Errors
    /// [`RegistryError`].
    fn heads(&self) -> Later<'_, Result<FeedHeads, RegistryError>>;

    /// Returns where the feed stood when this process last knew, without asking anybody.
    fn heads_known(&self) -> FeedHeads;

    /// Begins a new epoch: every fact read before counts as outdated. After a restore. Its number is taken from the clock, unless a
    /// later one is in force: no number comes again, on whichever branch of history it was in force.
    ///
    /// # Errors
    /// [`RegistryError`].
    fn new_epoch(&self, now: Timestamp) -> Later<'_, Result<u32, RegistryError>>;

    /// Counts over the whole store, opening every record.
    ///
    /// # Errors
    /// [`RegistryError`].
    fn stats(&self) -> Later<'_, Result<RegistryStats, RegistryError>>;

    /// Returns the keys the store is sealed with; they also make pseudonyms.
    fn keys(&self) -> &Arc<RegistryKeys>;
}

/// Where a feed stands: the head of each partition, all of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedHeads {
    /// The epoch in force.
    pub epoch: u32,
    /// The last sequence of each partition, by its number.
    pub seqs: Vec<u64>,
}

impl FeedHeads {
    /// Says whether a change lies after the heads.
    pub fn precede(&self, position: Position) -> bool {
        let head = self.seqs.get(usize::from(position.partition)).copied().unwrap_or(0);
        (position.epoch, position.seq) > (self.epoch, head)
    }

    /// Returns the heads as positions.
    pub fn positions(&self) -> Vec<Position> {
        let at = |(partition, seq): (u16, &u64)| Position { epoch: self.epoch, partition, seq: *seq };
        (0_u16..).zip(&self.seqs).map(at).collect()
    }

    /// Returns how many changes the feed has ever held.
    pub fn changes(&self) -> u64 {
        self.seqs.iter().sum()
    }
}

impl From<Position> for FeedHeads {
    /// The heads of a feed with one partition.
    fn from(head: Position) -> Self {
        Self { epoch: head.epoch, seqs: vec![head.seq] }
    }
}

impl LicenceStore for EmbeddedRegistry {
    fn apply_since<'a>(
        &'a self,
        batch: &'a [Submission],
        began: Option<&'a FeedHeads>,
    ) -> Later<'a, Result<Vec<Outcome>, RegistryError>> {
        let began = began.and_then(|heads| heads.positions().first().copied());
        Box::pin(std::future::ready(self.apply_after(batch, began)))
    }

    fn first_load(&self) -> Result<Option<BulkLoad<'_>>, RegistryError> {
        match self.bulk_load() {
            Ok(load) => Ok(Some(load)),
            Err(RegistryError::NotEmpty | RegistryError::InMemory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn observe(&self, observer: Arc<dyn ChangeObserver>) {
        Self::observe(self, observer);
    }

    fn feed_after(
        &self,
        after: Position,
        count_max: usize,
    ) -> Later<'_, Result<Vec<FeedRow>, RegistryError>> {
        Box::pin(std::future::ready(Self::feed_after(self, after.seq, count_max)))
    }

    fn heads(&self) -> Later<'_, Result<FeedHeads, RegistryError>> {
        Box::pin(std::future::ready(Ok(self.head().into())))
    }

    fn heads_known(&self) -> FeedHeads {
        self.head().into()
    }

    fn new_epoch(&self, now: Timestamp) -> Later<'_, Result<u32, RegistryError>> {
        Box::pin(std::future::ready(Self::new_epoch(self, now)))
    }

    fn stats(&self) -> Later<'_, Result<RegistryStats, RegistryError>> {
        Box::pin(std::future::ready(Self::stats(self)))
    }

    fn keys(&self) -> &Arc<RegistryKeys> {
        Self::keys(self)
    }
}

/// Waits for a store's answer on this thread. Not on a runtime's own threads: it blocks.
pub fn wait<T>(answer: Later<'_, T>) -> T {
    let mut answer = pin!(answer);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_another_thread_is_waited_for() {
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                tell.send(7).unwrap();
            });
            assert_eq!(wait(Box::pin(async { told.await.unwrap() })), 7);
        });
    }

    #[test]
    fn what_lies_after_the_heads_is_judged_by_its_own_partition() {
        let heads = FeedHeads { epoch: 2, seqs: vec![5, 9] };
        let at = |epoch, partition, seq| Position { epoch, partition, seq };
        assert!(heads.precede(at(2, 0, 6)) && heads.precede(at(3, 1, 1)));
        assert!(!heads.precede(at(2, 1, 9)) && !heads.precede(at(1, 0, 6)));
        assert_eq!((heads.changes(), heads.positions()[1]), (14, at(2, 1, 9)));
    }
}
