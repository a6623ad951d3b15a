//! Compaction: the whole store written anew in key order, every page full, then moved into place.
//!
//! Changes split pages and leave them half full; the engine's own compaction moves pages but fills none. This one needs
//! room for a second copy, and the store for itself.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};

use super::backup::move_into_place;
use super::error::{RegistryError, Trying as _};
use super::filling::fill;
use super::progress::{Counting, Stage, Watcher};
use super::store::{EmbeddedRegistry, RegistryOptions, STORE_FILE, open_file};
use super::tables::{FEED, Facts, META, NUMBERS, RECORDS};
use crate::registry::keys::RegistryKeys;

/// Where a compaction builds until it is whole.
const BESIDE: &str = "registry.redb.compacting";

/// What a compaction brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the file before.
    pub bytes_before: u64,
    /// Bytes of the file now.
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
    // Held until the new file is in its place.
    let store = EmbeddedRegistry::open(data, keys, RegistryOptions::default())?;
    remove(&beside)?;
    let bytes_before = size_of(&place)?;
    let reading = store.shared.database.begin_read().trying_to("read")?;
    if let Err(error) = copy(&reading, &beside, watcher) {
        remove(&beside)?;
        return Err(error);
    }
    drop(reading);
    let bytes_after = size_of(&beside)?;
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

fn copy(reading: &ReadTransaction, beside: &Path, watcher: Watcher<'_>) -> Result<(), RegistryError> {
    let database = open_file(beside, RegistryOptions::default().cache_size)?;
    let transaction = database.begin_write().trying_to("fill")?;
    Facts::read(&reading.open_table(META).trying_to("read")?)?.write(&transaction)?;
    let numbers = reading.open_table(NUMBERS).trying_to("read")?;
    let mut counting = Counting::of(Stage::Numbers, numbers.len().trying_to("read")?, watcher);
    fill(&transaction, NUMBERS, |append| {
        for row in numbers.iter().trying_to("read")? {
            let (pseudonym, subject) = row.trying_to("read")?;
            append(pseudonym.value(), subject.value())?;
            counting.add(1);
        }
        Ok(())
    })?;
    let records = reading.open_table(RECORDS).trying_to("read")?;
    let mut counting = Counting::of(Stage::Records, records.len().trying_to("read")?, watcher);
    fill(&transaction, RECORDS, |append| {
        for row in records.iter().trying_to("read")? {
            let (subject, sealed) = row.trying_to("read")?;
            append(subject.value(), sealed.value())?;
            counting.add(1);
        }
        Ok(())
    })?;
    let feed = reading.open_table(FEED).trying_to("read")?;
    let mut counting = Counting::of(Stage::Feed, feed.len().trying_to("read")?, watcher);
    fill(&transaction, FEED, |append| {
        for entry in feed.iter().trying_to("read")? {
            let (seq, row) = entry.trying_to("read")?;
            append(seq.value(), row.value())?;
            counting.add(1);
        }
        Ok(())
    })?;
    transaction.commit().trying_to("fill")
}
