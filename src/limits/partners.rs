//! One value per partner, found in tens of nanoseconds. Keys are authenticated partners only, so the map cannot be
//! grown from outside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::domain::partner::PartnerId;

/// A map that is read on every request and written when a partner first appears or leaves.
pub(super) struct PerPartner<T> {
    values: ArcSwap<HashMap<PartnerId, Arc<T>>>,
    writer: Mutex<()>,
}

impl<T> PerPartner<T> {
    pub(super) fn new() -> Self {
        Self { values: ArcSwap::default(), writer: Mutex::new(()) }
    }

    /// Works on the partner's value in place: the hot path, without touching its reference count.
    pub(super) fn with<R>(&self, partner: &PartnerId, work: impl FnOnce(Option<&Arc<T>>) -> R) -> R {
        work(self.values.load().get(partner))
    }

    /// Returns all values as they are now.
    pub(super) fn all(&self) -> Arc<HashMap<PartnerId, Arc<T>>> {
        self.values.load_full()
    }

    /// Returns the partner's value, if there is one.
    pub(super) fn find(&self, partner: &PartnerId) -> Option<Arc<T>> {
        self.with(partner, |value| value.map(Arc::clone))
    }

    /// Returns the partner's value, made by `make` when there is none.
    pub(super) fn find_or(&self, partner: &PartnerId, make: impl FnOnce() -> T) -> Arc<T> {
        self.find(partner).unwrap_or_else(|| {
            self.replace(partner, |present| present.map_or_else(|| Arc::new(make()), Arc::clone))
        })
    }

    /// Replaces the partner's value by what `next` makes of the present one. Writers take turns; readers never wait.
    pub(super) fn replace(
        &self,
        partner: &PartnerId,
        next: impl FnOnce(Option<&Arc<T>>) -> Arc<T>,
    ) -> Arc<T> {
        let _turn = locked(&self.writer);
        let present = self.values.load_full();
        let value = next(present.get(partner));
        if present.get(partner).is_none_or(|known| !Arc::ptr_eq(known, &value)) {
            let mut values = HashMap::clone(&present);
            values.insert(partner.clone(), Arc::clone(&value));
            self.values.store(Arc::new(values));
        }
        value
    }

    /// Forgets every partner `keep` does not want.
    pub(super) fn retain(&self, keep: impl Fn(&PartnerId) -> bool) {
        let _turn = locked(&self.writer);
        let present = self.values.load_full();
        if present.keys().all(&keep) {
            return;
        }
        let kept = present.iter().filter(|(partner, _)| keep(partner));
        self.values
            .store(Arc::new(kept.map(|(partner, value)| (partner.clone(), Arc::clone(value))).collect()));
    }
}

/// Locks; the counts behind these locks are consistent at every step, so a panic of another holder spoils nothing.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn partner(id: &str) -> PartnerId {
        id.parse().unwrap()
    }

    #[test]
    fn a_value_is_made_once_and_kept() {
        let values = PerPartner::new();
        assert_eq!(*values.find_or(&partner("a"), || 1), 1);
        assert_eq!(*values.find_or(&partner("a"), || 2), 1);
        assert_eq!(*values.find_or(&partner("b"), || 3), 3);
    }

    #[test]
    fn partners_without_contract_are_forgotten() {
        let values = PerPartner::new();
        values.find_or(&partner("a"), || 1);
        values.find_or(&partner("b"), || 2);
        values.retain(|known| known.as_str() == "b");
        assert_eq!(values.find(&partner("a")), None);
        assert_eq!(values.find(&partner("b")).as_deref(), Some(&2));
    }

    #[test]
    fn twenty_threads_share_one_value() {
        let values = PerPartner::new();
        let made = AtomicU32::new(0);
        std::thread::scope(|threads| {
            for _ in 0..20 {
                threads.spawn(|| {
                    values.find_or(&partner("a"), || made.fetch_add(1, Ordering::Relaxed));
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
