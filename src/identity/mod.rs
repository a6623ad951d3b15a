//! TLS, trust and revocation, certificate to partner, contracts and standing.
//!
//! May know: domain, the ports of admission, config, the transport half of tonic. Must not know: other adapters, our gRPC
//! messages.

mod acceptor;
pub mod client;
mod connection;
mod files;
mod peer;
pub mod pki;
mod provider;
mod reload;
mod roster;
mod shared;
mod standing;
#[cfg(test)]
mod testing;
mod trust;

pub use acceptor::{
    AcceptLoop, Acceptor, AcceptorOptions, CoreContext, CoreIncoming, CoreLoad, CoreLoadStats,
    HandshakeObserver, HandshakeOutcome, OpenOnCore, PartnerStream,
};
pub use connection::Connection;
pub use files::{Existing, is_toml, write_public as write_file, write_secret};
pub use peer::{PeerFault, identify};
pub use reload::{Identity, IdentityError, IdentityFiles, ReloadCounts, Watch};
pub use roster::{PartnerSlot, Roster, RosterError};
pub use shared::SharedBook;
pub use standing::{StandingBook, StandingError, StandingRecord};
pub use trust::{Trust, TrustError, TrustFiles, chain as error_chain};
