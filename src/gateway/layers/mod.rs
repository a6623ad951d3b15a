//! The layers of the stack, one a file. `gateway::stack` says in which order they stand, and why.

mod deadline;
mod gate;
mod guard;
mod hand_over;
mod observe;
mod rate;
mod shed;
mod standing;
mod status;

pub(super) use deadline::DeadlineLayer;
pub(super) use gate::GateLayer;
pub(super) use guard::GuardLayer;
pub(super) use observe::{ObserveLayer, ObserveOptions};
pub(super) use rate::RateGate;
pub(super) use shed::ShedGate;
pub(super) use standing::StandingGate;
pub(super) use status::{StatusLayer, note};

use std::sync::Arc;

use super::context::CallContext;

/// Returns the context the outermost layer put into the request; `None` only for a request that did not pass it.
fn context_of<B>(request: &http::Request<B>) -> Option<&Arc<CallContext>> {
    request.extensions().get()
}
