//! Where Redis is, and how long anything may wait for it.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    TlsCertificates,
};
use zeroize::Zeroizing;

/// The bounds of the Redis level. `Debug` does not show the URL: it may hold a password.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `redis+unix://`, with user, password and database where needed.
    pub url: String,
    /// PEM of the authority that signed Redis' certificate; `None`: the machine's own trust.
    pub authority_pem: Option<Vec<u8>>,
    /// Certificate and key to show to Redis.
    pub identity: Option<RedisClientIdentity>,
    /// The longest a read may take; half of the caller's remaining time if that is less. 50 ms are fifty slow replies.
    pub read_time_max: Duration,
    /// The longest a batch of writes may take. Nobody waits for it.
    pub write_time_max: Duration,
    /// The longest connecting and the first probe may take.
    pub connect_time_max: Duration,
    /// Reads under way at once; one more is a miss.
    pub reads_in_flight_max: usize,
    /// Facts waiting to be written; one more is dropped.
    pub writes_waiting_max: usize,
    /// How long Redis keeps a value. Memory hygiene only.
    pub time_to_live: Duration,
    /// Failures in a row that open the breaker.
    pub failures_max: u32,
    /// An unbroken run of failures this long opens it earlier, so that it opens in time under light load too.
    pub failing_time_max: Duration,
    /// Time between probes while the breaker is open.
    pub probe_every: Duration,
    /// The longest pause between attempts to connect.
    pub reconnect_pause_max: Duration,
    /// How long nothing is written after a write failed.
    pub write_pause: Duration,
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
pub enum RedisOptionsFault {
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

impl RedisOptions {
    /// Returns the defaults for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authority_pem: None,
            identity: None,
            read_time_max: Duration::from_millis(50),
            write_time_max: Duration::from_millis(500),
            connect_time_max: Duration::from_secs(1),
            reads_in_flight_max: 1_024,
            writes_waiting_max: 4_096,
            time_to_live: Duration::from_secs(3_600),
            failures_max: 5,
            failing_time_max: Duration::from_millis(500),
            probe_every: Duration::from_millis(500),
            reconnect_pause_max: Duration::from_secs(2),
            write_pause: Duration::from_secs(1),
        }
    }

    /// Builds the client: TCP_NODELAY on (the crate's default is off), RESP3, TLS verified. Connects to nothing.
    pub(super) fn client(&self) -> Result<Client, RedisOptionsFault> {
        let info = self.url.as_str().into_connection_info().map_err(RedisOptionsFault::Url)?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        self.open(info)
    }

    fn open(&self, info: ConnectionInfo) -> Result<Client, RedisOptionsFault> {
        let own_certificates = self.authority_pem.is_some() || self.identity.is_some();
        let ConnectionAddr::TcpTls { insecure, .. } = info.addr() else {
            if own_certificates {
                return Err(RedisOptionsFault::CertificatesWithoutTls);
            }
            return Client::open(info).map_err(RedisOptionsFault::Url);
        };
        if *insecure {
            return Err(RedisOptionsFault::Unverified);
        }
        // The crate asks rustls for the process's default provider. Whoever was first has set the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if !own_certificates {
            return Client::open(info).map_err(RedisOptionsFault::Url);
        }
        let client_tls = self.identity.as_ref().map(|identity| ClientTlsConfig {
            client_cert: identity.certificate_pem.clone(),
            client_key: identity.key_pem.to_vec(),
        });
        let certificates = TlsCertificates { client_tls, root_cert: self.authority_pem.clone() };
        Client::build_with_tls(info, certificates).map_err(RedisOptionsFault::Certificates)
    }
}

impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RedisOptions").field("url", &"[elided]").finish_non_exhaustive()
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
        let client = RedisOptions::new("redis://:secret@127.0.0.1:6379/3").client().unwrap();
        let info = client.get_connection_info();
        assert!(info.tcp_settings().nodelay());
        assert_eq!(info.redis_settings().protocol(), ProtocolVersion::RESP3);
        assert_eq!(info.redis_settings().db(), 3);
    }

    #[test]
    fn neither_url_nor_password_is_shown() {
        let options = RedisOptions::new("redis://user:secret@host:6379");
        assert!(!format!("{options:?}").contains("secret"));
        let fault = RedisOptions::new("http://user:secret@host").client().unwrap_err();
        assert!(matches!(fault, RedisOptionsFault::Url(_)));
        assert!(!format!("{fault:?} {fault}").contains("secret"));
    }

    #[test]
    fn tls_is_verified_or_not_used() {
        assert!(RedisOptions::new("rediss://127.0.0.1:6380").client().is_ok());
        let fault = RedisOptions::new("rediss://127.0.0.1:6380/#insecure").client().unwrap_err();
        assert!(matches!(fault, RedisOptionsFault::Unverified));
        let plain =
            RedisOptions { authority_pem: Some(Vec::new()), ..RedisOptions::new("redis://127.0.0.1") };
        assert!(matches!(plain.client().unwrap_err(), RedisOptionsFault::CertificatesWithoutTls));
    }
}
