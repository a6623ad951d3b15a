//! How a question comes out: criteria with outcomes and reasons, and the decision over them.
//!
//! [`decide`] is the whole room: it folds the history, looks at what the purpose asks (one file each), and decides.
//! [`confirm`] says whether a claim is about the record at all.

mod ages;
mod claim;
mod confirm;
mod enforcement;
mod ground;
mod outcome;
mod peer;
mod period;
mod probation;
#[cfg(test)]
mod properties;
mod purchase;
mod rental;
mod role;
mod ruled;

pub use confirm::{confirm, confirm_shown};
pub(in crate::domain) use ground::{Ground, GroundSet, grounds};
pub use outcome::{Advice, Criterion, CriterionKind, Decision, NotCovered, Outcome, Reason, Remedy, Ruling};
pub use ruled::{Ruled, decide, decide_over};
