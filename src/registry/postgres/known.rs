//! Where the feed stands as far as this process knows.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::domain::subject::Position;
use crate::registry::store::FeedHeads;

/// The heads, told by the tail or committed here.
pub(super) struct Known {
    epoch: AtomicU32,
    seqs: Box<[AtomicU64]>,
}

impl Known {
    pub(super) fn new(heads: &FeedHeads) -> Self {
        let seqs = heads.seqs.iter().map(|seq| AtomicU64::new(*seq)).collect();
        Self { epoch: AtomicU32::new(heads.epoch), seqs }
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn heads(&self) -> FeedHeads {
        let seqs = self.seqs.iter().map(|seq| seq.load(Ordering::Acquire)).collect();
        FeedHeads { epoch: self.epoch(), seqs }
    }

    /// Notes a head. A sequence only grows, except with a later epoch, in which it may begin lower.
    pub(super) fn note(&self, position: Position) {
        let Some(seq) = self.seqs.get(usize::from(position.partition)) else { return };
        let epoch = self.epoch.fetch_max(position.epoch, Ordering::AcqRel);
        if position.epoch > epoch {
            // Until the others are noted too, a standby is asked for more than it may have. That only costs a second reading.
            seq.store(position.seq, Ordering::Release);
        } else if position.epoch == epoch {
            seq.fetch_max(position.seq, Ordering::AcqRel);
        }
    }

    /// Takes the heads of a later epoch over.
    pub(super) fn enter(&self, heads: &FeedHeads) {
        for (known, seq) in self.seqs.iter().zip(&heads.seqs) {
            known.store(*seq, Ordering::Release);
        }
        self.epoch.fetch_max(heads.epoch, Ordering::AcqRel);
    }

    /// Says whether a reading at this position is behind what this process knows.
    pub(super) fn is_ahead_of(&self, position: Position) -> bool {
        let seq = self.seqs.get(usize::from(position.partition)).map_or(0, |seq| seq.load(Ordering::Acquire));
        position.epoch != self.epoch() || position.seq < seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_grow_and_a_later_epoch_takes_over() {
        let at = |epoch, partition, seq| Position { epoch, partition, seq };
        let known = Known::new(&FeedHeads { epoch: 1, seqs: vec![5, 5] });
        known.note(at(1, 0, 7));
        known.note(at(1, 0, 6));
        known.note(at(1, 9, 1));
        assert_eq!(known.heads(), FeedHeads { epoch: 1, seqs: vec![7, 5] });
        assert!(
            known.is_ahead_of(at(1, 0, 6))
                && !known.is_ahead_of(at(1, 0, 7))
                && !known.is_ahead_of(at(1, 1, 9))
        );
        known.note(at(2, 1, 3));
        assert!(known.is_ahead_of(at(1, 0, 100)), "of an epoch that is over");
        known.enter(&FeedHeads { epoch: 2, seqs: vec![2, 3] });
        assert_eq!(known.heads(), FeedHeads { epoch: 2, seqs: vec![2, 3] });
        known.note(at(1, 0, 50));
        assert_eq!(known.heads().seqs, [2, 3], "a late word of the old epoch");
    }
}
