//! A development certificate authority: what `pki`, `init`, `demo` and the tests issue certificates with.
//!
//! It keeps its key in a file without a passphrase and answers to nobody: not for production, and it says so in its name.
//! No name constraints on its certificate: the verifier refuses every certificate under an authority with URI constraints.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    RevokedCertParams, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::files;
pub use super::files::Existing;
use crate::config::{hex, unhex};
use crate::hashing::sha256;

/// How far back a certificate's validity starts: clocks of two machines may differ that much.
const BACKDATED_BY: SignedDuration = SignedDuration::from_hours(1);
/// How long the development authority itself lasts.
const AUTHORITY_DAYS: u16 = 3650;

/// File names inside the authority's folder.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// Its private key.
pub const CA_KEY: &str = "ca.key";
/// Its revocation list.
pub const CRL: &str = "crl.pem";
/// What it issued and revoked.
pub const CA_STATE: &str = "ca.toml";

/// The development authority could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file is already there. Pass `--force`, or choose another folder or name.
    #[error("{} is already there and nothing is overwritten without being told to", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state file was edited into something else. Mend it, or make a new authority.
    #[error("cannot understand {}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
    /// The state could not be turned into text.
    #[error("cannot write down the authority's state")]
    StateText(#[from] toml::ser::Error),
    /// A key or certificate could not be made or read.
    #[error("cannot {doing}")]
    Certificate {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// A name that cannot be a file name here.
    #[error("a name has 1 to 64 characters of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")]
    Name,
    /// A host, URI or name that a certificate cannot carry.
    #[error("a certificate cannot carry that host or URI: ASCII only")]
    AlternativeName,
    /// A serial number that is not hexadecimal.
    #[error("a serial number is written in hexadecimal, 1 to 20 bytes")]
    Serial,
    /// A certificate file that is not one.
    #[error("{} holds no certificate in PEM", path.display())]
    NotACertificate {
        /// Which.
        path: PathBuf,
    },
    /// This authority did not issue the certificate.
    #[error("this authority has not issued a certificate with the serial number {serial}")]
    NotIssuedHere {
        /// In hexadecimal.
        serial: String,
    },
    /// The machine gave no randomness.
    #[error("the machine gave no randomness")]
    Randomness,
}

/// A certificate authority in a folder.
pub struct DevelopmentCa {
    folder: PathBuf,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    state: CaState,
}

/// A freshly issued certificate with its key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: Zeroizing<String>,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of its SubjectPublicKeyInfo: what a contract can pin.
    pub spki_sha256: [u8; 32],
    /// End of its validity.
    pub not_after: Timestamp,
}

/// Where an issued pair was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key, mode 0600.
    pub key: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaState {
    /// Number of the last revocation list; only ever increases (RFC 5280 §5.2.3).
    crl_number: u64,
    /// By serial number.
    #[serde(default)]
    issued: BTreeMap<String, IssuedNote>,
    /// By serial number: since when.
    #[serde(default)]
    revoked: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuedNote {
    name: String,
    not_after: Timestamp,
}

/// How a certificate may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Server,
    Client,
}

impl DevelopmentCa {
    /// Makes an authority in a folder: `ca.pem`, `ca.key` (0600), `ca.toml`, and an empty `crl.pem` of `crl_days`.
    ///
    /// # Errors
    /// [`PkiError::Exists`] when there is one already and `existing` says to keep it.
    pub fn create(
        folder: &Path,
        crl_days: u16,
        now: Timestamp,
        existing: Existing,
    ) -> Result<Self, PkiError> {
        std::fs::create_dir_all(folder).map_err(|source| file_error("write", folder, source))?;
        let key = KeyPair::generate().map_err(|source| failed("make a key", source))?;
        let params = authority_params(now)?;
        let certificate = params.self_signed(&key).map_err(|source| failed("sign the authority", source))?;
        let mut authority = Self {
            folder: folder.to_path_buf(),
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            state: CaState::default(),
        };
        let key_pem = Zeroizing::new(authority.issuer.key().serialize_pem());
        write(&folder.join(CA_KEY), key_pem.as_bytes(), files::SECRET, existing)?;
        write(&folder.join(CA_CERTIFICATE), authority.certificate_pem.as_bytes(), files::PUBLIC, existing)?;
        authority.publish_crl(crl_days, now)?;
        Ok(authority)
    }

    /// Opens the authority in a folder.
    ///
    /// # Errors
    /// Says which file is missing or cannot be understood.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| file_error("read", &path, source))
        };
        let certificate_pem = read(CA_CERTIFICATE)?;
        let key_pem = Zeroizing::new(read(CA_KEY)?);
        let key = KeyPair::from_pem(&key_pem).map_err(|source| failed("read the authority's key", source))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key)
            .map_err(|source| failed("read the authority's certificate", source))?;
        let path = folder.join(CA_STATE);
        let state = toml::from_str(&read(CA_STATE)?)
            .map_err(|source| PkiError::State { path: path.clone(), source })?;
        Ok(Self { folder: folder.to_path_buf(), certificate_pem, issuer, state })
    }

    /// Returns the authority's own certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a server certificate for host names and addresses.
    ///
    /// # Errors
    /// [`PkiError::Name`], [`PkiError::AlternativeName`], or what the disk says.
    pub fn issue_server(
        &mut self,
        name: &str,
        hosts: &[String],
        days: u16,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let alternatives = hosts.iter().map(|host| host_name(host)).collect::<Result<_, _>>()?;
        self.issue(name, alternatives, Use::Server, days, now)
    }

    /// Issues a client certificate, with the URI its contract lists when there is one.
    ///
    /// # Errors
    /// As [`Self::issue_server`].
    pub fn issue_client(
        &mut self,
        name: &str,
        uri: Option<&str>,
        days: u16,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let uri = uri.map(|uri| uri.try_into().map(SanType::URI).map_err(|_| PkiError::AlternativeName));
        let alternatives = uri.transpose()?.into_iter().collect();
        self.issue(name, alternatives, Use::Client, days, now)
    }

    /// Puts a certificate on the list of revoked ones; [`Self::publish_crl`] makes that known.
    ///
    /// # Errors
    /// [`PkiError::NotIssuedHere`]: a list naming foreign serial numbers would revoke nothing.
    pub fn revoke(&mut self, serial: &str, now: Timestamp) -> Result<(), PkiError> {
        let serial = canonical_serial(serial)?;
        if !self.state.issued.contains_key(&serial) {
            return Err(PkiError::NotIssuedHere { serial });
        }
        self.state.revoked.entry(serial).or_insert(now);
        self.save()
    }

    /// Signs a new revocation list that is good for `days`, writes `crl.pem` and returns its text.
    ///
    /// # Errors
    /// What signing or the disk says.
    pub fn publish_crl(&mut self, days: u16, now: Timestamp) -> Result<String, PkiError> {
        self.state.crl_number = self.state.crl_number.saturating_add(1);
        // The number is on disk before a list carries it: a crash in between skips a number, never reuses one.
        self.save()?;
        let pem = self.sign_crl(days, now)?;
        write(&self.folder.join(CRL), pem.as_bytes(), files::PUBLIC, Existing::Replace)?;
        Ok(pem)
    }

    /// Returns the number of the last revocation list.
    pub fn crl_number(&self) -> u64 {
        self.state.crl_number
    }

    fn sign_crl(&self, days: u16, now: Timestamp) -> Result<String, PkiError> {
        let revoked_certs = self
            .state
            .revoked
            .iter()
            .map(|(serial, since)| revoked(serial, *since))
            .collect::<Result<_, _>>()?;
        CertificateRevocationListParams {
            this_update: x509_time(now - BACKDATED_BY),
            next_update: x509_time(after_days(now, days)),
            crl_number: SerialNumber::from(self.state.crl_number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .and_then(|list| list.pem())
        .map_err(|source| failed("sign the revocation list", source))
    }

    fn issue(
        &mut self,
        name: &str,
        alternatives: Vec<SanType>,
        usage: Use,
        days: u16,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let name = file_name(name)?;
        let key = KeyPair::generate().map_err(|source| failed("make a key", source))?;
        let serial = random_serial()?;
        let not_after = after_days(now, days);
        let mut params = CertificateParams::default();
        params.not_before = x509_time(now - BACKDATED_BY);
        params.not_after = x509_time(not_after);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = distinguished_name(name);
        params.subject_alt_names = alternatives;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match usage {
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let certificate =
            params.signed_by(&key, &self.issuer).map_err(|source| failed("sign the certificate", source))?;
        let serial = hex(&serial);
        self.state.issued.insert(serial.clone(), IssuedNote { name: name.to_owned(), not_after });
        self.save()?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            spki_sha256: sha256(&key.subject_public_key_info()),
            key_pem: Zeroizing::new(key.serialize_pem()),
            serial,
            not_after,
        })
    }

    fn save(&self) -> Result<(), PkiError> {
        let text = format!(
            "# State of the development authority in this folder; written by `drivegate pki`.\n\n{}",
            toml::to_string(&self.state)?
        );
        write(&self.folder.join(CA_STATE), text.as_bytes(), files::SECRET, Existing::Replace)
    }
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key` (0600) into a folder.
    ///
    /// # Errors
    /// [`PkiError::Exists`] when one is there already and `existing` says to keep it.
    pub fn write(&self, folder: &Path, name: &str, existing: Existing) -> Result<IssuedFiles, PkiError> {
        let name = file_name(name)?;
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        // Both or none: a key beside another key's certificate is worse than neither.
        if existing == Existing::Keep && certificate.exists() {
            return Err(PkiError::Exists { path: certificate });
        }
        write(&key, self.key_pem.as_bytes(), files::SECRET, existing)?;
        write(&certificate, self.certificate_pem.as_bytes(), files::PUBLIC, existing)?;
        Ok(IssuedFiles { certificate, key })
    }
}

/// Reads the serial number of the certificate in a PEM file, in hexadecimal.
///
/// # Errors
/// [`PkiError::NotACertificate`], or the file cannot be read.
pub fn serial_of(path: &Path) -> Result<String, PkiError> {
    let text = std::fs::read(path).map_err(|source| file_error("read", path, source))?;
    let refused = || PkiError::NotACertificate { path: path.to_path_buf() };
    let (_, pem) = x509_parser::pem::parse_x509_pem(&text).map_err(|_| refused())?;
    let certificate = pem.parse_x509().map_err(|_| refused())?;
    canonical_serial(&hex(certificate.raw_serial()))
}

fn authority_params(now: Timestamp) -> Result<CertificateParams, PkiError> {
    let serial = random_serial()?;
    let mut params = CertificateParams::default();
    params.not_before = x509_time(now - BACKDATED_BY);
    params.not_after = x509_time(after_days(now, AUTHORITY_DAYS));
    // Two development authorities get two names, so that a mix-up shows as "unknown issuer", not as a bad signature.
    params.distinguished_name =
        distinguished_name(&format!("drivegate development authority {}", hex(&serial[1..5])));
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn distinguished_name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "drivegate development, not for production");
    name.push(DnType::CommonName, common);
    name
}

fn host_name(host: &str) -> Result<SanType, PkiError> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => host.try_into().map(SanType::DnsName).map_err(|_| PkiError::AlternativeName),
    }
}

fn file_name(name: &str) -> Result<&str, PkiError> {
    let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let starts_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if starts_well && name.len() <= 64 && name.bytes().all(permitted) {
        Ok(name)
    } else {
        Err(PkiError::Name)
    }
}

fn revoked(serial: &str, since: Timestamp) -> Result<RevokedCertParams, PkiError> {
    Ok(RevokedCertParams {
        serial_number: SerialNumber::from(unhex(serial).ok_or(PkiError::Serial)?),
        revocation_time: x509_time(since),
        reason_code: None,
        invalidity_date: None,
    })
}

/// Writes a serial number in one way: lower case, no separators, no leading zero bytes.
fn canonical_serial(serial: &str) -> Result<String, PkiError> {
    let digits: String = serial.chars().filter(|char| *char != ':').collect();
    let bytes = unhex(&digits.to_ascii_lowercase()).ok_or(PkiError::Serial)?;
    let significant = bytes.iter().position(|byte| *byte != 0).ok_or(PkiError::Serial)?;
    let serial = &bytes[significant..];
    if serial.len() <= 20 { Ok(hex(serial)) } else { Err(PkiError::Serial) }
}

/// 16 random bytes, the first between 0x40 and 0x7f: positive, and always the same length.
fn random_serial() -> Result<[u8; 16], PkiError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| PkiError::Randomness)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

/// Whole seconds, as certificates count.
fn after_days(now: Timestamp, days: u16) -> Timestamp {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX)
}

/// X.509 counts whole seconds; nothing here is older than 1970.
fn x509_time(moment: Timestamp) -> OffsetDateTime {
    let seconds = u64::try_from(moment.as_second()).unwrap_or(0);
    rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
}

fn write(path: &Path, text: &[u8], mode: u32, existing: Existing) -> Result<(), PkiError> {
    files::write(path, text, mode, existing).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => PkiError::Exists { path: path.to_path_buf() },
        _ => file_error("write", path, source),
    })
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> PkiError {
    PkiError::File { doing, path: path.to_path_buf(), source }
}

fn failed(doing: &'static str, source: rcgen::Error) -> PkiError {
    PkiError::Certificate { doing, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use x509_parser::prelude::FromDer as _;
    use x509_parser::revocation_list::CertificateRevocationList;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T00:00:00Z".parse().unwrap()
    }

    fn parsed(crl_pem: &str) -> (u64, Vec<String>, i64) {
        let (_, pem) = x509_parser::pem::parse_x509_pem(crl_pem.as_bytes()).unwrap();
        let (_, list) = CertificateRevocationList::from_der(&pem.contents).unwrap();
        let number = u64::try_from(list.crl_number().unwrap()).unwrap();
        let serials = list.iter_revoked_certificates().map(|entry| hex(entry.raw_serial())).collect();
        (number, serials, list.next_update().unwrap().timestamp())
    }

    #[test]
    fn a_revoked_certificate_is_on_the_next_list_and_the_number_rises() {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = DevelopmentCa::create(folder.path(), 7, now(), Existing::Keep).unwrap();
        let issued = authority.issue_client("rental-demo", Some("spiffe://demo/rental"), 30, now()).unwrap();
        let files = issued.write(folder.path(), "rental-demo", Existing::Keep).unwrap();
        let serial = serial_of(&files.certificate).unwrap();
        assert_eq!(serial, issued.serial);

        let mut again = DevelopmentCa::load(folder.path()).unwrap();
        again.revoke(&serial.to_ascii_uppercase(), now()).unwrap();
        let published = again.publish_crl(3, now()).unwrap();
        let (number, serials, next_update) = parsed(&published);
        assert_eq!((number, serials), (2, vec![serial]));
        assert_eq!(next_update, now().as_second() + 3 * 86_400);
        assert_eq!(std::fs::read_to_string(folder.path().join(CRL)).unwrap(), published);
    }

    #[test]
    fn keys_are_for_their_owner_only_and_nothing_is_overwritten_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = DevelopmentCa::create(folder.path(), 7, now(), Existing::Keep).unwrap();
        let refused = DevelopmentCa::create(folder.path(), 7, now(), Existing::Keep).err().unwrap();
        assert!(matches!(refused, PkiError::Exists { path } if path.ends_with(CA_KEY)));
        let issued =
            authority.issue_server("server", &["localhost".into(), "127.0.0.1".into()], 30, now()).unwrap();
        let files = issued.write(folder.path(), "server", Existing::Keep).unwrap();
        for key in [files.key, folder.path().join(CA_KEY)] {
            assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(matches!(
            issued.write(folder.path(), "server", Existing::Keep),
            Err(PkiError::Exists { .. })
        ));
        issued.write(folder.path(), "server", Existing::Replace).unwrap();
    }

    #[test]
    fn names_that_could_leave_the_folder_and_foreign_serials_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = DevelopmentCa::create(folder.path(), 7, now(), Existing::Keep).unwrap();
        for name in ["", "../x", "a/b", ".hidden", "Ü", &"a".repeat(65)] {
            assert!(matches!(authority.issue_client(name, None, 1, now()), Err(PkiError::Name)), "{name}");
        }
        assert!(matches!(authority.revoke("0badcafe", now()), Err(PkiError::NotIssuedHere { .. })));
        for serial in ["", "00", "xyz", &"ff".repeat(21)] {
            assert!(matches!(authority.revoke(serial, now()), Err(PkiError::Serial)), "{serial}");
        }
    }
}
