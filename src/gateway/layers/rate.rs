//! Spends the partner's rate and takes its place in flight, before the message is decoded. Never refunded.
//!
//! Asking for what is left spends nothing, and health checks belong to no contract; both stand under the cap of calls in
//! flight and of streams per connection alone.

use std::sync::Arc;

use super::gate::Gate;
use crate::admission::{InFlight, Meters};
use crate::gateway::context::CallContext;
use crate::gateway::refusal::{LimitFields, Refusal};
use crate::telemetry::labels::Method;

/// Holds partners to their rate.
pub(in crate::gateway) struct RateGate {
    meters: Arc<dyn Meters>,
}

impl RateGate {
    /// Builds the gate.
    pub(in crate::gateway) fn new(meters: Arc<dyn Meters>) -> Self {
        Self { meters }
    }
}

impl Gate for RateGate {
    type Pass = Option<InFlight>;

    fn pass(&self, call: &CallContext) -> Result<Option<InFlight>, Refusal> {
        let spends = match call.method {
            Method::Verify | Method::DescribeContract | Method::Other => true,
            Method::GetLimits | Method::Health => false,
        };
        let Some(contract) = call.contract.get().filter(|_| spends) else { return Ok(None) };
        match self.meters.spend(&contract.partner, &contract.allowance) {
            Ok(place) => Ok(Some(place)),
            Err(exceeded) => {
                Err(Refusal::Limit(exceeded, Some(LimitFields::of(self.meters.as_ref(), contract))))
            }
        }
    }
}
