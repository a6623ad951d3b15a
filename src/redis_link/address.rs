//! Where Redis is, and the client that goes there.

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    TlsCertificates,
};
use zeroize::Zeroizing;

/// Where Redis is, and how both sides prove who they are. `Debug` does not show the URL: it may hold a password.
#[derive(Clone)]
pub struct RedisAddress {
    /// `redis://`, `rediss://` (TLS) or `redis+unix://`, with user, password and database where needed.
    pub url: String,
    /// PEM of the authority that signed Redis' certificate; `None`: the machine's own trust.
    pub authority_pem: Option<Vec<u8>>,
    /// Certificate and key to show to Redis.
    pub identity: Option<RedisClientIdentity>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct RedisClientIdentity {
    /// PEM of the chain.
    pub certificate_pem: Vec<u8>,
    /// PEM of the key.
    pub key_pem: Zeroizing<Vec<u8>>,
}

/// Why Redis cannot be used as configured. Never holds the URL.
#[derive(Debug, thiserror::Error)]
pub enum RedisAddressFault {
    /// The URL is none Redis is reached by.
    #[error("redis url is not valid")]
    Url(#[source] redis::RedisError),
    /// Certificates or key do not parse.
    #[error("redis certificates are not valid")]
    Certificates(#[source] redis::RedisError),
    /// Certificates for a URL without TLS: the operator expects a protection that is not there.
    #[error("redis certificates are given, but the url is not rediss://")]
    CertificatesWithoutTls,
    /// A `rediss://` URL that asks not to verify the server.
    #[error("redis must not be reached over unverified tls")]
    Unverified,
}

impl RedisAddress {
    /// Returns a plain address: no certificates of one's own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), authority_pem: None, identity: None }
    }

    /// Builds the client: TCP_NODELAY on (the crate's default is off), RESP3, TLS verified. Connects to nothing.
    ///
    /// # Errors
    /// [`RedisAddressFault`] if the address cannot work whatever Redis does.
    pub fn client(&self) -> Result<Client, RedisAddressFault> {
        let info = self.url.as_str().into_connection_info().map_err(RedisAddressFault::Url)?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        self.open(info)
    }

    fn open(&self, info: ConnectionInfo) -> Result<Client, RedisAddressFault> {
        let own_certificates = self.authority_pem.is_some() || self.identity.is_some();
        let ConnectionAddr::TcpTls { insecure, .. } = info.addr() else {
            if own_certificates {
                return Err(RedisAddressFault::CertificatesWithoutTls);
            }
            return Client::open(info).map_err(RedisAddressFault::Url);
        };
        if *insecure {
            return Err(RedisAddressFault::Unverified);
        }
        // The crate asks rustls for the process's default provider. Whoever was first has set the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if !own_certificates {
            return Client::open(info).map_err(RedisAddressFault::Url);
        }
        let client_tls = self.identity.as_ref().map(|identity| ClientTlsConfig {
            client_cert: identity.certificate_pem.clone(),
            client_key: identity.key_pem.to_vec(),
        });
        let certificates = TlsCertificates { client_tls, root_cert: self.authority_pem.clone() };
        Client::build_with_tls(info, certificates).map_err(RedisAddressFault::Certificates)
    }
}

impl std::fmt::Debug for RedisAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RedisAddress").field("url", &"[elided]").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RedisClientIdentity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RedisClientIdentity([elided])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodelay_and_resp3_are_on() {
        let client = RedisAddress::new("redis://:secret@127.0.0.1:6379/3").client().unwrap();
        let info = client.get_connection_info();
        assert!(info.tcp_settings().nodelay());
        assert_eq!(info.redis_settings().protocol(), ProtocolVersion::RESP3);
        assert_eq!(info.redis_settings().db(), 3);
    }

    #[test]
    fn neither_url_nor_password_is_shown() {
        let options = RedisAddress::new("redis://user:secret@host:6379");
        assert!(!format!("{options:?}").contains("secret"));
        let fault = RedisAddress::new("http://user:secret@host").client().unwrap_err();
        assert!(matches!(fault, RedisAddressFault::Url(_)));
        assert!(!format!("{fault:?} {fault}").contains("secret"));
    }

    #[test]
    fn tls_is_verified_or_not_used() {
        assert!(RedisAddress::new("rediss://127.0.0.1:6380").client().is_ok());
        let fault = RedisAddress::new("rediss://127.0.0.1:6380/#insecure").client().unwrap_err();
        assert!(matches!(fault, RedisAddressFault::Unverified));
        let plain =
            RedisAddress { authority_pem: Some(Vec::new()), ..RedisAddress::new("redis://127.0.0.1") };
        assert!(matches!(plain.client().unwrap_err(), RedisAddressFault::CertificatesWithoutTls));
    }
}
