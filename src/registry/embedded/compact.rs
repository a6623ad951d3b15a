//! Compaction: the whole store written anew in key order, every page full, then moved into place.
//!
//! Changes split pages and leave them half full; the engine's own compaction moves pages but fills none. This one needs
//! room for a second copy, and the store for itself.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, TableError, Value, WriteTransaction,
};

use super::backup::move_into_place;
use super::book::{self, BOOK_FILE};
use super::error::{RegistryError, Trying as _};
use super::filling::{fill, shrink};
use super::progress::{Counting, Progress, Stage, Watcher};
use super::store::{EmbeddedRegistry, RegistryOptions, STORE_FILE, open_file};
use super::tables::{EachTable, Facts, META, every_table};
use crate::registry::keys::RegistryKeys;

/// Where a compaction builds until it is whole.
const BESIDE: &str = "registry.redb.compacting";
const BOOK_BESIDE: &str = "book.redb.compacting";

/// What a compaction brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the registry's file and the book's before.
    pub bytes_before: u64,
    /// Bytes of them now.
    pub bytes_after: u64,
}

/// Compacts the store in a data folder. Epoch, feed and every position stay what they are. Killed in the middle, it leaves
/// the store as it was; nothing else can open the store meanwhile.
///
/// # Errors
/// See [`RegistryError`]; then the store is as it was.
pub fn compact(
    data: &Path,
    keys: Arc<RegistryKeys>,
    watcher: Watcher<'_>,
) -> Result<CompactReport, RegistryError> {
    let (place, beside) = (data.join(STORE_FILE), data.join(BESIDE));
    let (book_place, book_beside) = (data.join(BOOK_FILE), data.join(BOOK_BESIDE));
    // Held until the new file is in its place.
    let store = EmbeddedRegistry::open(data, keys, RegistryOptions::default())?;
    let remove_both = || remove(&beside).and_then(|()| remove(&book_beside));
    remove_both()?;
    let bytes_before = size_of(&place)? + size_of(&book_place)?;
    let reading = store.shared.database.begin_read().trying_to("read")?;
    let book = store.book.database.begin_read().trying_to("read")?;
    let copied = copy(&reading, &beside, watcher)
        .and_then(|registry| copy_book(&book, registry, &book_beside, watcher));
    if let Err(error) = copied {
        remove_both()?;
        return Err(error);
    }
    drop((reading, book));
    let bytes_after = size_of(&beside)? + size_of(&book_beside)?;
    // Each is whole before it is moved, and says the same as the one it replaces: a crash in between loses nothing.
    move_into_place(&book_beside, &book_place, data)?;
    move_into_place(&beside, &place, data)?;
    Ok(CompactReport { bytes_before, bytes_after })
}

fn remove(path: &Path) -> Result<(), RegistryError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(RegistryError::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn size_of(path: &Path) -> Result<u64, RegistryError> {
    let metadata = path.metadata();
    metadata.map(|metadata| metadata.len()).map_err(|source| RegistryError::File {
        action: "inspect",
        path: path.to_owned(),
        source,
    })
}

/// Copies the registry; returns its id.
fn copy(reading: &ReadTransaction, beside: &Path, watcher: Watcher<'_>) -> Result<[u8; 16], RegistryError> {
    let mut database = open_file(beside, RegistryOptions::default().cache_size)?;
    let transaction = database.begin_write().trying_to("fill")?;
    let facts = Facts::read(&reading.open_table(META).trying_to("read")?)?;
    facts.write(&transaction)?;
    every_table(&mut Copying { reading, transaction: &transaction, watcher })?;
    transaction.commit().trying_to("fill")?;
    shrink(&mut database)?;
    facts.registry_id()
}

fn copy_book(
    reading: &ReadTransaction,
    registry: [u8; 16],
    beside: &Path,
    watcher: Watcher<'_>,
) -> Result<(), RegistryError> {
    let mut database = open_file(beside, book::CACHE_BYTES)?;
    let transaction = database.begin_write().trying_to("fill")?;
    let about = reading.open_table(book::tables::ABOUT).trying_to("read")?;
    book::write_about(&transaction, registry, &book::check(&about, registry)?)?;
    book::tables::every_table(&mut Copying { reading, transaction: &transaction, watcher })?;
    transaction.commit().trying_to("fill")?;
    shrink(&mut database)
}

struct Copying<'c, 'w> {
    reading: &'c ReadTransaction,
    transaction: &'c WriteTransaction,
    watcher: &'c mut (dyn FnMut(Progress) + 'w),
}

impl EachTable for Copying<'_, '_> {
    type Error = RegistryError;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        stage: Stage,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), RegistryError> {
        let from = match self.reading.open_table(table) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            other => other.trying_to("read")?,
        };
        let mut counting = Counting::of(stage, from.len().trying_to("read")?, self.watcher);
        fill(self.transaction, table, |append| {
            for row in from.iter().trying_to("read")? {
                let (key, value) = row.trying_to("read")?;
                append(key.value(), value.value())?;
                counting.add(1);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
