//! The tables of the book, and all of them in one transaction.

use jiff::Timestamp;
use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};

use crate::domain::presentation::PresentationId;
use crate::domain::subject::SubjectId;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::progress::Stage;
use crate::registry::embedded::tables::EachTable;

pub(in crate::registry::embedded) const USES: TableDefinition<'_, &[u8; 18], &[u8]> =
    TableDefinition::new("uses");
pub(in crate::registry::embedded) const CODES: TableDefinition<'_, &[u8; 16], &[u8]> =
    TableDefinition::new("codes");
pub(in crate::registry::embedded) const ENDS: TableDefinition<'_, &[u8; 24], ()> =
    TableDefinition::new("ends");
pub(in crate::registry::embedded) const CONSENTS: TableDefinition<'_, &[u8; 32], &[u8]> =
    TableDefinition::new("consents");
pub(in crate::registry::embedded) const HOLD_BACKS: TableDefinition<'_, &[u8; 32], &[u8]> =
    TableDefinition::new("hold-backs");
/// Name → value.
pub(in crate::registry::embedded) const ABOUT: TableDefinition<'_, &str, &[u8]> =
    TableDefinition::new("about");

/// The layout this program writes.
pub(in crate::registry::embedded) const BOOK_FORMAT: u32 = 1;
pub(in crate::registry::embedded) const ABOUT_FORMAT: &str = "format";
/// The id of the registry it belongs to.
pub(in crate::registry::embedded) const ABOUT_REGISTRY_ID: &str = "registry-id";
/// Presentations issued up to this moment (i64, µs) are spent no more: when the book was last restored.
pub(in crate::registry::embedded) const ABOUT_REVOKED_UNTIL: &str = "revoked-until";

/// Visits every table of rows: what is not named here is neither backed up nor survives a compaction.
pub(in crate::registry::embedded) fn every_table<E: EachTable>(each: &mut E) -> Result<(), E::Error> {
    each.table(Stage::BookUses, USES)?;
    each.table(Stage::BookCodes, CODES)?;
    each.table(Stage::BookEnds, ENDS)?;
    each.table(Stage::BookConsents, CONSENTS)?;
    each.table(Stage::BookHoldBacks, HOLD_BACKS)
}

/// The tables, open for writing.
pub(super) struct Tables<'t> {
    pub(super) uses: Table<'t, &'static [u8; 18], &'static [u8]>,
    pub(super) codes: Table<'t, &'static [u8; 16], &'static [u8]>,
    pub(super) ends: Table<'t, &'static [u8; 24], ()>,
    pub(super) consents: Table<'t, &'static [u8; 32], &'static [u8]>,
    pub(super) hold_backs: Table<'t, &'static [u8; 32], &'static [u8]>,
    /// Rows that were added, and until when such rows are looked for that are to be swept: the latest moment anybody named.
    pub(super) added: usize,
    pub(super) now: Option<Timestamp>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, RegistryError> {
        Ok(Self {
            uses: transaction.open_table(USES).trying_to("write")?,
            codes: transaction.open_table(CODES).trying_to("write")?,
            ends: transaction.open_table(ENDS).trying_to("write")?,
            consents: transaction.open_table(CONSENTS).trying_to("write")?,
            hold_backs: transaction.open_table(HOLD_BACKS).trying_to("write")?,
            added: 0,
            now: None,
        })
    }

    /// Removes a bounded piece of what is over: for each row that was added two may go.
    pub(super) fn sweep(&mut self) -> Result<(), RegistryError> {
        const PIECE_MIN: usize = 16;
        let Some(now) = self.now.filter(|_| self.added > 0) else { return Ok(()) };
        let before = end_key(now, PresentationId::from_bytes([0; 16]));
        for _ in 0..(self.added * 2).max(PIECE_MIN) {
            let over = match self.ends.first().trying_to("read")? {
                Some((key, _nothing)) if *key.value() < before => *key.value(),
                _ => return Ok(()),
            };
            self.ends.remove(&over).trying_to("write")?;
            let mut id = [0; 16];
            id.copy_from_slice(&over[8..]);
            self.codes.remove(&id).trying_to("write")?;
            let (first, last) = uses_of(PresentationId::from_bytes(id));
            self.uses.retain_in::<&[u8; 18], _>(&first..=&last, |_, _| false).trying_to("write")?;
        }
        Ok(())
    }
}

/// The first and the last key the uses of a presentation can have.
pub(super) fn uses_of(id: PresentationId) -> ([u8; 18], [u8; 18]) {
    (use_key(id, 0), use_key(id, u16::MAX))
}

pub(super) fn use_key(id: PresentationId, number: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(id.as_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn end_key(ends_at: Timestamp, id: PresentationId) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&u64::try_from(ends_at.as_second()).unwrap_or_default().to_be_bytes());
    key[8..].copy_from_slice(id.as_bytes());
    key
}

/// The key of something a subject has.
pub(super) fn subject_key(subject: SubjectId, id: [u8; 16]) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(subject.as_bytes());
    key[16..].copy_from_slice(&id);
    key
}
