//! Restores a backup beside the place of the store, then moves it there: half a restore is none.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use jiff::Timestamp;
use redb::WriteTransaction;

use super::blocks::{BlockReader, Kind};
use super::error::BackupError;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::filling::fill;
use crate::registry::embedded::progress::{Counting, Stage, Watcher};
use crate::registry::embedded::store::{RegistryOptions, STORE_FILE, open_file};
use crate::registry::embedded::tables::{FEED, Facts, NUMBERS, RECORDS, STORE_FORMAT};
use crate::registry::keys::RegistryKeys;

/// Where a restore builds until it is whole.
const BESIDE: &str = "registry.redb.restoring";

/// What a restore brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreReport {
    /// Subjects.
    pub subjects: u64,
    /// The epoch that begins: no fact read before the restore counts any more.
    pub epoch: u32,
    /// The feed's head the backup was true for.
    pub head_seq: u64,
}

/// Restores a backup into a data folder that holds no registry, under the keys it was made with.
///
/// The epoch is taken from the clock if that is later than the one after the backup's: two restores of the same backup must
/// not share an epoch, or a cache could take the facts of one for those of the other.
///
/// # Errors
/// See [`BackupError`]; then nothing is at the store's place.
pub fn restore(
    from: impl Read,
    data: &Path,
    keys: &RegistryKeys,
    now: Timestamp,
    watcher: Watcher<'_>,
) -> Result<RestoreReport, BackupError> {
    let place = data.join(STORE_FILE);
    if place.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(place));
    }
    let mut reader = BlockReader::begin(from, &keys.backup)?;
    let mut store = StoreBlock::read(&mut reader)?;
    store.check(keys)?;
    store.facts.epoch = epoch_after(store.facts.epoch, now)?;
    let beside = data.join(BESIDE);
    remove(&beside)?;
    let built = build(&mut reader, &beside, &store, watcher);
    if let Err(error) = built {
        remove(&beside)?;
        return Err(error);
    }
    move_into_place(&beside, &place, data)?;
    let Facts { epoch, head, .. } = store.facts;
    Ok(RestoreReport { subjects: store.records, epoch, head_seq: head })
}

fn epoch_after(epoch: u32, now: Timestamp) -> Result<u32, RegistryError> {
    let next = epoch.checked_add(1).ok_or(RegistryError::Damaged("epochs have run out"))?;
    Ok(u32::try_from(now.as_second()).map_or(next, |now| now.max(next)))
}

fn remove(path: &Path) -> Result<(), RegistryError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(RegistryError::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Moves a store that is whole and durable to its place, durably.
pub(in crate::registry::embedded) fn move_into_place(
    beside: &Path,
    place: &Path,
    data: &Path,
) -> Result<(), RegistryError> {
    let moved = std::fs::rename(beside, place).and_then(|()| File::open(data)?.sync_all());
    moved.map_err(|source| RegistryError::File { action: "move into place", path: place.to_owned(), source })
}

/// The first block: what the backup is of.
struct StoreBlock {
    facts: Facts,
    format: u32,
    numbers: u64,
    records: u64,
    feed: u64,
}

impl StoreBlock {
    fn read(reader: &mut BlockReader<impl Read>) -> Result<Self, BackupError> {
        match reader.next()? {
            (Kind::Store, payload) => Self::parse(payload).ok_or(BackupError::NotGenuine),
            _ => Err(BackupError::NotGenuine),
        }
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let (format, rest) = payload.split_first_chunk::<4>()?;
        let (registry_id, rest) = rest.split_first_chunk::<16>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (counts, rest) = rest.split_first_chunk::<32>()?;
        let (pseudonym_check, sealing_check) = rest.split_first_chunk::<16>()?;
        let mut counts = counts.as_chunks::<8>().0.iter().map(|count| u64::from_be_bytes(*count));
        let mut count = || counts.next();
        let (head, numbers, records, feed) = (count()?, count()?, count()?, count()?);
        let facts = Facts {
            epoch: u32::from_be_bytes(*epoch),
            head,
            registry_id: *registry_id,
            sealing_check: sealing_check.to_vec(),
            pseudonym_check: *pseudonym_check,
        };
        Some(Self { facts, format: u32::from_be_bytes(*format), numbers, records, feed })
    }

    fn check(&self, keys: &RegistryKeys) -> Result<(), BackupError> {
        if self.format > STORE_FORMAT {
            return Err(RegistryError::NewerFormat { found: self.format, known: STORE_FORMAT }.into());
        }
        if self.facts.fit(keys) { Ok(()) } else { Err(BackupError::WrongKeys) }
    }
}

fn build(
    reader: &mut BlockReader<impl Read>,
    beside: &Path,
    store: &StoreBlock,
    watcher: Watcher<'_>,
) -> Result<(), BackupError> {
    let database = open_file(beside, RegistryOptions::default().cache_size)?;
    let transaction = database.begin_write().trying_to("fill")?;
    store.facts.write(&transaction)?;
    let mut blocks = Blocks { reader, kind: Kind::Store, rows: Vec::new() };
    blocks.advance()?;
    blocks.fill_numbers(&transaction, Counting::of(Stage::Numbers, store.numbers, watcher))?;
    blocks.fill_records(&transaction, Counting::of(Stage::Records, store.records, watcher))?;
    blocks.fill_feed(&transaction, Counting::of(Stage::Feed, store.feed, watcher))?;
    if blocks.kind != Kind::End {
        return Err(BackupError::NotGenuine);
    }
    // Only now is it known that every block belongs to this backup.
    transaction.commit().trying_to("fill")?;
    Ok(())
}

/// The blocks behind the first, one at a time.
struct Blocks<'r, R> {
    reader: &'r mut BlockReader<R>,
    kind: Kind,
    rows: Vec<u8>,
}

impl<R: Read> Blocks<'_, R> {
    fn advance(&mut self) -> Result<(), BackupError> {
        let (kind, rows) = self.reader.next()?;
        self.kind = kind;
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        Ok(())
    }

    fn fill_numbers(
        &mut self,
        transaction: &WriteTransaction,
        mut counting: Counting<'_, '_>,
    ) -> Result<(), BackupError> {
        let mut fault = None;
        let filled = fill(transaction, NUMBERS, |append| {
            while self.kind == Kind::Numbers {
                let (rows, []) = self.rows.as_chunks::<32>() else { return Err(MALFORMED) };
                for row in rows {
                    let (pseudonym, subject) = row.split_first_chunk::<16>().ok_or(MALFORMED)?;
                    append(pseudonym, subject.try_into().map_err(|_| MALFORMED)?)?;
                    counting.add(1);
                }
                self.advance_or(&mut fault)?;
            }
            Ok(())
        });
        fault.map_or(Ok(()), Err)?;
        Ok(filled?)
    }

    fn fill_records(
        &mut self,
        transaction: &WriteTransaction,
        mut counting: Counting<'_, '_>,
    ) -> Result<(), BackupError> {
        let mut fault = None;
        let filled = fill(transaction, RECORDS, |append| {
            while self.kind == Kind::Records {
                let mut rest = self.rows.as_slice();
                while !rest.is_empty() {
                    let (subject, sealed) = sized::<16>(&mut rest)?;
                    append(subject, sealed)?;
                    counting.add(1);
                }
                self.advance_or(&mut fault)?;
            }
            Ok(())
        });
        fault.map_or(Ok(()), Err)?;
        Ok(filled?)
    }

    fn fill_feed(
        &mut self,
        transaction: &WriteTransaction,
        mut counting: Counting<'_, '_>,
    ) -> Result<(), BackupError> {
        let mut fault = None;
        let filled = fill(transaction, FEED, |append| {
            while self.kind == Kind::Feed {
                let mut rest = self.rows.as_slice();
                while !rest.is_empty() {
                    let (seq, row) = sized::<8>(&mut rest)?;
                    append(u64::from_be_bytes(*seq), row)?;
                    counting.add(1);
                }
                self.advance_or(&mut fault)?;
            }
            Ok(())
        });
        fault.map_or(Ok(()), Err)?;
        Ok(filled?)
    }

    /// Advances inside a table: what is wrong with the file is kept for the caller, and ends the filling.
    fn advance_or(&mut self, fault: &mut Option<BackupError>) -> Result<(), RegistryError> {
        self.advance().map_err(|error| {
            *fault = Some(error);
            MALFORMED
        })
    }
}

const MALFORMED: RegistryError = RegistryError::Damaged("a row of the backup");

/// Takes a row with a key of `N` bytes off the front.
fn sized<'b, const N: usize>(rest: &mut &'b [u8]) -> Result<(&'b [u8; N], &'b [u8]), RegistryError> {
    let (key, behind) = rest.split_first_chunk::<N>().ok_or(MALFORMED)?;
    let (length, behind) = behind.split_first_chunk::<4>().ok_or(MALFORMED)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MALFORMED)?;
    let (value, behind) = behind.split_at_checked(length).ok_or(MALFORMED)?;
    *rest = behind;
    Ok((key, value))
}
