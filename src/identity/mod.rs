//! TLS, trust and revocation, certificate to partner, contracts and standing.
//!
//! May know: domain, the ports of admission, config. Must not know: other adapters, gRPC.

pub mod client;
mod files;
mod peer;
pub mod pki;
mod provider;
mod trust;

pub use peer::{PeerFault, identify};
pub use trust::{Trust, TrustError, TrustFiles};
