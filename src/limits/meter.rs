//! What one partner's requests and connections spend before anything is decoded: the rate, and places.

use std::sync::Arc;
use std::time::Duration;

use super::lease::Lease;
use super::places::Places;
use super::rate::Rate;
use crate::admission::{InFlight, LimitExceeded, LimitLevel, LimitWindow};
use crate::domain::partner::Allowance;
use crate::domain::time::Clock;

/// When to come back for a place: places are held for milliseconds, connections for longer.
const IN_FLIGHT_RETRY: Duration = Duration::from_millis(50);
const CONNECTION_RETRY: Duration = Duration::from_secs(5);

/// Calls of a partner that spend nothing (what is left, health), per second: a dashboard and every balancer's probe.
const LOOKS_PER_SECOND: u32 = 50;

/// The meters a request meets before it is decoded.
pub(super) struct PartnerMeter {
    allowance: Allowance,
    rate: Rate,
    looks: Rate,
    in_flight: Places,
    connections: Places,
    lease: Option<Arc<Lease>>,
}

impl PartnerMeter {
    pub(super) fn new(allowance: Allowance, clock: &Arc<dyn Clock>, lease: Option<Arc<Lease>>) -> Self {
        Self {
            allowance,
            rate: Rate::new(allowance.rate_per_second, allowance.burst, clock),
            looks: Rate::new(LOOKS_PER_SECOND, LOOKS_PER_SECOND, clock),
            in_flight: Places::default(),
            connections: Places::default(),
            lease,
        }
    }

    /// Goes on under a changed allowance: places stay taken, and what was spent of the rate stays spent.
    pub(super) fn changed(&self, allowance: Allowance, clock: &Arc<dyn Clock>) -> Self {
        Self {
            allowance,
            rate: self.rate.changed(allowance.rate_per_second, allowance.burst, clock),
            looks: self.looks.changed(LOOKS_PER_SECOND, LOOKS_PER_SECOND, clock),
            in_flight: self.in_flight.clone(),
            connections: self.connections.clone(),
            lease: self.lease.clone(),
        }
    }

    pub(super) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Returns the lease its rate is spent from; `None`: this process alone keeps it.
    pub(super) fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.as_ref()
    }

    /// The rate comes first: a request that finds no place has still cost what the rate is there to bound.
    pub(super) fn spend(&self) -> Result<InFlight, LimitExceeded> {
        self.spend_rate().map_err(|retry_after| LimitExceeded {
            window: LimitWindow::Rate,
            limit: self.allowance.rate_per_second.into(),
            retry_after,
        })?;
        self.place()
    }

    /// Spends from this replica's ceiling, then from its slice of the deployment's rate.
    fn spend_rate(&self) -> Result<(), Duration> {
        let Some(lease) = &self.lease else { return self.rate.spend() };
        // Nobody's turn at the ceiling is used up by a request the slice has nothing for.
        if lease.has_token() {
            self.rate.spend()?;
        }
        lease.spend(self.allowance.rate_per_second)
    }

    /// Returns what is left of the rate, and when it is more.
    fn rate_left(&self) -> (u64, Duration) {
        let (left, next) = self.rate.left();
        self.lease.as_ref().map_or((left, next), |lease| (left.min(lease.tokens_left()), next))
    }

    /// Calls that spend nothing still cost something.
    pub(super) fn look(&self) -> Result<InFlight, LimitExceeded> {
        self.looks.spend().map_err(|retry_after| LimitExceeded {
            window: LimitWindow::Rate,
            limit: LOOKS_PER_SECOND.into(),
            retry_after,
        })?;
        self.place()
    }

    /// Takes a place for a connection.
    pub(super) fn connect(&self) -> Result<InFlight, LimitExceeded> {
        let place = self.connections.take(self.allowance.connections_max);
        place.map(InFlight::new).ok_or(LimitExceeded {
            window: LimitWindow::Connections,
            limit: self.allowance.connections_max.into(),
            retry_after: CONNECTION_RETRY,
        })
    }

    /// Says what is left of the rate and of the places.
    pub(super) fn levels(&self) -> [LimitLevel; 3] {
        let (remaining, reset_after) = self.rate_left();
        let limit = self.allowance.burst.into();
        let rate = LimitLevel { window: LimitWindow::Rate, limit, remaining, reset_after };
        let places = |window, places_max: u32, places: &Places| LimitLevel {
            window,
            limit: places_max.into(),
            remaining: places_max.saturating_sub(places.taken()).into(),
            reset_after: Duration::ZERO,
        };
        [
            rate,
            places(LimitWindow::InFlight, self.allowance.in_flight_max, &self.in_flight),
            places(LimitWindow::Connections, self.allowance.connections_max, &self.connections),
        ]
    }

    fn place(&self) -> Result<InFlight, LimitExceeded> {
        let place = self.in_flight.take(self.allowance.in_flight_max);
        place.map(InFlight::new).ok_or(LimitExceeded {
            window: LimitWindow::InFlight,
            limit: self.allowance.in_flight_max.into(),
            retry_after: IN_FLIGHT_RETRY,
        })
    }
}
