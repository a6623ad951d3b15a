//! What the store holds, in numbers.

use std::collections::BTreeMap;

use redb::{ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};
use serde::Serialize;
use zeroize::Zeroizing;

use super::book::BOOK_FILE;
use super::error::{RegistryError, Trying as _};
use super::store::EmbeddedRegistry;
use super::tables::{FEED, META, META_REGISTRY_ID, NUMBERS, RECORDS, epoch_and_head, fixed};
use crate::domain::licence::{ChangeKind, History};
use crate::domain::subject::SubjectId;
use crate::registry::codec;

/// Records opened for the statistics. A larger store is sampled: subjects are random, so the first ones in order of key are
/// a fair sample, and this many tell a share of one in a thousand to a few in a hundred thousand.
const SAMPLE_MAX: u64 = 200_000;

/// Counts over the whole store. Classes and letters are those last recorded, whenever they take effect.
///
/// Subjects, numbers, feed rows and bytes of the file are always exact. The rest is counted in `sampled` records and, if
/// those are not all, scaled up to all of them; `sealed_bytes_max` and `unreadable` are what the sample showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegistryStats {
    /// The registry's own id, in hex.
    pub registry_id: String,
    /// The epoch in force.
    pub epoch: u32,
    /// The feed's head.
    pub head_seq: u64,
    /// Feed rows kept.
    pub feed_rows: u64,
    /// Subjects.
    pub subjects: u64,
    /// Numbers, old ones included.
    pub numbers: u64,
    /// Records the counts below were taken from.
    pub sampled: u64,
    /// Changes in all histories.
    pub changes: u64,
    /// Bytes of all sealed records.
    pub sealed_bytes: u64,
    /// Bytes of the largest sealed record.
    pub sealed_bytes_max: u64,
    /// Uses of presentations that are gone, as far as they are kept.
    pub uses: u64,
    /// Share codes, until they are long over.
    pub share_codes: u64,
    /// Consents on the book.
    pub consents: u64,
    /// Hold-backs on the book.
    pub hold_backs: u64,
    /// Bytes of the registry's file and the book's; 0 in memory.
    pub file_bytes: u64,
    /// Subjects per class held.
    pub classes: BTreeMap<String, u64>,
    /// Subjects per state letter carried.
    pub letters: BTreeMap<char, u64>,
    /// Records that cannot be read. Should always be zero.
    pub unreadable: u64,
}

impl RegistryStats {
    /// Returns the mean size of a sealed record in bytes.
    #[allow(clippy::cast_precision_loss, reason = "a mean for people to read")]
    pub fn sealed_bytes_mean(&self) -> f64 {
        if self.subjects == 0 { 0.0 } else { self.sealed_bytes as f64 / self.subjects as f64 }
    }

    /// Returns the bytes of the file per subject.
    #[allow(clippy::cast_precision_loss, reason = "a mean for people to read")]
    pub fn file_bytes_mean(&self) -> f64 {
        if self.subjects == 0 { 0.0 } else { self.file_bytes as f64 / self.subjects as f64 }
    }

    /// Says whether only a part of the records was opened.
    pub fn is_sampled(&self) -> bool {
        self.sampled < self.subjects
    }

    /// Returns the mean length of a history.
    #[allow(clippy::cast_precision_loss, reason = "a mean for people to read")]
    pub fn changes_mean(&self) -> f64 {
        if self.subjects == 0 { 0.0 } else { self.changes as f64 / self.subjects as f64 }
    }

    fn scale_up(&mut self) {
        if !self.is_sampled() {
            return;
        }
        let (sampled, subjects) = (u128::from(self.sampled.max(1)), u128::from(self.subjects));
        let scaled = |count: u64| {
            u64::try_from((u128::from(count) * subjects + sampled / 2) / sampled).unwrap_or(u64::MAX)
        };
        self.changes = scaled(self.changes);
        self.sealed_bytes = scaled(self.sealed_bytes);
        self.classes.values_mut().for_each(|count| *count = scaled(*count));
        self.letters.values_mut().for_each(|count| *count = scaled(*count));
    }

    /// Counts one history in.
    pub(in crate::registry) fn count(&mut self, history: &History) {
        self.changes += history.changes().len() as u64;
        let (mut classes, mut letters) = (0_u32, 0_u32);
        for change in history.changes() {
            match &change.kind {
                ChangeKind::ClassAdded { class } => classes |= 1 << class.code(),
                ChangeKind::ClassRemoved { class } => classes &= !(1 << class.code()),
                ChangeKind::StateSet { letter, .. } => letters |= letter_bit(*letter),
                ChangeKind::StateLifted { letter } => letters &= !letter_bit(*letter),
                _ => {}
            }
        }
        for class in crate::domain::licence::VehicleClass::ALL {
            if classes & (1 << class.code()) != 0 {
                *self.classes.entry(class.word().to_owned()).or_default() += 1;
            }
        }
        for letter in b'A'..=b'Z' {
            if letters & letter_bit(letter) != 0 {
                *self.letters.entry(char::from(letter)).or_default() += 1;
            }
        }
    }
}

fn size_of(path: &std::path::Path) -> u64 {
    path.metadata().map_or(0, |file| file.len())
}

fn letter_bit(letter: u8) -> u32 {
    1_u32.checked_shl(u32::from(letter.wrapping_sub(b'A'))).unwrap_or(0)
}

impl EmbeddedRegistry {
    /// Counts over one snapshot of the store, opening up to 200,000 records.
    ///
    /// # Errors
    /// [`RegistryError::Store`] or [`RegistryError::Damaged`].
    pub fn stats(&self) -> Result<RegistryStats, RegistryError> {
        self.stats_of(SAMPLE_MAX)
    }

    /// As [`Self::stats`], from a sample of this size.
    pub(super) fn stats_of(&self, sample_max: u64) -> Result<RegistryStats, RegistryError> {
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let meta = reading.open_table(META).trying_to("read")?;
        let (epoch, head_seq) = epoch_and_head(&meta)?;
        let id: [u8; 16] = fixed(&meta, META_REGISTRY_ID)?;
        let records = reading.open_table(RECORDS).trying_to("read")?;
        let [uses, share_codes, consents, hold_backs] = self.book.counts()?;
        let mut stats = RegistryStats {
            registry_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            epoch,
            head_seq,
            feed_rows: reading.open_table(FEED).trying_to("read")?.len().trying_to("read")?,
            subjects: records.len().trying_to("read")?,
            numbers: reading.open_table(NUMBERS).trying_to("read")?.len().trying_to("read")?,
            uses,
            share_codes,
            consents,
            hold_backs,
            file_bytes: self
                .path()
                .map_or(0, |path| size_of(path) + size_of(&path.with_file_name(BOOK_FILE))),
            ..RegistryStats::default()
        };
        let mut scratch = Zeroizing::default();
        for entry in records.iter().trying_to("read")? {
            if stats.sampled == sample_max {
                break;
            }
            let (subject, sealed) = entry.trying_to("read")?;
            stats.sampled += 1;
            let size = sealed.value().len() as u64;
            stats.sealed_bytes += size;
            stats.sealed_bytes_max = stats.sealed_bytes_max.max(size);
            let opened = self.shared.keys.sealing.open(sealed.value(), subject.value(), &mut scratch);
            let subject = SubjectId::from_bytes(*subject.value());
            match opened.ok().and_then(|plain| codec::decode(subject, plain).ok()) {
                Some(record) => stats.count(&record.history),
                None => stats.unreadable += 1,
            }
        }
        stats.scale_up();
        Ok(stats)
    }
}
