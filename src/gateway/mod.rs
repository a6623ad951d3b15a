//! The gRPC edge: the stack on one page, thin handlers, conversion, error → status.
//!
//! May know: `domain`, use cases and their ports, `identity`, telemetry's words. Must not know: any adapter.
//! The only room (beside the client side of `cli`) where generated messages are named.
//!
//! Start with `stack`: it shows the life of a call.

mod authority;
mod context;
mod convert;
mod farewells;
mod handlers;
mod lateness;
mod layers;
mod observer;
pub mod proto;
mod refusal;
mod routes;
mod serve;
mod stack;
mod wallet;

pub use authority::Streams;
pub use convert::change_message;
pub use farewells::Farewells;
pub use observer::{CallObserver, CallSpan, FinishedCall};
pub use serve::ServeOptions;
pub use stack::Gateway;
