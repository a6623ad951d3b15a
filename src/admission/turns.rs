//! Who is next among many partners: one of each in turn, however many of one partner stand there.
//!
//! Everything that stands in line costs the same, so that one each in turn is the fair share (deficit round-robin with equal costs).

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A line with a turn for every key; within a key first come, first served.
#[derive(Debug)]
pub struct Turns<K, T> {
    by_key: HashMap<K, VecDeque<T>>,
    /// The keys that have somebody waiting, the next one in front.
    order: VecDeque<K>,
    length: usize,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new(), length: 0 }
    }
}

impl<K: Clone + Eq + Hash, T> Turns<K, T> {
    /// Returns how many wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Says whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Lets one more wait.
    pub fn push(&mut self, key: K, waiting: T) {
        self.length += 1;
        if let Some(line) = self.by_key.get_mut(&key) {
            line.push_back(waiting);
            return;
        }
        self.order.push_back(key.clone());
        self.by_key.insert(key, VecDeque::from([waiting]));
    }

    /// Looks at whose turn it is.
    pub fn next(&self) -> Option<&T> {
        self.by_key.get(self.order.front()?)?.front()
    }

    /// Takes out whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let key = self.order.pop_front()?;
        let line = self.by_key.get_mut(&key)?;
        let next = line.pop_front();
        self.length -= usize::from(next.is_some());
        if line.is_empty() {
            self.by_key.remove(&key);
        } else {
            self.order.push_back(key);
        }
        next
    }

    /// Takes out the last who came of the key with the most waiting: whoever fills the line makes room.
    pub fn pop_longest(&mut self) -> Option<T> {
        let (key, line) = self.by_key.iter_mut().max_by_key(|(_, line)| line.len())?;
        let last = line.pop_back();
        self.length -= usize::from(last.is_some());
        if line.is_empty() {
            let key = key.clone();
            self.by_key.remove(&key);
            self.order.retain(|known| *known != key);
        }
        last
    }

    /// Keeps those for whom the predicate holds.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) {
        self.by_key.retain(|_, line| {
            line.retain(&mut is_kept);
            !line.is_empty()
        });
        self.order.retain(|key| self.by_key.contains_key(key));
        self.length = self.by_key.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(turns: &mut Turns<&'static str, u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn each_key_has_its_turn_however_many_it_brings() {
        let mut turns = Turns::default();
        (0..4).for_each(|n| turns.push("many", n));
        turns.push("few", 10);
        turns.push("some", 20);
        turns.push("some", 21);
        assert_eq!((turns.len(), turns.next()), (7, Some(&0)));
        assert_eq!(all(&mut turns), [0, 10, 20, 1, 21, 2, 3]);
        assert!(turns.is_empty() && turns.next().is_none() && turns.pop().is_none());
        turns.push("few", 11);
        assert_eq!(all(&mut turns), [11]);
    }

    #[test]
    fn whoever_fills_the_line_makes_room() {
        let mut turns = Turns::default();
        (0..3).for_each(|n| turns.push("many", n));
        turns.push("few", 10);
        assert_eq!(turns.pop_longest(), Some(2));
        assert_eq!(turns.len(), 3);
        assert_eq!(all(&mut turns), [0, 10, 1]);
        turns.push("few", 11);
        assert_eq!((turns.pop_longest(), turns.pop_longest(), turns.len()), (Some(11), None, 0));
        turns.push("few", 12);
        assert_eq!(all(&mut turns), [12]);
    }

    #[test]
    fn whoever_left_takes_no_turn() {
        let mut turns = Turns::default();
        (0..6).for_each(|n| turns.push(if n % 3 == 0 { "left" } else { "here" }, n));
        turns.retain(|n| n % 3 != 0);
        assert_eq!(turns.len(), 4);
        assert_eq!(all(&mut turns), [1, 2, 4, 5]);
    }
}
