//! TLS, and a user of Redis' own list.

use std::net::TcpListener;

use tempfile::TempDir;

use super::*;
use crate::redis_link::testing::Cluster;
use crate::redis_link::{RedisAddress, RedisClientIdentity, RedisPlace};

/// Goal: the gateway reaches Redis over verified TLS, shows its certificate, and is let in as a user who may do no more than it needs.
#[tokio::test]
async fn tls_both_ways_and_a_user_with_few_rights_suffice_and_nothing_less_does() {
    let (authority, files) = certificates();
    let path = |name: &str| files.path().join(name).display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    std::fs::write(files.path().join("ca.pem"), &authority).unwrap();
    let (ca, certificate, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
    let arguments =
        ["--port", "0", "--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let rights = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "yes", "--user", "default", "off"];
    let user = ["--user", "gateway", "on", ">word", "~dg:*", "+@connection", "+getrange", "+set", "+del"];
    let mut server = Server::reserve(&[&arguments[..], &rights, &user].concat());
    server.port = port.parse().unwrap();
    server.revive();
    let read = |name: &str| std::fs::read(files.path().join(name)).unwrap();
    let shown =
        RedisClientIdentity { certificate_pem: read("server.pem"), key_pem: read("server.key").into() };
    let options = |authority: &[u8], password: &str, identity: Option<&RedisClientIdentity>| {
        let mut options = RedisOptions::new(format!("rediss://127.0.0.1:{port}"));
        options.address.authority_pem = Some(authority.to_vec());
        options.address.user = Some("gateway".to_owned());
        options.address.password = Some(Zeroizing::new(password.to_owned()));
        options.address.identity = identity.cloned();
        options
    };
    let source = registry_of(2);
    let good = options(&authority, "word", Some(&shown));
    let replica = Replica::over(&source, good.clone());
    replica.becomes(BreakerState::Closed).await;
    replica.ask(0).await;
    let until = RealClock.since_boot() + RECOVERY_MAX;
    while Replica::found_by_another(&source, good.clone()).await != FactSource::Redis {
        assert!(RealClock.since_boot() < until, "the fact went through the tls connection");
    }

    let foreign = certificates().0;
    let bad = [
        options(&foreign, "word", Some(&shown)),
        options(&authority, "another", Some(&shown)),
        options(&authority, "word", None),
    ];
    for options in bad {
        let refused = Replica::over(&source, options);
        eventually("refused", || !refused.notes.redis_faults.lock().unwrap().is_empty()).await;
        assert!(refused.notes.breaker.lock().unwrap().iter().all(|state| *state != BreakerState::Closed));
        assert_eq!(refused.ask(0).await.source, FactSource::Registry);
    }
}

/// Goal: every node of a Cluster is reached over verified TLS, also those that are only heard of. Method: one node is named; facts of
/// drivers on all masters are written and found; another authority's word lets nobody in.
#[tokio::test]
async fn a_cluster_is_reached_over_tls_node_by_node() {
    const DRIVERS: u64 = 30;
    let (authority, files) = certificates();
    std::fs::write(files.path().join("ca.pem"), &authority).unwrap();
    let path = |name: &str| files.path().join(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("server.pem"), path("server.key"));
    let shown = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let cluster = Cluster::start_over_tls(&shown);
    let read = |name: &str| std::fs::read(files.path().join(name)).unwrap();
    let identity =
        RedisClientIdentity { certificate_pem: read("server.pem"), key_pem: read("server.key").into() };
    let options = |authority: &[u8]| RedisOptions {
        address: RedisAddress {
            authority_pem: Some(authority.to_vec()),
            identity: Some(identity.clone()),
            ..RedisAddress::at(RedisPlace::Cluster(cluster.tls_urls()[..1].to_vec()))
        },
        ..RedisOptions::new(String::new())
    };
    let source = registry_of(DRIVERS);
    let connected = async || {
        let replica = Replica::over(&source, options(&authority));
        replica.becomes(BreakerState::Closed).await;
        replica.asks_by_itself().await;
        replica
    };
    let filling = connected().await;
    for n in 0..DRIVERS {
        filling.ask(n).await;
    }
    let all = usize::try_from(DRIVERS).unwrap();
    eventually("the Cluster holds the facts", || cluster.keys(FACTS).len() == all).await;
    let other = connected().await;
    for n in 0..DRIVERS {
        assert_eq!(other.ask(n).await.source, FactSource::Redis, "driver {n}");
    }

    let refused = Replica::over(&source, options(&certificates().0));
    eventually("refused", || !refused.notes.redis_faults.lock().unwrap().is_empty()).await;
    assert_eq!(refused.ask(0).await.source, FactSource::Registry);
}

/// An authority's PEM, and a folder with a server certificate of it.
fn certificates() -> (Vec<u8>, TempDir) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let mut server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    // Not the authority's name: OpenSSL would take the certificate for its own issuer's.
    server.distinguished_name.push(rcgen::DnType::CommonName, "redis");
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("server.pem"), server.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), server_key.serialize_pem()).unwrap();
    (authority.pem().into_bytes(), folder)
}
