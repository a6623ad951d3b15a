//! Adapter
//!
//! May know:  the journal every answer is in before it leaves.. Must not know: domain, the ports of verification and admission:other adapters, gRPC.
