//! The whole book: counted, and walked by a verification.

use redb::{
    Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, Value,
};

use super::store::Book;
use super::tables::{CODES, CONSENTS, HOLD_BACKS, USES};
use super::uses::use_of;
use crate::domain::presentation::PresentationId;
use crate::domain::subject::SubjectId;
use crate::issuing::ports::ConsentId;
use crate::registry::book::{OnBook, open_hold_back, open_share_code};
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::progress::{Counting, Stage, Watcher};

impl Book {
    /// Counts uses that are gone, share codes, consents and hold-backs.
    pub(in crate::registry::embedded) fn counts(&self) -> Result<[u64; 4], RegistryError> {
        let reading = self.database.begin_read().trying_to("read")?;
        Ok([
            count(&reading, USES)?,
            count(&reading, CODES)?,
            count(&reading, CONSENTS)?,
            count(&reading, HOLD_BACKS)?,
        ])
    }

    /// Opens every row of one snapshot; returns how many there are, and how many of them cannot be read.
    pub(in crate::registry::embedded) fn walk(
        &self,
        watcher: Watcher<'_>,
    ) -> Result<(u64, u64), RegistryError> {
        let reading = self.database.begin_read().trying_to("read")?;
        let keys = &self.keys;
        let mut walk = Walk { reading: &reading, watcher, rows: 0, unreadable: 0 };
        walk.table(Stage::BookUses, USES, |_, row| use_of(1, row).is_ok())?;
        walk.table(Stage::BookCodes, CODES, |key, row| {
            open_share_code(keys, PresentationId::from_bytes(*key), row).is_ok()
        })?;
        walk.table(Stage::BookConsents, CONSENTS, |key, row| {
            let (mut subject, mut id) = ([0; 16], [0; 16]);
            subject.copy_from_slice(&key[..16]);
            id.copy_from_slice(&key[16..]);
            OnBook::open(keys, SubjectId::from_bytes(subject), ConsentId(id), row).is_ok()
        })?;
        walk.table(Stage::BookHoldBacks, HOLD_BACKS, |key, row| open_hold_back(keys, key, row).is_ok())?;
        Ok((walk.rows, walk.unreadable))
    }
}

fn count<K: Key + 'static, V: Value + 'static>(
    reading: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<u64, RegistryError> {
    reading.open_table(table).trying_to("read")?.len().trying_to("read")
}

struct Walk<'w, 'f> {
    reading: &'w ReadTransaction,
    watcher: &'w mut (dyn FnMut(crate::registry::embedded::Progress) + 'f),
    rows: u64,
    unreadable: u64,
}

impl Walk<'_, '_> {
    fn table<const N: usize>(
        &mut self,
        stage: Stage,
        table: TableDefinition<'_, &'static [u8; N], &'static [u8]>,
        is_readable: impl Fn(&[u8; N], &[u8]) -> bool,
    ) -> Result<(), RegistryError> {
        let rows = self.reading.open_table(table).trying_to("read")?;
        let mut counting = Counting::of(stage, rows.len().trying_to("read")?, self.watcher);
        for row in rows.iter().trying_to("read")? {
            let (key, value) = row.trying_to("read")?;
            if !is_readable(key.value(), value.value()) {
                self.unreadable += 1;
            }
            counting.add(1);
        }
        self.rows += counting.done();
        Ok(())
    }
}
