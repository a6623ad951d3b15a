//! What the operator's pages say of a gateway to which things happen: a metric nobody feeds is a lamp that never lights.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use drivegate::gateway::proto::Decision;
use drivegate::identity::client::ClientTls;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::asks::{NAME, NUMBER, insurance_claim, rental};
use super::harness::{Deployment, Gateway, Partner, Redis, block_on};

/// A well-formed number that no test driver has.
const NOBODY: &str = "000000199001019995";
/// Another test driver.
const ANOTHER: &str = "000000199001010616";
/// Gauges are set and files looked at within a second; the machine may be busy.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
const DAY: f64 = 86_400.0;

/// Goal: every metric an operator would watch moves when its cause happens. Method: one gateway, each cause in turn.
#[test]
fn what_happens_is_counted_under_its_own_label() {
    let deployment = Deployment::new();
    allow(&deployment, "rental-demo", &[("rate_per_second", 1), ("burst", 8)]);
    allow(&deployment, "insurer-demo", &[("quota_per_minute", 1), ("connections_max", 1)]);
    let gateway = deployment.serve();
    block_on(async {
        let mut rental_demo = gateway.partner("rental-demo").await;
        answers_are_counted(&gateway, &mut rental_demo).await;
        spent_limits_are_counted(&gateway, &mut rental_demo).await;
        strangers_are_counted(&gateway, &deployment).await;
        eventually(&gateway, "drivegate_connections", &[], |open| open >= 1.0);
    });
    // The clients are gone, and so are their connections.
    eventually(&gateway, "drivegate_connections", &[], |open| open == 0.0);
    assert_eq!(condition(&gateway, "registry").as_deref(), Some("healthy"));
    assert_eq!(condition(&gateway, "redis"), None, "there is none");
    ends_are_shown(&gateway);
    faults_are_shown(&gateway, &deployment);
    assert!(gateway.stop());
}

/// Redis may lose everything at any time: what it was asked, whether it was asked at all, and health all say so.
#[test]
fn redis_is_counted_while_it_is_there_and_shown_when_it_is_gone() {
    let deployment = Deployment::new();
    let redis = Redis::start(&deployment.everything().join("redis"));
    deployment.configure(|config| {
        let mut level = toml::Table::new();
        level.insert("url".to_owned(), redis.url().into());
        config["cache"].as_table_mut().expect("a table").insert("redis".to_owned(), level.into());
    });
    let gateway = deployment.serve();
    let looked_up = |result| [("level", "redis"), ("result", result)];
    eventually(&gateway, "drivegate_redis_breaker", &[("state", "closed")], |is_it| is_it == 1.0);
    block_on(async {
        let mut partner = gateway.partner("rental-demo").await;
        partner.verify(rental(NUMBER, NAME)).await.expect("an answer");
        eventually(&gateway, "drivegate_cache_look_ups_total", &looked_up("miss"), |count| count >= 1.0);
        assert_eq!(condition(&gateway, "redis").as_deref(), Some("healthy"));
        drop(redis);
        // The loss is noticed by asking; who asks is answered from the registry all the same.
        partner.verify(rental(NOBODY, NAME)).await.expect("an answer");
        eventually(&gateway, "drivegate_redis_breaker", &[("state", "closed")], |is_it| is_it == 0.0);
        partner.verify(rental(ANOTHER, NAME)).await.expect("an answer");
        eventually(&gateway, "drivegate_cache_look_ups_total", &looked_up("bypassed"), |count| count >= 1.0);
    });
    assert_eq!(condition(&gateway, "redis").as_deref(), Some("degraded"));
    assert_eq!(condition(&gateway, "registry").as_deref(), Some("healthy"));
}

async fn answers_are_counted(gateway: &Gateway<'_>, partner: &mut Partner) {
    for _ in 0..2 {
        let answer = partner.verify(rental(NUMBER, NAME)).await.expect("an answer").into_inner();
        assert_eq!(answer.decision(), Decision::Qualified);
    }
    partner.verify(rental(NOBODY, NAME)).await.expect("an answer that confirms nothing");
    let malformed = partner.verify(rental("12", NAME)).await.expect_err("no number");
    assert_eq!(reason(&malformed), "REQUEST_MALFORMED");
    for (name, labels) in [
        (
            "drivegate_requests_total",
            &[("method", "Verify"), ("purpose", "rental"), ("outcome", "qualified")][..],
        ),
        ("drivegate_requests_total", &[("outcome", "indeterminate")]),
        ("drivegate_requests_total", &[("outcome", "malformed")]),
        ("drivegate_refusals_total", &[("reason", "REQUEST_MALFORMED")]),
        ("drivegate_cache_look_ups_total", &[("level", "in-process"), ("result", "miss")]),
        ("drivegate_cache_look_ups_total", &[("level", "in-process"), ("result", "hit")]),
        ("drivegate_registry_reads_total", &[("result", "found")]),
        ("drivegate_registry_reads_total", &[("result", "absent")]),
        ("drivegate_registry_read_duration_seconds_count", &[]),
        ("drivegate_handshakes_total", &[("outcome", "accepted")]),
        ("drivegate_journal_entries_total", &[]),
        ("drivegate_journal_size_bytes_total", &[]),
        ("drivegate_cache_entries", &[]),
    ] {
        eventually(gateway, name, labels, |value| value >= 1.0);
    }
}

async fn spent_limits_are_counted(gateway: &Gateway<'_>, rental_demo: &mut Partner) {
    let spent = refused(rental_demo, || rental(NUMBER, NAME)).await;
    assert_eq!(reason(&spent), "RATE_EXCEEDED");
    let mut insurer = gateway.partner("insurer-demo").await;
    let spent = refused(&mut insurer, || insurance_claim(NUMBER, NAME)).await;
    assert_eq!(reason(&spent), "QUOTA_EXCEEDED");
    // One connection is allowed, and it is open.
    let tls = gateway.tls("insurer-demo");
    drop(tls.connect(gateway.address(), "localhost", Duration::from_secs(5)).await);
    for (name, labels) in [
        ("drivegate_requests_total", ("outcome", "refused")),
        ("drivegate_refusals_total", ("reason", "RATE_EXCEEDED")),
        ("drivegate_refusals_total", ("reason", "QUOTA_EXCEEDED")),
        ("drivegate_limit_refusals_total", ("limit", "rate")),
        ("drivegate_limit_refusals_total", ("limit", "quota-minute")),
        ("drivegate_limit_refusals_total", ("limit", "connections")),
        ("drivegate_handshakes_total", ("outcome", "shed")),
    ] {
        eventually(gateway, name, &[labels], |value| value >= 1.0);
    }
    assert_eq!(read(gateway, "drivegate_limit_refusals_total", &[("limit", "quota-day")]), 0.0);
}

/// Who brings no certificate gets no further than the handshake.
async fn strangers_are_counted(gateway: &Gateway<'_>, deployment: &Deployment) {
    let authority = deployment.folder().join("pki/ca.pem");
    let stranger = ClientTls::from_files(&authority, None).expect("the authority's file is usable");
    drop(stranger.connect(gateway.address(), "localhost", Duration::from_secs(5)).await);
    let refused = [("outcome", "no-certificate")];
    eventually(gateway, "drivegate_handshakes_total", &refused, |value| value >= 1.0);
}

fn ends_are_shown(gateway: &Gateway<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    for what in ["server-certificate", "trust-root", "revocation-list"] {
        eventually(gateway, "drivegate_expiry_seconds", &[("what", what)], |at| at > now + 14.0 * DAY);
    }
}

fn faults_are_shown(gateway: &Gateway<'_>, deployment: &Deployment) {
    let faults = |test: fn(f64) -> bool| eventually(gateway, "drivegate_partner_files_faults", &[], test);
    faults(|count| count == 0.0);
    let file = deployment.folder().join("partners/broken.toml");
    std::fs::write(&file, "id = 3").expect("the folder can be written");
    faults(|count| count >= 1.0);
    eventually(gateway, "drivegate_reloads_total", &[("outcome", "failed")], |count| count >= 1.0);
    let (status, page) = gateway.page("/readyz");
    assert_eq!(status, 200, "the last good contracts are in force: {page}");
    std::fs::remove_file(&file).expect("the file is there");
    faults(|count| count == 0.0);
    let done = read(gateway, "drivegate_reloads_total", &[("outcome", "done")]);
    rustix::process::kill_process(gateway.process(), rustix::process::Signal::HUP).expect("it is running");
    eventually(gateway, "drivegate_reloads_total", &[("outcome", "done")], |count| count > done);
}

/// Asks until it is refused: a bucket refills and a window may turn while we ask.
async fn refused(
    partner: &mut Partner,
    question: impl Fn() -> drivegate::gateway::proto::VerifyRequest,
) -> Status {
    for _ in 0..100 {
        if let Err(status) = partner.verify(question()).await {
            return status;
        }
    }
    panic!("nothing was refused");
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn allow(deployment: &Deployment, partner: &str, terms: &[(&str, i64)]) {
    deployment.contract(partner, |document| {
        let allowance = document["allowance"].as_table_mut().expect("a table");
        for (key, value) in terms {
            allowance.insert((*key).to_owned(), (*value).into());
        }
    });
}

/// How a part is, as `/health` says.
fn condition(gateway: &Gateway<'_>, part: &str) -> Option<String> {
    let report: serde_json::Value = serde_json::from_str(&gateway.page("/health").1).expect("it is JSON");
    let parts = report["parts"].as_array().expect("a list");
    let found = parts.iter().find(|known| known["part"] == part)?;
    found["condition"].as_str().map(str::to_owned)
}

/// Waits until a metric is as it should be.
fn eventually(gateway: &Gateway<'_>, name: &str, labels: &[(&str, &str)], test: impl Fn(f64) -> bool) {
    let end = Instant::now() + SHOWN_WITHIN;
    loop {
        let value = read(gateway, name, labels);
        if test(value) {
            return;
        }
        assert!(Instant::now() < end, "{name}{labels:?} stays {value}:\n{}", gateway.page("/metrics").1);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sums the series of a metric that carry the labels.
fn read(gateway: &Gateway<'_>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let (status, page) = gateway.page("/metrics");
    assert_eq!(status, 200);
    let wanted: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let series = page.lines().filter_map(|line| line.strip_prefix(name)).filter_map(|line| {
        let (carried, value) = line.rsplit_once(' ')?;
        let is_it = carried.is_empty() || carried.starts_with('{');
        (is_it && wanted.iter().all(|label| carried.contains(label.as_str())))
            .then(|| value.parse::<f64>().ok())?
    });
    series.sum()
}
