//! Adapter: the texts of QR codes, sealed and opened.
//!
//! May know: `domain`, the ports of `verification` and `issuing`. Must not know: stores, gRPC, other adapters.
