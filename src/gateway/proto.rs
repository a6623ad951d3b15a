//! The generated contract (`proto/generated`, made by `proto/compiler`). Only `gateway` and the client side of `cli` name these types.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

include!("../../proto/generated/drivegate.v1.rs");

/// The compiled descriptors, for reflection on the admin listener.
pub const DESCRIPTORS: &[u8] = include_bytes!("../../proto/generated/descriptors.bin");
