//! Fills empty tables in key order: what a first load, a restore and a compaction share.
//!
//! The engine packs pages to the brim when rows come in order, and keeps every page it wrote invisible until the
//! transaction commits: a process killed in the middle leaves what was there before.

use std::ops::Bound;

use redb::{Database, Key, TableDefinition, Value, WriteTransaction};

use super::error::{RegistryError, Trying as _};

/// Fills a table with the rows `rows` appends. Rows out of order are an error, and so is a key that comes twice.
pub(super) fn fill<K, V>(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
    rows: impl FnOnce(
        &mut dyn for<'r> FnMut(K::SelfType<'r>, V::SelfType<'r>) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError>,
) -> Result<(), RegistryError>
where
    K: Key + 'static,
    V: Value + 'static,
{
    let mut table = transaction.open_table(table).trying_to("fill")?;
    let mut cursor = table.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded).trying_to("fill")?;
    rows(&mut |key, value| cursor.insert_before(key, value).trying_to("fill"))?;
    cursor.close().trying_to("fill")
}

/// Gives back what the file has behind its last rows. The engine doubles a file that grows, and puts a few early pages at its
/// very end; after a filling those are all that is in the way.
pub(super) fn shrink(database: &mut Database) -> Result<(), RegistryError> {
    database.compact().trying_to("shrink").map(|_moved| ())
}
