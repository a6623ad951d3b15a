//! The operator's side: a read-only HTTP listener, and the socket over which everything that changes state goes.
//!
//! May know: `domain`, ports of its own. Must not know: generated messages, adapters, use cases.

mod auditor;
mod backup;
pub mod client;
mod connections;
mod hold_backs;
mod http;
mod import;
mod listener;
mod operations;
pub mod ports;
pub mod report;
mod socket;
#[cfg(test)]
mod testing;
mod witness;

pub use auditor::serve_logs;
pub use http::AdminPages;
pub use listener::HttpListener;
pub use socket::{AdminSocket, SocketError};
pub use witness::serve_witness;
