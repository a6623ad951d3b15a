//! Gateways on one PostgreSQL answer as one, and none of them answers what it can no longer know.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use drivegate::gateway::proto::get_receipt_request::Answer;
use drivegate::gateway::proto::{Decision, GetReceiptRequest, Source, VerifyResponse};
use tonic::{Code, Status};

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, Redis, block_on};
use super::testing;

/// The product's promise.
const FRESH_WITHIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes two deployments on one database; the second brings the registry's keys of the first.
fn replicas(url: &str) -> [Deployment; 2] {
    let first = Deployment::on_postgres(url, None);
    first.run(&[
        "registry",
        "generate",
        "--count",
        "50",
        "--with-test-drivers",
        "--into",
        first.folder().to_str().expect("text"),
    ]);
    let second = Deployment::on_postgres(url, Some(&keys_of(&first)));
    [first, second]
}

fn keys_of(deployment: &Deployment) -> PathBuf {
    deployment.folder().join("data/registry.keys")
}

async fn ask(gateway: &Gateway<'_>) -> Result<VerifyResponse, Status> {
    let mut partner = gateway.partner("rental-demo").await;
    partner.verify(rental(NUMBER, NAME)).await.map(tonic::Response::into_inner)
}

async fn eventually(
    gateway: &Gateway<'_>,
    holds: impl Fn(&Result<VerifyResponse, Status>) -> bool,
) -> Duration {
    let began = Instant::now();
    loop {
        let answer = ask(gateway).await;
        if holds(&answer) {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "it did not come true: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn says(answer: &Result<VerifyResponse, Status>, decision: Decision) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.decision() == decision)
}

fn came_from(answer: &Result<VerifyResponse, Status>, source: Source) -> bool {
    let provenance = answer.as_ref().ok().and_then(|answer| answer.provenance.as_ref());
    provenance.is_some_and(|provenance| provenance.source() == source)
}

/// Hands in that the first test driver's licence was detained, by a command that knows nothing of the gateways.
fn detain(deployment: &Deployment) {
    let now = jiff::Timestamp::try_from(SystemTime::now()).expect("now");
    let line = format!(
        r#"{{"number":"{NUMBER}","change":{{"effective":"{now}","recorded_at":"{now}","kind":"state-set","letter":"B"}}}}"#
    );
    let file = deployment.everything().join("change.ndjson");
    std::fs::write(&file, line).expect("it can be written");
    let folder = deployment.folder();
    deployment.run(&[
        "registry",
        "import",
        file.to_str().expect("text"),
        "--dir",
        folder.to_str().expect("text"),
    ]);
}

/// Goal: a change is honoured by every replica within the bound, without a word between them.
/// Method: two warm gateways; a third process hands the change in; both are asked until they know, and then on.
#[test]
fn a_change_handed_in_elsewhere_is_honoured_by_every_replica_in_time() {
    let server = testing::Server::start();
    let [first, second] = replicas(&server.database());
    let gateways = [first.serve(), second.serve()];
    block_on(async {
        for gateway in &gateways {
            eventually(gateway, |answer| {
                says(answer, Decision::Qualified) && came_from(answer, Source::InProcess)
            })
            .await;
        }
        detain(&first);
        let acknowledged = Instant::now();
        for gateway in &gateways {
            eventually(gateway, |answer| says(answer, Decision::NotQualified)).await;
        }
        let took = acknowledged.elapsed();
        assert!(took < FRESH_WITHIN, "{took:?}");
        for _ in 0..20 {
            for gateway in &gateways {
                let answer = ask(gateway).await;
                assert!(says(&answer, Decision::NotQualified), "no way back: {answer:?}");
            }
        }
    });
    for gateway in &gateways {
        let (_, metrics) = gateway.page("/metrics");
        let lag = metrics.lines().find(|line| line.starts_with("drivegate_registry_feed_lag"));
        let lag: f64 =
            lag.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("the lag is a metric");
        assert!(lag < 2_000.0, "{lag} ms");
    }
}

/// Goal: without the primary there is no answer, and never an old "qualified"; with it, answers again, without a restart.
#[test]
fn without_its_server_a_gateway_says_unavailable_and_recovers_by_itself() {
    let mut server = testing::Server::start();
    let [first, _] = replicas(&server.database());
    let gateway = first.serve();
    block_on(async {
        eventually(&gateway, |answer| says(answer, Decision::Qualified)).await;
        server.stop();
        let stopped = Instant::now();
        let unavailable =
            |answer: &Result<_, Status>| matches!(answer, Err(status) if status.code() == Code::Unavailable);
        eventually(&gateway, unavailable).await;
        assert!(stopped.elapsed() < FRESH_WITHIN + Duration::from_secs(1), "{:?}", stopped.elapsed());
        for _ in 0..10 {
            assert!(unavailable(&ask(&gateway).await));
        }
        server.start_again();
        eventually(&gateway, |answer| says(answer, Decision::Qualified)).await;
    });
}

/// Goal: what one replica put into Redis, another one uses, and a restarted one still does.
#[test]
fn replicas_share_what_redis_holds_and_a_restart_keeps_it() {
    let server = testing::Server::start();
    let replicas = replicas(&server.database());
    let redis = Redis::start(&replicas[0].everything().join("redis"));
    for replica in &replicas {
        replica.configure(|config| {
            let cache = config["cache"].as_table_mut().expect("a table");
            // Nothing in its own memory: what is not in Redis is read from the registry.
            cache.insert("in_process_mib".to_owned(), 0.into());
            let shared = [("url", redis.url().into()), ("timeout_ms", toml::Value::from(1_000))];
            let shared: toml::Table =
                shared.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            cache.insert("redis".to_owned(), shared.into());
        });
    }
    let first = replicas[0].serve();
    block_on(async {
        eventually(&first, |answer| came_from(answer, Source::Redis)).await;
    });
    let [key, copy] = [&replicas[0], &replicas[1]].map(|replica| replica.folder().join("data/redis.key"));
    std::fs::copy(key, copy).expect("replicas that share a Redis share its key");
    for _ in 0..2 {
        let second = replicas[1].serve();
        block_on(async {
            let mut sources = Vec::new();
            // The first answers may come before Redis is connected, but none is put there by this replica first.
            eventually(&second, |answer| came_from(answer, Source::Redis)).await;
            for _ in 0..5 {
                sources.push(ask(&second).await);
            }
            assert!(sources.iter().all(|answer| came_from(answer, Source::Redis)), "{sources:?}");
        });
        assert!(second.stop());
    }
}

/// `check` looks without making anything, and a replica without the registry's keys is told so.
#[test]
fn a_check_looks_into_the_database_and_changes_nothing() {
    let server = testing::Server::start();
    let url = server.database();
    let database = url.rsplit('/').next().expect("its name").to_owned();
    let deployment = Deployment::on_postgres(&url, None);
    let config = deployment.folder().join("config.toml");
    let check = |deployment: &Deployment| {
        let done = deployment.try_run(&["check", "--config", config.to_str().expect("text"), "--json"]);
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (fine, said) = check(&deployment);
    assert!(fine && said.contains("none yet on PostgreSQL"), "{said}");
    let folder = deployment.folder();
    let done =
        deployment.try_run(&["registry", "export", folder.to_str().expect("text"), "--with-identifiers"]);
    assert!(!done.status.success(), "nothing to export, and nothing is made for it");
    assert_eq!(server.sql(&database, "SELECT count(*) FROM pg_class WHERE relname = 'registry'"), "0");

    deployment.run(&["registry", "generate", "--count", "5", "--into", folder.to_str().expect("text")]);
    let (fine, said) = check(&deployment);
    assert!(fine && said.contains("in 16 partitions"), "{said}");
    let stats = deployment.run(&["registry", "stats", "--json", "--dir", folder.to_str().expect("text")]);
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).expect("JSON");
    assert_eq!((stats["subjects"].as_u64(), stats["unreadable"].as_u64()), (Some(5), Some(0)));

    // What it holds comes out as lines, and goes in elsewhere.
    let folder = folder.to_str().expect("text");
    let exported = deployment.run(&["registry", "export", folder, "--with-identifiers"]);
    let exported = String::from_utf8(exported.stdout).expect("UTF-8");
    let elsewhere = super::files::Sandbox::new();
    let file = elsewhere.file("all.ndjson", exported.as_bytes());
    assert_eq!(elsewhere.import(&file, &[]).status.code(), Some(0));
    assert_eq!(elsewhere.exported(), super::files::licences(&exported));
    assert_eq!(elsewhere.subjects(), 5);

    std::fs::remove_file(keys_of(&deployment)).expect("they were made");
    let (fine, said) = check(&deployment);
    assert!(!fine && said.contains("restore the key file"), "{said}");
    let done = deployment.try_run(&["serve", "--config", config.to_str().expect("text")]);
    assert!(!done.status.success(), "no new keys for an old registry");
    assert!(!keys_of(&deployment).exists());
}

/// Goal: behind a balancer, a receipt is given by whichever replica is asked. Method: two gateways on one database, with one log
/// secret; the second reads the first one's log at its auditor's listener; the first one's answer is asked for at the second.
#[test]
fn a_replica_gives_the_receipt_of_anothers_answer() {
    let server = testing::Server::start();
    let [first, second] = replicas(&server.database());
    let secret = first.everything().join("log-secret");
    std::fs::write(&secret, [0x5a; 32]).expect("it can be written");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    let auditor = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).expect("a free port");
    let evidence = |config: &mut toml::Table, key: &str, value: toml::Value| {
        let section = config.entry("evidence").or_insert_with(|| toml::Table::new().into());
        section.as_table_mut().expect("a table").insert(key.to_owned(), value);
    };
    for replica in [&first, &second] {
        replica.configure(|config| evidence(config, "secret", secret.to_str().expect("text").into()));
    }
    first.configure(|config| {
        let listen = config.entry("listen").or_insert_with(|| toml::Table::new().into());
        listen.as_table_mut().expect("a table").insert("auditor".to_owned(), auditor.to_string().into());
    });
    let asked = first.serve();
    let folder = first.folder();
    let verifier = first.run(&["audit", "key", folder.to_str().expect("text")]).stdout;
    let verifier = String::from_utf8(verifier).expect("text").trim().to_owned();
    second.configure(|config| {
        let mut peer = toml::Table::new();
        peer.insert("url".to_owned(), format!("http://{auditor}").into());
        peer.insert("verifier".to_owned(), verifier.clone().into());
        evidence(config, "peers", vec![toml::Value::from(peer)].into());
    });
    let other = second.serve();
    let receipt = block_on(async {
        let answer = ask(&asked).await.expect("an answer");
        let place = Answer::Evidence(answer.evidence.expect("on record"));
        let mut partner = other.partner("rental-demo").await;
        let given = partner.get_receipt(GetReceiptRequest { answer: Some(place) }).await;
        given.expect("the other replica's receipt").into_inner()
    });
    assert!(!receipt.subject_erased);
    let file = first.everything().join("peer.tlog-proof");
    std::fs::write(&file, receipt.receipt).expect("it can be written");
    first.run(&["receipt", "verify", file.to_str().expect("text"), "--key", &verifier]);
}
