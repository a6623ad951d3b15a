//! Batches: what arrives while one commit runs goes into the next. And the clock over what is held.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::ports::{
    ChangeStore, Handle, IncomingChange, Outcome, QuarantineEntry, StoreFault, Taken, Verdict, VerdictFault,
    WaitingCounts,
};
use crate::domain::time::Clock;

/// How often the intake looks whether something was held for too long.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// It looks this often even when nothing is known to be due: an import may have brought in what others wait for.
const LOOKS_BETWEEN_COUNTS: u32 = 20;

/// The bounds of the intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeOptions {
    /// Changes in one transaction. Default 4,096: a sync is shared by many, and a look-up never waits long for the writer.
    pub batch_changes_max: usize,
    /// Handed in and not yet begun, over all streams, in messages. Default 64; a stream waits for room.
    pub queue_length: usize,
}

impl Default for IntakeOptions {
    fn default() -> Self {
        Self { batch_changes_max: 4_096, queue_length: 64 }
    }
}

/// Hears what the intake does. Implemented by `app` over telemetry.
pub trait IntakeObserver: Send + Sync + 'static {
    /// A batch is durable.
    fn taken(&self, taken: &Taken, now: Timestamp, elapsed: Duration);

    /// Changes that had waited joined the record on the operator's word.
    fn released(&self, count: u64);

    /// So much waits.
    fn waiting(&self, counts: WaitingCounts);

    /// The store could not be read or written.
    fn failed(&self, fault: &StoreFault);
}

/// The changes could not be taken; nothing is known of them. Send them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes cannot be taken now")]
pub struct IntakeUnavailable;

/// Takes changes in. One for the process.
pub struct Intake {
    queue: mpsc::Sender<HandedIn>,
    store: Arc<dyn ChangeStore>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn IntakeObserver>,
}

struct HandedIn {
    changes: Vec<IncomingChange>,
    answer: oneshot::Sender<Vec<Outcome>>,
}

/// A place in the queue: resolves when the changes are durable.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Vec<Outcome>>);

impl Ticket {
    /// Waits until the changes are durable; one outcome each, in their order.
    ///
    /// # Errors
    /// [`IntakeUnavailable`]: nothing of them was taken.
    pub async fn outcomes(self) -> Result<Vec<Outcome>, IntakeUnavailable> {
        self.0.await.map_err(|_| IntakeUnavailable)
    }
}

impl Intake {
    /// Starts the intake on a runtime. It ends when the last handle to it is dropped.
    pub fn start(
        store: Arc<dyn ChangeStore>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn IntakeObserver>,
        options: IntakeOptions,
        runtime: &Runtime,
    ) -> Arc<Self> {
        let (queue, handed_in) = mpsc::channel(options.queue_length.max(1));
        let worker = Worker {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            observer: Arc::clone(&observer),
            batch_changes_max: options.batch_changes_max.max(1),
            looks_until_count: 0,
            next_due: None,
        };
        runtime.spawn(worker.run(handed_in));
        Arc::new(Self { queue, store, clock, observer })
    }

    /// Hands changes in; waits while the queue is full, which is how a stream is held back.
    ///
    /// # Errors
    /// [`IntakeUnavailable`]: the process stops.
    pub async fn hand_in(&self, changes: Vec<IncomingChange>) -> Result<Ticket, IntakeUnavailable> {
        let (answer, ticket) = oneshot::channel();
        self.queue.send(HandedIn { changes, answer }).await.map_err(|_| IntakeUnavailable)?;
        Ok(Ticket(ticket))
    }

    /// Lists waiting changes for the operator.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn quarantine(
        &self,
        after: Option<Handle>,
        count_max: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreFault> {
        self.store.quarantine(after, count_max).await
    }

    /// Carries out what the operator decided about a waiting change. Returns how many changes joined the record by it.
    ///
    /// # Errors
    /// [`StoreFault`]; within, why the verdict was not carried out.
    pub async fn judge(
        &self,
        handle: Handle,
        verdict: Verdict,
    ) -> Result<Result<u64, VerdictFault>, StoreFault> {
        let judged = self.store.judge(handle, verdict, self.clock.now()).await?;
        if let Ok(released) = judged {
            self.observer.released(released);
        }
        Ok(judged)
    }
}

struct Worker {
    store: Arc<dyn ChangeStore>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn IntakeObserver>,
    batch_changes_max: usize,
    /// Looks until what waits is counted again, whatever is known; 0: at the next look.
    looks_until_count: u32,
    /// When the next held change goes into quarantine.
    next_due: Option<Timestamp>,
}

impl Worker {
    async fn run(mut self, mut handed_in: mpsc::Receiver<HandedIn>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                first = handed_in.recv() => match first {
                    Some(first) => self.take(first, &mut handed_in).await,
                    None => return,
                },
                _ = looks.tick() => self.look().await,
            }
        }
    }

    /// Takes everything that is there into one transaction.
    async fn take(&mut self, first: HandedIn, handed_in: &mut mpsc::Receiver<HandedIn>) {
        let (mut batch, mut answers) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(HandedIn { changes, answer }) = next {
            answers.push((changes.len(), answer));
            batch.extend(changes);
            next = if batch.len() < self.batch_changes_max { handed_in.try_recv().ok() } else { None };
        }
        let (now, began) = (self.clock.now(), self.clock.since_boot());
        match self.store.take(batch, now).await {
            Ok(taken) => {
                self.observer.taken(&taken, now, self.clock.since_boot().saturating_sub(began));
                self.note(&taken);
                let mut outcomes = taken.outcomes.into_iter();
                for (count, answer) in answers {
                    // A stream that ended meanwhile asks again: its changes are known then.
                    let _gone = answer.send(outcomes.by_ref().take(count).collect());
                }
            }
            // Dropping the answers tells every stream.
            Err(fault) => self.observer.failed(&fault),
        }
    }

    /// Remembers that something waits now, or waits no more.
    fn note(&mut self, taken: &Taken) {
        let is_plain = |outcome: &Outcome| match outcome {
            Outcome::New(fate) => !fate.waits(),
            Outcome::Duplicate(_) | Outcome::Rejected(_) => true,
        };
        let news = taken.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::New(_))).count();
        if !taken.outcomes.iter().all(is_plain) || taken.applied != news as u64 {
            self.looks_until_count = 0;
        }
    }

    async fn look(&mut self) {
        let now = self.clock.now();
        if self.looks_until_count > 0 && self.next_due.is_none_or(|due| now < due) {
            self.looks_until_count -= 1;
            return;
        }
        match self.store.expire(now).await {
            Ok(counts) => {
                self.looks_until_count = LOOKS_BETWEEN_COUNTS;
                self.next_due = counts.held_until;
                self.observer.waiting(counts);
            }
            Err(fault) => self.observer.failed(&fault),
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
