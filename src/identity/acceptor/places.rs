//! Places for connections: in total, per address, per core. Each is freed when its guard is dropped.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::HandshakeOutcome;

/// The places in total and per address.
#[derive(Clone)]
pub(super) struct Places(Arc<Shared>);

struct Shared {
    total_max: usize,
    per_address_max: Option<u32>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, u32>,
}

/// One place taken; once it is known whose, counted for the address too.
pub(super) struct Place {
    shared: Arc<Shared>,
    address: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(total_max: usize, per_address_max: Option<u32>) -> Self {
        Self(Arc::new(Shared { total_max, per_address_max, taken: Mutex::default() }))
    }

    /// Takes a place of nobody in particular.
    pub(super) fn take(&self) -> Result<Place, HandshakeOutcome> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.0.total_max {
            return Err(HandshakeOutcome::ConnectionsFull);
        }
        taken.total += 1;
        Ok(Place { shared: Arc::clone(&self.0), address: None })
    }
}

impl Place {
    /// Counts it for an address.
    pub(super) fn of(mut self, address: IpAddr) -> Result<Self, HandshakeOutcome> {
        let Some(per_address_max) = self.shared.per_address_max else { return Ok(self) };
        let address = neighbourhood(address);
        let is_free = {
            let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let here = taken.by_address.entry(address).or_default();
            let is_free = *here < per_address_max;
            *here += u32::from(is_free);
            is_free
        };
        // Outside the lock: a place that is refused is given back by its drop.
        if !is_free {
            return Err(HandshakeOutcome::AddressFull);
        }
        self.address = Some(address);
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(here) = taken.by_address.get_mut(&address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// An IPv6 host owns a whole /64: counting its single addresses would bound nothing.
pub(super) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// A connection counted on its core.
pub(super) struct CorePlace(Arc<AtomicUsize>);

impl CorePlace {
    pub(super) fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for CorePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_total_and_per_neighbourhood_and_come_back() {
        let places = Places::new(3, Some(2));
        let take = |address: &str| places.take().and_then(|place| place.of(address.parse().unwrap()));
        let one = take("2001:db8::1").ok().unwrap();
        let _two = take("2001:db8::ffff:1").ok().unwrap();
        assert_eq!(take("2001:db8::2").err(), Some(HandshakeOutcome::AddressFull));
        let _three = take("192.0.2.1").ok().unwrap();
        assert_eq!(take("192.0.2.2").err(), Some(HandshakeOutcome::ConnectionsFull));
        drop(one);
        assert!(take("::ffff:192.0.2.1").is_ok());
        assert_eq!(places.0.taken.lock().unwrap().by_address.len(), 2);
    }

    #[test]
    fn addresses_need_not_be_told_apart() {
        let places = Places::new(3, None);
        let take = || places.take().and_then(|place| place.of("192.0.2.1".parse().unwrap()));
        let taken: Vec<_> = (0..3).map(|_| take().ok().unwrap()).collect();
        assert_eq!(take().err(), Some(HandshakeOutcome::ConnectionsFull));
        drop(taken);
        assert!(take().is_ok());
    }
}
