//! Refusals on their way into the log: counted per partner, reason and second, bounded, never waited for.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::admission::RefusalNote;
use crate::audit::entry::RefusalEntry;
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;

/// Refusals not written yet.
pub(super) struct RefusalTable {
    counts: HashMap<Key, u32>,
    distinct_max: usize,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    second: i64,
    partner: PartnerId,
    reason: &'static str,
    purpose: Option<Purpose>,
}

/// Whether a refusal found a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// The first since the table was empty: someone must see to it that it is written.
    First,
    /// Counted.
    Counted,
    /// No place: too many different ones.
    Dropped,
}

impl RefusalTable {
    pub(super) fn new(distinct_max: usize) -> Self {
        Self { counts: HashMap::new(), distinct_max }
    }

    pub(super) fn note(&mut self, at: Timestamp, refusal: RefusalNote<'_>) -> Noted {
        let key = Key {
            second: at.as_second(),
            partner: refusal.partner.clone(),
            reason: refusal.reason,
            purpose: refusal.purpose,
        };
        let was_empty = self.counts.is_empty();
        if let Some(count) = self.counts.get_mut(&key) {
            *count = count.saturating_add(1);
        } else if self.counts.len() < self.distinct_max {
            self.counts.insert(key, 1);
        } else {
            return Noted::Dropped;
        }
        if was_empty { Noted::First } else { Noted::Counted }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Takes the entries of seconds that are over (`None`: of all seconds), oldest first, at most `entries_max`.
    pub(super) fn take_due(&mut self, now: Option<Timestamp>, entries_max: usize) -> Vec<RefusalEntry> {
        let is_due = |key: &Key| now.is_none_or(|now| key.second != now.as_second());
        if !self.counts.keys().any(is_due) {
            return Vec::new();
        }
        let mut taken: Vec<_> = self.counts.extract_if(|key, _| is_due(key)).collect();
        taken.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
        self.counts.extend(taken.drain(entries_max.min(taken.len())..));
        taken.into_iter().filter_map(|(key, count)| key.entry(count)).collect()
    }
}

impl Key {
    fn order(&self) -> (i64, &PartnerId, &'static str, Option<Purpose>) {
        (self.second, &self.partner, self.reason, self.purpose)
    }

    fn entry(self, count: u32) -> Option<RefusalEntry> {
        Some(RefusalEntry {
            at: Timestamp::from_second(self.second).ok()?,
            partner: self.partner,
            reason: self.reason.to_owned(),
            purpose: self.purpose,
            count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a moment")
    }

    fn note<'a>(partner: &'a PartnerId, reason: &'static str) -> RefusalNote<'a> {
        RefusalNote { partner, reason, purpose: Some(Purpose::Rental) }
    }

    #[test]
    fn identical_refusals_of_one_second_are_one_entry() {
        let (a, b): (PartnerId, PartnerId) = ("aa".parse().expect("id"), "bb".parse().expect("id"));
        let mut table = RefusalTable::new(10);
        assert_eq!(table.note(second(0), note(&a, "RATE_EXCEEDED")), Noted::First);
        assert_eq!(table.note(second(0), note(&a, "RATE_EXCEEDED")), Noted::Counted);
        table.note(second(0), note(&b, "RATE_EXCEEDED"));
        table.note(second(1), note(&a, "RATE_EXCEEDED"));
        let due = table.take_due(Some(second(1)), 100);
        let counts: Vec<_> = due.iter().map(|entry| (entry.partner.as_str(), entry.count)).collect();
        assert_eq!(counts, [("aa", 2), ("bb", 1)]);
        assert_eq!(table.take_due(None, 100).len(), 1);
        assert!(table.is_empty());
    }

    #[test]
    fn a_full_table_drops_new_ones_and_still_counts_known_ones() {
        let (a, b): (PartnerId, PartnerId) = ("aa".parse().expect("id"), "bb".parse().expect("id"));
        let mut table = RefusalTable::new(1);
        table.note(second(0), note(&a, "RATE_EXCEEDED"));
        assert_eq!(table.note(second(0), note(&b, "RATE_EXCEEDED")), Noted::Dropped);
        assert_eq!(table.note(second(0), note(&a, "RATE_EXCEEDED")), Noted::Counted);
    }

    #[test]
    fn no_more_are_taken_than_asked_for_and_the_rest_stays() {
        let a: PartnerId = "aa".parse().expect("id");
        let mut table = RefusalTable::new(10);
        for at in 0..5 {
            table.note(second(at), note(&a, "SUSPENDED"));
        }
        assert_eq!(table.take_due(None, 2).len(), 2);
        assert_eq!(table.take_due(None, 100).len(), 3);
    }
}
