//! Our own half: certificate and key.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::{TrustError, TrustFiles, read_file};
use crate::hashing::sha256;
use crate::identity::peer::identify;

/// The server's certificate, ready to be served.
pub(super) struct ServerCertificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_after: Timestamp,
    /// Of the certificate alone: a key that fits it is the same key.
    pub(super) digest: [u8; 32],
}

/// Reads certificate and key and makes sure that they belong together.
pub(super) fn read(files: &TrustFiles, provider: &CryptoProvider) -> Result<ServerCertificate, TrustError> {
    let chain_text = read_file(&files.server_chain)?;
    let key_text = Zeroizing::new(read_file(&files.server_key)?);
    let missing_chain =
        || TrustError::Pem { path: files.server_chain.clone(), what: "certificate that can be read" };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&chain_text).collect::<Result<_, _>>().map_err(|_| missing_chain())?;
    let not_after = identify(&chain).map_err(|_| missing_chain())?.not_after;
    let key = PrivateKeyDer::from_pem_slice(&key_text)
        .map_err(|_| TrustError::Pem { path: files.server_key.clone(), what: "private key" })?;
    let key = CertifiedKey::from_der(chain, key, provider)
        .map_err(|source| TrustError::Material { path: files.server_key.clone(), source })?;
    Ok(ServerCertificate { key: Arc::new(key), not_after, digest: sha256(&chain_text) })
}
