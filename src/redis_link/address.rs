//! Where Redis is, and the client that goes there.

use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    TlsCertificates,
};
use zeroize::Zeroizing;

use super::RedisClient;

/// Where Redis is, and how both sides prove who they are. `Debug` does not show URLs: they may hold passwords.
#[derive(Clone)]
pub struct RedisAddress {
    /// One server, or a Cluster.
    pub place: RedisPlace,
    /// The user of Redis' ACL; `None`: the URL's, or the default one.
    pub user: Option<String>,
    /// The user's password; `None`: the URL's, or none.
    pub password: Option<Zeroizing<String>>,
    /// PEM of the authority that signed Redis' certificates; `None`: the machine's own trust.
    pub authority_pem: Option<Vec<u8>>,
    /// Certificate and key to show to Redis.
    pub identity: Option<RedisClientIdentity>,
}

/// One server, or many as one. Each URL is `redis://` or `rediss://` (TLS), with user, password and database where needed.
#[derive(Clone)]
pub enum RedisPlace {
    /// One server, `redis+unix://` too. What answers there is taken for the one that counts: a failover moves the name.
    Server(String),
    /// Some nodes of a Cluster; the others are learnt from them. All with the same user, password and TLS.
    Cluster(Vec<String>),
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
    /// A URL is none Redis is reached by, or the nodes' URLs do not fit together.
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

/// One answer of a node, for what the Cluster's client asks by itself. Callers have their own, shorter bounds; without one here, a node
/// that hangs would hold up the reading of the slots for all.
const NODE_RESPONSE_TIME_MAX: Duration = Duration::from_millis(500);
/// Connecting to one node.
const NODE_CONNECT_TIME_MAX: Duration = Duration::from_millis(500);
/// What a redirected or failed call is tried anew, within its caller's budget. Beyond it, the caller has gone.
const NODE_RETRIES: u32 = 4;
/// Milliseconds between two tries.
const NODE_RETRY_PAUSE_MS: (u64, u64) = (5, 50);

impl RedisAddress {
    /// Returns the plain address of one server: no certificates of one's own.
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(RedisPlace::Server(url.into()))
    }

    /// Returns a plain address.
    pub fn at(place: RedisPlace) -> Self {
        Self { place, user: None, password: None, authority_pem: None, identity: None }
    }

    /// Builds the client: TCP_NODELAY on (the crate's default is off), RESP3, TLS verified. Connects to nothing.
    ///
    /// # Errors
    /// [`RedisAddressFault`] if the address cannot work whatever Redis does.
    pub fn client(&self) -> Result<RedisClient, RedisAddressFault> {
        match &self.place {
            RedisPlace::Server(url) => self.server(self.info(url)?).map(RedisClient::server),
            RedisPlace::Cluster(urls) => {
                let nodes = urls.iter().map(|url| self.info(url)).collect::<Result<Vec<_>, _>>()?;
                self.cluster(nodes).map(RedisClient::cluster)
            }
        }
    }

    /// Parses a URL and checks that it protects what the operator expects it to.
    fn info(&self, url: &str) -> Result<ConnectionInfo, RedisAddressFault> {
        let info = url.into_connection_info().map_err(RedisAddressFault::Url)?;
        match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => return Err(RedisAddressFault::Unverified),
            // The crate asks rustls for the process's default provider. Whoever was first has set the same one.
            ConnectionAddr::TcpTls { .. } => {
                let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            }
            _ if self.certificates().is_some() => return Err(RedisAddressFault::CertificatesWithoutTls),
            _ => {}
        }
        let mut redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &self.password {
            redis = redis.set_password(password.as_str());
        }
        Ok(info.set_redis_settings(redis).set_tcp_settings(tcp_settings()))
    }

    fn server(&self, info: ConnectionInfo) -> Result<Client, RedisAddressFault> {
        match self.certificates() {
            None => Client::open(info).map_err(RedisAddressFault::Url),
            Some(certificates) => {
                Client::build_with_tls(info, certificates).map_err(RedisAddressFault::Certificates)
            }
        }
    }

    fn cluster(&self, nodes: Vec<ConnectionInfo>) -> Result<ClusterClient, RedisAddressFault> {
        let (pause_min, pause_max) = NODE_RETRY_PAUSE_MS;
        let mut builder = ClusterClientBuilder::new(nodes)
            .use_protocol(ProtocolVersion::RESP3)
            .tcp_settings(tcp_settings())
            .connection_timeout(NODE_CONNECT_TIME_MAX)
            .response_timeout(NODE_RESPONSE_TIME_MAX)
            .retries(NODE_RETRIES)
            .min_retry_wait(pause_min)
            .max_retry_wait(pause_max);
        let Some(certificates) = self.certificates() else {
            return builder.build().map_err(RedisAddressFault::Url);
        };
        builder = builder.certs(certificates);
        builder.build().map_err(RedisAddressFault::Certificates)
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let client_tls = self.identity.as_ref().map(|identity| ClientTlsConfig {
            client_cert: identity.certificate_pem.clone(),
            client_key: identity.key_pem.to_vec(),
        });
        let own = client_tls.is_some() || self.authority_pem.is_some();
        own.then(|| TlsCertificates { client_tls, root_cert: self.authority_pem.clone() })
    }
}

fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

impl std::fmt::Debug for RedisAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RedisAddress").field("place", &"[elided]").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RedisPlace {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RedisPlace([elided])")
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
    fn nodelay_and_resp3_are_on_and_the_users_password_comes_from_either_place() {
        let mut address = RedisAddress::new("redis://:secret@127.0.0.1:6379/3");
        let info = address.info("redis://:secret@127.0.0.1:6379/3").unwrap();
        assert!(info.tcp_settings().nodelay());
        assert_eq!(info.redis_settings().protocol(), ProtocolVersion::RESP3);
        assert_eq!(info.redis_settings().db(), 3);
        assert_eq!(info.redis_settings().password(), Some("secret"));
        address.user = Some("gateway".to_owned());
        address.password = Some(Zeroizing::new("other".to_owned()));
        let info = address.info("redis://127.0.0.1").unwrap();
        let redis = info.redis_settings();
        assert_eq!((redis.username(), redis.password()), (Some("gateway"), Some("other")));
    }

    #[test]
    fn neither_url_nor_password_is_shown() {
        for url in ["http://user:secret@host", "redis://user:secret@host:70000"] {
            let server = RedisAddress::new(url);
            let cluster = RedisAddress::at(RedisPlace::Cluster(vec![url.to_owned()]));
            for address in [server, cluster] {
                assert!(!format!("{address:?} {:?}", address.place).contains("secret"));
                let Err(fault) = address.client() else { panic!("{url} is no address") };
                assert!(matches!(fault, RedisAddressFault::Url(_)));
                assert!(!format!("{fault:?} {fault}").contains("secret"));
            }
        }
    }

    #[test]
    fn tls_is_verified_or_not_used() {
        let fault = |address: &RedisAddress| address.client().err().unwrap();
        assert!(RedisAddress::new("rediss://127.0.0.1:6380").client().is_ok());
        let unverified = "rediss://127.0.0.1:6380/#insecure".to_owned();
        for place in [RedisPlace::Server(unverified.clone()), RedisPlace::Cluster(vec![unverified])] {
            assert!(matches!(fault(&RedisAddress::at(place)), RedisAddressFault::Unverified));
        }
        for place in [
            RedisPlace::Server("redis://127.0.0.1".to_owned()),
            RedisPlace::Cluster(vec!["redis://127.0.0.1".to_owned()]),
        ] {
            let plain = RedisAddress { authority_pem: Some(Vec::new()), ..RedisAddress::at(place) };
            assert!(matches!(fault(&plain), RedisAddressFault::CertificatesWithoutTls));
        }
    }

    #[test]
    fn nodes_that_do_not_fit_together_are_no_cluster() {
        let cluster = |urls: &[&str]| {
            let urls = urls.iter().map(|url| (*url).to_owned()).collect();
            RedisAddress::at(RedisPlace::Cluster(urls)).client()
        };
        assert!(cluster(&["redis://127.0.0.1:1", "redis://127.0.0.1:2"]).is_ok());
        for urls in [
            &[][..],
            &["redis://127.0.0.1:1", "rediss://127.0.0.1:2"],
            &["redis://:one@127.0.0.1:1", "redis://:other@127.0.0.1:2"],
            &["redis+unix:///run/redis.sock"],
        ] {
            assert!(matches!(cluster(urls), Err(RedisAddressFault::Url(_))), "{urls:?}");
        }
    }
}
