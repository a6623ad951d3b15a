//! Gateways on one PostgreSQL answer as one, and none of them answers what it can no longer know.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use drivegate::gateway::proto::get_receipt_request::Answer;
use drivegate::gateway::proto::{Decision, GetReceiptRequest, Source, VerifyRequest, VerifyResponse};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, Partner, Redis, block_on};
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

/// One question, the same to the second however long a test takes: of different ones only three are answered.
fn question() -> VerifyRequest {
    static QUESTION: OnceLock<VerifyRequest> = OnceLock::new();
    QUESTION.get_or_init(|| rental(NUMBER, NAME)).clone()
}

async fn ask(gateway: &Gateway<'_>) -> Result<VerifyResponse, Status> {
    let mut partner = gateway.partner("rental-demo").await;
    partner.verify(question()).await.map(tonic::Response::into_inner)
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

/// Writes three deployments on one database, with one PKI: a partner shows the same key to each.
fn three_replicas(url: &str) -> [Deployment; 3] {
    let [first, second] = replicas(url);
    let third = Deployment::on_postgres(url, Some(&keys_of(&first)));
    let pki = first.folder().join("pki");
    for replica in [&second, &third] {
        for file in std::fs::read_dir(&pki).expect("it is there").flatten() {
            std::fs::copy(file.path(), replica.folder().join("pki").join(file.file_name())).expect("a copy");
        }
    }
    [first, second, third]
}

/// Says something about a partner or a key in a deployment; returns what the command said.
fn say(deployment: &Deployment, verb: &str, words: &[&str]) -> (bool, String) {
    let folder = deployment.folder();
    let mut line = vec!["partner", verb, "--dir", folder.to_str().expect("text")];
    line.extend(words);
    let done = deployment.try_run(&line);
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (done.status.success(), said)
}

async fn ask_over(partner: &mut Partner) -> Result<VerifyResponse, Status> {
    partner.verify(question()).await.map(tonic::Response::into_inner)
}

fn outcome(answer: &Result<VerifyResponse, Status>) -> String {
    match answer {
        Ok(_) => "answered".to_owned(),
        Err(status) => {
            let reason = status.get_details_error_info().map(|info| info.reason);
            reason.unwrap_or_else(|| format!("{:?}", status.code()))
        }
    }
}

/// Asks over open connections until all of them hear this, within the promise, and then no more of anything else.
async fn soon(partners: &mut [Partner], expected: &str) {
    let began = Instant::now();
    for partner in partners.iter_mut() {
        while outcome(&ask_over(partner).await) != expected {
            assert!(began.elapsed() < FRESH_WITHIN, "{expected} is not heard everywhere");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for _ in 0..5 {
        for partner in partners.iter_mut() {
            assert_eq!(outcome(&ask_over(partner).await), expected, "no way back");
        }
    }
}

/// Goal: what the operator says at one replica holds at every one, on open connections too.
/// Method: a partner with a connection to each of three gateways is suspended at the first, resumed at the second; its key is
/// denied at the third and allowed at the first; then it is suspended from a folder where no gateway runs.
#[test]
fn a_word_said_at_one_replica_holds_on_the_open_connections_of_all() {
    let server = testing::Server::start();
    let [first, second, third] = three_replicas(&server.database());
    let gateways = [first.serve(), second.serve(), third.serve()];
    block_on(async {
        let mut open = Vec::new();
        for gateway in &gateways {
            open.push(gateway.partner("rental-demo").await);
        }
        soon(&mut open, "answered").await;
        let (done, said) =
            say(&first, "suspend", &["rental-demo", "--reason", "invoice overdue", "--by", "op"]);
        assert!(done && said.contains("on the shared record"), "{said}");
        assert_eq!(outcome(&ask_over(&mut open[0]).await), "PARTNER_SUSPENDED", "at once where it was said");
        soon(&mut open, "PARTNER_SUSPENDED").await;
        let (_, listed) = say(&third, "list", &[]);
        assert!(listed.contains("rental-demo is suspended by the shared record"), "{listed}");
        assert!(say(&second, "resume", &["rental-demo"]).0);
        soon(&mut open, "answered").await;

        let key = third.folder().join("pki/rental-demo.pem");
        let key = key.to_str().expect("text");
        assert!(say(&third, "deny", &["--cert", key, "--reason", "stolen"]).0);
        soon(&mut open, "CERTIFICATE_NOT_ACCEPTED").await;
        let mut other = gateways[0].partner("insurer-demo").await;
        assert_ne!(outcome(&ask_over(&mut other).await), "CERTIFICATE_NOT_ACCEPTED", "another key");
        let (_, listed) = say(&first, "list", &["--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(listed["denied_keys"][0]["denials"][0]["reason"], "stolen");
        assert!(say(&first, "allow", &["--cert", key]).0);
        soon(&mut open, "answered").await;
    });
    let [gateway, others @ ..] = gateways;
    assert!(gateway.stop());
    block_on(async {
        let mut open = Vec::new();
        for gateway in &others {
            open.push(gateway.partner("rental-demo").await);
        }
        soon(&mut open, "answered").await;
        assert!(say(&first, "suspend", &["rental-demo", "--reason", "still overdue"]).0);
        soon(&mut open, "PARTNER_SUSPENDED").await;
    });
}

/// Goal: while the shared record is away the operator is told so, and can still cut a partner off here; the stricter counts.
#[test]
fn without_the_primary_a_word_is_refused_or_holds_here_alone() {
    let mut server = testing::Server::start();
    let [first, second] = replicas(&server.database());
    let gateways = [first.serve(), second.serve()];
    block_on(async {
        let mut open = Vec::new();
        for gateway in &gateways {
            open.push(gateway.partner("rental-demo").await);
        }
        soon(&mut open, "answered").await;
        server.stop();
        let words = ["rental-demo", "--reason", "key lost"];
        let (done, said) = say(&first, "suspend", &words);
        assert!(!done && said.contains("--here-only"), "{said}");
        let (done, said) = say(&first, "suspend", &[&words[..], &["--here-only"]].concat());
        assert!(done && said.contains("this replica's record"), "{said}");
        let (done, listed) = say(&first, "list", &[]);
        assert!(!done && listed.contains("the shared standing record cannot be read"), "{listed}");
        soon(&mut open[..1], "PARTNER_SUSPENDED").await;
        let unavailable =
            |answer: &Result<_, Status>| matches!(answer, Err(status) if status.code() == Code::Unavailable);
        eventually(&gateways[1], unavailable).await;

        server.start_again();
        eventually(&gateways[1], |answer| answer.is_ok()).await;
        let answer = ask_over(&mut open[0]).await;
        assert_eq!(outcome(&answer), "PARTNER_SUSPENDED", "the file of this replica is the stricter");
        let (done, said) = say(&first, "resume", &["rental-demo"]);
        assert!(done && said.contains("it stays suspended all the same, by this replica's record"), "{said}");
        let answer = ask_over(&mut open[0]).await;
        assert_eq!(outcome(&answer), "PARTNER_SUSPENDED");
        assert!(say(&first, "resume", &["rental-demo", "--here-only"]).0);
        soon(&mut open, "answered").await;
    });
}
