//! What the server says to a deadline in the header. Client libraries end a call by their own clock before the server's
//! word arrives, so these calls are made by bare HTTP/2.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, block_on};

/// DEADLINE_EXCEEDED as gRPC numbers it.
const DEADLINE_EXCEEDED: &str = "4";

#[test]
fn a_deadline_of_nothing_is_told_by_the_server_and_not_charged() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        let left = quota_left(&gateway).await;
        for timeout in ["0n", "1n", "0S"] {
            let ended = call(&deployment, &gateway, timeout).await;
            assert_eq!(
                ended.get("grpc-status").map(|code| code.as_bytes()),
                Some(DEADLINE_EXCEEDED.as_bytes()),
                "{timeout}: {ended:?}"
            );
            assert!(ended.contains_key("grpc-status-details-bin"), "{timeout}: the reason is told");
        }
        assert_eq!(quota_left(&gateway).await, left, "nothing was charged");
    });
}

#[test]
fn a_deadline_nobody_can_read_hurts_nobody() {
    let deployment = Deployment::new();
    let gateway = deployment.serve();
    block_on(async {
        for timeout in ["", "x", "99999999999H", "-1S", "5"] {
            let ended = call(&deployment, &gateway, timeout).await;
            let code = ended.get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("none");
            assert!(
                ["0", "3"].contains(&code),
                "{timeout:?}: answered, or refused as malformed, not {ended:?}"
            );
        }
    });
}

async fn quota_left(gateway: &Gateway<'_>) -> Vec<u64> {
    let mut partner = gateway.partner("rental-demo").await;
    let limits =
        partner.get_limits(drivegate::gateway::proto::GetLimitsRequest {}).await.expect("it may ask");
    limits.into_inner().limits.iter().skip(1).map(|limit| limit.remaining).collect()
}

/// Makes one call with this timeout; returns the trailers, or the headers when there is nothing else.
async fn call(deployment: &Deployment, gateway: &Gateway<'_>, timeout: &str) -> HeaderMap {
    let stream = tokio::net::TcpStream::connect(gateway.address()).await.expect("the gateway accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = connector(deployment).connect(name, stream).await.expect("the handshake succeeds");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2 starts");
    tokio::spawn(connection);
    let request = Request::post("https://localhost/drivegate.v1.VerificationService/Verify")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())
        .expect("a request");
    let mut client = client.ready().await.expect("a stream is free");
    let (answer, mut sender) = client.send_request(request, false).expect("the request leaves");
    // The server may have answered by its headers alone, and taken no body.
    let _ = sender.send_data(framed(), true);
    let (head, mut body) = answer.await.expect("an answer").into_parts();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    body.trailers().await.ok().flatten().unwrap_or(head.headers)
}

/// A good request behind gRPC's five bytes.
fn framed() -> Bytes {
    let message = rental(NUMBER, NAME).encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("small"));
    framed.put_slice(&message);
    framed.freeze()
}

/// Makes connections of the rental desk.
pub(crate) fn connector(deployment: &Deployment) -> tokio_rustls::TlsConnector {
    let pki = deployment.folder().join("pki");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(pki.join("ca.pem")).expect("a certificate"))
        .expect("an authority");
    let chain = vec![CertificateDer::from_pem_file(pki.join("rental-demo.pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(pki.join("rental-demo.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec()];
    tokio_rustls::TlsConnector::from(Arc::new(config))
}
