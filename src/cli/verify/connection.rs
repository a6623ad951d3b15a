//! The client side of a mutual TLS connection: what a partner needs to have, and how a channel is made of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use miette::miette;
use tonic::transport::Channel;

use crate::identity::client::{ClientError, ClientStream, ClientTls};

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

/// Who asks.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct PartnerArgs {
    /// The partner that asks: its certificate and key in the folder given with --dir.
    #[arg(long = "as", global = true, value_name = "PARTNER", conflicts_with_all = ["cert", "key"])]
    pub partner: Option<String>,

    /// The partner's certificate chain (PEM).
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// The partner's key (PEM).
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

impl PartnerArgs {
    /// Finds what the partner proves itself with.
    ///
    /// # Errors
    /// Says which arguments are missing.
    pub fn credentials(&self, connection: &ConnectionArgs) -> miette::Result<Credentials> {
        let dir = connection.dir.as_deref();
        let of_partner = match (dir, &self.partner) {
            (Some(dir), Some(partner)) => Some(Credentials::of_partner(dir, partner)),
            (None, Some(_)) => {
                return Err(miette!(help = "add --dir DIR", "--as names a partner of a deployment folder"));
            }
            _ => None,
        };
        let ca = connection.ca.clone().or_else(|| dir.map(|dir| dir.join("pki").join("ca.pem")));
        let files = self.cert.clone().zip(self.key.clone());
        let certificate = of_partner.and_then(|of| of.certificate).or(files);
        match (ca, certificate) {
            (Some(ca), Some(certificate)) => Ok(Credentials { ca, certificate: Some(certificate) }),
            _ => Err(miette!(
                help = "give --dir DIR --as PARTNER, or --ca FILE --cert FILE --key FILE",
                "a partner proves itself with a certificate"
            )),
        }
    }
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

    /// Reads the files.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn tls(&self) -> Result<ClientTls, ClientError> {
        let certificate = self.certificate.as_ref().map(|(chain, key)| (chain.as_path(), key.as_path()));
        ClientTls::from_files(&self.ca, certificate)
    }
}

/// A gateway's address and the name its certificate must carry.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to connect to, as `host:port`.
    pub address: String,
    /// The name the certificate must carry.
    pub name: String,
}

impl Target {
    /// Chooses the name: the one given, `localhost` for loopback addresses, else the host.
    pub fn new(server: &str, server_name: Option<&str>) -> Self {
        let host = server.rsplit_once(':').map_or(server, |(host, _port)| host).trim_matches(['[', ']']);
        let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let name = server_name.unwrap_or(if is_loopback { "localhost" } else { host });
        Self { address: server.to_owned(), name: name.to_owned() }
    }

    /// Opens one TLS connection and waits for the server's first frame: only then it has judged the certificate.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn open(&self, tls: &ClientTls) -> Result<ClientStream, ClientError> {
        tls.open(&self.address, &self.name, CONNECT_MAX).await
    }

    /// Opens a channel for the generated client.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn channel(&self, tls: &ClientTls) -> Result<Channel, ClientError> {
        tls.connect(&self.address, &self.name, CONNECT_MAX).await
    }

    /// Returns the origin that requests name.
    pub fn origin(&self) -> String {
        if self.name.contains(':') {
            format!("https://[{}]", self.name)
        } else {
            format!("https://{}", self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_is_called_localhost_unless_told() {
        let told = |server, name| Target::new(server, name).origin();
        assert_eq!(told("127.0.0.1:8443", None), "https://localhost");
        assert_eq!(told("[::1]:8443", None), "https://localhost");
        assert_eq!(told("127.0.0.1:8443", Some("gw.example")), "https://gw.example");
        assert_eq!(told("192.0.2.7:8443", None), "https://192.0.2.7");
        assert_eq!(told("[2001:db8::7]:8443", None), "https://[2001:db8::7]");
        assert_eq!(told("gw.example:8443", None), "https://gw.example");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Credentials::of_partner(Path::new("/nowhere"), "rental-demo").tls().unwrap_err();
        assert!(error.to_string().contains("/nowhere/pki/ca.pem"), "{error}");
    }
}
