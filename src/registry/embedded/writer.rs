//! The one writer: batches in, durable changes out, observers told in between.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use redb::{ReadableTable as _, Table, WriteTransaction};
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::preparing::{self, Fate, SealedRow};
use super::store::{EmbeddedRegistry, PARTITION, Shared};
use super::tables::{FEED, META, META_HEAD, NUMBERS, RECORDS, epoch_and_head};
use super::{feed, intake, merge, newcomer};
use crate::domain::licence::{Change, History, Record};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::registry::codec;
use crate::registry::keys::RegistryKeys;
use crate::registry::submission::{Extent, Outcome, Rejection, Submission};
use crate::verification::ports::Pseudonyms as _;

/// A change that will be told to the observers once it is durable.
pub(super) struct Written {
    pub(super) subject: SubjectId,
    pub(super) pseudonyms: Vec<NumberPseudonym>,
    pub(super) position: Position,
}

impl EmbeddedRegistry {
    /// Applies a batch in one durable transaction. Outcomes stand in the batch's order; a rejected submission leaves
    /// the others untouched. When this returns, every observer has heard of every change.
    ///
    /// # Errors
    /// [`RegistryError`]; then nothing of the batch was taken.
    pub fn apply(&self, batch: &[Submission]) -> Result<Vec<Outcome>, RegistryError> {
        self.apply_after(batch, None)
    }

    /// As [`Self::apply`]; a whole history of a subject that was created after the feed stood at `began` is a duplicate.
    pub(in crate::registry) fn apply_after(
        &self,
        batch: &[Submission],
        began: Option<Position>,
    ) -> Result<Vec<Outcome>, RegistryError> {
        let shared = &*self.shared;
        let _writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = shared.database.begin_write().trying_to("write")?;
        let (outcomes, written, head) = write_batch(&transaction, shared, batch, began)?;
        if written.is_empty() {
            transaction.abort().trying_to("write")?;
            return Ok(outcomes);
        }
        transaction.commit().trying_to("write")?;
        shared.publish(head, &written);
        Ok(outcomes)
    }
}

impl Shared {
    /// Makes a commit known: first readers leave their snapshots, then observers hear, then the caller goes on.
    pub(super) fn publish(&self, head: u64, written: &[Written]) {
        self.head.store(head, Ordering::Release);
        self.commits.fetch_add(1, Ordering::Release);
        let observers = self.observers.read().unwrap_or_else(PoisonError::into_inner);
        for change in written {
            for observer in &*observers {
                observer.changed(&change.subject, &change.pseudonyms, change.position);
            }
        }
    }
}

pub(super) fn write_batch(
    transaction: &WriteTransaction,
    shared: &Shared,
    batch: &[Submission],
    began: Option<Position>,
) -> Result<(Vec<Outcome>, Vec<Written>, u64), RegistryError> {
    let mut batch_writer = BatchWriter::open(transaction, shared, began)?;
    let mut prepared = batch_writer.take_prepared(shared, batch)?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for (place, submission) in batch.iter().enumerate() {
        let outcome = match prepared.remove(&place) {
            Some(outcome) => outcome,
            None => batch_writer.take(submission)?,
        };
        outcomes.push(outcome);
    }
    // What waited for these subjects must not be forgotten: their answers are in dispute while it waits.
    intake::notice(transaction, &mut batch_writer)?;
    let (written, head) = batch_writer.finish(shared.feed_rows)?;
    Ok((outcomes, written, head))
}

pub(super) struct BatchWriter<'t> {
    pub(super) keys: &'t RegistryKeys,
    pub(super) meta: Table<'t, &'static str, &'static [u8]>,
    numbers: Table<'t, &'static [u8; 16], &'static [u8; 16]>,
    records: Table<'t, &'static [u8; 16], &'static [u8]>,
    pub(super) feed: Table<'t, u64, &'static [u8]>,
    pub(super) head: Position,
    began: Option<Position>,
    pub(super) written: Vec<Written>,
    plain: Zeroizing<Vec<u8>>,
    sealed: Vec<u8>,
    scratch: Zeroizing<Vec<u8>>,
}

impl<'t> BatchWriter<'t> {
    /// Opens the tables of a transaction.
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        shared: &'t Shared,
        began: Option<Position>,
    ) -> Result<Self, RegistryError> {
        let meta = transaction.open_table(META).trying_to("write")?;
        let (epoch, head) = epoch_and_head(&meta)?;
        Ok(Self {
            keys: &shared.keys,
            meta,
            numbers: transaction.open_table(NUMBERS).trying_to("write")?,
            records: transaction.open_table(RECORDS).trying_to("write")?,
            feed: transaction.open_table(FEED).trying_to("write")?,
            head: Position { epoch, partition: PARTITION, seq: head },
            began,
            written: Vec::new(),
            plain: Zeroizing::default(),
            sealed: Vec::new(),
            scratch: Zeroizing::default(),
        })
    }

    /// Notes the head and forgets old feed rows. Returns what was written, and the head.
    pub(super) fn finish(self, feed_rows: u64) -> Result<(Vec<Written>, u64), RegistryError> {
        let Self { mut feed, mut meta, head, written, .. } = self;
        if !written.is_empty() {
            feed::prune(&mut feed, head.seq, feed_rows)?;
            meta.insert(META_HEAD, head.seq.to_be_bytes().as_slice()).trying_to("write")?;
        }
        Ok((written, head.seq))
    }

    /// Takes in what can be worked out ahead; says by its place in the batch what became of it.
    fn take_prepared(
        &mut self,
        shared: &Shared,
        batch: &[Submission],
    ) -> Result<HashMap<usize, Outcome>, RegistryError> {
        let mut fates = preparing::prepare(shared, batch, self.began);
        let growths = preparing::place(&mut fates, self.head);
        let unchanged = |(place, fate): (usize, &Option<Fate<'_>>)| {
            matches!(fate, Some(Fate::Unchanged(_))).then_some((place, Outcome::Unchanged))
        };
        let mut outcomes: HashMap<_, _> = fates.iter().enumerate().filter_map(unchanged).collect();
        let Some(rows) = preparing::seal(shared, growths) else { return Ok(outcomes) };
        outcomes.extend(rows.iter().map(|row| (row.place, Outcome::Appended(row.position))));
        self.write_rows(rows)?;
        Ok(outcomes)
    }

    /// Writes rows that come in order of their positions: into the feed in that order, into the records in the order of their
    /// keys, so that the tree's pages are met one after the other.
    fn write_rows(&mut self, rows: Vec<SealedRow>) -> Result<(), RegistryError> {
        let mut by_key: Vec<_> = rows.iter().map(|row| (row.subject, &row.sealed)).collect();
        by_key.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        for (subject, sealed) in by_key {
            self.records.insert(subject.as_bytes(), sealed.as_slice()).trying_to("write")?;
        }
        for SealedRow { subject, position, pseudonyms, .. } in rows {
            feed::append(&mut self.feed, position, &subject, &pseudonyms)?;
            self.head = position;
            self.written.push(Written { subject, pseudonyms, position });
        }
        Ok(())
    }

    fn take(&mut self, submission: &Submission) -> Result<Outcome, RegistryError> {
        if let Err(rejection) = merge::check(submission) {
            return Ok(Outcome::Rejected(rejection));
        }
        let pseudonym = self.keys.pseudonym(submission.document, &submission.number);
        match self.owner(pseudonym)? {
            Some(subject) => self.extend(subject, pseudonym, submission),
            None if submission.extent == Extent::Whole => self.create(pseudonym, submission),
            None => Ok(Outcome::Rejected(Rejection::UnknownSubject)),
        }
    }

    fn create(
        &mut self,
        pseudonym: NumberPseudonym,
        submission: &Submission,
    ) -> Result<Outcome, RegistryError> {
        let position = self.next_position();
        let record = newcomer::newcomer(submission, position)?;
        Ok(match self.write(&record, Some(pseudonym), position)? {
            Ok(()) => Outcome::Created(position),
            Err(rejection) => Outcome::Rejected(rejection),
        })
    }

    fn extend(
        &mut self,
        subject: SubjectId,
        pseudonym: NumberPseudonym,
        submission: &Submission,
    ) -> Result<Outcome, RegistryError> {
        let Some(record) = self.record(subject)? else {
            return Ok(Outcome::Rejected(Rejection::RecordUnreadable));
        };
        if submission.extent == Extent::Whole && merge::came_since(self.began, record.history.changes()) {
            return Ok(Outcome::Rejected(Rejection::DuplicateNumber));
        }
        let fresh = match merge::fresh(submission, record.history.changes()) {
            Ok([]) => return Ok(Outcome::Unchanged),
            Ok(fresh) => fresh,
            Err(rejection) => return Ok(Outcome::Rejected(rejection)),
        };
        let position = self.next_position();
        let mut changes = record.history.changes().to_vec();
        changes.extend(fresh.iter().cloned().map(|change| change.at(position)));
        let record = Record { history: History::from_changes(changes), ..record };
        Ok(match self.write(&record, Some(pseudonym), position)? {
            Ok(()) => Outcome::Appended(position),
            Err(rejection) => Outcome::Rejected(rejection),
        })
    }

    /// Writes record, index and feed row; nothing at all when rejected.
    pub(super) fn write(
        &mut self,
        record: &Record,
        known_by: Option<NumberPseudonym>,
        position: Position,
    ) -> Result<Result<(), Rejection>, RegistryError> {
        let pseudonyms = newcomer::pseudonyms(self.keys, known_by, record.history.changes());
        // Only numbers nobody had are written: most changes leave the index and its pages alone.
        let mut unowned = Vec::new();
        for pseudonym in &pseudonyms {
            match self.owner(*pseudonym)? {
                None => unowned.push(*pseudonym),
                Some(owner) if owner == record.subject => {}
                Some(_) => return Ok(Err(Rejection::NumberTaken)),
            }
        }
        self.plain.clear();
        if codec::encode(record, &mut self.plain).is_err() {
            return Ok(Err(Rejection::Unencodable));
        }
        let key = record.subject.as_bytes();
        self.sealed.clear();
        let sealed = self.keys.sealing.seal_into(&self.plain, key, &mut self.sealed);
        sealed.map_err(|_| RegistryError::WrongKeys)?;
        self.records.insert(key, self.sealed.as_slice()).trying_to("write")?;
        for pseudonym in &unowned {
            self.numbers.insert(pseudonym.as_bytes(), key).trying_to("write")?;
        }
        feed::append(&mut self.feed, position, &record.subject, &pseudonyms)?;
        self.head = position;
        self.written.push(Written { subject: record.subject, pseudonyms, position });
        Ok(Ok(()))
    }

    pub(super) fn next_position(&self) -> Position {
        Position { seq: self.head.seq + 1, ..self.head }
    }

    pub(super) fn owner(&self, pseudonym: NumberPseudonym) -> Result<Option<SubjectId>, RegistryError> {
        let found = self.numbers.get(pseudonym.as_bytes()).trying_to("read")?;
        Ok(found.map(|subject| SubjectId::from_bytes(*subject.value())))
    }

    pub(super) fn record(&mut self, subject: SubjectId) -> Result<Option<Record>, RegistryError> {
        let Some(sealed) = self.records.get(subject.as_bytes()).trying_to("read")? else { return Ok(None) };
        let opened = self.keys.sealing.open(sealed.value(), subject.as_bytes(), &mut self.scratch);
        Ok(opened.ok().and_then(|plain| codec::decode(subject, plain).ok()))
    }

    /// Collects the pseudonyms of every number the subject has or had.
    pub(super) fn pseudonyms(&self, known_by: NumberPseudonym, changes: &[Change]) -> Vec<NumberPseudonym> {
        newcomer::pseudonyms(self.keys, Some(known_by), changes)
    }
}
