//! How many streams are open. A place in flight of the contract's meters is freed when a stream is opened; these are not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::admission::{LimitExceeded, LimitWindow};
use crate::domain::partner::PartnerId;

/// Streams of one partner at once, over all its connections: one that works, one that takes over, and two more.
const STREAMS_PER_PARTNER_MAX: u32 = 4;
/// Streams of all authorities at once: each may hold 4,096 changes in memory.
const STREAMS_MAX: u32 = 64;
/// When to try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The open streams of a process.
#[derive(Default)]
pub struct Streams(Mutex<HashMap<PartnerId, u32>>);

impl Streams {
    /// Takes a place for a stream; dropping it frees the place.
    pub(in crate::gateway) fn open(self: &Arc<Self>, partner: &PartnerId) -> Result<StreamPlace, LimitExceeded> {
        let mut open = self.lock();
        let all: u32 = open.values().sum();
        let own = open.get(partner).copied().unwrap_or(0);
        if own >= STREAMS_PER_PARTNER_MAX || all >= STREAMS_MAX {
            return Err(LimitExceeded {
                window: LimitWindow::InFlight,
                limit: STREAMS_PER_PARTNER_MAX.into(),
                retry_after: RETRY_AFTER,
            });
        }
        open.insert(partner.clone(), own + 1);
        Ok(StreamPlace { streams: Arc::clone(self), partner: partner.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PartnerId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the open streams.
pub(in crate::gateway) struct StreamPlace {
    streams: Arc<Streams>,
    partner: PartnerId,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        match open.get_mut(&self.partner) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.partner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_has_so_many_streams_and_gets_them_back() {
        let streams = Arc::new(Streams::default());
        let [one, two]: [PartnerId; 2] = ["one", "two"].map(|id| id.parse().unwrap());
        let mut held: Vec<_> =
            (0..STREAMS_PER_PARTNER_MAX).map(|_| streams.open(&one).ok().unwrap()).collect();
        assert_eq!(streams.open(&one).err().unwrap().window, LimitWindow::InFlight);
        assert!(streams.open(&two).is_ok());
        held.pop();
        assert!(streams.open(&one).is_ok());
        drop(held);
        assert!(streams.lock().is_empty());
    }

    #[test]
    fn all_partners_together_are_bounded() {
        let streams = Arc::new(Streams::default());
        let partners = (0..STREAMS_MAX).map(|index| format!("p{index}").parse::<PartnerId>().unwrap());
        let held: Vec<_> = partners.map(|partner| streams.open(&partner).ok().unwrap()).collect();
        assert!(streams.open(&"one-more".parse().unwrap()).is_err());
        drop(held);
    }
}
