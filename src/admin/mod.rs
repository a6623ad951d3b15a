//! The operator's side: a read-only HTTP listener, and the socket over which everything that changes state goes.
//!
//! May know: `domain`, ports of its own. Must not know: generated messages, adapters, use cases.

mod auditor;
mod backup;
pub mod client;
mod connections;
mod http;
mod import;
mod operations;
pub mod ports;
pub mod report;
mod socket;
#[cfg(test)]
mod testing;
mod witness;

pub use auditor::AuditorHttp;
pub use http::{AdminHttp, AdminPages};
pub use socket::{AdminSocket, SocketError};
pub use witness::WitnessHttp;
