use std::collections::VecDeque;

use clap::Parser;

use super::measured::Ended;
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    load: LoadCommand,
}

fn parse(line: &[&str]) -> Result<LoadCommand, clap::Error> {
    Line::try_parse_from([&["load", "--subjects", "drivers.ndjson"], line].concat()).map(|line| line.load)
}

#[test]
fn the_lines_of_the_help_are_understood() {
    let load = parse(&[
        "--dir",
        "demo",
        "--as",
        "rental-demo,insurer-demo",
        "--mix",
        "rental=3,claim=1",
        "--spread",
        "zipf=1.1",
    ])
    .unwrap();
    assert_eq!((load.partners.len(), load.mix.len(), load.spread), (2, 2, Spread::Zipf(1.1)));
    let load = parse(&["--rate", "5000", "--duration", "0.5"]).unwrap();
    assert_eq!((load.rate, load.mix.len(), load.connections, load.streams), (Some(5_000.0), 6, 8, 16));
}

#[test]
fn what_makes_no_load_is_refused() {
    for line in [
        ["--rate", "0"],
        ["--rate", "NaN"],
        ["--connections", "0"],
        ["--streams", "0"],
        ["--duration", "-1"],
        ["--mix", "rental=0"],
    ] {
        assert!(parse(&line).is_err(), "{line:?}");
    }
}

/// A gRPC server over mutual TLS that answers each request after the next delay given, then at once.
mod scripted {
    use std::net::SocketAddr;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    pub(super) fn start(pki: &Path, delays: VecDeque<Duration>) -> SocketAddr {
        let delays = Arc::new(Mutex::new(delays));
        let certificates =
            |name: &str| CertificateDer::pem_file_iter(pki.join(name)).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(pki.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates("server.pem"), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    let (acceptor, delays) = (acceptor.clone(), Arc::clone(&delays));
                    tokio::spawn(async move {
                        let stream = acceptor.accept(socket).await.unwrap();
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        while let Some(Ok((_request, respond))) = connection.accept().await {
                            let delay = delays.lock().unwrap().pop_front().unwrap_or_default();
                            tokio::spawn(answer(respond, delay));
                        }
                    });
                }
            });
        });
        address
    }

    async fn answer(mut respond: h2::server::SendResponse<Bytes>, delay: Duration) {
        tokio::time::sleep(delay).await;
        let response = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let Ok(mut stream) = respond.send_response(response, false) else { return };
        let message = proto::VerifyResponse { decision: 1, ..Default::default() };
        let _sent = stream.send_data(wire::frame(&prost::Message::encode_to_vec(&message)), false);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _sent = stream.send_trailers(trailers);
    }
}

fn deployment() -> tempfile::TempDir {
    use crate::identity::pki::DevelopmentCa;
    use crate::identity::pki::Existing;
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let now = SystemClock.now();
    let mut authority = DevelopmentCa::create(&pki, 30, now, Existing::Keep).unwrap();
    let server = authority.issue_server("server", &["localhost".to_owned()], 30, now).unwrap();
    server.write(&pki, "server", Existing::Keep).unwrap();
    let client = authority.issue_client("rental-demo", None, 30, now).unwrap();
    client.write(&pki, "rental-demo", Existing::Keep).unwrap();
    std::fs::write(dir.path().join("drivers.csv"), "number,name\n000000199001011236,张三\n").unwrap();
    dir
}

fn measure(delays: &[Duration], line: &[&str]) -> Report {
    let dir = deployment();
    let address = scripted::start(&dir.path().join("pki"), delays.iter().copied().collect()).to_string();
    let (folder, drivers) = (dir.path().to_str().unwrap(), dir.path().join("drivers.csv"));
    let fixed =
        ["load", "--echo", "--server", &address, "--dir", folder, "--subjects", drivers.to_str().unwrap()];
    let load = Line::try_parse_from([&fixed[..], line].concat()).unwrap().load;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(load.measure(Terminal::plain())).unwrap()
}

#[test]
fn a_closed_loop_counts_what_was_answered_over_mutual_tls() {
    let report =
        measure(&[], &["--connections", "2", "--streams", "4", "--warm-up", "0.1", "--duration", "0.4"]);
    assert_eq!(report.measured.failures().len(), 0, "{:?}", report.measured.failures());
    assert!(report.measured.answered() > 50);
    assert_eq!(report.measured.decisions()[1], report.measured.answered());
}

/// Goal: a stall must show in the latencies of everything that was due meanwhile, not in one request's alone.
/// Method: one stream, so that all wait for the first answer; 100 requests a second; the first takes 500 ms.
#[test]
fn an_open_loop_does_not_hide_a_stall() {
    let line = ["--connections", "1", "--streams", "1", "--rate", "100", "--warm-up", "0", "--duration", "1"];
    let report = measure(&[Duration::from_millis(500)], &line);
    assert_eq!(report.measured.failed(), 0, "{:?}", report.measured.failures());
    // A busy machine may leave the last of the hundred behind the end; the stall must show all the same.
    assert!((90..=100).contains(&report.measured.answered()), "{}", report.measured.answered());
    assert!(report.measured.max_ms() >= 500.0);
    assert!(report.measured.quantile_ms(0.7) >= 150.0, "{}", report.measured.quantile_ms(0.7));
}

#[test]
fn a_server_that_never_answers_is_counted_as_unanswered() {
    let line = [
        "--connections",
        "1",
        "--streams",
        "1",
        "--rate",
        "20",
        "--warm-up",
        "0",
        "--duration",
        "0.2",
        "--timeout-ms",
        "100",
    ];
    let report = measure(&[Duration::from_secs(60)], &line);
    assert_eq!(report.measured.answered(), 0);
    assert_eq!(report.measured.failures().get("unanswered at the end"), Some(&1));
}

#[test]
fn a_gateway_that_is_not_there_is_an_error_that_says_so() {
    let dir = deployment();
    let drivers = dir.path().join("drivers.csv");
    let line = ["--server", "127.0.0.1:1", "--dir", dir.path().to_str().unwrap()];
    let mut load = parse(&line).unwrap();
    load.subjects = drivers;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(load.measure(Terminal::plain())).err().unwrap().to_string();
    assert!(told.contains("cannot reach 127.0.0.1:1"), "{told}");
    let mut measured = Measured::new().unwrap();
    measured.record(1, Ended::Failed(told));
    assert_eq!(measured.failed(), 1);
}
