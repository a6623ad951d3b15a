//! Whom we trust and who we are: the TLS settings of the partner listener, rebuilt when their files change.
//!
//! The settings have two halves, each keeping its last good state when its files turn bad: our own certificate and key,
//! and the partners' authorities with their revocation lists.

mod partners;
mod server;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use self::partners::PartnerTrust;
use self::server::ServerCertificate;
use super::provider::post_quantum_first;
use crate::domain::partner::PeerIdentity;
use crate::domain::time::Clock;

/// Where trust is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFiles {
    /// The server's certificate chain, PEM, end entity first.
    pub server_chain: PathBuf,
    /// Its private key, PEM.
    pub server_key: PathBuf,
    /// The authorities partners' certificates come from, PEM.
    pub client_roots: Vec<PathBuf>,
    /// Their revocation lists, PEM: exactly one for every authority in the chain.
    pub revocation_lists: Vec<PathBuf>,
}

/// Trust cannot be built from its files. Each text names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read.
    #[error("cannot read {}: check the path and that the gateway's user may read it", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds nothing of the kind expected.
    #[error("{} holds no {what} in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// A certificate or key cannot be used.
    #[error("cannot use {}: check that it is what its name says, and that certificate and key belong together", path.display())]
    Material {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// An authority has no revocation list: nobody could tell whether its certificates still hold.
    #[error("the authority in {} has no revocation list: add one, even an empty one", path.display())]
    ListMissing {
        /// The authority's file.
        path: PathBuf,
    },
    /// Two lists of one authority: only one would be read.
    #[error("{} holds a second revocation list of the same authority: keep the newer one", path.display())]
    ListTwice {
        /// The second file.
        path: PathBuf,
    },
    /// A list cannot be read.
    #[error("the revocation list in {} cannot be read: publish it again", path.display())]
    ListUnreadable {
        /// Which.
        path: PathBuf,
    },
    /// A list was not signed by the authority it names.
    #[error("the revocation list in {} is not signed by its authority: publish it again", path.display())]
    ListSignature {
        /// Which.
        path: PathBuf,
    },
    /// A list never expires: a withheld newer one would not be noticed.
    #[error("the revocation list in {} has no nextUpdate: publish it with one", path.display())]
    ListEndless {
        /// Which.
        path: PathBuf,
    },
    /// A list is older than the one in force.
    #[error("the revocation list in {} is older than the one in force: put the newer one back", path.display())]
    ListOlder {
        /// Which.
        path: PathBuf,
    },
    /// The settings could not be put together.
    #[error("cannot put the TLS settings together")]
    Settings(#[source] rustls::Error),
}

/// The TLS settings in force. Read on every handshake and, for revocation, on every request whose standing is judged anew.
pub struct Trust {
    files: TrustFiles,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<TrustState>,
    generation: AtomicU64,
    faults: Mutex<Vec<String>>,
}

struct TrustState {
    config: Arc<ServerConfig>,
    server: Arc<ServerCertificate>,
    partners: Arc<PartnerTrust>,
}

impl Trust {
    /// Reads all files.
    ///
    /// # Errors
    /// [`TrustError`]: at start there is no last good state to fall back to.
    pub fn open(files: TrustFiles, clock: Arc<dyn Clock>) -> Result<Self, TrustError> {
        let provider = post_quantum_first();
        let server = Arc::new(server::read(&files, &provider)?);
        let partners = Arc::new(partners::read(&files, &provider)?);
        let config = settings(&provider, &clock, &server, &partners)?;
        Ok(Self {
            files,
            clock,
            provider,
            current: ArcSwap::from_pointee(TrustState { config, server, partners }),
            generation: AtomicU64::new(1),
            faults: Mutex::default(),
        })
    }

    /// Reads all files again. A half whose files are bad keeps its last good state; [`Self::faults`] says why.
    pub fn reload(&self) {
        // The lock spans the whole reload: two at once could publish in the wrong order.
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.clear();
        let state = self.current.load_full();
        let server = server::read(&self.files, &self.provider)
            .map_or_else(|error| kept(&mut faults, &error, &state.server), Arc::new);
        let partners = partners::read(&self.files, &self.provider)
            .and_then(|read| read.not_older_than(&state.partners))
            .map_or_else(|error| kept(&mut faults, &error, &state.partners), Arc::new);
        if server.digest == state.server.digest && partners.digest == state.partners.digest {
            return;
        }
        match settings(&self.provider, &self.clock, &server, &partners) {
            Ok(config) => {
                self.current.store(Arc::new(TrustState { config, server, partners }));
                self.generation.fetch_add(1, Ordering::Release);
            }
            Err(error) => faults.push(chain(&error)),
        }
    }

    /// Returns the settings for the next handshake.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Counts how often trust has changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Says whether a list in force names the certificate.
    pub fn is_revoked(&self, peer: &PeerIdentity) -> bool {
        self.current.load().partners.is_revoked(peer)
    }

    /// Returns when our own certificate expires.
    pub fn server_certificate_expires_at(&self) -> Timestamp {
        self.current.load().server.not_after
    }

    /// Returns when the first revocation list expires: from then on handshakes under its authority are refused.
    pub fn revocation_lists_expire_at(&self) -> Timestamp {
        self.current.load().partners.next_update
    }

    /// Returns when the first of the partners' authorities expires: its partners are refused from then on.
    pub fn client_authorities_expire_at(&self) -> Timestamp {
        self.current.load().partners.not_after
    }

    /// Lists the files trust is read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let own = [&self.files.server_chain, &self.files.server_key];
        let partners = self.files.client_roots.iter().chain(&self.files.revocation_lists);
        own.into_iter().chain(partners).map(PathBuf::as_path)
    }

    /// Says what is wrong now: files that could not be used, and what has expired.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.clock.now();
        let state = self.current.load();
        if state.server.not_after < now {
            let (path, end) = (self.files.server_chain.display(), state.server.not_after);
            faults.push(format!(
                "the server certificate in {path} expired at {end}: put a new one in its place"
            ));
        }
        for list in state.partners.lists.iter().filter(|list| list.next_update <= now) {
            let (path, end) = (list.path.display(), list.next_update);
            faults.push(format!(
                "the revocation list in {path} expired at {end}: certificates of its authority are refused until a new one is published"
            ));
        }
        faults
    }
}

fn kept<T>(faults: &mut Vec<String>, error: &TrustError, last_good: &Arc<T>) -> Arc<T> {
    faults.push(format!("{}; the last good state stays in force", chain(error)));
    Arc::clone(last_good)
}

/// Writes an error with its causes in one line: health shows one line per fault.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// TLS 1.3 only, client certificate required, nothing resumed, nothing early, no key log, HTTP/2.
///
/// A resumed session would carry the old client chain unverified; so no tickets, and no store that could hold a session.
fn settings(
    provider: &Arc<CryptoProvider>,
    clock: &Arc<dyn Clock>,
    server: &Arc<ServerCertificate>,
    partners: &PartnerTrust,
) -> Result<Arc<ServerConfig>, TrustError> {
    let time = Arc::new(ClockTime(Arc::clone(clock)));
    let mut config = ServerConfig::builder_with_details(Arc::clone(provider), time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TrustError::Settings)?
        .with_client_cert_verifier(Arc::clone(&partners.verifier))
        .with_cert_resolver(Arc::new(OneCertificate(Arc::clone(&server.key))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Serves one certificate to everyone, whatever name the client asks for.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Certificates and lists are judged by the same clock as everything else.
struct ClockTime(Arc<dyn Clock>);

impl std::fmt::Debug for ClockTime {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// Certificates named by revocation lists: (issuer's name hashed, serial number).
type Revoked = HashSet<([u8; 32], Box<[u8]>)>;

fn read_file(path: &Path) -> Result<Vec<u8>, TrustError> {
    std::fs::read(path).map_err(|source| TrustError::File { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests;
