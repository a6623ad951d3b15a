//! Places that are taken and given back: requests in flight, connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many places of a kind are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<AtomicU32>);

/// One place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicU32>);

impl Places {
    /// Takes a place unless `places_max` are taken. The count never exceeds the maximum, not even for a moment.
    pub(super) fn take(&self, places_max: u32) -> Option<Place> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < places_max).then_some(taken + 1)
            })
            .ok()
            .map(|_| Place(Arc::clone(&self.0)))
    }

    /// Returns how many places are taken.
    pub(super) fn taken(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_on_drop() {
        let places = Places::default();
        let first = places.take(2);
        let second = places.take(2);
        assert!(first.is_some() && second.is_some());
        assert!(places.take(2).is_none());
        drop(first);
        assert_eq!(places.taken(), 1);
        assert!(places.take(2).is_some());
    }

    #[test]
    fn a_lowered_maximum_admits_nobody_until_enough_have_left() {
        let places = Places::default();
        let held: Vec<_> = (0..5).map(|_| places.take(5)).collect();
        assert!(places.take(3).is_none());
        drop(held);
        assert!(places.take(3).is_some());
    }

    #[test]
    fn racing_takers_never_exceed_the_maximum() {
        let places = Places::default();
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    for _ in 0..2_000 {
                        let place = places.take(3);
                        assert!(places.taken() <= 3);
                        drop(place);
                    }
                });
            }
        });
        assert_eq!(places.taken(), 0);
    }
}
