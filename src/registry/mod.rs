//! Adapter
//!
//! May know:  the licence store and its change feed, import and generator.. Must not know: domain, the ports of verification:other adapters, gRPC.
