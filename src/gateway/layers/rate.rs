//! Spends the partner's rate and takes its place in flight, before the message is decoded. Never refunded.
//!
//! Asking for what is left, and for health, spends nothing of the contract's rate; both have a small rate of their own and
//! take a place in flight like every call.

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
        let Some(contract) = call.contract.get() else { return Ok(None) };
        let (partner, allowance) = (&contract.partner, &contract.allowance);
        let passed = match call.method {
            Method::Verify
            | Method::DescribeContract
            | Method::GetReceipt
            | Method::ApplyChanges
            | Method::IssueQr
            | Method::IssueShareCode
            | Method::Revoke
            | Method::ListConsents
            | Method::WithdrawConsent
            | Method::Object
            | Method::ListAccesses
            | Method::WatchAccesses
            | Method::Other => self.meters.spend(partner, allowance),
            Method::GetLimits | Method::Health => self.meters.look(partner, allowance),
        };
        match passed {
            Ok(place) => Ok(Some(place)),
            Err(exceeded) => {
                Err(Refusal::Limit(exceeded, Some(LimitFields::of(self.meters.as_ref(), contract))))
            }
        }
    }
}
