//! Facts held in this process, parsed and bounded in bytes.
//!
//! Two stores: facts with a record, and facts that say there is none. Whoever walks through unknown numbers fills only the second.
//! Nothing here decides whether a fact may be used; eviction is memory hygiene.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::CacheOptions;
use crate::domain::licence::{Change, Record};
use crate::domain::subject::{NumberPseudonym, Position};

/// The in-process level.
pub(super) struct InProcess {
    known: Cache<NumberPseudonym, Known, ByBytes>,
    unknown: Cache<NumberPseudonym, Position, ByBytes>,
}

/// A fact without its history: what was read, and as of where.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) record: Option<Arc<Record>>,
    pub(super) position: Position,
}

#[derive(Clone)]
struct Known {
    record: Arc<Record>,
    position: Position,
    bytes: u32,
}

#[derive(Clone, Copy)]
struct ByBytes;

/// The cache's own cost of an entry: key, value and its tables (21 bytes an entry, half as many ghosts).
const KNOWN_OVERHEAD: usize = (size_of::<NumberPseudonym>() + size_of::<Known>() + 21) * 3 / 2;
const UNKNOWN_OVERHEAD: usize = (size_of::<NumberPseudonym>() + size_of::<Position>() + 21) * 3 / 2;
/// A subject's secret lives on the heap; so do numbers, names and codes inside changes, mostly short.
const HEAP_PER_RECORD: usize = 48;
const HEAP_PER_CHANGE: usize = 24;
const BYTES_PER_KNOWN_USUALLY: u64 = 1_536;

impl InProcess {
    pub(super) fn new(options: &CacheOptions) -> Self {
        let items = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX).max(64);
        Self {
            known: Cache::with_weighter(
                items(options.bytes_max, BYTES_PER_KNOWN_USUALLY),
                options.bytes_max,
                ByBytes,
            ),
            unknown: Cache::with_weighter(
                items(options.negative_bytes_max, UNKNOWN_OVERHEAD as u64),
                options.negative_bytes_max,
                ByBytes,
            ),
        }
    }

    /// Returns how many facts are held.
    pub(super) fn len(&self) -> u64 {
        (self.known.len() + self.unknown.len()) as u64
    }

    /// Returns what is held about a number.
    pub(super) fn recall(&self, pseudonym: NumberPseudonym) -> Option<Held> {
        if let Some(known) = self.known.get(&pseudonym) {
            return Some(Held { record: Some(known.record), position: known.position });
        }
        self.unknown.get(&pseudonym).map(|position| Held { record: None, position })
    }

    /// Holds a reading, unless a later one is held. Two readings that race may leave the earlier: it is judged when used.
    pub(super) fn hold(&self, pseudonym: NumberPseudonym, record: Option<&Arc<Record>>, position: Position) {
        let is_later = |held: Position| held > position;
        let (known, unknown) = (self.known.peek(&pseudonym), self.unknown.peek(&pseudonym));
        if known.as_ref().is_some_and(|known| is_later(known.position)) || unknown.is_some_and(is_later) {
            return;
        }
        match record {
            Some(record) => {
                let held = Known { record: Arc::clone(record), position, bytes: bytes_of(record) };
                self.known.insert(pseudonym, held);
                if unknown.is_some() {
                    self.unknown.remove(&pseudonym);
                }
            }
            None => {
                self.unknown.insert(pseudonym, position);
                if known.is_some() {
                    self.known.remove(&pseudonym);
                }
            }
        }
    }
}

fn bytes_of(record: &Record) -> u32 {
    let changes = record.history.changes().len();
    let bytes = KNOWN_OVERHEAD
        + size_of::<Record>()
        + HEAP_PER_RECORD
        + changes * (size_of::<Change>() + HEAP_PER_CHANGE);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Weighter<NumberPseudonym, Known> for ByBytes {
    fn weight(&self, _key: &NumberPseudonym, known: &Known) -> u64 {
        u64::from(known.bytes)
    }
}

impl Weighter<NumberPseudonym, Position> for ByBytes {
    fn weight(&self, _key: &NumberPseudonym, _position: &Position) -> u64 {
        UNKNOWN_OVERHEAD as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testing::{at, number, record};

    fn small() -> InProcess {
        InProcess::new(&CacheOptions {
            bytes_max: 1 << 20,
            negative_bytes_max: 64 << 10,
            ..CacheOptions::default()
        })
    }

    fn hold_known(level: &InProcess, n: u64, seq: u64) {
        level.hold(number(n), Some(&Arc::new(record(n, 4))), at(1, seq));
    }

    #[test]
    fn bytes_are_bounded() {
        let level = small();
        for n in 0..20_000 {
            hold_known(&level, n, 1);
        }
        assert!(level.known.weight() <= 1 << 20, "{}", level.known.weight());
        assert!(level.known.len() > 100);
    }

    #[test]
    fn unknown_numbers_do_not_push_known_ones_out() {
        let level = small();
        for n in 0..200 {
            hold_known(&level, n, 1);
        }
        for n in 1_000..50_000 {
            level.hold(number(n), None, at(1, 1));
        }
        assert!((0..200).all(|n| level.recall(number(n)).is_some_and(|held| held.record.is_some())));
        assert!(level.unknown.weight() <= 64 << 10);
    }

    #[test]
    fn a_later_reading_replaces_an_earlier_one_and_never_the_other_way_round() {
        let level = small();
        level.hold(number(1), None, at(1, 5));
        hold_known(&level, 1, 7);
        assert!(level.recall(number(1)).is_some_and(|held| held.record.is_some()));
        level.hold(number(1), None, at(1, 6));
        assert!(level.recall(number(1)).is_some_and(|held| held.position == at(1, 7)));
        level.hold(number(1), None, at(2, 1));
        assert!(level.recall(number(1)).is_some_and(|held| held.record.is_none()));
    }
}
