//! Verification: every record opened and decoded, the index and the feed compared with what they say.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::mpsc::{Sender, channel};

use redb::{ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use serde::Serialize;
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::progress::{Counting, Stage, Watcher};
use super::store::EmbeddedRegistry;
use super::tables::{FEED, META, NUMBERS, RECORDS, epoch_and_head};
use super::{feed, newcomer};
use crate::domain::licence::History;
use crate::domain::subject::{Position, SubjectId};
use crate::registry::codec;
use crate::registry::keys::RegistryKeys;

/// Threads that open records: a store is verified while nothing else runs on the machine.
const WORKERS: u8 = 2;
/// Records between two words of a worker.
const STEP: u64 = 4_096;

type Numbers = ReadOnlyTable<&'static [u8; 16], &'static [u8; 16]>;
type Records = ReadOnlyTable<&'static [u8; 16], &'static [u8]>;

/// What is wrong with a store. Never says with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// A record cannot be opened: damaged, moved, or sealed with a key that is gone.
    RecordUnopenable,
    /// A record was opened and is no record.
    RecordUndecodable,
    /// The changes of a record run back in recorded time.
    RecordedTimeRunsBack,
    /// A change claims a place behind the feed's head.
    ChangeBeyondHead,
    /// A number in a record is not in the index, or the index leads elsewhere.
    NumberNotFound,
    /// The index leads to a record that is not there.
    NumberLeadsNowhere,
    /// A feed row cannot be read.
    FeedRowUnreadable,
    /// The feed has a gap, or does not end at its head.
    FeedGap,
    /// A row of the book (a use, a share code, a consent, a hold-back) cannot be read.
    BookRowUnreadable,
}

/// What a verification saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Records.
    pub subjects: u64,
    /// Numbers in the index.
    pub numbers: u64,
    /// Changes in all histories that can be read.
    pub changes: u64,
    /// Feed rows kept.
    pub feed_rows: u64,
    /// Rows of the book: uses, share codes, consents, hold-backs.
    pub book_rows: u64,
    /// What is wrong, and how often. Should always be empty.
    pub findings: BTreeMap<Finding, u64>,
}

impl VerifyReport {
    /// Says whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: Finding) {
        *self.findings.entry(finding).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        self.subjects += other.subjects;
        self.changes += other.changes;
        for (finding, count) in &other.findings {
            *self.findings.entry(*finding).or_default() += count;
        }
    }
}

impl EmbeddedRegistry {
    /// Walks one snapshot of the whole store.
    ///
    /// # Errors
    /// [`RegistryError`] when the engine cannot read on; what is merely wrong is a [`Finding`].
    pub fn verify(&self, watcher: Watcher<'_>) -> Result<VerifyReport, RegistryError> {
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let (epoch, seq) = epoch_and_head(&reading.open_table(META).trying_to("read")?)?;
        let head = Position { epoch, partition: super::store::PARTITION, seq };
        let numbers = || reading.open_table(NUMBERS).trying_to("read");
        let records = || reading.open_table(RECORDS).trying_to("read");
        let mut report =
            VerifyReport { numbers: numbers()?.len().trying_to("read")?, ..VerifyReport::default() };
        let counting = Counting::of(Stage::Records, records()?.len().trying_to("read")?, watcher);
        let walks = (0..WORKERS).map(|index| {
            Ok(Walk { keys: &self.shared.keys, numbers: numbers()?, records: records()?, head, index })
        });
        let indexed = walk_records(walks.collect::<Result<_, RegistryError>>()?, counting, &mut report)?;
        // Every number of every record was found where it should be: only numbers beyond those can lead nowhere.
        if report.numbers != indexed {
            let counting = Counting::of(Stage::Numbers, report.numbers, watcher);
            walk_numbers(&numbers()?, &records()?, counting, &mut report)?;
        }
        let rows = reading.open_table(FEED).trying_to("read")?;
        let counting = Counting::of(Stage::Feed, rows.len().trying_to("read")?, watcher);
        walk_feed(&rows, head, counting, &mut report)?;
        let (book_rows, unreadable) = self.book.walk(watcher)?;
        report.book_rows = book_rows;
        if unreadable > 0 {
            report.findings.insert(Finding::BookRowUnreadable, unreadable);
        }
        Ok(report)
    }
}

/// One worker's share of the records: those whose key begins with its share of the bytes.
struct Walk<'k> {
    keys: &'k RegistryKeys,
    numbers: Numbers,
    records: Records,
    head: Position,
    index: u8,
}

/// Walks the records side by side; returns how many numbers of theirs the index holds.
fn walk_records(
    walks: Vec<Walk<'_>>,
    mut counting: Counting<'_, '_>,
    report: &mut VerifyReport,
) -> Result<u64, RegistryError> {
    std::thread::scope(|scope| {
        let (told, heard) = channel();
        let workers: Vec<_> = walks
            .into_iter()
            .map(|walk| {
                let told = told.clone();
                scope.spawn(move || walk.run(&told))
            })
            .collect();
        drop(told);
        heard.iter().for_each(|count| counting.add(count));
        let mut indexed = 0;
        for worker in workers {
            let walked = worker.join().map_err(|_panic| RegistryError::Damaged("the engine gave up"))?;
            let (seen, numbers) = walked?;
            report.add(&seen);
            indexed += numbers;
        }
        Ok(indexed)
    })
}

impl Walk<'_> {
    fn run(&self, told: &Sender<u64>) -> Result<(VerifyReport, u64), RegistryError> {
        let share = |index: u8| {
            let mut key = [0; 16];
            key[0] = index.checked_mul(u8::MAX / WORKERS + 1)?;
            (index < WORKERS).then_some(key)
        };
        let (from, until) = (share(self.index), share(self.index + 1));
        let bounds = (
            from.as_ref().map_or(Bound::Unbounded, Bound::Included),
            until.as_ref().map_or(Bound::Unbounded, Bound::Excluded),
        );
        let (mut report, mut indexed) = (VerifyReport::default(), 0);
        let mut scratch = Zeroizing::default();
        for row in self.records.range::<&[u8; 16]>(bounds).trying_to("read")? {
            let (subject, sealed) = row.trying_to("read")?;
            indexed += self.judge(*subject.value(), sealed.value(), &mut scratch, &mut report)?;
            report.subjects += 1;
            if report.subjects.is_multiple_of(STEP) {
                // Nobody listening is no reason to stop.
                let _gone = told.send(STEP);
            }
        }
        let _gone = told.send(report.subjects % STEP);
        Ok((report, indexed))
    }

    /// Judges one record; returns how many of its numbers the index holds.
    fn judge(
        &self,
        subject: [u8; 16],
        sealed: &[u8],
        scratch: &mut Zeroizing<Vec<u8>>,
        report: &mut VerifyReport,
    ) -> Result<u64, RegistryError> {
        let Ok(plain) = self.keys.sealing.open(sealed, &subject, scratch) else {
            report.find(Finding::RecordUnopenable);
            return Ok(0);
        };
        let Ok(record) = codec::decode(SubjectId::from_bytes(subject), plain) else {
            report.find(Finding::RecordUndecodable);
            return Ok(0);
        };
        report.changes += record.history.changes().len() as u64;
        self.judge_history(&record.history, report);
        let mut indexed = 0;
        for pseudonym in newcomer::pseudonyms(self.keys, None, record.history.changes()) {
            let owner = self.numbers.get(pseudonym.as_bytes()).trying_to("read")?;
            if owner.is_some_and(|owner| *owner.value() == subject) {
                indexed += 1;
            } else {
                report.find(Finding::NumberNotFound);
            }
        }
        Ok(indexed)
    }

    fn judge_history(&self, history: &History, report: &mut VerifyReport) {
        let changes = history.changes();
        if !changes.is_sorted_by_key(|change| change.recorded_at) {
            report.find(Finding::RecordedTimeRunsBack);
        }
        if changes.iter().any(|change| change.position > self.head) {
            report.find(Finding::ChangeBeyondHead);
        }
    }
}

fn walk_numbers(
    numbers: &Numbers,
    records: &Records,
    mut counting: Counting<'_, '_>,
    report: &mut VerifyReport,
) -> Result<(), RegistryError> {
    for row in numbers.iter().trying_to("read")? {
        let (_, subject) = row.trying_to("read")?;
        if records.get(subject.value()).trying_to("read")?.is_none() {
            report.find(Finding::NumberLeadsNowhere);
        }
        counting.add(1);
    }
    Ok(())
}

fn walk_feed(
    rows: &ReadOnlyTable<u64, &'static [u8]>,
    head: Position,
    mut counting: Counting<'_, '_>,
    report: &mut VerifyReport,
) -> Result<(), RegistryError> {
    let mut last = None;
    for entry in rows.iter().trying_to("read")? {
        let (seq, row) = entry.trying_to("read")?;
        if last.is_some_and(|last: u64| last + 1 != seq.value()) {
            report.find(Finding::FeedGap);
        }
        if feed::parse(seq.value(), row.value()).is_none() {
            report.find(Finding::FeedRowUnreadable);
        }
        last = Some(seq.value());
        report.feed_rows += 1;
        counting.add(1);
    }
    if last.unwrap_or_default() != head.seq {
        report.find(Finding::FeedGap);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
