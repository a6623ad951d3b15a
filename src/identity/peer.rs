//! From a certificate to what it proves. The common name proves nothing here and is never read.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::domain::partner::PeerIdentity;
use crate::hashing::sha256;

/// A certificate the verifier accepted cannot be read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// No certificate at all.
    #[error("the peer presented no certificate")]
    Absent,
    /// Not a certificate, or its alternative names cannot be read.
    #[error("the peer's certificate cannot be read")]
    Unreadable,
}

/// Reads what the first certificate of a verified chain proves.
///
/// # Errors
/// [`PeerFault`]; a fault closes the connection.
pub fn identify(chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, PeerFault> {
    let end_entity = chain.first().ok_or(PeerFault::Absent)?;
    let (_, certificate) = X509Certificate::from_der(end_entity).map_err(|_| PeerFault::Unreadable)?;
    Ok(PeerIdentity {
        san_uris: san_uris(&certificate)?,
        spki_sha256: sha256(certificate.public_key().raw),
        issuer_sha256: sha256(certificate.issuer().as_raw()),
        serial: significant(certificate.raw_serial()).to_vec(),
        not_after: moment(certificate.validity().not_after.timestamp()),
    })
}

/// Strips the leading zeros of a number, so that two encodings of one serial number are equal.
pub(super) fn significant(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

pub(super) fn moment(unix_seconds: i64) -> Timestamp {
    Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::MAX)
}

fn san_uris(certificate: &X509Certificate<'_>) -> Result<Vec<String>, PeerFault> {
    let Some(names) = certificate.subject_alternative_name().map_err(|_| PeerFault::Unreadable)? else {
        return Ok(Vec::new());
    };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    Ok(names.value.general_names.iter().filter_map(uri).collect())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::identity::pki::{DevelopmentCa, Existing};

    #[test]
    fn a_certificate_proves_uri_key_issuer_serial_and_end_but_not_its_common_name() {
        let now = "2026-11-22T00:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut authority = DevelopmentCa::create(folder.path(), 7, now, Existing::Keep).unwrap();
        let issued = authority.issue_client("insurer-demo", Some("spiffe://demo/rental"), 30, now).unwrap();
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let peer = identify(&[der(&issued.certificate_pem)]).unwrap();
        assert_eq!(peer.san_uris, ["spiffe://demo/rental"]);
        assert_eq!(peer.spki_sha256, issued.spki_sha256);
        assert_eq!(crate::config::hex(&peer.serial), issued.serial);
        assert_eq!(peer.not_after, issued.not_after);
        let anchor = der(authority.certificate_pem());
        let (_, parsed) = X509Certificate::from_der(&anchor).unwrap();
        assert_eq!(peer.issuer_sha256, sha256(parsed.subject().as_raw()));
        assert!(!format!("{peer:?}").contains("insurer-demo"));
        assert_eq!(identify(&[]), Err(PeerFault::Absent));
        assert_eq!(identify(&[CertificateDer::from(vec![1, 2, 3])]), Err(PeerFault::Unreadable));
    }
}
