//! The partners' half: the authorities their certificates come from, and what those have revoked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::{Revoked, TrustError, TrustFiles, read_file};
use crate::domain::partner::PeerIdentity;
use crate::hashing::sha256;
use crate::identity::peer::{moment, significant};

/// Authorities and revocation lists, ready to judge a certificate.
pub(super) struct PartnerTrust {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// The earliest end of an authority.
    pub(super) not_after: Timestamp,
    /// The earliest end of a list.
    pub(super) next_update: Timestamp,
    pub(super) lists: Vec<ListNote>,
    pub(super) digest: [u8; 32],
    revoked: Revoked,
}

/// What is remembered of a list.
pub(super) struct ListNote {
    pub(super) path: PathBuf,
    pub(super) next_update: Timestamp,
    issuer_sha256: [u8; 32],
    /// Big-endian, without leading zeros; empty when the list carries none.
    number: Vec<u8>,
}

/// An authority from a file.
struct Authority {
    path: PathBuf,
    der: CertificateDer<'static>,
}

/// Reads authorities and lists and holds them to each other.
pub(super) fn read(files: &TrustFiles, provider: &Arc<CryptoProvider>) -> Result<PartnerTrust, TrustError> {
    let mut digested = Vec::new();
    let authorities = read_authorities(&files.client_roots, &mut digested)?;
    let (ders, lists, revoked) = read_lists(&files.revocation_lists, &authorities, &mut digested)?;
    let not_after = hold_to_their_lists(&authorities, &lists)?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der).map_err(|source| TrustError::Material { path: authority.path, source })?;
    }
    // The depth is the whole chain and an unknown status is refused: those are the builder's defaults.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(ders)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| TrustError::Settings(rustls::Error::General(error.to_string())))?;
    let next_update = lists.iter().map(|list| list.next_update).min().unwrap_or(Timestamp::MIN);
    Ok(PartnerTrust { verifier, not_after, next_update, lists, digest: sha256(&digested), revoked })
}

impl PartnerTrust {
    pub(super) fn is_revoked(&self, peer: &PeerIdentity) -> bool {
        // The set's key borrows nothing from the peer, so a look-up copies 20 bytes; it happens once per change of trust.
        !self.revoked.is_empty()
            && self.revoked.contains(&(peer.issuer_sha256, peer.serial.as_slice().into()))
    }

    /// Refuses lists that are older than those in force: an old list brings revoked certificates back.
    pub(super) fn not_older_than(self, in_force: &Self) -> Result<Self, TrustError> {
        for list in &self.lists {
            let former = in_force.lists.iter().find(|former| former.issuer_sha256 == list.issuer_sha256);
            if former.is_some_and(|former| older(&list.number, &former.number)) {
                return Err(TrustError::ListOlder { path: list.path.clone() });
            }
        }
        Ok(self)
    }
}

fn older(number: &[u8], than: &[u8]) -> bool {
    (number.len(), number) < (than.len(), than)
}

fn read_authorities(paths: &[PathBuf], digested: &mut Vec<u8>) -> Result<Vec<Authority>, TrustError> {
    let mut authorities = Vec::new();
    for path in paths {
        let text = read_file(path)?;
        let refused = || TrustError::Pem { path: path.clone(), what: "certificate of an authority" };
        let found: Vec<_> =
            CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| refused())?;
        if found.is_empty() {
            return Err(refused());
        }
        authorities.extend(found.into_iter().map(|der| Authority { path: path.clone(), der }));
        digested.extend_from_slice(&sha256(&text));
    }
    Ok(authorities)
}

type Lists = (Vec<CertificateRevocationListDer<'static>>, Vec<ListNote>, Revoked);

fn read_lists(
    paths: &[PathBuf],
    authorities: &[Authority],
    digested: &mut Vec<u8>,
) -> Result<Lists, TrustError> {
    let (mut ders, mut notes, mut revoked) = (Vec::new(), Vec::<ListNote>::new(), Revoked::new());
    for path in paths {
        let text = read_file(path)?;
        let found: Vec<CertificateRevocationListDer<'static>> =
            CertificateRevocationListDer::pem_slice_iter(&text)
                .collect::<Result<_, _>>()
                .map_err(|_| TrustError::ListUnreadable { path: path.clone() })?;
        if found.is_empty() {
            return Err(TrustError::Pem { path: path.clone(), what: "revocation list" });
        }
        for der in found {
            let note = read_list(path, &der, authorities, &mut revoked)?;
            if notes.iter().any(|other| other.issuer_sha256 == note.issuer_sha256) {
                return Err(TrustError::ListTwice { path: path.clone() });
            }
            notes.push(note);
            ders.push(der);
        }
        digested.extend_from_slice(&sha256(&text));
    }
    Ok((ders, notes, revoked))
}

fn read_list(
    path: &Path,
    der: &CertificateRevocationListDer<'_>,
    authorities: &[Authority],
    revoked: &mut Revoked,
) -> Result<ListNote, TrustError> {
    let unreadable = || TrustError::ListUnreadable { path: path.to_path_buf() };
    let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| unreadable())?;
    signed_by_its_authority(path, &list, authorities)?;
    let next_update =
        list.next_update().ok_or_else(|| TrustError::ListEndless { path: path.to_path_buf() })?;
    let issuer_sha256 = sha256(list.issuer().as_raw());
    let serials = list.iter_revoked_certificates().map(|entry| significant(entry.raw_serial()).into());
    revoked.extend(serials.map(|serial| (issuer_sha256, serial)));
    Ok(ListNote {
        path: path.to_path_buf(),
        next_update: moment(next_update.timestamp()),
        issuer_sha256,
        number: list
            .crl_number()
            .map(|number| significant(&number.to_bytes_be()).to_vec())
            .unwrap_or_default(),
    })
}

/// A list of an intermediate authority is only checked at the handshake: its certificate comes with the client's chain.
fn signed_by_its_authority(
    path: &Path,
    list: &CertificateRevocationList<'_>,
    authorities: &[Authority],
) -> Result<(), TrustError> {
    for authority in authorities {
        let Ok((_, certificate)) = X509Certificate::from_der(&authority.der) else { continue };
        let is_issuer = certificate.subject().as_raw() == list.issuer().as_raw();
        if is_issuer && list.verify_signature(certificate.public_key()).is_err() {
            return Err(TrustError::ListSignature { path: path.to_path_buf() });
        }
    }
    Ok(())
}

/// Makes sure that every authority has a list; returns when the first authority ends.
fn hold_to_their_lists(authorities: &[Authority], lists: &[ListNote]) -> Result<Timestamp, TrustError> {
    let mut first_end = Timestamp::MAX;
    for authority in authorities {
        let (_, certificate) = X509Certificate::from_der(&authority.der).map_err(|_| TrustError::Pem {
            path: authority.path.clone(),
            what: "certificate that can be read",
        })?;
        let subject = sha256(certificate.subject().as_raw());
        if !lists.iter().any(|list| list.issuer_sha256 == subject) {
            return Err(TrustError::ListMissing { path: authority.path.clone() });
        }
        first_end = first_end.min(moment(certificate.validity().not_after.timestamp()));
    }
    Ok(first_end)
}
