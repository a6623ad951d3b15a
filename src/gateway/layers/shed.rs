//! Counts what is served at once, over all cores and on this one. Beyond the bound over all cores a call is refused: UNAVAILABLE, not
//! RESOURCE_EXHAUSTED, because it is our overload and not the partner's quota.
//!
//! This is the outermost of three places where too much is turned down, and knows nothing of the call yet. A core that is behind its
//! work leaves sockets unread ([`CoreLoad`]), so that nothing comes here that costs and is not served; and the registry has a line that
//! knows presentations from claims and one partner from another (`limits::line`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gate::Gate;
use crate::gateway::context::CallContext;
use crate::gateway::refusal::Refusal;
use crate::identity::{CoreLoad, OpenOnCore};

/// Bounds the calls served at once.
pub(in crate::gateway) struct ShedGate {
    in_flight: Arc<AtomicUsize>,
    in_flight_max: usize,
    core: Arc<CoreLoad>,
}

impl ShedGate {
    /// Builds the gate of a core over a count that all cores share.
    pub(in crate::gateway) fn new(
        in_flight: Arc<AtomicUsize>,
        in_flight_max: usize,
        core: Arc<CoreLoad>,
    ) -> Self {
        Self { in_flight, in_flight_max, core }
    }
}

impl Gate for ShedGate {
    type Pass = Place;

    fn pass(&self, _call: &CallContext) -> Result<Place, Refusal> {
        let place = Place { in_flight: Arc::clone(&self.in_flight), _open: self.core.begin() };
        let taken_before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if taken_before < self.in_flight_max { Ok(place) } else { Err(Refusal::Overloaded) }
    }
}

/// A place among the calls in flight.
pub(in crate::gateway) struct Place {
    in_flight: Arc<AtomicUsize>,
    _open: OpenOnCore,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
