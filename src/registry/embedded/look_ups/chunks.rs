//! Runs as chunks of rows: written in order, read from anywhere.

use redb::{ReadableTable, Table, TableDefinition};

use super::row::{ROW_BYTES, Row, Way};
use crate::registry::embedded::error::{RegistryError, Trying as _};

/// Log (4) · run (8) · way (1) · first row (32) → rows. Chunks of a run lie together, a new run behind the others of its log.
pub(super) const CHUNKS: TableDefinition<'_, &ChunkKey, &[u8]> = TableDefinition::new("look-up-chunks");
/// Rows in a chunk: with its key it fills a page of 8 KiB.
pub(super) const CHUNK_ROWS: usize = 250;

pub(super) type ChunkKey = [u8; 13 + ROW_BYTES];
pub(super) type ChunkTable<'t> = Table<'t, &'static ChunkKey, &'static [u8]>;

/// Which rows: those of a run, in the order of a way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sorted {
    pub(super) log: u32,
    pub(super) run: u64,
    pub(super) way: Way,
}

impl Sorted {
    /// The key of the chunk that begins with a row.
    pub(super) fn chunk(self, first: Row) -> ChunkKey {
        let mut key = [0; 13 + ROW_BYTES];
        key[..4].copy_from_slice(&self.log.to_be_bytes());
        key[4..12].copy_from_slice(&self.run.to_be_bytes());
        key[12] = self.way.code();
        key[13..].copy_from_slice(&first.to_bytes());
        key
    }

    /// Writes rows that come after all that were written; they must be in order.
    pub(super) fn write(self, table: &mut ChunkTable<'_>, rows: &[Row]) -> Result<(), RegistryError> {
        let mut value = Vec::with_capacity(CHUNK_ROWS * ROW_BYTES);
        for rows in rows.chunks(CHUNK_ROWS) {
            value.clear();
            rows.iter().for_each(|row| value.extend_from_slice(&row.to_bytes()));
            if let Some(first) = rows.first() {
                table.insert(&self.chunk(*first), value.as_slice()).trying_to("write")?;
            }
        }
        Ok(())
    }

    /// Reads rows after a row (from the first), whole chunks, until there are `count_min` or no more. Says whether those were
    /// the last.
    pub(super) fn read_after(
        self,
        table: &impl ReadableTable<&'static ChunkKey, &'static [u8]>,
        after: Option<Row>,
        count_min: usize,
        into: &mut Vec<Row>,
    ) -> Result<bool, RegistryError> {
        let begin = self.chunk(Row::FIRST);
        // The chunk the row lies in begins with it or before it.
        let begin = match after {
            None => begin,
            Some(after) => {
                let up_to = self.chunk(after);
                let mut before = table.range::<&ChunkKey>(&begin..=&up_to).trying_to("read")?;
                match before.next_back() {
                    Some(chunk) => *chunk.trying_to("read")?.0.value(),
                    None => begin,
                }
            }
        };
        let end = self.chunk(Row { key: u128::MAX, place: u128::MAX });
        let had = into.len();
        for chunk in table.range::<&ChunkKey>(&begin..=&end).trying_to("read")? {
            if into.len() - had >= count_min {
                return Ok(false);
            }
            let (_, value) = chunk.trying_to("read")?;
            let rows = value.value().as_chunks().0.iter().map(Row::from_bytes);
            into.extend(rows.filter(|row| after.is_none_or(|after| *row > after)));
        }
        Ok(true)
    }

    /// Finds the rows of a key before a place, the last first, and hands them on until told to stop.
    pub(super) fn find(
        self,
        table: &impl ReadableTable<&'static ChunkKey, &'static [u8]>,
        before: Row,
        mut found: impl FnMut(Row) -> bool,
    ) -> Result<(), RegistryError> {
        let (begin, end) = (self.chunk(Row::FIRST), self.chunk(before));
        for chunk in table.range::<&ChunkKey>(&begin..&end).trying_to("read")?.rev() {
            let (_, value) = chunk.trying_to("read")?;
            let rows = value.value().as_chunks().0;
            let end = rows.partition_point(|row| Row::from_bytes(row) < before);
            for row in rows[..end].iter().rev() {
                let row = Row::from_bytes(row);
                if row.key != before.key || !found(row) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
