//! The client side of a mutual TLS connection: what a partner needs to have, and how a channel is made of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// How long a connection may take to come up, handshake included.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Where the gateway is, and who asks.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Address of the gateway.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8443",
        env = "DRIVEGATE_SERVER"
    )]
    pub server: String,

    /// Name the gateway's certificate must carry [default: localhost for loopback addresses, else the host].
    #[arg(long, global = true, value_name = "NAME")]
    pub server_name: Option<String>,

    /// Deployment folder made by `drivegate init`: with --as it names CA, certificate and key at once.
    #[arg(long, global = true, value_name = "DIR", env = "DRIVEGATE_DIR")]
    pub dir: Option<PathBuf>,

    /// Certificates of the authority that signed the gateway's certificate (PEM) [default: DIR/pki/ca.pem].
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// What a partner proves itself with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whom the partner trusts (PEM).
    pub ca: PathBuf,
    /// The partner's certificate chain and key (PEM); `None` comes without a certificate.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Credentials {
    /// Returns the credentials of a partner of a deployment folder.
    pub fn of_partner(dir: &Path, partner: &str) -> Self {
        let pki = dir.join("pki");
        let certificate = (pki.join(format!("{partner}.pem")), pki.join(format!("{partner}.key")));
        Self { ca: pki.join("ca.pem"), certificate: Some(certificate) }
    }

    /// Reads the files into a TLS configuration: TLS 1.3 only, HTTP/2, no resumption.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn client_config(&self) -> miette::Result<Arc<ClientConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).into_diagnostic().wrap_err_with(|| unusable(&self.ca))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .into_diagnostic()?
            .with_root_certificates(roots);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| pem_error(key, &error))?;
                builder
                    .with_client_auth_cert(certificates(chain)?, secret)
                    .into_diagnostic()
                    .wrap_err_with(|| unusable(chain))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// A gateway's address and the name its certificate must carry.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to connect to.
    pub address: SocketAddr,
    /// The name the certificate must carry.
    pub name: ServerName<'static>,
}

impl Target {
    /// Resolves `host:port`.
    ///
    /// # Errors
    /// Says what is wrong with the address or the name.
    pub fn resolve(server: &str, server_name: Option<&str>) -> miette::Result<Self> {
        let address = std::net::ToSocketAddrs::to_socket_addrs(server)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot resolve the gateway's address {server}"))?
            .next()
            .ok_or_else(|| miette!("{server} has no address"))?;
        let host = server.rsplit_once(':').map_or(server, |(host, _port)| host);
        let name = match server_name {
            Some(name) => name,
            None if address.ip().is_loopback() => "localhost",
            None => host.trim_matches(['[', ']']),
        };
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| miette!(help = "give --server-name", "{name} is no name a certificate can carry"))?;
        Ok(Self { address, name })
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// What the socket or the TLS peer said; a server refuses a TLS 1.3 client certificate only after this returned.
    pub async fn connect(&self, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let connecting = async {
            let socket = TcpStream::connect(self.address).await?;
            socket.set_nodelay(true)?;
            TlsConnector::from(Arc::clone(config)).connect(self.name.clone(), socket).await
        };
        tokio::time::timeout(CONNECT_MAX, connecting).await.unwrap_or_else(|_| {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection within 5 s"))
        })
    }

    /// Opens a channel for the generated client: one connection, made now.
    ///
    /// # Errors
    /// As [`Target::connect`].
    pub async fn channel(&self, config: &Arc<ClientConfig>) -> Result<Channel, tonic::transport::Error> {
        let (target, config) = (self.clone(), Arc::clone(config));
        let connector = tower::service_fn(move |_uri: http::Uri| {
            let (target, config) = (target.clone(), Arc::clone(&config));
            async move { target.connect(&config).await.map(hyper_util::rt::TokioIo::new) }
        });
        Endpoint::from_shared(self.origin())?.connect_with_connector(connector).await
    }

    /// Returns the origin that requests name.
    pub fn origin(&self) -> String {
        match &self.name {
            ServerName::IpAddress(rustls_pki_types::IpAddr::V6(_)) => {
                format!("https://[{}]", self.name.to_str())
            }
            _ => format!("https://{}", self.name.to_str()),
        }
    }
}

fn certificates(path: &Path) -> miette::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| pem_error(path, &error))?;
    if found.is_empty() {
        return Err(miette!(help = "expected PEM", "{} holds no certificate", path.display()));
    }
    Ok(found)
}

fn unusable(path: &Path) -> String {
    format!("cannot use {}", path.display())
}

fn pem_error(path: &Path, error: &rustls_pki_types::pem::Error) -> miette::Report {
    miette!(
        help = "`drivegate init DIR` writes certificates for trying things out; --dir DIR --as PARTNER uses them",
        "cannot read {}: {error}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_is_called_localhost_unless_told() {
        let told = |server, name| Target::resolve(server, name).unwrap().origin();
        assert_eq!(told("127.0.0.1:8443", None), "https://localhost");
        assert_eq!(told("[::1]:8443", None), "https://localhost");
        assert_eq!(told("127.0.0.1:8443", Some("gw.example")), "https://gw.example");
        assert_eq!(told("192.0.2.7:8443", None), "https://192.0.2.7");
        assert!(Target::resolve("no-port", None).is_err());
    }

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let report =
            Credentials::of_partner(Path::new("/nowhere"), "rental-demo").client_config().unwrap_err();
        assert!(report.to_string().contains("/nowhere/pki/ca.pem"), "{report}");
        assert!(report.help().unwrap().to_string().contains("drivegate init"));
    }
}
