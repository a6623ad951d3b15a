//! Upkeep, a bounded piece with every batch: runs merged, chunks nobody names swept.

use redb::{ReadableTable as _, Table, TableDefinition};

use super::catalogue::{Catalogue, Merge};
use super::chunks::{CHUNK_ROWS, ChunkKey, ChunkTable, Sorted};
use super::row::Row;
use crate::registry::embedded::error::{RegistryError, Trying as _};

/// (Log, run) → nothing: its chunks are to be removed.
pub(super) const GONE: TableDefinition<'_, (u32, u64), ()> = TableDefinition::new("look-up-gone");
pub(super) type GoneTable<'t> = Table<'t, (u32, u64), ()>;

/// Rows a batch may merge for each look-up it brings: a look-up is rewritten in three ways, at most once for each tier it
/// rises, and batches of thousands rise three; the rest is what catches up.
const ROWS_PER_LOOK_UP: usize = 16;
/// Rows any batch may merge. Small batches rise more tiers; this is 0.1 ms.
const ROWS_MIN: usize = 4_096;
/// Rows merged in one go: what is held in memory, a few megabytes.
const ROWS_AT_ONCE: usize = 32_768;
/// Chunks removed for each that a batch may write, at least one and a half of what merging leaves behind.
const SWEEP_CHUNKS_MIN: usize = 64;

/// How much a batch of look-ups may merge.
pub(super) fn budget_of(look_ups: usize) -> usize {
    look_ups.saturating_mul(ROWS_PER_LOOK_UP).saturating_add(ROWS_MIN)
}

/// Merges up to about `budget` rows.
pub(super) fn merge(
    catalogue: &mut Catalogue,
    chunks: &mut ChunkTable<'_>,
    gone: &mut GoneTable<'_>,
    budget: usize,
) -> Result<(), RegistryError> {
    let mut left = budget;
    catalogue.begin_merges();
    while left >= CHUNK_ROWS {
        let Some(index) = catalogue.merge_due() else { return Ok(()) };
        let log = catalogue.log;
        let (merged, is_done) = step(log, &mut catalogue.merges[index], chunks, left.min(ROWS_AT_ONCE))?;
        left = left.saturating_sub(merged.max(CHUNK_ROWS));
        if is_done {
            let merge = catalogue.merges.swap_remove(index);
            catalogue.runs.retain(|run| !merge.from.contains(&run.number));
            catalogue.runs.push(merge.into);
            for run in merge.from {
                gone.insert((log, run), ()).trying_to("write")?;
            }
            catalogue.begin_merges();
        }
    }
    Ok(())
}

/// Merges the next rows of one way, about `count`; returns how many, and whether that was all of all ways.
fn step(
    log: u32,
    merge: &mut Merge,
    chunks: &mut ChunkTable<'_>,
    count: usize,
) -> Result<(usize, bool), RegistryError> {
    let mut rows = Vec::with_capacity(count + CHUNK_ROWS * merge.from.len());
    let each = count.div_ceil(merge.from.len().max(1));
    // Rows up to the smallest of the last ones read are all there; what comes behind may lack some of another run.
    let mut complete: Option<Row> = None;
    for run in &merge.from {
        let sorted = Sorted { log, run: *run, way: merge.way };
        let is_last = sorted.read_after(chunks, merge.after, each, &mut rows)?;
        if let Some(last) = rows.last().filter(|_| !is_last) {
            complete = Some(complete.map_or(*last, |complete| complete.min(*last)));
        }
    }
    // Stable: it finds the runs, and merges them.
    rows.sort();
    let whole = complete.map_or(rows.len(), |complete| rows.partition_point(|row| *row <= complete));
    // But for the last, chunks are full; at least one is, because every run not at its end gave one.
    let whole =
        if complete.is_none() { whole } else { (whole - whole % CHUNK_ROWS).max(whole.min(CHUNK_ROWS)) };
    rows.truncate(whole);
    Sorted { log, run: merge.into.number, way: merge.way }.write(chunks, &rows)?;
    merge.after = rows.last().copied().or(merge.after);
    if complete.is_some() {
        return Ok((rows.len(), false));
    }
    merge.after = None;
    match merge.way.next() {
        Some(way) => merge.way = way,
        None => return Ok((rows.len(), true)),
    }
    Ok((rows.len(), false))
}

/// Removes chunks nobody names, a bounded number.
pub(super) fn sweep(
    chunks: &mut ChunkTable<'_>,
    gone: &mut GoneTable<'_>,
    budget: usize,
) -> Result<(), RegistryError> {
    let mut left = SWEEP_CHUNKS_MIN + budget.div_ceil(CHUNK_ROWS);
    while left > 0 {
        let first = gone.first().trying_to("read")?.map(|(run, _nothing)| run.value());
        let Some((log, run)) = first else { return Ok(()) };
        let (begin, end) = bounds_of(log, run);
        let mut swept = 0;
        let mut last = None;
        for chunk in chunks.range::<&ChunkKey>(&begin..=&end).trying_to("read")?.take(left) {
            last = Some(*chunk.trying_to("read")?.0.value());
            swept += 1;
        }
        if let Some(last) = last {
            chunks.retain_in::<&ChunkKey, _>(&begin..=&last, |_, _| false).trying_to("write")?;
        }
        if swept < left {
            gone.remove((log, run)).trying_to("write")?;
        }
        left -= swept.max(1).min(left);
    }
    Ok(())
}

/// From the first to the last key a run can have.
fn bounds_of(log: u32, run: u64) -> (ChunkKey, ChunkKey) {
    let (mut begin, mut end) = ([0; size_of::<ChunkKey>()], [u8::MAX; size_of::<ChunkKey>()]);
    for key in [&mut begin, &mut end] {
        key[..4].copy_from_slice(&log.to_be_bytes());
        key[4..12].copy_from_slice(&run.to_be_bytes());
    }
    (begin, end)
}
