//! The gRPC edge. The only room where generated messages are named.
//!
//! May know: domain, use cases and their ports, identity. Must not know: any adapter.

pub mod proto;
