//! The generated contract. Only `gateway` and the client side of `cli` name these types.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

tonic::include_proto!("drivegate.v1");

/// The compiled descriptors, for reflection on the admin listener.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/drivegate_descriptor.bin"));
