//! The yardstick: a bare tonic unary server with the gateway's TLS settings and `Verify`'s own encoded sizes.
//!
//! It does nothing: bytes in, a fixed answer out. What the gateway costs beyond it is what its work costs.
//!
//! ```text
//! cargo run --profile dist --example echo -- --dir DIR --listen 127.0.0.1:8444
//! drivegate load --echo --server 127.0.0.1:8444 --dir DIR --subjects drivers.ndjson
//! ```

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use clap::Parser;
use drivegate::gateway::proto;
use miette::{IntoDiagnostic as _, WrapErr as _};
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

/// As the gateway's own bounds: they are part of what a request costs.
const STREAMS_MAX: u32 = 128;
const HEADER_LIST_BYTES_MAX: u32 = 8 * 1024;
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
const HANDSHAKES_MAX: usize = 64;

/// The bare echo.
#[derive(Parser)]
struct Echo {
    /// Deployment folder: its pki/ca.pem, pki/crl.pem, pki/server.pem and pki/server.key are used.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8444")]
    listen: SocketAddr,
}

/// The gateway's allocator: the yardstick differs from it by what it does, not by what it stands on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> miette::Result<()> {
    let echo = Echo::parse();
    let tls = TlsAcceptor::from(Arc::new(server_config(&echo.dir.join("pki"))?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
    runtime.block_on(serve(echo.listen, tls))
}

async fn serve(listen: SocketAddr, tls: TlsAcceptor) -> miette::Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot listen on {listen}"))?;
    let (accepted, connections) = tokio::sync::mpsc::channel(HANDSHAKES_MAX);
    tokio::spawn(accept(listener, tls, accepted));
    tonic::transport::Server::builder()
        .max_concurrent_streams(Some(STREAMS_MAX))
        .http2_max_header_list_size(Some(HEADER_LIST_BYTES_MAX))
        .add_service(EchoService::new())
        .serve_with_incoming(tokio_stream::wrappers::ReceiverStream::new(connections))
        .await
        .into_diagnostic()
}

type Accepted = tokio::sync::mpsc::Sender<Result<Accepting, std::io::Error>>;

pin_project_lite::pin_project! {
    /// A TLS stream as tonic wants its connections.
    struct Accepting {
        #[pin]
        stream: TlsStream<TcpStream>,
    }
}

impl Connected for Accepting {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepting {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.project().stream.poll_read(context, into)
    }
}

impl AsyncWrite for Accepting {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.project().stream.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.project().stream.poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.project().stream.poll_shutdown(context)
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, accepted: Accepted) {
    loop {
        let Ok((socket, _from)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        tokio::spawn(async move {
            if socket.set_nodelay(true).is_ok()
                && let Ok(stream) = tls.accept(socket).await
            {
                let _closed = accepted.send(Ok(Accepting { stream })).await;
            }
        });
    }
}

/// The gateway's settings: TLS 1.3 only, client certificate required and checked for revocation, no resumption.
fn server_config(pki: &Path) -> miette::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&pki.join("ca.pem"))? {
        roots.add(certificate).into_diagnostic()?;
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let crl = pki.join("crl.pem");
    if crl.exists() {
        let crl = CertificateRevocationListDer::from_pem_file(&crl)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot read {}", crl.display()))?;
        verifier = verifier.with_crls([crl]).enforce_revocation_expiration();
    }
    let key = pki.join("server.key");
    let key = PrivateKeyDer::from_pem_file(&key)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .into_diagnostic()?
        .with_client_cert_verifier(verifier.build().into_diagnostic()?)
        .with_single_cert(certificates(&pki.join("server.pem"))?, key)
        .into_diagnostic()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn certificates(path: &Path) -> miette::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))
}

/// Answers `Verify`'s path with one fixed answer.
#[derive(Clone)]
struct EchoService {
    answer: Bytes,
}

impl EchoService {
    fn new() -> Self {
        Self { answer: typical_answer().encode_to_vec().into() }
    }
}

/// An answer as a rental checkout gets it: same fields, same sizes.
fn typical_answer() -> proto::VerifyResponse {
    let met = |kind: proto::CriterionKind| proto::Criterion {
        kind: kind.into(),
        outcome: proto::Outcome::Met.into(),
        reason: 0,
    };
    let moment = |seconds| Some(prost_types::Timestamp { seconds, nanos: 123_456_000 });
    proto::VerifyResponse {
        decision: proto::Decision::Qualified.into(),
        criteria: vec![
            met(proto::CriterionKind::Subject),
            met(proto::CriterionKind::Record),
            met(proto::CriterionKind::Licence),
            met(proto::CriterionKind::Class),
            met(proto::CriterionKind::Tenure),
            met(proto::CriterionKind::Period),
        ],
        not_covered: vec![
            proto::NotCovered::LicenceLostOrDamaged.into(),
            proto::NotCovered::Sobriety.into(),
            proto::NotCovered::VehiclePapers.into(),
        ],
        disclosure: Some(proto::Disclosure { masked_name: Some("张**".to_owned()), ..Default::default() }),
        subject_ref: "Q2hhcmFjdGVyczIyTG9uZ1".to_owned(),
        authorised_by: proto::AuthorisedBy::Asserted.into(),
        provenance: Some(proto::Provenance {
            observed_at: moment(1_795_000_000),
            known_at: moment(1_795_000_000),
            position: Some(proto::FeedPosition { epoch: 1, partition: 0, seq: 10_042 }),
            policy_version: "2026-11-01".to_owned(),
            source: proto::Source::InProcess.into(),
            changed_since: None,
        }),
        evidence: Some(proto::Evidence {
            log_origin: "localhost/gw/3f9a".to_owned(),
            entry_index: 1_000_000,
        }),
        charged: true,
        replayed: false,
        reliance_until: moment(1_796_000_000),
        environment: proto::Environment::Sandbox.into(),
        advice: 0,
        remedies: Vec::new(),
    }
}

impl UnaryService<Bytes> for EchoService {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(self.answer.clone())))
    }
}

impl tonic::server::NamedService for EchoService {
    const NAME: &'static str = "drivegate.v1.VerificationService";
}

impl tower::Service<http::Request<tonic::body::Body>> for EchoService {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(BytesCodec).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.unary(service, request).await)
        })
    }
}

/// Messages as they lie in the frame.
#[derive(Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}
