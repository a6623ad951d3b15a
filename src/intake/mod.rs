//! The authority's changes come in: in order per subject and source, once each, durable before they are acknowledged.
//!
//! May know: `domain`. Must not know: adapters, gRPC, configuration.
//!
//! Read in this order: [`change`] (what is handed in), [`fate`] (what becomes of it), `state` (what waits for its turn), `possible`
//! (which histories cannot be), `plan` and `desk` (the decision, pure), `verdict` (the operator's), [`ports`] (what a store does
//! around it), and [`Intake`] (batches, and the clock that lets go of nothing).

pub mod change;
mod desk;
pub mod fate;
mod plan;
pub mod ports;
mod possible;
mod service;
mod state;
#[cfg(test)]
mod testing;
mod verdict;

pub use service::{Intake, IntakeObserver, IntakeOptions, IntakeUnavailable, Ticket};
