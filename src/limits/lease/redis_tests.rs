//! Leasing over a real connection to a real `redis-server`, which comes, is emptied, stands still and goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Commands as _;
use rustix::process::Signal;
use tokio::runtime::Handle;

use super::{LeaseObserver, LeaseOutcome, LimitLeases};
use crate::admission::{LimitMode, LimitWindow, Meters as _};
use crate::app::SystemClock;
use crate::domain::partner::{Allowance, PartnerId};
use crate::limits::testing::{allowance, partner};
use crate::limits::{LimitOptions, LocalLimits};
use crate::redis_link::testing::{Cluster, Server};
use crate::redis_link::{RedisAddress, RedisPlace, slot};
use crate::verification::ports::Quotas as _;

const PATIENCE: Duration = Duration::from_secs(10);
const REPLICAS: u32 = 3;

#[derive(Default)]
struct Notes {
    leased: AtomicU64,
    others: Mutex<Vec<LeaseOutcome>>,
}

impl LeaseObserver for Notes {
    fn leased(&self, outcome: LeaseOutcome, calls: u64) {
        match outcome {
            LeaseOutcome::Leased => drop(self.leased.fetch_add(calls, Ordering::Relaxed)),
            other => self.others.lock().unwrap().push(other),
        }
    }
}

struct Replica {
    limits: Arc<LocalLimits>,
    leases: LimitLeases,
    notes: Arc<Notes>,
}

impl Replica {
    fn start(server: &Server, scope: &[u8]) -> Self {
        Self::at(&RedisAddress::new(server.url()), scope, &[partner()])
    }

    fn at(address: &RedisAddress, scope: &[u8], partners: &[PartnerId]) -> Self {
        let options = LimitOptions { replicas_max: REPLICAS.try_into().ok(), ..LimitOptions::default() };
        let limits = Arc::new(LocalLimits::new(Arc::new(SystemClock), options));
        let terms = terms();
        limits.know(partners.iter().map(|partner| (partner, &terms)));
        let notes = Arc::<Notes>::default();
        let observer = Arc::clone(&notes) as Arc<dyn LeaseObserver>;
        let leases =
            LimitLeases::start(Arc::clone(&limits), address, scope, observer, &Handle::current()).unwrap();
        Self { limits, leases, notes }
    }

    async fn becomes(&self, mode: LimitMode) {
        eventually("the mode changes", || self.limits.mode(&partner(), &terms()) == mode).await;
    }

    fn answer(&self) -> bool {
        self.limits.reserve(&partner(), &terms(), None).is_ok_and(|reserved| reserved.charge())
    }

    fn remaining_today(&self) -> u64 {
        let levels = self.limits.levels(&partner(), &terms());
        levels.into_iter().find(|level| level.window == LimitWindow::QuotaDay).unwrap().remaining
    }
}

/// The day alone binds: these tests may run over the end of a minute, and once a year over midnight.
fn terms() -> Allowance {
    Allowance { quota_per_minute: 1_000_000, quota_per_hour: 1_000_000, quota_per_day: 300, ..allowance() }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_gave_another_no_longer_has() {
    let server = Server::start(&[]);
    let replicas = [Replica::start(&server, b"one"), Replica::start(&server, b"one")];
    let stranger = Replica::start(&server, b"another");
    for replica in replicas.iter().chain([&stranger]) {
        replica.becomes(LimitMode::Leased).await;
    }
    for _ in 0..90 {
        assert!(replicas[0].answer());
    }
    eventually("the other hears", || replicas[1].remaining_today() == 210).await;
    assert_eq!(stranger.remaining_today(), 300, "another deployment's limits are its own");
    assert!(replicas[0].notes.leased.load(Ordering::Relaxed) > 1);
    let keys: Vec<String> = server.console().keys("*").unwrap();
    assert_eq!(keys.len(), 2, "one hash for each deployment's partner: {keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_is_told_anew() {
    let server = Server::start(&[]);
    let replicas = [Replica::start(&server, b"one"), Replica::start(&server, b"one")];
    for replica in &replicas {
        replica.becomes(LimitMode::Leased).await;
    }
    for _ in 0..90 {
        assert!(replicas[0].answer());
    }
    eventually("the other hears", || replicas[1].remaining_today() == 210).await;
    redis::cmd("FLUSHALL").exec(&mut server.console()).unwrap();
    eventually("leases are held back", || {
        replicas.iter().any(|replica| replica.notes.others.lock().unwrap().contains(&LeaseOutcome::Held))
    })
    .await;
    for replica in &replicas {
        replica.becomes(LimitMode::Leased).await;
        eventually("what was given counts", || replica.remaining_today() == 210).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stands_still_or_is_gone_holds_nobody_up_and_is_found_again() {
    let mut server = Server::start(&[]);
    let replica = Replica::start(&server, b"one");
    replica.becomes(LimitMode::Leased).await;
    server.signal(Signal::STOP);
    replica.becomes(LimitMode::Divided).await;
    assert!(replica.answer(), "from its share");
    assert!(replica.limits.spend(&partner(), &terms()).is_ok());
    server.signal(Signal::CONT);
    replica.becomes(LimitMode::Leased).await;
    server.kill();
    replica.becomes(LimitMode::Divided).await;
    assert!(replica.answer());
    assert!(replica.notes.others.lock().unwrap().contains(&LeaseOutcome::Failed));
    server.revive();
    replica.becomes(LimitMode::Leased).await;
    eventually("what was given counts", || replica.remaining_today() == 298).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_or_holds_something_else_leases_nothing() {
    let server = Server::start(&[]);
    let replica = Replica::start(&server, b"one");
    replica.becomes(LimitMode::Leased).await;
    let mut console = server.console();
    let keys: Vec<String> = console.keys("*").unwrap();
    let _: () = redis::pipe().del(&keys[0]).set(&keys[0], "no hash").query(&mut console).unwrap();
    replica.becomes(LimitMode::Divided).await;
    let _: () = console.del(&keys[0]).unwrap();
    replica.becomes(LimitMode::Leased).await;
    // Nonsense in the hash is as good as nothing.
    let _: () = console.hset_multiple(&keys[0], &[("s", "x y z"), ("stranger", "1 2")]).unwrap();
    let is_gone = || !server.console().hexists(&keys[0], "stranger").unwrap_or(true);
    eventually("what is not ours is gone", is_gone).await;
    replica.becomes(LimitMode::Leased).await;
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").exec(&mut console).unwrap();
    replica.becomes(LimitMode::Divided).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stops_gives_back_what_it_holds() {
    let server = Server::start(&[]);
    let [stopping, staying] = [Replica::start(&server, b"one"), Replica::start(&server, b"one")];
    for replica in [&stopping, &staying] {
        replica.becomes(LimitMode::Leased).await;
    }
    assert!(stopping.answer());
    stopping.leases.leave().await;
    let rows: std::collections::HashMap<String, String> =
        server.console().hgetall(&server.console().keys::<_, Vec<String>>("*").unwrap()[0]).unwrap();
    let is_left = |row: &str| {
        let numbers: Vec<&str> = row.split(' ').collect();
        numbers[numbers.len() - 2] == numbers[numbers.len() - 1] && numbers[numbers.len() - 1] == "1"
    };
    assert!(rows.iter().any(|(name, row)| name != "s" && is_left(row)), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_redis_begins_with_its_share() {
    let server = Server::reserve(&[]);
    let replica = Replica::start(&server, b"one");
    replica.leases.begun(PATIENCE).await;
    assert_eq!(replica.limits.mode(&partner(), &terms()), LimitMode::Divided);
    let given = (0..300).filter(|_| replica.answer()).count();
    assert_eq!(given, 100, "its share of the day");
}

/// Goal: a node of a Cluster that stands still takes the leases of its own partners alone, until another has its slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_of_a_cluster_that_stands_still_divides_its_own_partners_alone() {
    let cluster = Cluster::start();
    let partners: Vec<PartnerId> = (0..12).map(|number| format!("desk-{number}").parse().unwrap()).collect();
    let master_of = |partner: &PartnerId, asked| cluster.master_of(slot(partner.as_str().as_bytes()), asked);
    let address = RedisAddress { place: RedisPlace::Cluster(cluster.urls()), ..RedisAddress::new("") };
    let replica = Replica::at(&address, b"one", &partners);
    let mode = |partner: &PartnerId| replica.limits.mode(partner, &terms());
    let all_leased = || partners.iter().all(|partner| mode(partner) == LimitMode::Leased);
    eventually("every node leases", all_leased).await;

    let hung = master_of(&partners[0], 0);
    let (its, others): (Vec<_>, Vec<_>) =
        partners.iter().partition(|partner| master_of(partner, usize::from(hung == 0)) == hung);
    assert!(!its.is_empty() && !others.is_empty(), "{} of 12", its.len());
    cluster.nodes[hung].signal(Signal::STOP);
    eventually("its partners are divided, and the others are not meanwhile", || {
        assert!(others.iter().all(|partner| mode(partner) == LimitMode::Leased));
        its.iter().all(|partner| mode(partner) == LimitMode::Divided)
    })
    .await;
    assert!(replica.limits.spend(its[0], &terms()).is_ok(), "from its share");
    eventually("whoever is master now leases", all_leased).await;
    cluster.nodes[hung].signal(Signal::CONT);
}
