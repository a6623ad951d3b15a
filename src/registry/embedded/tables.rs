//! The tables of the store, and the few facts about the store itself.

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use crate::registry::keys::RegistryKeys;

/// Number pseudonym → subject. Old numbers stay as aliases.
pub(super) const NUMBERS: TableDefinition<'_, &[u8; 16], &[u8; 16]> = TableDefinition::new("numbers");
/// Subject → sealed record, bound to the subject.
pub(super) const RECORDS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("records");
/// Sequence → epoch (4, big-endian) · subject (16) · pseudonyms (16 each).
pub(super) const FEED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("feed");
/// Name → value.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Subject → sealed state of the intake. Written once the authority's feed speaks of the subject.
pub(super) const INTAKE_SUBJECTS: TableDefinition<'_, &[u8; 16], &[u8]> =
    TableDefinition::new("intake-subjects");
/// Number pseudonym → sealed state of the intake, for numbers nobody has.
pub(super) const INTAKE_NUMBERS: TableDefinition<'_, &[u8; 16], &[u8]> =
    TableDefinition::new("intake-numbers");
/// 0 and subject, or 1 and number pseudonym → what waits there: held until (8) · held (4) · quarantined (4).
pub(super) const INTAKE_WAITING: TableDefinition<'_, &[u8; 17], &[u8; 16]> =
    TableDefinition::new("intake-waiting");
/// Change key → digest (16) · fate (1) · position (14). Two generations: the older is emptied when the younger is full.
pub(super) const INTAKE_KNOWN: [TableDefinition<'_, &[u8; 16], &[u8; 31]>; 2] =
    [TableDefinition::new("intake-known-0"), TableDefinition::new("intake-known-1")];

/// The layout of tables and records this program writes: 2 brought records of version 2, sealed without a stored nonce.
/// Format 1 is read as it is and becomes 2 when opened, so that a program that cannot read the newer records says so.
pub(super) const STORE_FORMAT: u32 = 2;
/// What the sealing check holds, sealed.
pub(super) const SEALING_CHECK: &[u8] = b"drivegate registry sealing check";

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_EPOCH: &str = "epoch";
pub(super) const META_HEAD: &str = "head";
pub(super) const META_REGISTRY_ID: &str = "registry-id";
pub(super) const META_SEALING_CHECK: &str = "sealing-check";
/// Which generation of known changes is the younger: 0 or 1.
pub(super) const META_KNOWN_GENERATION: &str = "intake-known-generation";
pub(super) const META_PSEUDONYM_CHECK: &str = "pseudonym-check";

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) epoch: u32,
    pub(super) head: u64,
    pub(super) registry_id: [u8; 16],
    pub(super) sealing_check: Vec<u8>,
    pub(super) pseudonym_check: [u8; 16],
}

impl Facts {
    /// Reads them all.
    pub(super) fn read(
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<Self, RegistryError> {
        let (epoch, head) = epoch_and_head(meta)?;
        let sealing_check = meta.get(META_SEALING_CHECK).trying_to("read")?;
        let sealing_check =
            sealing_check.ok_or(RegistryError::Damaged("a fact about the store is missing"))?;
        Ok(Self {
            epoch,
            head,
            registry_id: fixed(meta, META_REGISTRY_ID)?,
            sealing_check: sealing_check.value().to_vec(),
            pseudonym_check: fixed(meta, META_PSEUDONYM_CHECK)?,
        })
    }

    /// Writes them into a store of the newest format.
    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), RegistryError> {
        let mut meta = transaction.open_table(META).trying_to("create")?;
        let facts: [(&str, &[u8]); 6] = [
            (META_FORMAT, &STORE_FORMAT.to_be_bytes()),
            (META_EPOCH, &self.epoch.to_be_bytes()),
            (META_HEAD, &self.head.to_be_bytes()),
            (META_REGISTRY_ID, &self.registry_id),
            (META_SEALING_CHECK, &self.sealing_check),
            (META_PSEUDONYM_CHECK, &self.pseudonym_check),
        ];
        for (name, value) in facts {
            meta.insert(name, value).trying_to("create")?;
        }
        Ok(())
    }

    /// Says whether these are the keys the store was made with.
    pub(super) fn fit(&self, keys: &RegistryKeys) -> bool {
        let mut scratch = Zeroizing::default();
        keys.sealing.open(&self.sealing_check, &self.registry_id, &mut scratch) == Ok(SEALING_CHECK)
            && self.pseudonym_check == keys.check(&self.registry_id)
    }
}

/// Reads a fixed-size value of the meta table.
pub(super) fn fixed<const N: usize>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<[u8; N], RegistryError> {
    let found = meta
        .get(name)
        .trying_to("read")?
        .ok_or(RegistryError::Damaged("a fact about the store is missing"))?;
    found.value().try_into().map_err(|_| RegistryError::Damaged("a fact about the store has the wrong size"))
}

/// Reads the epoch and the feed's head.
pub(super) fn epoch_and_head(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<(u32, u64), RegistryError> {
    Ok((u32::from_be_bytes(fixed(meta, META_EPOCH)?), u64::from_be_bytes(fixed(meta, META_HEAD)?)))
}
