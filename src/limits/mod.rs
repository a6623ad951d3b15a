//! Adapter
//!
//! May know:  rates, quotas and question variation.. Must not know: domain, the ports of verification and admission:other adapters, gRPC.
