//! TLS, and a user of Redis' own list.

use std::net::TcpListener;

use tempfile::TempDir;

use super::*;
use crate::redis_link::RedisClientIdentity;

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
