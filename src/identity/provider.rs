//! The one cryptography provider, with its key exchanges in the order we want them offered.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};

/// Returns aws-lc-rs with X25519MLKEM768 first: what is recorded today must not be readable when quantum computers come.
///
/// Passed to every builder by hand, since the process-wide default panics once a second provider is linked.
pub(super) fn post_quantum_first() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    Arc::new(provider)
}
