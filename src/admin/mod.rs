//! The operator's read-only listener and the socket that changes state.
//!
//! May know: domain, ports of its own. Must not know: generated messages.
