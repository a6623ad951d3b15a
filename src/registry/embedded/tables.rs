//! The tables of the store, and the few facts about the store itself.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use redb::{Key, ReadableTable, TableDefinition, Value, WriteTransaction};
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::progress::Stage;
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
/// 3 brought records of version 3, with stops, and the book beside it. An older format is read as it is and becomes this one
/// when opened, so that a program that cannot read the newer records says so.
pub(super) const STORE_FORMAT: u32 = 3;
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

/// What somebody does with every table of rows, one after the other.
pub(super) trait EachTable {
    /// What can go wrong.
    type Error;

    /// Does it with one.
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        stage: Stage,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), Self::Error>;
}

/// Visits every table of rows: what is not named here is neither backed up nor survives a compaction.
pub(super) fn every_table<E: EachTable>(each: &mut E) -> Result<(), E::Error> {
    each.table(Stage::Numbers, NUMBERS)?;
    each.table(Stage::Records, RECORDS)?;
    each.table(Stage::Feed, FEED)?;
    each.table(Stage::IntakeSubjects, INTAKE_SUBJECTS)?;
    each.table(Stage::IntakeNumbers, INTAKE_NUMBERS)?;
    each.table(Stage::IntakeWaiting, INTAKE_WAITING)?;
    let [known, known_before] = INTAKE_KNOWN;
    each.table(Stage::IntakeKnown, known)?;
    each.table(Stage::IntakeKnownBefore, known_before)
}

/// What a store says of itself: every row of the meta table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts(pub(super) BTreeMap<String, Vec<u8>>);

impl Facts {
    /// The facts of a store that is just being made.
    pub(super) fn of_new(keys: &RegistryKeys) -> Result<Self, RegistryError> {
        let mut id = [0_u8; 16];
        rand::fill(&mut id).map_err(|_| RegistryError::NoRandomness)?;
        let sealed = keys.sealing.seal(SEALING_CHECK, &id).map_err(|_| RegistryError::WrongKeys)?;
        let facts: [(&str, &[u8]); 6] = [
            (META_FORMAT, &STORE_FORMAT.to_be_bytes()),
            (META_EPOCH, &1_u32.to_be_bytes()),
            (META_HEAD, &0_u64.to_be_bytes()),
            (META_REGISTRY_ID, &id),
            (META_SEALING_CHECK, &sealed),
            (META_PSEUDONYM_CHECK, &keys.check(&id)),
        ];
        Ok(Self(facts.into_iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()))
    }

    /// Reads them all.
    pub(super) fn read(
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<Self, RegistryError> {
        let mut facts = Self::default();
        for row in meta.iter().trying_to("read")? {
            let (name, value) = row.trying_to("read")?;
            facts.0.insert(name.value().to_owned(), value.value().to_vec());
        }
        Ok(facts)
    }

    /// Writes them.
    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<(), RegistryError> {
        let mut meta = transaction.open_table(META).trying_to("create")?;
        for (name, value) in &self.0 {
            meta.insert(name.as_str(), value.as_slice()).trying_to("create")?;
        }
        Ok(())
    }

    /// Says whether these are the keys the store was made with.
    pub(super) fn fit(&self, keys: &RegistryKeys) -> Result<bool, RegistryError> {
        let id = self.fixed(META_REGISTRY_ID)?;
        let mut scratch = Zeroizing::default();
        let opened = keys.sealing.open(self.value(META_SEALING_CHECK)?, &id, &mut scratch);
        Ok(opened == Ok(SEALING_CHECK) && self.fixed(META_PSEUDONYM_CHECK)? == keys.check(&id))
    }

    /// Returns the store's format.
    pub(super) fn format(&self) -> Result<u32, RegistryError> {
        self.fixed(META_FORMAT).map(u32::from_be_bytes)
    }

    /// Returns the epoch.
    pub(super) fn epoch(&self) -> Result<u32, RegistryError> {
        self.fixed(META_EPOCH).map(u32::from_be_bytes)
    }

    /// Returns the feed's head.
    pub(super) fn head(&self) -> Result<u64, RegistryError> {
        self.fixed(META_HEAD).map(u64::from_be_bytes)
    }

    /// Returns the registry's own id.
    pub(super) fn registry_id(&self) -> Result<[u8; 16], RegistryError> {
        self.fixed(META_REGISTRY_ID)
    }

    /// Sets the epoch.
    pub(super) fn begin_epoch(&mut self, epoch: u32) {
        self.0.insert(META_EPOCH.to_owned(), epoch.to_be_bytes().to_vec());
    }

    fn value(&self, name: &str) -> Result<&[u8], RegistryError> {
        let value = self.0.get(name).ok_or(RegistryError::Damaged("a fact about the store is missing"))?;
        Ok(value)
    }

    fn fixed<const N: usize>(&self, name: &str) -> Result<[u8; N], RegistryError> {
        let value = self.value(name)?.try_into();
        value.map_err(|_| RegistryError::Damaged("a fact about the store has the wrong size"))
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
