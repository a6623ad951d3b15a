//! The tables of the book, and all of them in one transaction.

use std::ops::Deref;

use jiff::Timestamp;
use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::uses::noted_at;
use crate::domain::presentation::PresentationId;
use crate::domain::subject::SubjectId;
use crate::registry::book::QR_USE_KEPT;
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
/// 2 brought the log before the tree: a program that does not know it would miss what only the log holds.
pub(in crate::registry::embedded) const BOOK_FORMAT: u32 = 2;
pub(in crate::registry::embedded) const ABOUT_FORMAT: &str = "format";
/// The id of the registry it belongs to.
pub(in crate::registry::embedded) const ABOUT_REGISTRY_ID: &str = "registry-id";
/// Presentations issued up to this moment (i64, µs) are spent no more: when the book was last restored.
pub(in crate::registry::embedded) const ABOUT_REVOKED_UNTIL: &str = "revoked-until";

/// The last generation of the log (u64) that is held here whole.
pub(in crate::registry::embedded) const ABOUT_LOG_GENERATION: &str = "log-generation";

/// Visits every table of rows: what is not named here is neither backed up nor survives a compaction.
pub(in crate::registry::embedded) fn every_table<E: EachTable>(each: &mut E) -> Result<(), E::Error> {
    each.table(Stage::BookUses, USES)?;
    each.table(Stage::BookCodes, CODES)?;
    each.table(Stage::BookEnds, ENDS)?;
    each.table(Stage::BookConsents, CONSENTS)?;
    each.table(Stage::BookHoldBacks, HOLD_BACKS)
}

/// Marks a row that was removed, in what is logged.
const REMOVED: u8 = 0x80;
const TAG_USES: u8 = 1;
const TAG_CODES: u8 = 2;
const TAG_ENDS: u8 = 3;
const TAG_CONSENTS: u8 = 4;
const TAG_HOLD_BACKS: u8 = 5;

/// What was changed, as the log holds it.
type Changes = Vec<u8>;

/// A table whose changes are noted for the log.
pub(super) struct Logged<'t, const N: usize> {
    table: Table<'t, &'static [u8; N], &'static [u8]>,
    tag: u8,
}

impl<'t, const N: usize> Deref for Logged<'t, N> {
    type Target = Table<'t, &'static [u8; N], &'static [u8]>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

impl<'t, const N: usize> Logged<'t, N> {
    fn open(
        transaction: &'t WriteTransaction,
        definition: TableDefinition<'static, &'static [u8; N], &'static [u8]>,
        tag: u8,
    ) -> Result<Self, RegistryError> {
        Ok(Self { table: transaction.open_table(definition).trying_to("write")?, tag })
    }

    /// Puts in a row, or another one in its place.
    pub(super) fn put(
        &mut self,
        changes: &mut Changes,
        key: &[u8; N],
        row: &[u8],
    ) -> Result<(), RegistryError> {
        self.table.insert(key, row).trying_to("write")?;
        note_put(changes, self.tag, key, row);
        Ok(())
    }

    /// Removes a row; says whether there was one.
    pub(super) fn remove(&mut self, changes: &mut Changes, key: &[u8; N]) -> Result<bool, RegistryError> {
        let was_there = self.table.remove(key).trying_to("write")?.is_some();
        changes.push(self.tag | REMOVED);
        changes.extend_from_slice(key);
        Ok(was_there)
    }

    /// Does again what was noted; returns what follows it.
    fn redo<'c>(&mut self, is_removed: bool, rest: &'c [u8]) -> Result<&'c [u8], RegistryError> {
        let (key, rest) = rest.split_first_chunk::<N>().ok_or(MISSHAPEN)?;
        if is_removed {
            self.table.remove(key).trying_to("write")?;
            return Ok(rest);
        }
        let (row, rest) = row_in(rest)?;
        self.table.insert(key, row).trying_to("write")?;
        Ok(rest)
    }
}

const MISSHAPEN: RegistryError = RegistryError::Damaged("the log beside the book");

fn note_put(changes: &mut Changes, tag: u8, key: &[u8], row: &[u8]) {
    changes.push(tag);
    changes.extend_from_slice(key);
    changes.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_be_bytes());
    changes.extend_from_slice(row);
}

fn row_in(rest: &[u8]) -> Result<(&[u8], &[u8]), RegistryError> {
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(MISSHAPEN)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MISSHAPEN)?;
    rest.split_at_checked(length).ok_or(MISSHAPEN)
}

/// The tables, open for writing.
pub(super) struct Tables<'t> {
    pub(super) uses: Logged<'t, 18>,
    pub(super) codes: Logged<'t, 16>,
    ends: Table<'t, &'static [u8; 24], ()>,
    pub(super) consents: Logged<'t, 32>,
    pub(super) hold_backs: Logged<'t, 32>,
    /// What was changed so far.
    pub(super) changes: Changes,
    /// Rows that were added, and until when such rows are looked for that are to be swept: the latest moment anybody named.
    added: usize,
    now: Option<Timestamp>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, RegistryError> {
        Ok(Self {
            uses: Logged::open(transaction, USES, TAG_USES)?,
            codes: Logged::open(transaction, CODES, TAG_CODES)?,
            ends: transaction.open_table(ENDS).trying_to("write")?,
            consents: Logged::open(transaction, CONSENTS, TAG_CONSENTS)?,
            hold_backs: Logged::open(transaction, HOLD_BACKS, TAG_HOLD_BACKS)?,
            changes: Changes::new(),
            added: 0,
            now: None,
        })
    }

    /// Notes when the rows of a share code are to be swept, and that rows were added now.
    pub(super) fn end(
        &mut self,
        id: PresentationId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let key = end_key(until, id);
        self.ends.insert(&key, ()).trying_to("write")?;
        note_put(&mut self.changes, TAG_ENDS, &key, &[]);
        self.added(now);
        Ok(())
    }

    /// Does again what a batch of the log says.
    pub(super) fn redo(&mut self, mut rest: &[u8]) -> Result<(), RegistryError> {
        while let Some((tag, after)) = rest.split_first() {
            let is_removed = tag & REMOVED != 0;
            rest = match tag & !REMOVED {
                TAG_USES => self.uses.redo(is_removed, after)?,
                TAG_CODES => self.codes.redo(is_removed, after)?,
                TAG_CONSENTS => self.consents.redo(is_removed, after)?,
                TAG_HOLD_BACKS => self.hold_backs.redo(is_removed, after)?,
                TAG_ENDS if !is_removed => {
                    let (key, after) = after.split_first_chunk::<24>().ok_or(MISSHAPEN)?;
                    self.ends.insert(key, ()).trying_to("write")?;
                    row_in(after)?.1
                }
                _ => return Err(MISSHAPEN),
            };
        }
        Ok(())
    }

    /// Notes that a use was added now, so that old ones go.
    pub(super) fn added(&mut self, now: Timestamp) {
        self.added += 1;
        self.now = self.now.max(Some(now));
    }

    /// Removes a bounded piece of what is over. Not for the log: what comes back from it is swept again.
    pub(super) fn sweep(&mut self, walk: &mut Walk) -> Result<(), RegistryError> {
        let Some(now) = self.now.filter(|_| self.added > 0) else { return Ok(()) };
        self.sweep_ended(now)?;
        self.sweep_uses(walk, now)
    }

    /// Removes share codes that have ended, and their uses: for each row that was added two may go.
    fn sweep_ended(&mut self, now: Timestamp) -> Result<(), RegistryError> {
        const PIECE_MIN: usize = 16;
        let before = end_key(now, PresentationId::from_bytes([0; 16]));
        for _ in 0..(self.added * 2).max(PIECE_MIN) {
            let over = match self.ends.first().trying_to("read")? {
                Some((key, _nothing)) if *key.value() < before => *key.value(),
                _ => return Ok(()),
            };
            self.ends.remove(&over).trying_to("write")?;
            let mut id = [0; 16];
            id.copy_from_slice(&over[8..]);
            self.codes.table.remove(&id).trying_to("write")?;
            let (first, last) = uses_of(PresentationId::from_bytes(id));
            self.uses.table.retain_in::<&[u8; 18], _>(&first..=&last, |_, _| false).trying_to("write")?;
        }
        Ok(())
    }

    /// Walks on through the uses of QR codes, eight for each that was added, and removes what is over: neighbours share a page, which a
    /// list of ends in the order of time would not give. So at most an eighth of the uses are over and still there.
    fn sweep_uses(&mut self, walk: &mut Walk, now: Timestamp) -> Result<(), RegistryError> {
        const FOR_EACH: usize = 8;
        let mut over = Vec::new();
        let mut last = [0; 18];
        let (mut walked, steps) = (0, self.added * FOR_EACH);
        for row in self.uses.range::<&[u8; 18]>(&walk.next..=&QR_USES_END).trying_to("read")?.take(steps) {
            let (key, row) = row.trying_to("read")?;
            last = *key.value();
            walked += 1;
            let noted = noted_at(row.value()).and_then(|noted| noted.checked_add(QR_USE_KEPT).ok());
            if noted.is_some_and(|until| until < now) {
                over.push(*key.value());
            }
        }
        walk.next = if walked < steps { [0; 18] } else { after(last) };
        for key in over {
            self.uses.table.remove(&key).trying_to("write")?;
        }
        Ok(())
    }
}

/// The last key the use of a QR code can have: ids of share codes have the first bit set.
const QR_USES_END: [u8; 18] = {
    let mut end = [u8::MAX; 18];
    end[0] = 0x7f;
    end
};

/// Where the walk through the uses of QR codes goes on; from the start again at the end.
#[derive(Default)]
pub(super) struct Walk {
    next: [u8; 18],
}

/// The key right after a key.
fn after(key: [u8; 18]) -> [u8; 18] {
    let mut next = key;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    next
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
