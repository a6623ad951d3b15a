//! The authority's changes: a batch in one durable transaction, with what the intake keeps beside the records.
//!
//! Under the locks of its partitions' heads (taken in order) a batch reads owners, records, states and known changes, is worked out
//! in memory (`ledger`), and is written: a handful of statements, however many changes it holds. A batch that loses against another
//! one, or whose connection breaks, is tried again: nothing is taken twice, because its changes are known then. Where the answer to
//! a commit was lost, this process hears of what was committed as it hears of other replicas' changes: by the feed.
//!
//! Two batches of different partitions may take the same change id at once: the second to write it fails, and finds it known at its
//! next attempt. The bound of numbers nobody has is counted before a batch and holds up to the batches of other replicas under way.

mod ledger;
mod listing;
mod rows;
mod scope;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use sqlx::PgConnection;

use self::ledger::{Ledger, numbers_set};
use self::scope::{Scope, read_states};
use super::connection::{Trying as _, is_collision, is_disconnection};
use super::plan::{OnFile, Plan};
use super::store::{PostgresRegistry, Shared};
use super::writing::{ATTEMPTS, Trouble};
use crate::domain::subject::{NumberPseudonym, SubjectId};
use crate::intake::ports::{
    Arrival, ChangeStore, Handle, IncomingChange, KNOWN_CHANGES_MIN, Later, Outcome, QuarantineEntry,
    RejectReason, StoreFault, Taken, Verdict, VerdictFault, WaitingCounts,
};
use crate::registry::embedded::intake::by_number;
use crate::registry::embedded::intake::state::Owner;
use crate::registry::embedded::{RegistryError, StoreError};

/// Changes a process remembers between two looks for those that may be forgotten.
pub(super) const FORGET_EVERY: u64 = 100_000;
/// Known changes forgotten at once.
const FORGET_ROWS: i64 = 5_000;
/// The schema that brought the intake's tables.
const SCHEMA: i64 = 3;

impl ChangeStore for PostgresRegistry {
    fn take(&self, batch: Vec<IncomingChange>, now: Timestamp) -> Later<'_, Result<Taken, StoreFault>> {
        let shared = Arc::clone(&self.shared);
        self.run_intake(async move {
            let taken = shared.take_changes(batch, now).await?;
            forget_in_time(&shared);
            Ok(taken)
        })
    }

    fn expire(&self, now: Timestamp) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        let shared = Arc::clone(&self.shared);
        self.run_intake(async move {
            shared.expire(now).await?;
            shared.count_waiting().await
        })
    }

    fn waiting(&self) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        let shared = Arc::clone(&self.shared);
        self.run_intake(async move { shared.count_waiting().await })
    }

    fn quarantine(
        &self,
        after: Option<Handle>,
        count_max: usize,
    ) -> Later<'_, Result<Vec<QuarantineEntry>, StoreFault>> {
        let shared = Arc::clone(&self.shared);
        self.run_intake(async move { shared.list_waiting(after, count_max).await })
    }

    fn judge(
        &self,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Later<'_, Result<Result<u64, VerdictFault>, StoreFault>> {
        let shared = Arc::clone(&self.shared);
        self.run_intake(async move { shared.judge(handle, verdict, now).await })
    }
}

impl PostgresRegistry {
    fn run_intake<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Later<'static, Result<T, StoreFault>> {
        let running = self.run(work);
        Box::pin(async move { running.await.map_err(|error| StoreFault(Box::new(error))) })
    }
}

/// The changes of one number, with the places of each in the batch.
struct Group {
    number: NumberPseudonym,
    places: Vec<usize>,
    arrivals: Vec<Arrival>,
}

impl Shared {
    async fn take_changes(&self, batch: Vec<IncomingChange>, now: Timestamp) -> Result<Taken, RegistryError> {
        let count = batch.len();
        let mut groups = self.groups(batch);
        let mut scope = Scope::new(self.layout);
        for group in &groups {
            scope.add(Owner::Number(group.number));
            scope.add_set(numbers_set(group.arrivals.iter().map(|arrival| &arrival.change), &self.keys));
            scope.arriving.extend(group.arrivals.iter().map(|arrival| (arrival.key, arrival.digest)));
        }
        self.write_intake(scope, now, |ledger| {
            let mut taken = Taken::default();
            let mut outcomes = vec![Outcome::Rejected(RejectReason::Malformed); count];
            for group in &mut groups {
                let told = ledger.take(group.number, &mut group.arrivals, now, &mut taken)?;
                for (place, outcome) in group.places.iter().zip(told) {
                    outcomes[*place] = outcome;
                }
            }
            taken.outcomes = outcomes;
            Ok(Some(taken))
        })
        .await?
        .ok_or(RegistryError::Damaged("a batch came to nothing"))
    }

    fn groups(&self, batch: Vec<IncomingChange>) -> Vec<Group> {
        let arrival = |change: IncomingChange| Arrival {
            key: self.keys.change_key(&change.source, &change.id),
            digest: self.keys.change_digest(&change),
            known: None,
            change,
        };
        let groups = by_number(&self.keys, batch).into_iter().map(|(number, changes)| {
            let (places, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
            Group { number, places, arrivals: changes.into_iter().map(arrival).collect() }
        });
        groups.collect()
    }

    /// Puts what was held for too long into quarantine, and takes in what an import has made due.
    async fn expire(&self, now: Timestamp) -> Result<(), RegistryError> {
        let mut due = self.due(now, None).await?;
        while let Some(last) = due.last().copied() {
            let mut scope = Scope::new(self.layout);
            due.iter().for_each(|owner| scope.add(*owner));
            self.write_intake(scope, now, |ledger| {
                let mut taken = Taken::default();
                due.iter().try_for_each(|owner| ledger.look_at(*owner, now, &mut taken))?;
                Ok(Some(()))
            })
            .await?;
            due = self.due(now, Some(&last)).await?;
        }
        Ok(())
    }

    async fn judge(
        &self,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Result<u64, VerdictFault>, RegistryError> {
        let Some(owner) = self.owner_of_waiting(handle).await? else {
            return Ok(Err(VerdictFault::NotWaiting));
        };
        let mut scope = Scope::new(self.layout);
        scope.add(owner);
        let mut fault = VerdictFault::NotWaiting;
        let released = self.write_intake(scope, now, |ledger| {
            let judged = ledger.judge(owner, handle, verdict, now)?;
            Ok(judged.map_err(|found| fault = found).ok())
        });
        let released = released.await?;
        Ok(released.ok_or(fault))
    }

    /// Locks and reads what the scope names, lets `work` decide, writes it, makes it durable and known. With `None` nothing is
    /// written. The work is done anew at every attempt.
    async fn write_intake<T>(
        &self,
        mut scope: Scope,
        now: Timestamp,
        mut work: impl FnMut(&mut Ledger) -> Result<Option<T>, RegistryError> + Send,
    ) -> Result<Option<T>, RegistryError> {
        let mut failures = 0;
        loop {
            match self.try_write_intake(&mut scope, now, &mut work).await {
                Ok(Attempt::Done(done)) => return Ok(done),
                // Something lies in a partition that was not locked: now it is known which.
                Ok(Attempt::LockMore) => {}
                Err(Trouble::Registry(error)) => return Err(error),
                Err(Trouble::Server(error)) => {
                    failures += 1;
                    if failures >= ATTEMPTS || !(is_collision(&error) || is_disconnection(&error)) {
                        return Err(RegistryError::Store { action: "write", source: StoreError::new(error) });
                    }
                    // Perhaps it was committed: then the feed tells, and is asked at once.
                    self.committed.notify_one();
                }
            }
        }
    }

    async fn try_write_intake<T>(
        &self,
        scope: &mut Scope,
        now: Timestamp,
        work: &mut (impl FnMut(&mut Ledger) -> Result<Option<T>, RegistryError> + Send),
    ) -> Result<Attempt<T>, Trouble> {
        let mut transaction = self.writers.begin().await?;
        let mut ledger = Ledger::new(Plan::new(Arc::clone(&self.keys), self.layout, None));
        scope.lock(&mut transaction, &mut ledger).await?;
        if !scope.read(&mut transaction, &mut ledger).await? {
            transaction.rollback().await?;
            return Ok(Attempt::LockMore);
        }
        let done = work(&mut ledger)?;
        if done.is_none() || ledger.is_unchanged() {
            transaction.rollback().await?;
            return Ok(Attempt::Done(done));
        }
        rows::write(&mut transaction, &ledger, now.as_millisecond()).await?;
        transaction.commit().await?;
        self.remembered.fetch_add(ledger.told.len() as u64, Ordering::Relaxed);
        self.publish(&ledger.base);
        Ok(Attempt::Done(done))
    }

    /// Forgets the oldest known changes, so that at least `keep_min` are left. Returns how many.
    async fn forget_known(&self, keep_min: u64) -> Result<u64, RegistryError> {
        const YOUNGEST: &str =
            "SELECT remembered_ms FROM intake_known ORDER BY remembered_ms DESC OFFSET $1 LIMIT 1";
        const FORGET: &str = "DELETE FROM intake_known WHERE key IN (SELECT key FROM intake_known \
             WHERE remembered_ms < $1 ORDER BY remembered_ms LIMIT $2)";
        let mut connection = self.writers.acquire().await.trying_to("write")?;
        let youngest: Option<i64> = sqlx::query_scalar(YOUNGEST)
            .bind(keep_min.saturating_sub(1).cast_signed())
            .fetch_optional(&mut *connection)
            .await
            .trying_to("read")?;
        let Some(youngest) = youngest else { return Ok(0) };
        let mut forgotten = 0;
        loop {
            let query = sqlx::query(FORGET).bind(youngest).bind(FORGET_ROWS);
            let deleted = query.execute(&mut *connection).await.trying_to("write")?.rows_affected();
            forgotten += deleted;
            if deleted < FORGET_ROWS.cast_unsigned() {
                return Ok(forgotten);
            }
        }
    }
}

/// How an attempt came out that did not fail.
enum Attempt<T> {
    Done(Option<T>),
    LockMore,
}

/// Forgets the oldest known changes now and then, beside the batches. One that fails is made up for by the next.
fn forget_in_time(shared: &Arc<Shared>) {
    if shared.remembered.load(Ordering::Relaxed) < FORGET_EVERY {
        return;
    }
    shared.remembered.store(0, Ordering::Relaxed);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Err(error) = shared.forget_known(KNOWN_CHANGES_MIN).await {
            tracing::warn!(%error, "known changes were not forgotten");
        }
    });
}

/// Sees to it that nothing that waits is forgotten when somebody else writes records: their answers are in dispute from the same
/// commit on, and what has come due is taken in at the intake's next look.
pub(super) async fn notice(
    shared: &Shared,
    connection: &mut PgConnection,
    plan: Plan,
) -> Result<Ledger, Trouble> {
    const ANYTHING: &str = "SELECT EXISTS (SELECT 1 FROM intake_state WHERE held > 0 OR quarantined > 0)";
    let mut ledger = Ledger::new(plan);
    if shared.schema < SCHEMA {
        return Ok(ledger);
    }
    let waits: bool = sqlx::query_scalar(ANYTHING).fetch_one(&mut *connection).await?;
    if !waits {
        return Ok(ledger);
    }
    let subjects: Vec<SubjectId> =
        ledger.base.writes.values().flat_map(|writes| writes.records.keys().copied()).collect();
    let is_read = |subject: &&SubjectId| matches!(ledger.base.records.get(*subject), Some(OnFile::Read(_)));
    let subjects: Vec<SubjectId> = subjects.iter().filter(is_read).copied().collect();
    let mut owners: Vec<Owner> = subjects.iter().copied().map(Owner::Subject).collect();
    // A number something waits for is one nobody had before this batch.
    let numbers = ledger.base.writes.values().flat_map(|writes| &writes.numbers);
    owners.extend(numbers.map(|(number, _)| Owner::Number(*number)));
    read_states(connection, &mut ledger, &owners).await?;
    for subject in subjects {
        ledger.notice(subject)?;
    }
    Ok(ledger)
}

/// Writes what [`notice`] changed beside the records.
pub(super) async fn write_noticed(connection: &mut PgConnection, ledger: &Ledger) -> Result<(), Trouble> {
    rows::write_states(connection, ledger).await
}
