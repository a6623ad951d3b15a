//! Searches: a few chunks of each run, from one snapshot.

use std::cmp::Ordering;
use std::sync::Arc;

use redb::{ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, TableError};

use super::catalogue::Catalogue;
use super::chunks::{CHUNKS, ChunkKey, Sorted};
use super::row::{Row, Way, place_of};
use super::store::{LOGS, Shared};
use crate::evidence::ports::Found;
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::verification::ports::EntryAt;

const BAD_ROW: RegistryError = RegistryError::Damaged("a row of the index of look-ups");

impl Shared {
    /// Finds the look-ups of a key before another one, the newest first, at most `limit`.
    pub(super) fn search(
        &self,
        way: Way,
        key: [u8; 16],
        before: Option<&Found>,
        limit: usize,
    ) -> Result<Vec<Found>, RegistryError> {
        let reading = self.database.begin_read().trying_to("read")?;
        let logs = reading.open_table(LOGS).trying_to("read")?;
        let chunks = match reading.open_table(CHUNKS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            other => other.trying_to("read")?,
        };
        let mut found = Vec::new();
        for log in logs.iter().trying_to("read")? {
            let (origin, catalogue) = log.trying_to("read")?;
            let catalogue = Catalogue::decode(catalogue.value())?;
            let before = Row { key: u128::from_be_bytes(key), place: bound_in(origin.value(), before) };
            let origin: Arc<str> = origin.value().into();
            for row in rows_of(&catalogue, &chunks, way, before, limit)? {
                let (at, index) = row.at_and_index().ok_or(BAD_ROW)?;
                found.push(Found { at, place: EntryAt { origin: Arc::clone(&origin), index } });
            }
        }
        found.sort_by(|one, other| order(other, one));
        found.truncate(limit);
        Ok(found)
    }
}

/// Reads the last rows of a key of all runs of a log, at most `limit` of each.
fn rows_of(
    catalogue: &Catalogue,
    chunks: &ReadOnlyTable<&'static ChunkKey, &'static [u8]>,
    way: Way,
    before: Row,
    limit: usize,
) -> Result<Vec<Row>, RegistryError> {
    let mut rows = Vec::new();
    for run in &catalogue.runs {
        let had = rows.len();
        let sorted = Sorted { log: catalogue.log, run: run.number, way };
        sorted.find(chunks, before, |row| {
            if rows.len() - had < limit {
                rows.push(row);
            }
            rows.len() - had < limit
        })?;
    }
    Ok(rows)
}

/// By moment, then log, then entry: an order over all logs.
fn order(one: &Found, other: &Found) -> Ordering {
    let rest = || (&one.place.origin, one.place.index).cmp(&(&other.place.origin, other.place.index));
    one.at.cmp(&other.at).then_with(rest)
}

/// Before which place in a log's own order the rows lie that come before `before` in the order over all logs.
fn bound_in(origin: &str, before: Option<&Found>) -> u128 {
    let Some(before) = before else { return u128::MAX };
    let place = place_of(before.at, 0);
    match origin.cmp(&before.place.origin) {
        Ordering::Less => place.saturating_add(1 << 64),
        Ordering::Equal => place_of(before.at, before.place.index),
        Ordering::Greater => place,
    }
}
