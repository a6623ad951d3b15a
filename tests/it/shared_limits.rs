//! A contract holds for the whole deployment: three gateways on one PostgreSQL and one Redis give what one may give.

use std::time::{Duration, Instant};

use drivegate::gateway::proto::{GetLimitsRequest, GetLimitsResponse, LimitKind, LimitMode};
use tonic::Code;

use super::asks::{NAME, NUMBER, rental};
use super::harness::{Deployment, Gateway, Partner, Redis, block_on};
use super::testing;

const PATIENCE: Duration = Duration::from_secs(20);
/// Answers a day: a test that runs over midnight in China fails, once.
const QUOTA: u64 = 60;

/// Writes three deployments on one database and one Redis, with the same contract.
fn replicas(url: &str, redis: impl FnOnce(&Deployment) -> String) -> [Deployment; 3] {
    let first = Deployment::on_postgres(url, None);
    let folder = first.folder().to_str().expect("text").to_owned();
    first.run(&["registry", "generate", "--count", "5", "--with-test-drivers", "--into", &folder]);
    let keys = first.folder().join("data/registry.keys");
    let url_of_redis = redis(&first);
    let replicas =
        [first, Deployment::on_postgres(url, Some(&keys)), Deployment::on_postgres(url, Some(&keys))];
    for replica in &replicas {
        replica.configure(|config| {
            let shared = toml::Table::from_iter([("url".to_owned(), url_of_redis.clone().into())]);
            config["cache"].as_table_mut().expect("a table").insert("redis".to_owned(), shared.into());
            let limits = toml::Table::from_iter([("replicas_max".to_owned(), 3.into())]);
            config.insert("limits".to_owned(), limits.into());
        });
        replica.contract("rental-demo", |document| {
            let allowance = document["allowance"].as_table_mut().expect("a table");
            for key in ["rate_per_second", "burst", "quota_per_minute", "quota_per_hour"] {
                allowance.insert(key.to_owned(), 3_000.into());
            }
            allowance.insert("quota_per_day".to_owned(), i64::try_from(QUOTA).expect("few").into());
        });
    }
    replicas
}

/// Asks once; returns whether there was an answer. Nothing else than a spent quota may refuse it.
async fn answered(partner: &mut Partner) -> bool {
    match partner.verify(rental(NUMBER, NAME)).await {
        Ok(_) => true,
        Err(status) if status.code() == Code::ResourceExhausted => false,
        Err(status) => panic!("{status:?}"),
    }
}

async fn limits(partner: &mut Partner) -> GetLimitsResponse {
    partner.get_limits(GetLimitsRequest {}).await.expect("limits can be read").into_inner()
}

fn left_today(limits: &GetLimitsResponse) -> u64 {
    let day = limits.limits.iter().find(|limit| limit.kind() == LimitKind::QuotaDay);
    day.expect("the day's quota").remaining
}

async fn eventually(partner: &mut Partner, holds: impl Fn(&GetLimitsResponse) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let limits = limits(partner).await;
        if holds(&limits) {
            return;
        }
        assert!(Instant::now() < end, "it did not come true: {limits:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many calls for slices were held back.
fn held(gateway: &Gateway<'_>) -> f64 {
    let (_, metrics) = gateway.page("/metrics");
    let is_held = |line: &&str| line.starts_with("drivegate_limit_leases") && line.contains("held");
    let line = metrics.lines().find(is_held).expect("it is a metric");
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
}

/// Asks all in turn until so many answers were given.
async fn spend(partners: &mut [Partner], answers: u64) {
    let end = Instant::now() + PATIENCE;
    let (mut given, mut turn) = (0, 0);
    while given < answers {
        assert!(Instant::now() < end, "{given} of {answers} were given");
        given += u64::from(answered(&mut partners[turn % 3]).await);
        turn += 1;
    }
}

/// Asks one until it refuses; returns how many answers it gave.
async fn spend_all(partner: &mut Partner) -> u64 {
    let mut given = 0;
    while answered(partner).await {
        given += 1;
    }
    given
}

async fn partners(gateways: &[Gateway<'_>]) -> Vec<Partner> {
    let mut partners = Vec::new();
    for gateway in gateways {
        let mut partner = gateway.partner("rental-demo").await;
        eventually(&mut partner, |limits| limits.mode() == LimitMode::Leased).await;
        partners.push(partner);
    }
    partners
}

/// Redis forgets everything: nothing is given again, and leases are held back until every replica has told what it knows.
async fn redis_forgets(redis: &Redis, gateways: &[Gateway<'_>], partners: &mut [Partner], given: u64) {
    let before: Vec<f64> = gateways.iter().map(held).collect();
    assert!(redis.command("FLUSHALL").starts_with("+OK"));
    let end = Instant::now() + PATIENCE;
    while gateways.iter().zip(&before).any(|(gateway, before)| held(gateway) <= *before) {
        assert!(Instant::now() < end, "leases are held back while replicas report");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for partner in partners {
        let is_whole = |limits: &GetLimitsResponse| {
            limits.mode() == LimitMode::Leased && left_today(limits) == QUOTA - given
        };
        eventually(partner, is_whole).await;
    }
}

/// Goal: one day's quota, wherever it is asked for: not again when Redis forgets, not more when Redis is gone. Method: a third is spent
/// at three replicas in turn and Redis is emptied; another third, and Redis is killed; then every replica is asked until it refuses.
#[test]
fn a_quota_holds_across_replicas_whatever_becomes_of_redis() {
    let server = testing::Server::start();
    let mut redis = None;
    let deployments = replicas(&server.database(), |first| {
        redis.insert(Redis::start(&first.everything().join("redis"))).url()
    });
    let redis = redis.expect("it was started");
    let gateways = deployments.each_ref().map(Deployment::serve);
    block_on(async {
        let mut partners = partners(&gateways).await;
        spend(&mut partners, QUOTA / 3).await;
        redis_forgets(&redis, &gateways, &mut partners, QUOTA / 3).await;
        spend(&mut partners, QUOTA / 3).await;
        drop(redis);
        let mut shares = Vec::new();
        for partner in &mut partners {
            eventually(partner, |limits| limits.mode() == LimitMode::Divided).await;
            let left = left_today(&limits(partner).await);
            let share = spend_all(partner).await;
            assert_eq!(share, left, "it said what it has");
            shares.push(share);
        }
        assert!(shares.iter().sum::<u64>() <= QUOTA / 3, "no more than the rest: {shares:?}");
        assert!(shares.iter().all(|share| *share >= 3), "each had something: {shares:?}");
    });
    for gateway in gateways {
        assert!(gateway.stop());
    }
}
