//! The authority's changes: a batch in one durable transaction, with what the intake keeps beside the records.

mod known;
pub(in crate::registry) mod state;
#[cfg(test)]
mod tests;
mod warming;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use redb::{ReadableDatabase as _, ReadableTable as _};
use zeroize::Zeroizing;

use self::state::{Owner, bytes_of, counts_of, open_state};
use self::writer::IntakeWriter;
pub(in crate::registry) use self::writer::count;
pub(super) use self::writer::notice;
use super::error::{RegistryError, Trying as _};
use super::store::{EmbeddedRegistry, Shared};
use super::tables::{INTAKE_NUMBERS, INTAKE_SUBJECTS, INTAKE_WAITING};
use super::writer::BatchWriter;
use crate::domain::subject::NumberPseudonym;
use crate::intake::ports::{
    ChangeStore, Handle, Hold, IncomingChange, Later, Outcome, QuarantineEntry, RejectReason, StoreFault,
    SubjectState, Taken, Verdict, VerdictFault, Waiting, WaitingCounts,
};
use crate::registry::import::kind_word;
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::Pseudonyms as _;

impl ChangeStore for EmbeddedRegistry {
    fn take(&self, batch: Vec<IncomingChange>, now: Timestamp) -> Later<'_, Result<Taken, StoreFault>> {
        self.on_a_thread(move |shared| shared.take_changes(batch, now))
    }

    fn expire(&self, now: Timestamp) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        self.on_a_thread(move |shared| {
            shared.expire(now)?;
            shared.waiting()
        })
    }

    fn waiting(&self) -> Later<'_, Result<WaitingCounts, StoreFault>> {
        self.on_a_thread(Shared::waiting)
    }

    fn quarantine(
        &self,
        after: Option<Handle>,
        count_max: usize,
    ) -> Later<'_, Result<Vec<QuarantineEntry>, StoreFault>> {
        self.on_a_thread(move |shared| shared.quarantine(after, count_max))
    }

    fn judge(
        &self,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Later<'_, Result<Result<u64, VerdictFault>, StoreFault>> {
        self.on_a_thread(move |shared| shared.judge(handle, verdict, now))
    }
}

impl EmbeddedRegistry {
    /// Runs a blocking part of the intake where it may block.
    fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, RegistryError> + Send + 'static,
    ) -> Later<'_, Result<T, StoreFault>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || work(&shared)).await {
                Ok(done) => done.map_err(|error| StoreFault(Box::new(error))),
                Err(panic) => Err(StoreFault(Box::new(panic))),
            }
        })
    }
}

impl Shared {
    fn take_changes(&self, batch: Vec<IncomingChange>, now: Timestamp) -> Result<Taken, RegistryError> {
        let count = batch.len();
        let numbers = by_number(&self.keys, batch);
        warming::warm(self, &numbers);
        self.write_intake(|writer| {
            let mut taken = Taken::default();
            let mut outcomes = vec![Outcome::Rejected(RejectReason::Malformed); count];
            for (number, changes) in numbers {
                let (places, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
                let told = writer.take(number, changes, now, &mut taken)?;
                for (place, outcome) in places.into_iter().zip(told) {
                    outcomes[place] = outcome;
                }
            }
            taken.outcomes = outcomes;
            Ok(taken)
        })
    }

    /// Puts what was held for too long into quarantine, and takes in what an import has made due.
    fn expire(&self, now: Timestamp) -> Result<(), RegistryError> {
        let mut due = Vec::new();
        self.each_waiting(|owner, waiting| {
            if waiting.held_until.is_some_and(|until| until <= now) {
                due.push(owner);
            }
        })?;
        if due.is_empty() {
            return Ok(());
        }
        self.write_intake(|writer| {
            let mut taken = Taken::default();
            due.into_iter().try_for_each(|owner| writer.look_at(owner, now, &mut taken))
        })
    }

    fn judge(
        &self,
        handle: Handle,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Result<u64, VerdictFault>, RegistryError> {
        let Some((owner, _)) = self
            .waiting_states()?
            .into_iter()
            .find(|(_, state)| state.waiting().any(|waiting| waiting.digest.handle() == handle))
        else {
            return Ok(Err(VerdictFault::NotWaiting));
        };
        self.write_intake(|writer| writer.judge(owner, handle, verdict, now))
    }

    /// Opens a transaction, lets `work` write, makes it durable and known.
    fn write_intake<T>(
        &self,
        work: impl FnOnce(&mut IntakeWriter<'_, '_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = self.database.begin_write().trying_to("write")?;
        let mut base = BatchWriter::open(&transaction, self, None)?;
        let mut writer = IntakeWriter::open(&transaction, &mut base)?;
        let done = work(&mut writer)?;
        let is_changed = writer.is_changed;
        writer.finish(&transaction)?;
        let (written, head) = base.finish(self.feed_rows)?;
        if !is_changed {
            transaction.abort().trying_to("write")?;
            return Ok(done);
        }
        transaction.commit().trying_to("write")?;
        self.publish(head, &written);
        Ok(done)
    }

    fn waiting(&self) -> Result<WaitingCounts, RegistryError> {
        let mut counts = WaitingCounts::default();
        self.each_waiting(|_, waiting| counts.add(waiting))?;
        Ok(counts)
    }

    fn each_waiting(&self, mut each: impl FnMut(Owner, WaitingCounts)) -> Result<(), RegistryError> {
        let reading = self.database.begin_read().trying_to("read")?;
        let waiting = match reading.open_table(INTAKE_WAITING) {
            Ok(waiting) => waiting,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(error).trying_to("read"),
        };
        for row in waiting.iter().trying_to("read")? {
            let (key, counts) = row.trying_to("read")?;
            each(Owner::of(key.value()), counts_of(counts.value()));
        }
        Ok(())
    }

    /// Reads the states of everybody for whom something waits, from one snapshot.
    fn waiting_states(&self) -> Result<Vec<(Owner, SubjectState)>, RegistryError> {
        let mut owners = Vec::new();
        self.each_waiting(|owner, _| owners.push(owner))?;
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let reading = self.database.begin_read().trying_to("read")?;
        let subjects = reading.open_table(INTAKE_SUBJECTS).trying_to("read")?;
        let numbers = reading.open_table(INTAKE_NUMBERS).trying_to("read")?;
        let mut scratch = Zeroizing::default();
        let mut states = Vec::with_capacity(owners.len());
        for owner in owners {
            let table = match owner {
                Owner::Subject(_) => &subjects,
                Owner::Number(_) => &numbers,
            };
            // What was settled since the list was made is gone.
            if let Some(sealed) = table.get(bytes_of(&owner)).trying_to("read")? {
                states.push((owner, open_state(&self.keys.sealing, owner, sealed.value(), &mut scratch)?));
            }
        }
        Ok(states)
    }

    fn quarantine(
        &self,
        after: Option<Handle>,
        count_max: usize,
    ) -> Result<Vec<QuarantineEntry>, RegistryError> {
        let states = self.waiting_states()?;
        let entries = states
            .iter()
            .flat_map(|(owner, state)| state.waiting().map(|waiting| entry_of(*owner, state, waiting)));
        let entries: Vec<_> = entries.collect();
        // An entry that was settled meanwhile begins the list anew: better twice than not at all.
        let known = after.and_then(|after| entries.iter().position(|entry| entry.handle == after));
        Ok(entries.into_iter().skip(known.map_or(0, |index| index + 1)).take(count_max).collect())
    }
}

pub(in crate::registry) fn entry_of(
    owner: Owner,
    state: &SubjectState,
    waiting: &Waiting,
) -> QuarantineEntry {
    let feed = state.feeds.iter().find(|feed| feed.source == waiting.source);
    QuarantineEntry {
        handle: waiting.digest.handle(),
        source: waiting.source.as_str().to_owned(),
        change_id: waiting.id.as_str().to_owned(),
        sequence: waiting.sequence,
        next: feed.map_or(1, |feed| feed.next),
        kind: waiting.content.as_ref().map(kind_word),
        recorded_at: waiting.content.as_ref().map(|content| content.recorded_at),
        since: waiting.since,
        reason: match waiting.hold {
            Hold::Until(_) => None,
            Hold::Quarantined(reason) => Some(reason),
        },
        subject_known: matches!(owner, Owner::Subject(_)),
    }
}

/// Groups a batch by number, in order of first arrival; each change keeps its place in the batch.
pub(in crate::registry) fn by_number(
    keys: &RegistryKeys,
    batch: Vec<IncomingChange>,
) -> Vec<(NumberPseudonym, Vec<(usize, IncomingChange)>)> {
    let mut places: HashMap<NumberPseudonym, usize> = HashMap::with_capacity(batch.len());
    let mut groups: Vec<(NumberPseudonym, Vec<(usize, IncomingChange)>)> = Vec::with_capacity(batch.len());
    for (index, change) in batch.into_iter().enumerate() {
        let number = keys.pseudonym(change.document, &change.number);
        let place = *places.entry(number).or_insert_with(|| {
            groups.push((number, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push((index, change));
    }
    groups
}
