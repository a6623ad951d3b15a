//! Sheds load: at most so many calls are served at once over all partners. UNAVAILABLE, not RESOURCE_EXHAUSTED: it is
//! our overload, not the partner's quota.
//!
//! Known limit: a fixed bound, not an adaptive one; presentations and claims are treated alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gate::Gate;
use crate::gateway::context::CallContext;
use crate::gateway::refusal::Refusal;

/// Bounds the calls served at once.
pub(in crate::gateway) struct ShedGate {
    in_flight: Arc<AtomicUsize>,
    in_flight_max: usize,
}

impl ShedGate {
    /// Builds the gate over a count that metrics may read.
    pub(in crate::gateway) fn new(in_flight: Arc<AtomicUsize>, in_flight_max: usize) -> Self {
        Self { in_flight, in_flight_max }
    }
}

impl Gate for ShedGate {
    type Pass = Place;

    fn pass(&self, _call: &CallContext) -> Result<Place, Refusal> {
        let place = Place(Arc::clone(&self.in_flight));
        let taken_before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        if taken_before < self.in_flight_max { Ok(place) } else { Err(Refusal::Overloaded) }
    }
}

/// A place among the calls in flight.
pub(in crate::gateway) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
