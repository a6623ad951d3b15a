//! Where numbers are kept: one row of atomics per thread group, summed when read.
//!
//! OpenTelemetry's own `add` looks its attributes up under a lock (100 ns and more, and every core meets at the same
//! lock). Here a count is one uncontended relaxed addition; OpenTelemetry reads the sums at collection time.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::metrics::{BUCKETS_NS, DEFINITIONS, Definition, Id, Kind};

/// Rows. Threads share a row when there are more; each row is its own allocation, so rows share no cache line.
const ROWS: usize = 16;

/// Cells of one histogram series: the buckets, the one without bound, the sum in nanoseconds.
const HISTOGRAM_CELLS: usize = BUCKETS_NS.len() + 2;

/// Every number of every metric.
pub(super) struct Cells {
    offsets: Vec<usize>,
    rows: Vec<Box<[AtomicU64]>>,
    set: Box<[AtomicI64]>,
}

/// A histogram series as it stands.
pub(super) struct HistogramReading {
    /// Counts per bucket, the last without bound.
    pub(super) counts: [u64; BUCKETS_NS.len() + 1],
    /// Sum of all durations.
    pub(super) sum: Duration,
}

impl Cells {
    pub(super) fn new() -> Self {
        let mut offsets = Vec::with_capacity(DEFINITIONS.len());
        let mut cells = 0;
        for definition in DEFINITIONS {
            offsets.push(cells);
            cells += definition.series_count() * cells_per_series(definition);
        }
        let row = || (0..cells).map(|_| AtomicU64::new(0)).collect();
        let set = (0..cells).map(|_| AtomicI64::new(0)).collect();
        Self { offsets, rows: (0..ROWS).map(|_| row()).collect(), set }
    }

    /// Adds to a counter or level; a negative amount lowers a level.
    pub(super) fn add(&self, id: Id, series: usize, amount: i64) {
        let cell = self.offsets[id as usize] + series;
        self.row()[cell].fetch_add(amount.cast_unsigned(), Ordering::Relaxed);
    }

    /// Notes a duration in a histogram.
    pub(super) fn observe(&self, id: Id, series: usize, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_NS.partition_point(|bound| *bound < nanos);
        let first = self.offsets[id as usize] + series * HISTOGRAM_CELLS;
        let row = self.row();
        row[first + bucket].fetch_add(1, Ordering::Relaxed);
        row[first + HISTOGRAM_CELLS - 1].fetch_add(nanos, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub(super) fn set(&self, id: Id, series: usize, value: i64) {
        self.set[self.offsets[id as usize] + series].store(value, Ordering::Relaxed);
    }

    /// Reads a counter, a level or a gauge.
    pub(super) fn read(&self, index: usize, series: usize) -> i64 {
        let cell = self.offsets[index] + series;
        if DEFINITIONS[index].kind == Kind::Gauge {
            self.set[cell].load(Ordering::Relaxed)
        } else {
            self.sum(cell).cast_signed()
        }
    }

    /// Reads a histogram.
    pub(super) fn read_histogram(&self, index: usize, series: usize) -> HistogramReading {
        let first = self.offsets[index] + series * HISTOGRAM_CELLS;
        HistogramReading {
            counts: std::array::from_fn(|bucket| self.sum(first + bucket)),
            sum: Duration::from_nanos(self.sum(first + HISTOGRAM_CELLS - 1)),
        }
    }

    fn sum(&self, cell: usize) -> u64 {
        self.rows.iter().fold(0, |sum, row| sum.wrapping_add(row[cell].load(Ordering::Relaxed)))
    }

    fn row(&self) -> &[AtomicU64] {
        &self.rows[ROW.with(Cell::get)]
    }
}

fn cells_per_series(definition: &Definition) -> usize {
    if definition.kind == Kind::Histogram { HISTOGRAM_CELLS } else { 1 }
}

/// Threads take rows in turn.
static NEXT_ROW: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ROW: Cell<usize> = Cell::new(NEXT_ROW.fetch_add(1, Ordering::Relaxed) % ROWS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_are_summed() {
        let cells = Cells::new();
        std::thread::scope(|threads| {
            for _ in 0..40 {
                threads.spawn(|| (0..1_000).for_each(|_| cells.add(Id::JournalEntries, 0, 1)));
            }
        });
        assert_eq!(cells.read(Id::JournalEntries as usize, 0), 40_000);
    }

    #[test]
    fn a_level_falls_on_another_thread_than_it_rose() {
        let cells = Cells::new();
        cells.add(Id::Connections, 0, 1);
        std::thread::scope(|threads| {
            threads.spawn(|| cells.add(Id::Connections, 0, -1));
        });
        assert_eq!(cells.read(Id::Connections as usize, 0), 0);
    }

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let cells = Cells::new();
        for nanos in [0, 25_000, 25_001, 2_000_000_000, 2_000_000_001] {
            cells.observe(Id::JournalSyncs, 0, Duration::from_nanos(nanos));
        }
        let reading = cells.read_histogram(Id::JournalSyncs as usize, 0);
        assert_eq!(reading.counts[0], 2);
        assert_eq!(reading.counts[1], 1);
        assert_eq!(reading.counts[15], 1);
        assert_eq!(reading.counts[16], 1);
        assert_eq!(reading.sum, Duration::from_nanos(4_000_050_002));
    }

    #[test]
    fn metrics_do_not_share_cells() {
        let cells = Cells::new();
        cells.add(Id::JournalBytes, 0, 7);
        cells.set(Id::JournalQueue, 0, 9);
        assert_eq!(cells.read(Id::JournalEntries as usize, 0), 0);
        assert_eq!(cells.read(Id::JournalFailures as usize, 0), 0);
        assert_eq!(cells.read(Id::JournalBytes as usize, 0), 7);
        assert_eq!(cells.read(Id::JournalQueue as usize, 0), 9);
    }
}
