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
    per_address_max: u32,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, u32>,
}

/// One place taken.
pub(super) struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Places {
    pub(super) fn new(total_max: usize, per_address_max: u32) -> Self {
        Self(Arc::new(Shared { total_max, per_address_max, taken: Mutex::default() }))
    }

    pub(super) fn take(&self, address: IpAddr) -> Result<Place, HandshakeOutcome> {
        let address = neighbourhood(address);
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.0.total_max {
            return Err(HandshakeOutcome::ConnectionsFull);
        }
        let here = taken.by_address.entry(address).or_default();
        if *here >= self.0.per_address_max {
            return Err(HandshakeOutcome::AddressFull);
        }
        *here += 1;
        taken.total += 1;
        Ok(Place { shared: Arc::clone(&self.0), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.by_address.remove(&self.address);
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
        let places = Places::new(3, 2);
        let one = places.take("2001:db8::1".parse().unwrap()).ok().unwrap();
        let _two = places.take("2001:db8::ffff:1".parse().unwrap()).ok().unwrap();
        let refused = places.take("2001:db8::2".parse().unwrap()).err();
        assert_eq!(refused, Some(HandshakeOutcome::AddressFull));
        let _three = places.take("192.0.2.1".parse().unwrap()).ok().unwrap();
        let refused = places.take("192.0.2.2".parse().unwrap()).err();
        assert_eq!(refused, Some(HandshakeOutcome::ConnectionsFull));
        drop(one);
        assert!(places.take("::ffff:192.0.2.1".parse().unwrap()).is_ok());
        assert_eq!(places.0.taken.lock().unwrap().by_address.len(), 2);
    }
}
