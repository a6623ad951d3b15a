//! A Cluster of three masters and their replicas, real ones.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::*;
use crate::cache::redis::seal::Sealer;
use crate::redis_link::testing::Cluster;
use crate::redis_link::{RedisAddress, RedisPlace, slot};
use crate::verification::ports::RequestName;

/// Drivers; each on a slot of its own, nearly.
const DRIVERS: u64 = 120;
const FAILOVER_MAX: Duration = Duration::from_secs(15);

fn options(cluster: &Cluster) -> RedisOptions {
    RedisOptions {
        address: RedisAddress::at(RedisPlace::Cluster(cluster.urls())),
        ..RedisOptions::new(String::new())
    }
}

/// Where a driver's fact lies.
fn slot_of(n: u64) -> u16 {
    slot(&Sealer::new(&secrets()).unwrap().name(number(n)).unwrap())
}

async fn connected(source: &Arc<ScriptedSource>, cluster: &Cluster) -> Replica {
    let replica = Replica::over(source, options(cluster));
    replica.becomes(BreakerState::Closed).await;
    replica.asks_by_itself().await;
    replica
}

/// Has Redis hold the facts of all drivers.
async fn fill(source: &Arc<ScriptedSource>, cluster: &Cluster) {
    let filling = connected(source, cluster).await;
    for n in 0..DRIVERS {
        filling.ask(n).await;
    }
    let all = usize::try_from(DRIVERS).unwrap();
    eventually("the Cluster holds the facts", || cluster.keys(FACTS).len() == all).await;
}

/// Goal: facts and notes lie all over the Cluster and are found there, while slots move too. Method: every driver is filled by one
/// replica and read by another; then one driver's slot is moved under it, asked about half-way (ASK) and afterwards (MOVED).
#[tokio::test]
async fn facts_lie_on_every_master_and_are_found_while_slots_move() {
    let cluster = Cluster::start();
    let source = registry_of(DRIVERS);
    fill(&source, &cluster).await;
    let masters: BTreeSet<usize> = (0..DRIVERS).map(|n| cluster.master_of(slot_of(n), 0)).collect();
    assert_eq!(masters.len(), 3, "the drivers are spread");
    let reads = source.read_count();
    let other = connected(&source, &cluster).await;
    for n in 0..DRIVERS {
        assert_eq!(other.ask(n).await.source, FactSource::Redis, "driver {n}");
    }
    assert_eq!(source.read_count(), reads);

    let moved = slot_of(0);
    let from = cluster.master_of(moved, 0);
    let to = *masters.iter().find(|master| **master != from).unwrap();
    let [from_id, to_id] = [from, to].map(|node| cluster.nodes[node].run::<String>(&["CLUSTER", "MYID"]));
    let moved = moved.to_string();
    let key = String::from_utf8(Sealer::new(&secrets()).unwrap().name(number(0)).unwrap().to_vec()).unwrap();
    let port = cluster.nodes[to].port.to_string();
    let done = |node: usize, words: &[&str]| assert_eq!(cluster.nodes[node].run::<String>(words), "OK");
    done(to, &["CLUSTER", "SETSLOT", &moved, "IMPORTING", &from_id]);
    done(from, &["CLUSTER", "SETSLOT", &moved, "MIGRATING", &to_id]);
    done(from, &["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]);
    let half_way = connected(&source, &cluster).await;
    assert_eq!(half_way.ask(0).await.source, FactSource::Redis, "asked of the node it went to");
    for node in [to, from] {
        done(node, &["CLUSTER", "SETSLOT", &moved, "NODE", &to_id]);
    }
    // The first one's map of the slots is from before the move.
    let before: Vec<u8> = cluster.nodes[to].run(&["GET", &key]);
    other.change(0, &source);
    assert_eq!(changes_of(&other.ask(0).await), 4);
    eventually("written where the slot is now", || {
        cluster.nodes[to].run::<Vec<u8>>(&["GET", &key]) != before
    })
    .await;
    assert!(!other.saw(RedisFault::Refused) && !half_way.saw(RedisFault::Refused), "redirects are followed");
}

/// Goal: a master that hangs, and one that dies, keep no request waiting beyond its budget, soon none at all, and never those of the
/// other masters; its promoted replica is used without a restart. Method: the master of driver 0 is stopped, later another one killed.
#[tokio::test]
async fn a_master_that_hangs_or_dies_costs_its_own_slots_alone_and_its_replica_takes_over() {
    let mut cluster = Cluster::start();
    let source = registry_of(20_000);
    fill(&source, &cluster).await;
    let replica = connected(&source, &cluster).await;
    let hung = cluster.master_of(slot_of(0), 0);
    let witness = usize::from(hung == 0);
    cluster.nodes[hung].signal(Signal::STOP);
    let mut fresh = 1_000..;
    let stopped = RealClock.since_boot();
    while replica.notes.breaker.lock().unwrap().last() == Some(&BreakerState::Closed) {
        replica.ask(fresh.next().unwrap()).await;
        assert!(RealClock.since_boot() - stopped < Duration::from_secs(1), "open within a second");
    }
    // Others' slots are asked all the while; nobody waits for those of the node that hangs.
    let began = RealClock.since_boot();
    let mut found = 0;
    for n in (0..DRIVERS).filter(|n| cluster.master_of(slot_of(*n), witness) != hung) {
        found += u32::from(replica.ask(n).await.source == FactSource::Redis);
    }
    assert!(found > 0, "the other masters are still asked");
    assert!(RealClock.since_boot() - began < Duration::from_secs(3));

    recovers(&replica, &cluster, witness, hung, &mut fresh).await;
    cluster.nodes[hung].signal(Signal::CONT);
    eventually("the old master follows", || {
        cluster.nodes[hung].run::<String>(&["INFO", "replication"]).contains("role:slave")
    })
    .await;

    let killed = cluster.master_of(slot_of(1), witness);
    let witness = (0..6).find(|node| ![killed, hung].contains(node)).unwrap();
    cluster.nodes[killed].kill();
    recovers(&replica, &cluster, witness, killed, &mut fresh).await;
}

/// Asks on until a replica took the lost master's place, and then until every breaker is closed, within five seconds.
async fn recovers(
    replica: &Replica,
    cluster: &Cluster,
    witness: usize,
    lost: usize,
    fresh: &mut impl Iterator<Item = u64>,
) {
    let is_master =
        |node: usize| (0..16_384).step_by(512).any(|slot| cluster.master_of(slot, witness) == node);
    let until = RealClock.since_boot() + FAILOVER_MAX;
    while is_master(lost) {
        replica.ask(fresh.next().unwrap()).await;
        assert!(RealClock.since_boot() < until, "the Cluster elects a master");
    }
    let until = RealClock.since_boot() + RECOVERY_MAX;
    loop {
        replica.ask(fresh.next().unwrap()).await;
        if replica.notes.breaker.lock().unwrap().last() == Some(&BreakerState::Closed) {
            return;
        }
        assert!(RealClock.since_boot() < until, "in use again without a restart");
    }
}

/// Goal: replicas' notes about requests work over a Cluster: each question is two commands on one key.
#[tokio::test]
async fn notes_lie_in_a_cluster_too() {
    let cluster = Cluster::start();
    let level = RedisLevel::start(
        options(&cluster),
        &secrets(),
        Arc::new(Codec),
        Arc::new(RealClock),
        Arc::new(Notes::default()),
        &Handle::current(),
    );
    let notes = level.as_ref().unwrap().notes();
    eventually("connected", || notes.is_asked()).await;
    let partner = "rental-demo".parse().unwrap();
    for n in 0..20 {
        let id = format!("request-{n}");
        let name = RequestName { partner: &partner, id: &id };
        let kept_for = Duration::from_secs(60);
        assert_eq!(notes.leave_or_read(name, b"note", kept_for, within(DEADLINE)).await, Ok(None));
        let there = notes.leave_or_read(name, b"note", kept_for, within(DEADLINE)).await;
        assert_eq!(there, Ok(Some(b"note".to_vec())));
    }
}
