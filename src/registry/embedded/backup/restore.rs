//! Restores a backup beside the place of the store, then moves it there: half a restore is none.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use jiff::Timestamp;
use redb::{Key, TableDefinition, Value, WriteTransaction};

use super::blocks::{BlockReader, Kind};
use super::error::BackupError;
use crate::registry::embedded::book::{self, BOOK_FILE, BOOK_LOG};
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::filling::{fill, shrink};
use crate::registry::embedded::progress::{Progress, Stage, Watcher};
use crate::registry::embedded::store::{RegistryOptions, STORE_FILE, epoch_after, open_file};
use crate::registry::embedded::tables::{EachTable, Facts, STORE_FORMAT, every_table};
use crate::registry::keys::RegistryKeys;

/// Where a restore builds until it is whole.
const BESIDE: &str = "registry.redb.restoring";
const BOOK_BESIDE: &str = "book.redb.restoring";

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
/// Presentations issued before `now` are spent no more: nobody knows which of their uses were spent after the backup.
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
    let (subjects, mut facts) = read_store(&mut reader)?;
    check(&facts, keys)?;
    let (epoch, head_seq) = (epoch_after(facts.epoch()?, now)?, facts.head()?);
    facts.begin_epoch(epoch);
    let (beside, book_beside) = (data.join(BESIDE), data.join(BOOK_BESIDE));
    let remove_both = || remove(&beside).and_then(|()| remove(&book_beside));
    remove_both()?;
    if let Err(error) = build(reader, [&beside, &book_beside], &facts, subjects, now, watcher) {
        remove_both()?;
        return Err(error);
    }
    // A log that was left behind belongs to another book.
    remove(&data.join(BOOK_LOG))?;
    // The registry last: where it is, everything is. A book without it is written over by the next attempt.
    move_into_place(&book_beside, &data.join(BOOK_FILE), data)?;
    move_into_place(&beside, &place, data)?;
    Ok(RestoreReport { subjects, epoch, head_seq })
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

/// Reads the first block: what the backup is of.
fn read_store(reader: &mut BlockReader<impl Read>) -> Result<(u64, Facts), BackupError> {
    let (Kind::Store, payload) = reader.next()? else { return Err(BackupError::NotGenuine) };
    let Some((subjects, mut rest)) = payload.split_first_chunk::<8>() else {
        return Err(BackupError::NotGenuine);
    };
    let mut facts = Facts::default();
    while !rest.is_empty() {
        let (name, value) = (take(&mut rest, None)?, take(&mut rest, None)?);
        let name = std::str::from_utf8(name).map_err(|_| BackupError::NotGenuine)?;
        facts.0.insert(name.to_owned(), value.to_vec());
    }
    Ok((u64::from_be_bytes(*subjects), facts))
}

fn check(facts: &Facts, keys: &RegistryKeys) -> Result<(), BackupError> {
    let found = facts.format()?;
    if found > STORE_FORMAT {
        return Err(RegistryError::NewerFormat { found, known: STORE_FORMAT }.into());
    }
    if facts.fit(keys)? { Ok(()) } else { Err(BackupError::WrongKeys) }
}

fn build(
    reader: BlockReader<impl Read>,
    [beside, book_beside]: [&Path; 2],
    facts: &Facts,
    subjects: u64,
    now: Timestamp,
    watcher: Watcher<'_>,
) -> Result<(), BackupError> {
    let mut database = open_file(beside, RegistryOptions::default().cache_size)?;
    let mut book = open_file(book_beside, book::CACHE_BYTES)?;
    let transaction = database.begin_write().trying_to("fill")?;
    let book_transaction = book.begin_write().trying_to("fill")?;
    facts.write(&transaction)?;
    let about = book::About { revoked_until: Some(now), ..book::About::default() };
    book::write_about(&book_transaction, facts.registry_id()?, &about)?;
    let mut filling =
        Filling { transaction: &transaction, reader, kind: Kind::Store, rows: Vec::new(), subjects, watcher };
    filling.advance()?;
    every_table(&mut filling)?;
    filling.transaction = &book_transaction;
    book::tables::every_table(&mut filling)?;
    if filling.kind != Kind::End {
        return Err(BackupError::NotGenuine);
    }
    // Only now is it known that every block belongs to this backup.
    book_transaction.commit().trying_to("fill")?;
    transaction.commit().trying_to("fill")?;
    shrink(&mut book)?;
    Ok(shrink(&mut database)?)
}

/// The blocks behind the first, one at a time, and where they go.
struct Filling<'t, 'w, R> {
    transaction: &'t WriteTransaction,
    reader: BlockReader<R>,
    kind: Kind,
    rows: Vec<u8>,
    subjects: u64,
    watcher: &'w mut dyn FnMut(Progress),
}

impl<R: Read> Filling<'_, '_, R> {
    fn advance(&mut self) -> Result<(), BackupError> {
        let (kind, rows) = self.reader.next()?;
        self.kind = kind;
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        Ok(())
    }
}

impl<R: Read> EachTable for Filling<'_, '_, R> {
    type Error = BackupError;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        stage: Stage,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), BackupError> {
        let mut done = 0;
        // What is wrong with the file is kept for the caller, and ends the filling.
        let mut fault = None;
        let filled = fill(self.transaction, table, |append| {
            while self.kind == Kind::Rows(stage) {
                let mut rest = self.rows.as_slice();
                while !rest.is_empty() {
                    let key = take(&mut rest, K::fixed_width())?;
                    let value = take(&mut rest, V::fixed_width())?;
                    append(K::from_bytes(key), V::from_bytes(value))?;
                    done += 1;
                }
                (self.watcher)(Progress { stage, done, total: self.subjects.max(done) });
                if let Err(error) = self.advance() {
                    fault = Some(error);
                    return Err(MALFORMED);
                }
            }
            Ok(())
        });
        fault.map_or(Ok(()), Err)?;
        Ok(filled?)
    }
}

const MALFORMED: RegistryError = RegistryError::Damaged("a row of the backup");

/// Takes bytes of a fixed size off the front, or of the size that stands ahead of them.
fn take<'b>(rest: &mut &'b [u8], fixed: Option<usize>) -> Result<&'b [u8], RegistryError> {
    let length = match fixed {
        Some(length) => length,
        None => {
            let (length, behind) = rest.split_first_chunk::<4>().ok_or(MALFORMED)?;
            *rest = behind;
            usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MALFORMED)?
        }
    };
    let (taken, behind) = rest.split_at_checked(length).ok_or(MALFORMED)?;
    *rest = behind;
    Ok(taken)
}
