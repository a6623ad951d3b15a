//! May a cached fact still be used? A fixed table of slots remembers the highest position of a change for everyone who
//! hashes there.
//!
//! A fact read at position `p` is usable iff its epoch is the one in force, the feed's watermark is young enough, and
//! neither its number's nor its subject's slot lies above `p`. A collision only makes a fact be read once more than needed.
//!
//! # Why a change that was acknowledged is never missed
//! *Writer:* commit → [`changed`](ChangeObserver::changed) raises the slots → acknowledge (embedded) or publish the watermark
//! (tailed). *Reader:* load the watermark (`Acquire`) → load epoch and slots.
//! - Embedded: raising the slots is sequenced before the acknowledgement. Whoever asks because of the acknowledgement comes
//!   after it, and by coherence of each atomic its loads return the raised value or a later one.
//! - Tailed: the watermark is stored with `Release` after the slots were raised; a reader that sees it with `Acquire` sees
//!   those slots, and therefore every change up to the start of that poll.
//! - The race of a fill with a change needs no lock: facts are judged when they are *used*. A reading at `p` that
//!   is inserted after slot `p + 1` was raised is held, and refused.
//!
//! # Partitions
//! Sequences of different partitions are not comparable. So each partition has slots of its own, an equal part of the table: a change at a
//! position of partition `p` raises slots of `p`, and a fact is judged by those of the partition it was read at. Two that share a slot by
//! chance refuse too much, never too little, and not for long: a reading begun now is at its partition's head, and no slot of that
//! partition lies above it. (Were slots shared by partitions, a driver beside one of a partition that is further on could never be
//! answered about.) The registry sees to it that whatever would outdate a
//! reading is told in the partition of the reading's position, a number that comes into being included.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{FreshnessOptions, Watermark};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::domain::time::Clock;
use crate::verification::ports::{ChangeObserver, FeedFollower, Freshness, Usability};

/// The slots, the epoch in force, and the watermark.
pub struct SlotTable {
    /// Each: generation (16 bits), then the highest sequence (48 bits). One part for each partition.
    slots: Box<[AtomicU64]>,
    /// Base-2 logarithm of the number of slots of a partition.
    part_log2: u32,
    /// The epoch in force (low 32 bits) and the generation it is known by in the slots (16 bits above). A generation counts the
    /// epochs this process has seen: slots of earlier ones compare lower by themselves and need not be cleared.
    era: AtomicU64,
    /// For each partition: every change after this sequence was, or will be, told. What was read before it (a Redis value that
    /// outlived a restart) cannot be judged and counts as outdated.
    told_from: Box<[AtomicU64]>,
    /// Held while `era` and `told_from` change together.
    moving: Mutex<()>,
    watermark: Watermark,
    watermark_age_max: Duration,
    clock: Arc<dyn Clock>,
}

/// How old the knowledge of a tailed feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedAge {
    /// Young enough for cached facts to be used.
    Young(Duration),
    /// Too old, or never caught up yet.
    Stalled(Option<Duration>),
}

impl FeedAge {
    /// Returns the age, if the feed was ever caught up with.
    pub fn known(self) -> Option<Duration> {
        match self {
            Self::Young(age) => Some(age),
            Self::Stalled(age) => age,
        }
    }
}

/// How far the feed is known at one moment. Taken before the slots are read, so that no fact is claimed to be younger than what
/// judged it, wherever the process may be stopped in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Up to when (time since boot) every change is known. Never later than it is.
    pub(super) known_until: Duration,
    /// How long before the moment of looking that is.
    pub(super) lag: Duration,
}

const SEQ_BITS: u32 = 48;
const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;
/// The last generation is never used up: a process that saw so many epochs bypasses its caches until it restarts.
const GENERATION_MAX: u64 = u16::MAX as u64;
const NOT_YET: u64 = u64::MAX;
/// The fewest slots of a partition: a change makes one in a few hundred of its facts be read anew then.
const PART_LOG2_MIN: u32 = 10;
const NUMBER_SALT: u64 = 0x9e37_79b9_7f4a_7c15;
const SUBJECT_SALT: u64 = 0xd6e8_feb8_6659_fd93;

impl SlotTable {
    /// Builds an empty table. Give it to the registry as its observer before the first reading.
    pub fn new(options: FreshnessOptions, watermark: Watermark, clock: Arc<dyn Clock>) -> Arc<Self> {
        let partitions = options.partitions.max(1).checked_next_power_of_two().unwrap_or(1 << 15);
        let slots_log2 = u32::from(options.slots_log2.clamp(10, 26));
        let part_log2 = slots_log2.saturating_sub(partitions.ilog2()).max(PART_LOG2_MIN);
        Arc::new(Self {
            slots: (0..usize::from(partitions) << part_log2).map(|_| AtomicU64::new(0)).collect(),
            part_log2,
            era: AtomicU64::new(0),
            // What is read in a partition that is not there cannot be judged.
            told_from: (0..options.partitions.max(1)).map(|_| AtomicU64::new(NOT_YET)).collect(),
            moving: Mutex::new(()),
            watermark,
            watermark_age_max: options.watermark_age_max,
            clock,
        })
    }

    /// Enters a later epoch: every fact of an earlier one is refused from now on. An epoch never comes back.
    pub fn enter_epoch(&self, epoch: u32) {
        if u64::from(epoch) <= epoch_of(self.era.load(Ordering::Acquire)) {
            return;
        }
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let era = self.era.load(Ordering::Acquire);
        if u64::from(epoch) <= epoch_of(era) {
            return;
        }
        let generation = (generation_of(era) + 1).min(GENERATION_MAX);
        // In this order: a reader of the new era must not meet the old era's start.
        for told_from in &self.told_from {
            told_from.store(NOT_YET, Ordering::Release);
        }
        self.era.store(generation << 32 | u64::from(epoch), Ordering::Release);
    }

    /// States that every change after `position` was, or will be, told. Called with the registry's head (or an earlier position,
    /// if changes since then are replayed into the table); else the first reading says it. The first word stands.
    pub fn told_from(&self, position: Position) {
        self.enter_epoch(position.epoch);
        let Some(told_from) = self.told_from.get(usize::from(position.partition)) else { return };
        if told_from.load(Ordering::Acquire) != NOT_YET {
            return;
        }
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let era = self.era.load(Ordering::Acquire);
        if epoch_of(era) == u64::from(position.epoch) && told_from.load(Ordering::Acquire) == NOT_YET {
            told_from.store(position.seq, Ordering::Release);
        }
    }

    /// Takes a first reading for the beginning of what is told: right where the registry lives in this process and tells from its
    /// start on. A tailed feed says itself where it begins.
    pub(super) fn read_at(&self, position: Position) {
        if matches!(self.watermark, Watermark::InProcess) {
            self.told_from(position);
        }
    }

    /// Looks how far the feed is known; `None`: not to within the bound.
    pub(super) fn sight(&self) -> Option<Sight> {
        let now = self.clock.since_boot();
        let known_until = self.watermark.known_until(now)?;
        let lag = now.saturating_sub(known_until);
        (lag <= self.watermark_age_max).then_some(Sight { known_until, lag })
    }

    /// Judges a fact read at `position` while the feed is in sight.
    pub(super) fn judge_in(
        &self,
        sight: Option<Sight>,
        pseudonym: NumberPseudonym,
        subject: Option<&SubjectId>,
        position: Position,
    ) -> Usability {
        if sight.is_none() {
            return Usability::FeedStalled;
        }
        let era = self.era.load(Ordering::Acquire);
        if epoch_of(era) != u64::from(position.epoch) || generation_of(era) == GENERATION_MAX {
            return Usability::OtherEpoch;
        }
        let told_from = self.told_from.get(usize::from(position.partition));
        let told_from = told_from.map_or(NOT_YET, |told_from| told_from.load(Ordering::Acquire));
        if position.seq < told_from || position.seq >= SEQ_MAX {
            return Usability::Outdated;
        }
        let read_at = mark(era, position.seq);
        let lies_after = |slot: &AtomicU64| slot.load(Ordering::Acquire) > read_at;
        let partition = position.partition;
        if lies_after(self.slot(pseudonym.as_bytes(), NUMBER_SALT, partition))
            || subject
                .is_some_and(|subject| lies_after(self.slot(subject.as_bytes(), SUBJECT_SALT, partition)))
        {
            return Usability::Outdated;
        }
        Usability::Usable
    }

    /// Returns how old the knowledge of a tailed feed is; `None` where the registry lives in this process.
    pub fn feed_age(&self) -> Option<FeedAge> {
        let Watermark::Tailed(_) = &self.watermark else { return None };
        let now = self.clock.since_boot();
        let age = self.watermark.known_until(now).map(|known_until| now.saturating_sub(known_until));
        Some(match age {
            Some(age) if age <= self.watermark_age_max => FeedAge::Young(age),
            age => FeedAge::Stalled(age),
        })
    }

    /// Returns the oldest watermark under which a cached fact may be used.
    pub(super) fn watermark_age_max(&self) -> Duration {
        self.watermark_age_max
    }

    fn slot(&self, bytes: &[u8; 16], salt: u64, partition: u16) -> &AtomicU64 {
        let word = u128::from_le_bytes(*bytes);
        #[allow(clippy::cast_possible_truncation, reason = "both halves are wanted, one after the other")]
        let mixed = ((word as u64) ^ salt).wrapping_mul(NUMBER_SALT) ^ (word >> 64) as u64;
        let place = mixed.wrapping_mul(salt) >> (u64::BITS - self.part_log2);
        let index = u64::from(partition) << self.part_log2 | place;
        // Within the partition's part, which is there: whoever asks has looked.
        &self.slots[usize::try_from(index).unwrap_or(0)]
    }

    fn has(&self, partition: u16) -> bool {
        usize::from(partition) < self.told_from.len()
    }
}

fn epoch_of(era: u64) -> u64 {
    era & u64::from(u32::MAX)
}

fn generation_of(era: u64) -> u64 {
    era >> 32
}

fn mark(era: u64, seq: u64) -> u64 {
    generation_of(era) << SEQ_BITS | seq.min(SEQ_MAX)
}

impl Freshness for SlotTable {
    fn judge(
        &self,
        pseudonym: NumberPseudonym,
        subject: Option<&SubjectId>,
        position: Position,
    ) -> Usability {
        self.judge_in(self.sight(), pseudonym, subject, position)
    }
}

impl ChangeObserver for SlotTable {
    fn changed(&self, subject: &SubjectId, pseudonyms: &[NumberPseudonym], position: Position) {
        self.enter_epoch(position.epoch);
        let era = self.era.load(Ordering::Acquire);
        if epoch_of(era) != u64::from(position.epoch) {
            return; // Of an earlier epoch, whose facts are refused anyway.
        }
        if !self.has(position.partition) {
            return; // What is read there is never usable.
        }
        let changed_at = mark(era, position.seq);
        let partition = position.partition;
        self.slot(subject.as_bytes(), SUBJECT_SALT, partition).fetch_max(changed_at, Ordering::AcqRel);
        for pseudonym in pseudonyms {
            self.slot(pseudonym.as_bytes(), NUMBER_SALT, partition).fetch_max(changed_at, Ordering::AcqRel);
        }
    }
}

impl FeedFollower for SlotTable {
    /// In one epoch the beginning only moves on: changes before a later one may not be told any more.
    fn follows_from(&self, positions: &[Position]) {
        for position in positions {
            self.told_from(*position);
            let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
            if epoch_of(self.era.load(Ordering::Acquire)) == u64::from(position.epoch)
                && let Some(told_from) = self.told_from.get(usize::from(position.partition))
            {
                told_from.fetch_max(position.seq, Ordering::AcqRel);
            }
        }
    }

    fn caught_up(&self, poll_began: Duration) {
        if let Watermark::Tailed(feed) = &self.watermark {
            feed.publish(poll_began);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::FeedWatermark;
    use crate::cache::testing::{ManualClock, at, number, subject};

    fn table() -> Arc<SlotTable> {
        let options = FreshnessOptions { partitions: 16, ..FreshnessOptions::default() };
        let table = SlotTable::new(options, Watermark::InProcess, ManualClock::new());
        table.told_from(at(1, 0));
        table
    }

    #[test]
    fn a_change_refuses_what_was_read_before_it_and_nothing_else() {
        let table = table();
        table.changed(&subject(1), &[number(1), number(2)], at(1, 10));
        assert_eq!(table.judge(number(1), Some(&subject(1)), at(1, 9)), Usability::Outdated);
        assert_eq!(table.judge(number(1), Some(&subject(1)), at(1, 10)), Usability::Usable);
        assert_eq!(
            table.judge(number(2), None, at(1, 9)),
            Usability::Outdated,
            "a negative fact of a new number"
        );
        assert_eq!(
            table.judge(number(3), Some(&subject(1)), at(1, 9)),
            Usability::Outdated,
            "by subject alone"
        );
        assert_eq!(table.judge(number(4), Some(&subject(4)), at(1, 9)), Usability::Usable);
    }

    #[test]
    fn changes_told_out_of_order_leave_the_highest() {
        let table = table();
        table.changed(&subject(1), &[number(1)], at(1, 10));
        table.changed(&subject(1), &[number(1)], at(1, 7));
        assert_eq!(table.judge(number(1), Some(&subject(1)), at(1, 8)), Usability::Outdated);
    }

    #[test]
    fn a_new_epoch_refuses_the_old_and_starts_its_sequence_afresh() {
        let table = table();
        table.changed(&subject(1), &[number(1)], at(1, 500));
        table.told_from(at(2, 3));
        assert_eq!(table.judge(number(1), Some(&subject(1)), at(1, 500)), Usability::OtherEpoch);
        assert_eq!(table.judge(number(1), Some(&subject(1)), at(2, 3)), Usability::Usable);
        table.changed(&subject(1), &[number(1)], at(1, 900));
        assert_eq!(
            table.judge(number(1), Some(&subject(1)), at(2, 3)),
            Usability::Usable,
            "a late word of the old epoch"
        );
        table.enter_epoch(1);
        assert_eq!(
            table.judge(number(1), Some(&subject(1)), at(1, 900)),
            Usability::OtherEpoch,
            "no way back"
        );
    }

    #[test]
    fn what_was_read_before_the_table_was_told_of_changes_cannot_be_judged() {
        let table = SlotTable::new(FreshnessOptions::default(), Watermark::InProcess, ManualClock::new());
        assert_eq!(table.judge(number(1), None, at(0, 5)), Usability::Outdated, "nothing is known yet");
        table.told_from(at(1, 100));
        table.told_from(at(1, 50));
        assert_eq!(table.judge(number(1), None, at(1, 99)), Usability::Outdated);
        assert_eq!(table.judge(number(1), None, at(1, 100)), Usability::Usable);
        table.changed(&subject(9), &[number(9)], at(2, 1));
        assert_eq!(
            table.judge(number(1), None, at(2, 100)),
            Usability::Outdated,
            "start of the new epoch unknown"
        );
    }

    #[test]
    fn a_stalled_feed_stalls_every_judgement() {
        let clock = ManualClock::new();
        let feed = Arc::new(FeedWatermark::default());
        let table = SlotTable::new(
            FreshnessOptions::default(),
            Watermark::Tailed(Arc::clone(&feed)),
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        table.told_from(at(1, 0));
        assert_eq!(table.judge(number(1), None, at(1, 0)), Usability::FeedStalled, "never polled");
        feed.publish(clock.since_boot());
        clock.advance(Duration::from_secs(2));
        assert_eq!(table.judge(number(1), None, at(1, 0)), Usability::Usable);
        assert_eq!(table.sight().map(|sight| sight.lag), Some(Duration::from_secs(2)));
        clock.advance(Duration::from_nanos(1));
        assert_eq!(table.judge(number(1), None, at(1, 0)), Usability::FeedStalled);
    }

    #[test]
    fn partitions_have_sequences_of_their_own() {
        let table = table();
        let there = |seq| Position { epoch: 1, partition: 7, seq };
        assert_eq!(table.judge(number(1), None, there(5)), Usability::Outdated, "nothing is told there yet");
        table.told_from(there(0));
        table.changed(&subject(1), &[number(1)], there(3));
        assert_eq!(table.judge(number(1), Some(&subject(1)), there(2)), Usability::Outdated);
        assert_eq!(table.judge(number(1), Some(&subject(1)), there(3)), Usability::Usable);
        assert_eq!(table.judge(number(2), None, at(1, 0)), Usability::Usable);
        // A number that comes into being low in one partition must not look old beside a high sequence of another.
        assert_eq!(table.judge(number(1), None, at(1, 900)), Usability::Usable, "its home was elsewhere");
        let beyond = Position { epoch: 1, partition: 16, seq: 1 };
        table.told_from(beyond);
        table.changed(&subject(1), &[number(1)], beyond);
        assert_eq!(table.judge(number(1), None, beyond), Usability::Outdated);
    }

    /// Goal: nobody is refused for ever because of whom he shares a slot with. Method: a small table, partitions that are not equally far,
    /// and more changes than there are slots; a reading at its partition's head is usable, whoever it is about.
    #[test]
    fn a_reading_at_the_head_of_its_partition_is_always_usable() {
        const PARTITIONS: u16 = 16;
        let options =
            FreshnessOptions { slots_log2: 10, partitions: PARTITIONS, ..FreshnessOptions::default() };
        let table = SlotTable::new(options, Watermark::InProcess, ManualClock::new());
        let head = |partition: u16| u64::from(partition + 1) * 1_000;
        for partition in 0..PARTITIONS {
            let there = |seq| Position { epoch: 1, partition, seq };
            table.told_from(there(0));
            for seq in 1..=head(partition) {
                let who = u64::from(partition) << 32 | seq;
                table.changed(&subject(who), &[number(who)], there(seq));
            }
        }
        for who in 0..20_000_u64 {
            let partition = u16::try_from(who % 16).unwrap();
            let at_head = Position { epoch: 1, partition, seq: head(partition) };
            let judged = table.judge(number(who), Some(&subject(who)), at_head);
            assert_eq!(judged, Usability::Usable, "{who} of {partition}");
        }
    }

    #[test]
    fn a_followed_feed_begins_where_it_says_and_never_earlier_again() {
        let clock = ManualClock::new();
        let watermark = Watermark::Tailed(Arc::default());
        let table =
            SlotTable::new(FreshnessOptions::default(), watermark, Arc::clone(&clock) as Arc<dyn Clock>);
        table.read_at(at(1, 2));
        table.follows_from(&[at(1, 10)]);
        assert_eq!(table.judge(number(1), None, at(1, 10)), Usability::FeedStalled, "not caught up yet");
        table.caught_up(clock.since_boot());
        assert_eq!(
            table.judge(number(1), None, at(1, 9)),
            Usability::Outdated,
            "a reading begins nothing here"
        );
        assert_eq!(table.judge(number(1), None, at(1, 10)), Usability::Usable);
        table.follows_from(&[at(1, 20)]);
        table.follows_from(&[at(1, 5)]);
        assert_eq!(table.judge(number(1), None, at(1, 19)), Usability::Outdated);
        table.follows_from(&[at(2, 3)]);
        assert_eq!(table.judge(number(1), None, at(2, 3)), Usability::Usable, "a later epoch begins anew");
    }

    #[test]
    fn sequences_beyond_the_slot_are_refused_not_wrapped() {
        let table = table();
        table.changed(&subject(1), &[number(1)], at(1, u64::MAX));
        assert_eq!(table.judge(number(1), None, at(1, SEQ_MAX - 1)), Usability::Outdated);
        assert_eq!(table.judge(number(2), None, at(1, u64::MAX)), Usability::Outdated);
    }

    #[test]
    fn numbers_and_subjects_spread_over_the_table() {
        let options = FreshnessOptions::default();
        let table = SlotTable::new(options, Watermark::InProcess, ManualClock::new());
        let mut taken: Vec<*const AtomicU64> = (0..10_000_u64)
            .map(|n| std::ptr::from_ref(table.slot(number(n).as_bytes(), NUMBER_SALT, 0)))
            .collect();
        taken.sort_unstable();
        taken.dedup();
        assert!(taken.len() > 9_800, "{} of 10,000 slots", taken.len());
    }

    proptest! {
        #[test]
        fn no_fact_older_than_a_change_of_its_own_is_usable(
            changes in prop::collection::vec((0_u64..8, 1_u32..4, 1_u64..50), 0..60),
            who in 0_u64..8, epoch in 1_u32..4, seq in 0_u64..50,
        ) {
            let table = SlotTable::new(
                FreshnessOptions { slots_log2: 10, ..FreshnessOptions::default() },
                Watermark::InProcess,
                ManualClock::new(),
            );
            for (subject_index, epoch, seq) in &changes {
                table.changed(&subject(*subject_index), &[number(*subject_index)], at(*epoch, *seq));
                table.told_from(at(*epoch, 0));
            }
            let overtaken = changes.iter().any(|(other, e, s)| (*e > epoch) || (*other == who && *e == epoch && *s > seq));
            if overtaken {
                prop_assert_ne!(table.judge(number(who), Some(&subject(who)), at(epoch, seq)), Usability::Usable);
            }
        }
    }
}
