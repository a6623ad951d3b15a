//! TLS, trust and revocation, certificate to partner, contracts and standing.
//!
//! May know: domain, the ports of admission, config. Must not know: other adapters, gRPC.

pub mod client;
mod files;
pub mod pki;
mod provider;
