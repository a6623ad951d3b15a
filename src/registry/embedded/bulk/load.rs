//! The load itself: workers seal and deal, then the tables are filled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{MutexGuard, PoisonError};

use redb::{ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};
use zeroize::Zeroizing;

use super::spill::{Dealer, FILES, Sorted, Spill, SpillFolder};
use crate::domain::subject::{Position, SubjectId};
use crate::registry::codec;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::filling::fill;
use crate::registry::embedded::progress::{Counting, Stage, Watcher};
use crate::registry::embedded::store::{EmbeddedRegistry, PARTITION};
use crate::registry::embedded::tables::{
    FEED, INTAKE_WAITING, META, META_EPOCH, NUMBERS, RECORDS, epoch_and_head,
};
use crate::registry::embedded::{merge, newcomer};
use crate::registry::submission::{Extent, Rejection, Submission};
use crate::verification::ports::Pseudonyms as _;

/// Bytes that say whose a spilled number is.
const OWNER_SIZE: usize = 25;
/// Numbers that may come twice before a load gives up: a file given twice is a mistake, and they are kept in memory.
const DUPLICATES_MAX: usize = 1_000_000;

/// A first load under way. Nothing of it is visible before [`Self::finish`] returns; dropping it takes everything back.
/// No other change goes in meanwhile.
pub struct BulkLoad<'r> {
    registry: &'r EmbeddedRegistry,
    _writing: MutexGuard<'r, ()>,
    position: Position,
    records: Spill,
    numbers: Spill,
    taken: AtomicU64,
    numbered: AtomicU64,
    // Last: files are closed before their folder goes.
    _folder: SpillFolder,
}

/// How a first load came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// Subjects now on record.
    pub loaded: u64,
    /// The ordinals of submissions not taken because an earlier one has, or once had, the number they are known by.
    pub duplicates: Vec<u64>,
    /// The ordinals of those not taken because an earlier one has another number of theirs.
    pub numbers_taken: Vec<u64>,
}

impl EmbeddedRegistry {
    /// Begins a first load. It takes no place in the feed: it begins a new epoch, and every change of it stands at the
    /// feed's head as it is now. Everything cached before counts as outdated when it is done.
    ///
    /// # Errors
    /// [`RegistryError::NotEmpty`] when there are subjects already, or changes that wait for one; otherwise see
    /// [`RegistryError`].
    pub fn bulk_load(&self) -> Result<BulkLoad<'_>, RegistryError> {
        let writing = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let (epoch, head) = epoch_and_head(&reading.open_table(META).trying_to("read")?)?;
        let rows = reading.open_table(RECORDS).trying_to("read")?.len().trying_to("read")?
            + reading.open_table(FEED).trying_to("read")?.len().trying_to("read")?;
        // Changes that wait for a number must find its subject at once, which only the ordinary way sees to.
        let waiting = match reading.open_table(INTAKE_WAITING) {
            Err(redb::TableError::TableDoesNotExist(_)) => 0,
            other => other.trying_to("read")?.len().trying_to("read")?,
        };
        if rows + waiting > 0 {
            return Err(RegistryError::NotEmpty);
        }
        let epoch = epoch.checked_add(1).ok_or(RegistryError::Damaged("epochs have run out"))?;
        let folder = SpillFolder::make_in(self.data()?)?;
        Ok(BulkLoad {
            registry: self,
            _writing: writing,
            position: Position { epoch, partition: PARTITION, seq: head },
            records: Spill::make(&folder, "records")?,
            numbers: Spill::make(&folder, "numbers")?,
            taken: AtomicU64::new(0),
            numbered: AtomicU64::new(0),
            _folder: folder,
        })
    }
}

impl<'r> BulkLoad<'r> {
    /// Returns a worker. Several may work side by side, each on a thread of its own.
    pub fn worker(&self) -> BulkWorker<'_> {
        BulkWorker {
            load: self,
            records: Dealer::to(&self.records),
            numbers: Dealer::to(&self.numbers),
            plain: Zeroizing::default(),
            sealed: Vec::new(),
        }
    }

    /// Sorts, fills the tables and makes the load visible. Everything every worker took must be finished.
    ///
    /// # Errors
    /// [`RegistryError`]; then nothing was taken.
    pub fn finish(self, watcher: Watcher<'_>) -> Result<BulkReport, RegistryError> {
        let shared = &*self.registry.shared;
        let transaction = shared.database.begin_write().trying_to("fill")?;
        let mut dropped = Dropped::default();
        self.fill_numbers(&transaction, &mut dropped, watcher)?;
        let loaded = self.fill_records(&transaction, &mut dropped, watcher)?;
        dropped.forget_numbers(&transaction)?;
        let epoch = self.position.epoch;
        let mut meta = transaction.open_table(META).trying_to("fill")?;
        meta.insert(META_EPOCH, epoch.to_be_bytes().as_slice()).trying_to("fill")?;
        drop(meta);
        transaction.commit().trying_to("fill")?;
        shared.epoch.store(epoch, Ordering::Release);
        shared.commits.fetch_add(1, Ordering::Release);
        Ok(dropped.report(loaded))
    }

    fn fill_numbers(
        &self,
        transaction: &WriteTransaction,
        dropped: &mut Dropped,
        watcher: Watcher<'_>,
    ) -> Result<(), RegistryError> {
        let mut counting = Counting::of(Stage::Numbers, self.numbered.load(Ordering::Acquire), watcher);
        fill(transaction, NUMBERS, |append| {
            each_sorted(&self.numbers, |sorted| {
                let mut last = None;
                for (pseudonym, owner) in sorted.rows() {
                    let Owner { ordinal, subject, is_known_by } = Owner::parse(owner)?;
                    // Of equal numbers the earliest comes first: the ordinal stands ahead in the payload.
                    if last == Some(*pseudonym) {
                        dropped.add(subject, ordinal, is_known_by)?;
                    } else {
                        append(pseudonym, subject)?;
                    }
                    last = Some(*pseudonym);
                    counting.add(1);
                }
                Ok(())
            })
        })
    }

    fn fill_records(
        &self,
        transaction: &WriteTransaction,
        dropped: &mut Dropped,
        watcher: Watcher<'_>,
    ) -> Result<u64, RegistryError> {
        let keys = &self.registry.shared.keys;
        let mut counting = Counting::of(Stage::Records, self.taken.load(Ordering::Acquire), watcher);
        let mut scratch = Zeroizing::default();
        let mut left_out = 0;
        fill(transaction, RECORDS, |append| {
            each_sorted(&self.records, |sorted| {
                for (subject, sealed) in sorted.rows() {
                    counting.add(1);
                    if !dropped.subjects.contains_key(subject) {
                        append(subject, sealed)?;
                        continue;
                    }
                    left_out += 1;
                    let id = SubjectId::from_bytes(*subject);
                    let plain = keys.sealing.open(sealed, subject, &mut scratch).ok();
                    let record = plain.and_then(|plain| codec::decode(id, plain).ok());
                    let record = record.ok_or(RegistryError::Damaged("a spilled record"))?;
                    dropped.numbers.extend(
                        newcomer::pseudonyms(keys, None, record.history.changes())
                            .into_iter()
                            .map(|pseudonym| (*pseudonym.as_bytes(), *subject)),
                    );
                }
                Ok(())
            })
        })?;
        if counting.done() != self.taken.load(Ordering::Acquire) {
            return Err(RegistryError::Damaged("a worker of the load did not finish"));
        }
        Ok(counting.done() - left_out)
    }
}

/// Hands on one sorted file after the other; the next one is read and sorted meanwhile.
fn each_sorted(
    spill: &Spill,
    mut take: impl FnMut(&Sorted) -> Result<(), RegistryError>,
) -> Result<(), RegistryError> {
    std::thread::scope(|scope| {
        let (ahead, next) = sync_channel(0);
        scope.spawn(move || {
            for index in 0..FILES {
                let sorted = spill.sorted(index);
                let failed = sorted.is_err();
                // Whoever filled the table has given up, or hears of the failure and will.
                if ahead.send(sorted).is_err() || failed {
                    return;
                }
            }
        });
        next.iter().try_for_each(|sorted| take(&sorted?))
    })
}

/// Whose a spilled number is: ordinal (8) · subject (16) · whether it is the number the submission is known by (1). The ordinal stands
/// ahead, so that of equal numbers the earliest comes first.
struct Owner<'p> {
    ordinal: u64,
    subject: &'p [u8; 16],
    is_known_by: bool,
}

impl<'p> Owner<'p> {
    fn parse(payload: &'p [u8]) -> Result<Self, RegistryError> {
        const FAULT: RegistryError = RegistryError::Damaged("a spilled number");
        let (ordinal, rest) = payload.split_first_chunk::<8>().ok_or(FAULT)?;
        let (subject, is_known_by) = rest.split_first_chunk::<16>().ok_or(FAULT)?;
        let [is_known_by] = is_known_by else { return Err(FAULT) };
        Ok(Self { ordinal: u64::from_be_bytes(*ordinal), subject, is_known_by: *is_known_by == 1 })
    }

    fn bytes(&self) -> [u8; OWNER_SIZE] {
        let mut bytes = [0; OWNER_SIZE];
        bytes[..8].copy_from_slice(&self.ordinal.to_be_bytes());
        bytes[8..24].copy_from_slice(self.subject);
        bytes[24] = u8::from(self.is_known_by);
        bytes
    }
}

/// Subjects left out because an earlier one has a number of theirs.
#[derive(Default)]
struct Dropped {
    /// By subject: where it stood, and whether it is the number it is known by that somebody else has.
    subjects: HashMap<[u8; 16], (u64, bool)>,
    numbers: Vec<([u8; 16], [u8; 16])>,
}

impl Dropped {
    fn add(&mut self, subject: &[u8; 16], ordinal: u64, is_known_by: bool) -> Result<(), RegistryError> {
        if self.subjects.len() >= DUPLICATES_MAX {
            return Err(RegistryError::TooManyDuplicates { count_max: DUPLICATES_MAX });
        }
        self.subjects.entry(*subject).or_insert((ordinal, false)).1 |= is_known_by;
        Ok(())
    }

    fn report(self, loaded: u64) -> BulkReport {
        let mut report = BulkReport { loaded, ..BulkReport::default() };
        for (ordinal, is_known_by) in self.subjects.into_values() {
            if is_known_by {
                report.duplicates.push(ordinal);
            } else {
                report.numbers_taken.push(ordinal);
            }
        }
        report.duplicates.sort_unstable();
        report.numbers_taken.sort_unstable();
        report
    }

    /// Takes back the other numbers of subjects left out.
    fn forget_numbers(&self, transaction: &WriteTransaction) -> Result<(), RegistryError> {
        let mut table = transaction.open_table(NUMBERS).trying_to("fill")?;
        for (pseudonym, subject) in &self.numbers {
            let theirs =
                table.get(pseudonym).trying_to("fill")?.is_some_and(|owner| owner.value() == subject);
            if theirs {
                table.remove(pseudonym).trying_to("fill")?;
            }
        }
        Ok(())
    }
}

/// Seals and deals what it is given.
pub struct BulkWorker<'l> {
    load: &'l BulkLoad<'l>,
    records: Dealer<'l>,
    numbers: Dealer<'l>,
    plain: Zeroizing<Vec<u8>>,
    sealed: Vec<u8>,
}

impl BulkWorker<'_> {
    /// Takes one subject's whole history, which names the number it is known by, as a `NewSubject` spells it out. `ordinal` says where it stood in the input: of two with the same number the
    /// lower one stays.
    ///
    /// # Errors
    /// [`RegistryError`]: the load cannot go on.
    pub fn take(
        &mut self,
        ordinal: u64,
        submission: &Submission,
    ) -> Result<Result<(), Rejection>, RegistryError> {
        if let Err(rejection) = merge::check(submission) {
            return Ok(Err(rejection));
        }
        if submission.extent != Extent::Whole {
            return Ok(Err(Rejection::UnknownSubject));
        }
        let keys = &self.load.registry.shared.keys;
        let record = newcomer::newcomer(submission, self.load.position)?;
        self.plain.clear();
        if codec::encode(&record, &mut self.plain).is_err() {
            return Ok(Err(Rejection::Unencodable));
        }
        let subject = record.subject.as_bytes();
        self.sealed.clear();
        let sealed = keys.sealing.seal_into(&self.plain, subject, &mut self.sealed);
        sealed.map_err(|_| RegistryError::WrongKeys)?;
        self.records.deal(subject, &self.sealed)?;
        let known_by = keys.pseudonym(submission.document, &submission.number);
        let pseudonyms = newcomer::pseudonyms(keys, Some(known_by), record.history.changes());
        for pseudonym in &pseudonyms {
            let owner = Owner { ordinal, subject, is_known_by: *pseudonym == known_by };
            self.numbers.deal(pseudonym.as_bytes(), &owner.bytes())?;
        }
        self.load.taken.fetch_add(1, Ordering::AcqRel);
        self.load.numbered.fetch_add(pseudonyms.len() as u64, Ordering::AcqRel);
        Ok(Ok(()))
    }

    /// Writes what it held back. A worker that is dropped without this has taken nothing it held back.
    ///
    /// # Errors
    /// [`RegistryError::File`]: the load cannot go on.
    pub fn finish(self) -> Result<(), RegistryError> {
        self.records.finish()?;
        self.numbers.finish()
    }
}
