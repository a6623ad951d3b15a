//! The client's side of mutual TLS, for our own commands and tests.
//!
//! A TLS 1.3 client believes its handshake done before the server has judged its certificate. So a connection counts as
//! made only when the server's first HTTP/2 frame arrives; until then an alert is reported for what it is.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::provider::post_quantum_first;

/// How long a silent server may take to send its first frame before the connection is used all the same.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(1);

/// A connection could not be made. Each text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A certificate or key file cannot be read.
    #[error("cannot read {}: check the path and its permissions", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Text that should hold certificates or a key does not.
    #[error("the {what} is not usable PEM: pass a file written by `drivegate pki` or your authority")]
    Pem {
        /// Which.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificates and key are readable, but not usable together.
    #[error("the {what} cannot be used: check that certificate and key belong together")]
    Material {
        /// Which.
        what: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// The server name is neither a DNS name nor an address.
    #[error("the server name is neither a DNS name nor an address")]
    ServerName,
    /// Nobody listens there.
    #[error("cannot reach {address}: check that the gateway is running and listens there")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server's certificate was refused on this side.
    #[error(
        "the server's certificate was refused: check the CA file, and that it carries the name {server_name}"
    )]
    ServerRefused {
        /// The name expected.
        server_name: String,
        /// Why.
        source: io::Error,
    },
    /// The server refused this side's certificate, or the lack of one.
    #[error("the server refused the client certificate ({alert:?}): {}", advice(*alert))]
    CertificateRefused {
        /// The alert it sent.
        alert: AlertDescription,
    },
    /// The handshake failed in another way.
    #[error("the TLS handshake failed: the gateway speaks TLS 1.3 with HTTP/2 only")]
    Handshake {
        /// Why.
        source: io::Error,
    },
    /// Too slow.
    #[error("no connection to {address} within {timeout:?}: check address and load, or allow more time")]
    TimedOut {
        /// Where.
        address: String,
        /// The time allowed.
        timeout: Duration,
    },
    /// HTTP/2 did not start.
    #[error("HTTP/2 did not start")]
    Http2 {
        /// Why.
        source: tonic::transport::Error,
    },
}

/// What a client trusts and who it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Builds from PEM texts: the authorities trusted, and certificate chain with key, if any.
    ///
    /// # Errors
    /// [`ClientError::Pem`] or [`ClientError::Material`] name the text at fault.
    pub fn new(authorities: &[u8], identity: Option<(&[u8], &[u8])>) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("CA file", authorities)? {
            roots.add(certificate).map_err(|source| ClientError::Material { what: "CA file", source })?;
        }
        let builder = ClientConfig::builder_with_provider(post_quantum_first())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| ClientError::Material { what: "TLS provider", source })?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|source| ClientError::Pem { what: "client key", source })?;
                builder
                    .with_client_auth_cert(certificates("client certificate", chain)?, key)
                    .map_err(|source| ClientError::Material { what: "client certificate", source })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    /// Builds from PEM files.
    ///
    /// # Errors
    /// As [`Self::new`], and [`ClientError::File`].
    pub fn from_files(authorities: &Path, identity: Option<(&Path, &Path)>) -> Result<Self, ClientError> {
        let authorities = read(authorities)?;
        match identity {
            None => Self::new(&authorities, None),
            Some((chain, key)) => {
                let key = zeroize::Zeroizing::new(read(key)?);
                Self::new(&authorities, Some((&read(chain)?, &key)))
            }
        }
    }

    /// Connects to `host:port` within `timeout`; the server must prove to be `server_name`.
    ///
    /// The channel reconnects by itself when the connection ends.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn connect(
        &self,
        address: impl ToString,
        server_name: &str,
        timeout: Duration,
    ) -> Result<Channel, ClientError> {
        self.connect_tuned(address, server_name, timeout, |endpoint| endpoint).await
    }

    /// As [`Self::connect`], with a say in the HTTP/2 settings.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn connect_tuned(
        &self,
        address: impl ToString,
        server_name: &str,
        timeout: Duration,
        tune: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Result<Channel, ClientError> {
        let address = address.to_string();
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| ClientError::ServerName)?;
        let authority = authority_of(server_name, &address);
        let origin = http::Uri::builder().scheme("https").authority(authority).path_and_query("/");
        let origin = origin.build().map_err(|_| ClientError::ServerName)?;
        // The channel's own address stays plain `http`: TLS is the connector's business, not tonic's.
        let endpoint = Endpoint::from_static("http://gateway").origin(origin).connect_timeout(timeout);
        let dial = Dial { config: Arc::clone(&self.config), address, name, timeout };
        let mut ready = Some(dial.open().await?);
        let connector = tower::service_fn(move |_| {
            let (ready, dial) = (ready.take(), dial.clone());
            async move {
                let stream = match ready {
                    Some(stream) => stream,
                    None => dial.open().await?,
                };
                Ok::<_, ClientError>(TokioIo::new(stream))
            }
        });
        tune(endpoint).connect_with_connector(connector).await.map_err(|source| ClientError::Http2 { source })
    }

    /// Opens one TLS connection and waits for the server's first frame, for tests that look below HTTP/2.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn open(
        &self,
        address: impl ToString,
        server_name: &str,
        timeout: Duration,
    ) -> Result<ClientStream, ClientError> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| ClientError::ServerName)?;
        Dial { config: Arc::clone(&self.config), address: address.to_string(), name, timeout }.open().await
    }
}

#[derive(Clone)]
struct Dial {
    config: Arc<ClientConfig>,
    address: String,
    name: ServerName<'static>,
    timeout: Duration,
}

impl Dial {
    async fn open(&self) -> Result<ClientStream, ClientError> {
        tokio::time::timeout(self.timeout, self.open_unbounded()).await.unwrap_or_else(|_| {
            Err(ClientError::TimedOut { address: self.address.clone(), timeout: self.timeout })
        })
    }

    async fn open_unbounded(&self) -> Result<ClientStream, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: self.address.clone(), source };
        let socket = TcpStream::connect(&self.address).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.config));
        let mut inner =
            connector.connect(self.name.clone(), socket).await.map_err(|source| self.judge(source))?;
        let mut first = vec![0; 1024];
        let length = match tokio::time::timeout(FIRST_FRAME_WITHIN, inner.read(&mut first)).await {
            Ok(Ok(0)) => Err(self.judge(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => read.map_err(|source| self.judge(source)),
            Err(_) => Ok(0),
        }?;
        first.truncate(length);
        Ok(ClientStream { inner, first, taken: 0 })
    }

    /// Sorts a handshake's failure by who must act.
    fn judge(&self, source: io::Error) -> ClientError {
        let cause = source.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert) => {
                ClientError::CertificateRefused { alert: *alert }
            }
            Some(rustls::Error::InvalidCertificate(_)) => {
                ClientError::ServerRefused { server_name: self.name.to_str().into_owned(), source }
            }
            _ => ClientError::Handshake { source },
        }
    }
}

/// An open connection that gives back the first bytes it had to wait for.
#[derive(Debug)]
pub struct ClientStream {
    inner: TlsStream<TcpStream>,
    first: Vec<u8>,
    taken: usize,
}

impl ClientStream {
    /// Returns what the handshake agreed on.
    pub fn session(&self) -> &rustls::ClientConnection {
        self.inner.get_ref().1
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken < this.first.len() {
            let left = &this.first[this.taken..];
            let length = left.len().min(into.remaining());
            into.put_slice(&left[..length]);
            this.taken += length;
            return Poll::Ready(Ok(()));
        }
        if !this.first.is_empty() {
            this.first = Vec::new();
            this.taken = 0;
        }
        ready!(Pin::new(&mut this.inner).poll_read(cx, into))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| ClientError::Pem { what, source })?;
    if found.is_empty() {
        let source = rustls::pki_types::pem::Error::NoItemsFound;
        return Err(ClientError::Pem { what, source });
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|source| ClientError::File { path: path.to_path_buf(), source })
}

/// The `:authority` of requests: the name proved, and the port dialled.
fn authority_of(server_name: &str, address: &str) -> String {
    let port = address.rsplit_once(':').map_or("443", |(_, port)| port);
    if server_name.contains(':') {
        format!("[{server_name}]:{port}")
    } else {
        format!("{server_name}:{port}")
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

fn advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "pass a certificate with its key"
        }
        AlertDescription::CertificateRevoked => "it was revoked; ask the operator for a new one",
        AlertDescription::CertificateExpired => "it has expired; ask the operator for a new one",
        AlertDescription::UnknownCA => "it comes from an authority the gateway does not trust",
        _ => "ask the operator whether the gateway's trust roots and revocation lists are current",
    }
}
