//! Adapter
//!
//! May know:  facts in process and in Redis, and the freshness rule that admits them.. Must not know: domain, the ports of verification:other adapters, gRPC.
