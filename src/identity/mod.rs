//! TLS, trust and revocation, certificate to partner, contracts and standing.
//!
//! May know: domain, the ports of admission, config. Must not know: other adapters, gRPC.

pub mod client;
mod connection;
mod files;
mod peer;
pub mod pki;
mod provider;
mod roster;
mod standing;
mod trust;

pub use connection::Connection;
pub use peer::{PeerFault, identify};
pub use roster::{PartnerSlot, Roster, RosterError};
pub use standing::{RecordedState, StandingBook, StandingError, StandingRecord};
pub use trust::{Trust, TrustError, TrustFiles};
