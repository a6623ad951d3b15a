//! The change feed: who changed, in the order it became durable.

use redb::{ReadableDatabase as _, Table};

use super::error::{RegistryError, Trying as _};
use super::store::{EmbeddedRegistry, PARTITION};
use super::tables::FEED;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};

/// One change in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRow {
    /// Where it lies.
    pub position: Position,
    /// Who changed.
    pub subject: SubjectId,
    /// The pseudonyms of every number the subject has or had.
    pub pseudonyms: Vec<NumberPseudonym>,
}

impl EmbeddedRegistry {
    /// Reads up to `count_max` rows after `seq`, oldest first. Rows older than the retention are gone.
    ///
    /// # Errors
    /// [`RegistryError::Store`] or [`RegistryError::Damaged`].
    pub fn feed_after(&self, seq: u64, count_max: usize) -> Result<Vec<FeedRow>, RegistryError> {
        let reading = self.shared.database.begin_read().trying_to("read")?;
        let feed = reading.open_table(FEED).trying_to("read")?;
        let mut rows = Vec::new();
        for entry in feed.range(seq.saturating_add(1)..).trying_to("read")?.take(count_max) {
            let (seq, row) = entry.trying_to("read")?;
            rows.push(parse(seq.value(), row.value()).ok_or(RegistryError::Damaged("a feed row"))?);
        }
        Ok(rows)
    }
}

/// Appends a row.
pub(super) fn append(
    feed: &mut Table<'_, u64, &'static [u8]>,
    position: Position,
    subject: &SubjectId,
    pseudonyms: &[NumberPseudonym],
) -> Result<(), RegistryError> {
    let mut row = Vec::with_capacity(20 + 16 * pseudonyms.len());
    row.extend_from_slice(&position.epoch.to_be_bytes());
    row.extend_from_slice(subject.as_bytes());
    for pseudonym in pseudonyms {
        row.extend_from_slice(pseudonym.as_bytes());
    }
    feed.insert(position.seq, row.as_slice()).trying_to("write")?;
    Ok(())
}

/// Forgets rows beyond the retention.
pub(super) fn prune(
    feed: &mut Table<'_, u64, &'static [u8]>,
    head: u64,
    rows_kept: u64,
) -> Result<(), RegistryError> {
    let Some(last_forgotten) = head.checked_sub(rows_kept) else { return Ok(()) };
    feed.retain_in(..=last_forgotten, |_, _| false).trying_to("write")
}

/// Reads a row; `None` if it is none.
pub(super) fn parse(seq: u64, row: &[u8]) -> Option<FeedRow> {
    let (epoch, rest) = row.split_first_chunk::<4>()?;
    let (subject, rest) = rest.split_first_chunk::<16>()?;
    let (pseudonyms, []) = rest.as_chunks::<16>() else { return None };
    Some(FeedRow {
        position: Position { epoch: u32::from_be_bytes(*epoch), partition: PARTITION, seq },
        subject: SubjectId::from_bytes(*subject),
        pseudonyms: pseudonyms.iter().map(|bytes| NumberPseudonym::from_bytes(*bytes)).collect(),
    })
}
