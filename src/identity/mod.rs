//! TLS, trust and revocation, certificate to partner, contracts and standing.
//!
//! May know: domain, the ports of admission, config. Must not know: other adapters, gRPC.
