//! Makes a backup from one snapshot, while the gateway serves.

use std::io::Write;

use redb::{
    Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, TableError, Value,
};

use super::blocks::{BlockWriter, Kind};
use super::error::BackupError;
use crate::registry::embedded::book;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::progress::{Counting, Progress, Stage, Watcher};
use crate::registry::embedded::store::EmbeddedRegistry;
use crate::registry::embedded::tables::{EachTable, Facts, META, RECORDS, every_table};

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// Subjects.
    pub subjects: u64,
    /// The epoch it was made in.
    pub epoch: u32,
    /// The feed's head it is true for.
    pub head_seq: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl EmbeddedRegistry {
    /// Writes a snapshot of everything to `out`. Readers and the writer go on meanwhile; what they change is not in it.
    ///
    /// # Errors
    /// See [`BackupError`]; what was written is then no backup, and restoring it says so.
    pub fn back_up(&self, out: &mut dyn Write, watcher: Watcher<'_>) -> Result<BackupReport, BackupError> {
        // The book first: a withdrawal it does not know yet stands on the record, never the other way round.
        let book = self.book.database.begin_read().trying_to("read")?;
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let facts = Facts::read(&reading.open_table(META).trying_to("read")?)?;
        let subjects = reading.open_table(RECORDS).trying_to("read")?.len().trying_to("read")?;
        let mut writer = BlockWriter::begin(out, &self.shared.keys.backup)?;
        save_store(&facts, subjects, &mut writer)?;
        let mut saving = Saving { reading, writer, watcher };
        every_table(&mut saving)?;
        saving.reading = book;
        book::tables::every_table(&mut saving)?;
        let (epoch, head_seq) = (facts.epoch()?, facts.head()?);
        Ok(BackupReport { subjects, epoch, head_seq, bytes: saving.writer.finish()? })
    }
}

fn save_store(facts: &Facts, subjects: u64, writer: &mut BlockWriter<'_>) -> Result<(), BackupError> {
    writer.open(Kind::Store);
    writer.payload().extend_from_slice(&subjects.to_be_bytes());
    for (name, value) in &facts.0 {
        push(writer.payload(), name.as_bytes(), None)?;
        push(writer.payload(), value, None)?;
    }
    writer.close()
}

/// Appends bytes, with their length ahead unless they have a fixed size.
fn push(payload: &mut Vec<u8>, bytes: &[u8], fixed: Option<usize>) -> Result<(), RegistryError> {
    if fixed.is_none() {
        let length = u32::try_from(bytes.len()).map_err(|_| RegistryError::Damaged("a row is too large"))?;
        payload.extend_from_slice(&length.to_be_bytes());
    }
    payload.extend_from_slice(bytes);
    Ok(())
}

struct Saving<'o, 'w> {
    reading: ReadTransaction,
    writer: BlockWriter<'o>,
    watcher: &'w mut dyn FnMut(Progress),
}

impl EachTable for Saving<'_, '_> {
    type Error = BackupError;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        stage: Stage,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), BackupError> {
        let rows = match self.reading.open_table(table) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            other => other.trying_to("read")?,
        };
        let mut counting = Counting::of(stage, rows.len().trying_to("read")?, self.watcher);
        let writer = &mut self.writer;
        writer.open(Kind::Rows(stage));
        for row in rows.iter().trying_to("read")? {
            let (key, value) = row.trying_to("read")?;
            push(writer.payload(), K::as_bytes(&key.value()).as_ref(), K::fixed_width())?;
            push(writer.payload(), V::as_bytes(&value.value()).as_ref(), V::fixed_width())?;
            counting.add(1);
            if writer.is_full() {
                writer.close()?;
                writer.open(Kind::Rows(stage));
            }
        }
        writer.close()
    }
}
