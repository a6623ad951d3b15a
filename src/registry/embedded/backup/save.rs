//! Makes a backup from one snapshot, while the gateway serves.

use std::io::Write;

use redb::{ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};

use super::blocks::{BlockWriter, Kind};
use super::error::BackupError;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::progress::{Counting, Stage, Watcher};
use crate::registry::embedded::store::EmbeddedRegistry;
use crate::registry::embedded::tables::{FEED, Facts, META, META_FORMAT, NUMBERS, RECORDS, fixed};

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

/// Rows of each table.
struct Counts {
    numbers: u64,
    records: u64,
    feed: u64,
}

impl EmbeddedRegistry {
    /// Writes a snapshot of everything to `out`. Readers and the writer go on meanwhile; what they change is not in it.
    ///
    /// # Errors
    /// See [`BackupError`]; what was written is then no backup, and restoring it says so.
    pub fn back_up(&self, out: &mut dyn Write, watcher: Watcher<'_>) -> Result<BackupReport, BackupError> {
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let mut writer = BlockWriter::begin(out, &self.shared.keys.backup)?;
        let (counts, epoch, head_seq) = save_store(&reading, &mut writer)?;
        save_numbers(&reading, &mut writer, Counting::of(Stage::Numbers, counts.numbers, watcher))?;
        save_records(&reading, &mut writer, Counting::of(Stage::Records, counts.records, watcher))?;
        save_feed(&reading, &mut writer, Counting::of(Stage::Feed, counts.feed, watcher))?;
        Ok(BackupReport { subjects: counts.records, epoch, head_seq, bytes: writer.finish()? })
    }
}

fn save_store(
    reading: &ReadTransaction,
    writer: &mut BlockWriter<'_>,
) -> Result<(Counts, u32, u64), BackupError> {
    let meta = reading.open_table(META).trying_to("read")?;
    let counts = Counts {
        numbers: reading.open_table(NUMBERS).trying_to("read")?.len().trying_to("read")?,
        records: reading.open_table(RECORDS).trying_to("read")?.len().trying_to("read")?,
        feed: reading.open_table(FEED).trying_to("read")?.len().trying_to("read")?,
    };
    let facts = Facts::read(&meta)?;
    writer.open(Kind::Store);
    let payload = writer.payload();
    payload.extend_from_slice(&fixed::<4>(&meta, META_FORMAT)?);
    payload.extend_from_slice(&facts.registry_id);
    payload.extend_from_slice(&facts.epoch.to_be_bytes());
    for count in [facts.head, counts.numbers, counts.records, counts.feed] {
        payload.extend_from_slice(&count.to_be_bytes());
    }
    payload.extend_from_slice(&facts.pseudonym_check);
    payload.extend_from_slice(&facts.sealing_check);
    writer.close()?;
    Ok((counts, facts.epoch, facts.head))
}

fn save_numbers(
    reading: &ReadTransaction,
    writer: &mut BlockWriter<'_>,
    mut counting: Counting<'_, '_>,
) -> Result<(), BackupError> {
    writer.open(Kind::Numbers);
    for row in reading.open_table(NUMBERS).trying_to("read")?.iter().trying_to("read")? {
        let (pseudonym, subject) = row.trying_to("read")?;
        writer.payload().extend_from_slice(pseudonym.value());
        writer.payload().extend_from_slice(subject.value());
        next_row(writer, Kind::Numbers, &mut counting)?;
    }
    writer.close()
}

fn save_records(
    reading: &ReadTransaction,
    writer: &mut BlockWriter<'_>,
    mut counting: Counting<'_, '_>,
) -> Result<(), BackupError> {
    writer.open(Kind::Records);
    for row in reading.open_table(RECORDS).trying_to("read")?.iter().trying_to("read")? {
        let (subject, sealed) = row.trying_to("read")?;
        writer.payload().extend_from_slice(subject.value());
        append_sized(writer.payload(), sealed.value())?;
        next_row(writer, Kind::Records, &mut counting)?;
    }
    writer.close()
}

fn save_feed(
    reading: &ReadTransaction,
    writer: &mut BlockWriter<'_>,
    mut counting: Counting<'_, '_>,
) -> Result<(), BackupError> {
    writer.open(Kind::Feed);
    for entry in reading.open_table(FEED).trying_to("read")?.iter().trying_to("read")? {
        let (seq, row) = entry.trying_to("read")?;
        writer.payload().extend_from_slice(&seq.value().to_be_bytes());
        append_sized(writer.payload(), row.value())?;
        next_row(writer, Kind::Feed, &mut counting)?;
    }
    writer.close()
}

fn append_sized(payload: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RegistryError> {
    let length = u32::try_from(bytes.len()).map_err(|_| RegistryError::Damaged("a row is too large"))?;
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(bytes);
    Ok(())
}

fn next_row(
    writer: &mut BlockWriter<'_>,
    kind: Kind,
    counting: &mut Counting<'_, '_>,
) -> Result<(), BackupError> {
    counting.add(1);
    if writer.is_full() {
        writer.close()?;
        writer.open(kind);
    }
    Ok(())
}
