//! More than the gateway can bear: who is answered, and what the others are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use drivegate::gateway::proto::presentation_service_client::PresentationServiceClient;
use drivegate::gateway::proto::verify_request::Subject;
use drivegate::gateway::proto::{
    Audience, DocumentKind, Holder, IssueQrRequest, PartnerKind, Purpose, VerifyRequest, audience,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, block_on};
use super::testing;

/// What each word of the server's takes longer on its way through the proxy.
const SLOWER_BY: Duration = Duration::from_millis(10);
/// How long claims are asked, all at once.
const FLOOD: Duration = Duration::from_secs(3);
/// Claims asked at once: several times what the registry bears.
const FLOODERS: usize = 60;

/// A way to PostgreSQL on which every answer takes a while, so that one connection reads a hundred times a second at most.
fn slow_way(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(to) else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ends = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
            std::thread::spawn(move || pass(near, far, Duration::ZERO));
            std::thread::spawn(move || pass(ends.1, ends.0, SLOWER_BY));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, each_after: Duration) {
    let mut words = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut words) {
        std::thread::sleep(each_after);
        if count == 0 || to.write_all(&words[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A question that only the registry itself can answer; the same to the second however long the test takes: of different ones only three
/// are answered.
fn demanding(subject: Option<Subject>, request_id: String) -> VerifyRequest {
    static QUESTION: OnceLock<VerifyRequest> = OnceLock::new();
    let question = QUESTION.get_or_init(|| rental(NUMBER, NAME)).clone();
    VerifyRequest {
        subject: subject.or_else(|| question.subject.clone()),
        request_id,
        max_age: Some(prost_types::Duration::default()),
        ..question
    }
}

async fn issue(gateway: &Gateway<'_>) -> String {
    let tls = gateway.tls("wallet-demo");
    let channel = tls.connect(gateway.address(), "localhost", Duration::from_secs(5));
    let mut wallet = PresentationServiceClient::new(channel.await.expect("the wallet is let in"));
    let request = IssueQrRequest {
        holder: Some(Holder {
            document_kind: DocumentKind::ResidentId.into(),
            licence_number: NUMBER.to_owned(),
        }),
        purpose: Purpose::Rental.into(),
        audience: Some(Audience { whom: Some(audience::Whom::Kind(PartnerKind::Rental.into())) }),
        ..Default::default()
    };
    wallet.issue_qr(request).await.expect("a code is issued").into_inner().token
}

/// Goal: while more claims are asked than the registry bears, whoever shows an e-licence is answered, and the claims that are not are
/// told so, soon, in the contract's words.
/// Method: a real registry a hundred readings a second away, sixty claims at once, and a driver at the counter over and over.
#[test]
fn presentations_are_answered_while_claims_are_shed() {
    let database = testing::shared().database();
    let port =
        |url: &str| url.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse::<u16>().ok());
    let real = port(&database).expect("a port");
    let way = slow_way(SocketAddr::from(([127, 0, 0, 1], real)));
    let url = database.replace(&format!(":{real}/"), &format!(":{}/", way.port()));
    let deployment = Deployment::on_postgres(&url, None);
    let folder = deployment.folder();
    deployment.run(&[
        "registry",
        "generate",
        "--count",
        "5",
        "--with-test-drivers",
        "--into",
        folder.to_str().expect("text"),
    ]);
    deployment.configure(|config| {
        let bounds = config.entry("bounds").or_insert_with(|| toml::Table::new().into());
        bounds.as_table_mut().expect("a table").insert("registry_reads_max".to_owned(), 1.into());
    });
    deployment.contract("rental-demo", |document| {
        let allowance = document["allowance"].as_table_mut().expect("a table");
        for key in ["rate_per_second", "burst", "quota_per_minute", "quota_per_hour"] {
            allowance.insert(key.to_owned(), 1_000_000.into());
        }
    });
    let gateway = deployment.serve();
    let (answered, refused) = block_on(async {
        let desk = gateway.partner("rental-demo").await;
        let over = Arc::new(AtomicBool::new(false));
        let claim = demanding(None, String::new());
        let flood: Vec<_> = (0..FLOODERS)
            .map(|_| {
                let (mut desk, claim, over) = (desk.clone(), claim.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    let (mut answered, mut refused) = (0, Vec::new());
                    while !over.load(Ordering::Relaxed) {
                        match desk.verify(claim.clone()).await {
                            Ok(_) => answered += 1,
                            Err(status) => {
                                refused.push(status);
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                        }
                    }
                    (answered, refused)
                })
            })
            .collect();
        let began = Instant::now();
        let mut shown = 0;
        while began.elapsed() < FLOOD {
            let token = issue(&gateway).await;
            let mut desk = desk.clone();
            let question = demanding(Some(Subject::Presentation(token)), format!("at-the-counter-{shown}"));
            let answer = desk.verify(question).await;
            assert!(answer.is_ok(), "presentation {shown}: {answer:?}");
            shown += 1;
        }
        over.store(true, Ordering::Relaxed);
        assert!(shown >= 5, "only {shown} presentations in {FLOOD:?}");
        let (mut answered, mut refused) = (0, Vec::new());
        for flooder in flood {
            let (some, others) = flooder.await.expect("it ends");
            answered += some;
            refused.extend(others);
        }
        (answered, refused)
    });
    assert!(answered > 20, "claims have what is left: {answered}");
    assert!(refused.len() > 50, "{}", refused.len());
    for status in &refused {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(status.get_details_error_info().expect("ErrorInfo").reason, "OVERLOADED");
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert!(retry.is_some_and(|retry| retry > Duration::ZERO), "{status:?}");
    }
    std::thread::sleep(Duration::from_millis(1_100));
    let (_, metrics) = gateway.page("/metrics");
    let refused_of = |class: &str| -> f64 {
        let lines = metrics.lines().filter(|line| {
            line.starts_with("drivegate_line_refused_total") && line.contains(&format!("class=\"{class}\""))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    assert!(refused_of("claim") >= 50.0, "{metrics}");
    assert!(refused_of("presentation") < 1.0, "{metrics}");
    assert!(metrics.contains("drivegate_line_places{state=\"limit\"} 1"), "{metrics}");
}
