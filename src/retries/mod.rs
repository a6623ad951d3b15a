//! Adapter: answers kept for the retry of their request, and where answers stand that are kept no more.
//!
//! May know: `domain`, the ports of `verification`. Must not know: other adapters, configuration, gRPC.
//!
//! Read in this order: `kept` (a request is taken up, from end to end), `shelf` (what is remembered of one partner, and within which
//! bounds), `seal` and `codec` (how an answer lies in memory and in a note for other replicas), `note` (what replicas tell each other).

mod codec;
mod kept;
mod note;
mod observer;
mod options;
mod seal;
mod shelf;

#[cfg(test)]
mod tests;

pub use kept::{Held, KeptAnswers};
pub use observer::{RetryObserver, TakeUp, Unobserved};
pub use options::RetryOptions;
pub use seal::NoKey;
