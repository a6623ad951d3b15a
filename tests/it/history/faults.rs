//! What goes wrong, for how long, and how it ends.

use std::time::Duration;

use redis::Commands as _;
use rustix::process::{Pid, Signal, kill_process};

use super::people::{Stage, now};
use super::proxy::Manner;
use super::world::{Behind, Redis, port_of};

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    RedisKilled,
    RedisStopped,
    RedisFlushed,
    RedisFull,
    RedisReadOnly,
    RedisSlow,
    RedisLies,
    /// A slot is moved to another master and back, asked about half-way (ASK) and afterwards (MOVED).
    SlotsMoved,
    /// A master of the Cluster hangs, and its replica takes over.
    MasterStopped,
    GatewayStopped,
    /// Polls wait, look-ups do not.
    FeedStalled,
    /// One replica's wire to the primary hangs; the authority goes on at the others.
    WireHangs,
    PrimarySlow,
    PrimaryGone,
    /// A streaming standby takes the primary's place.
    Promoted,
}

impl Fault {
    /// What may happen to one Redis, its gateways and their primary.
    pub(super) const OF_ONE: [Self; 13] = [
        Self::WireHangs,
        Self::RedisLies,
        Self::GatewayStopped,
        Self::FeedStalled,
        Self::RedisStopped,
        Self::RedisFlushed,
        Self::RedisKilled,
        Self::RedisSlow,
        Self::RedisFull,
        Self::RedisReadOnly,
        Self::PrimarySlow,
        Self::PrimaryGone,
        Self::Promoted,
    ];
    /// What may happen to a Cluster.
    pub(super) const OF_CLUSTER: [Self; 2] = [Self::SlotsMoved, Self::MasterStopped];

    /// Says whether the registry can be read all the while: then every answer must come.
    pub(super) fn leaves_the_registry(self) -> bool {
        !matches!(
            self,
            Self::WireHangs
                | Self::PrimarySlow
                | Self::PrimaryGone
                | Self::Promoted
                | Self::FeedStalled
                | Self::GatewayStopped
        )
    }
}

/// Lets one thing go wrong for so long, and mends it. Blocks.
pub(super) fn play(fault: Fault, lasts: Duration, behind: &mut Behind, gateways: &[Pid], stage: &Stage) {
    let wait = || std::thread::sleep(lasts);
    match fault {
        Fault::GatewayStopped => {
            kill_process(gateways[0], Signal::STOP).expect("it runs");
            wait();
            kill_process(gateways[0], Signal::CONT).expect("it is there");
        }
        Fault::FeedStalled => {
            // Who may call is polled before the feed; look-ups do not read it.
            let seconds = lasts.as_secs_f64();
            behind.primary.sql(
                &behind.database,
                &format!("BEGIN; LOCK TABLE standing_head, standing_change IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"),
            );
        }
        Fault::WireHangs => {
            behind.to_primary[0].becomes(Manner::Hanging);
            wait();
            behind.to_primary[0].becomes(Manner::Well);
        }
        Fault::PrimarySlow => {
            behind.to_primary.iter().for_each(|wire| wire.becomes(Manner::Slow(Duration::from_millis(500))));
            wait();
            behind.to_primary.iter().for_each(|wire| wire.becomes(Manner::Well));
        }
        Fault::PrimaryGone => {
            behind.primary.kill();
            wait();
            behind.primary.start_again();
        }
        Fault::Promoted => promote(behind),
        _ => play_on_redis(fault, lasts, behind, stage),
    }
}

fn play_on_redis(fault: Fault, lasts: Duration, behind: &mut Behind, stage: &Stage) {
    let wait = || std::thread::sleep(lasts);
    let server = match &mut behind.redis {
        Redis::Cluster(cluster) => return play_on_cluster(fault, lasts, cluster),
        Redis::One(server) => server,
    };
    let began = now();
    let silent = |until: Duration| stage.history.lock().unwrap().redis_silent.push((began, until));
    match fault {
        Fault::RedisKilled => {
            server.kill();
            wait();
            silent(now());
            server.revive();
        }
        Fault::RedisStopped => {
            server.signal(Signal::STOP);
            wait();
            silent(now());
            server.signal(Signal::CONT);
        }
        Fault::RedisFlushed => {
            for _ in 0..10 {
                server.run::<String>(&["FLUSHALL"]);
                std::thread::sleep(lasts / 10);
            }
        }
        Fault::RedisFull => {
            server.run::<String>(&["CONFIG", "SET", "maxmemory", "1"]);
            wait();
            server.run::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        Fault::RedisReadOnly => {
            server.run::<String>(&["REPLICAOF", "127.0.0.1", "1"]);
            wait();
            server.run::<String>(&["REPLICAOF", "NO", "ONE"]);
        }
        Fault::RedisSlow => {
            let wire = behind.to_redis.as_ref().expect("one server has a wire");
            wire.becomes(Manner::Slow(Duration::from_millis(500)));
            wait();
            wire.becomes(Manner::Well);
        }
        Fault::RedisLies => lie(server, lasts),
        other => unreachable!("{other:?} is nothing that happens to one Redis"),
    }
}

/// Brings back what was held earlier, gives values to other keys, and changes single bits, over and over.
fn lie(server: &crate::redis_testing::Server, lasts: Duration) {
    let mut console = server.console();
    let until = now() + lasts;
    let mut past: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for turn in 0_usize.. {
        let keys: Vec<Vec<u8>> = console.keys("dg:2:*").expect("keys");
        let held: Vec<(Vec<u8>, Vec<u8>)> = keys
            .into_iter()
            .filter_map(|key| Some((key.clone(), console.get::<_, Option<Vec<u8>>>(&key).ok()??)))
            .collect();
        for (index, (key, value)) in past.iter().chain(&held).enumerate() {
            let told = match (index + turn) % 3 {
                0 => value.clone(),
                1 => held.get(turn % held.len().max(1)).map_or_else(Vec::new, |(_, other)| other.clone()),
                _ => {
                    let mut changed = value.clone();
                    let place = (index * 31 + turn) % changed.len().max(1);
                    changed.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1);
                    changed
                }
            };
            let () = console.set(key, told).expect("it is told");
        }
        past.extend(held);
        past.truncate(64);
        if now() > until {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn play_on_cluster(fault: Fault, lasts: Duration, cluster: &mut crate::redis_testing::Cluster) {
    let up = (0..cluster.nodes.len()).find(|node| cluster.nodes[*node].is_up()).expect("a node is up");
    match fault {
        Fault::SlotsMoved => {
            let until = now() + lasts;
            while now() < until {
                let keys = cluster.keys("dg:2:*");
                let Some(key) = keys.first() else { continue };
                let slot: u16 = cluster.nodes[up].run(&["CLUSTER", "KEYSLOT", key]);
                move_slot(cluster, slot, up, Duration::from_millis(200));
            }
        }
        Fault::MasterStopped => {
            let master = cluster.master_of(0, up);
            cluster.nodes[master].signal(Signal::STOP);
            std::thread::sleep(lasts);
            cluster.nodes[master].signal(Signal::CONT);
        }
        other => unreachable!("{other:?} is nothing that happens to a Cluster"),
    }
}

/// Moves a slot to another master, with the keys that lie there; half-way, clients are sent to ask at the new place.
fn move_slot(cluster: &crate::redis_testing::Cluster, slot: u16, asked: usize, half_way: Duration) {
    let (from, nodes) = (cluster.master_of(slot, asked), &cluster.nodes);
    let masters = (0..16_384).step_by(1_000).map(|slot| cluster.master_of(slot, asked));
    let to = masters.into_iter().find(|master| *master != from).expect("another master");
    let [from_id, to_id] = [from, to].map(|node| nodes[node].run::<String>(&["CLUSTER", "MYID"]));
    let (slot, port) = (slot.to_string(), nodes[to].port.to_string());
    let set = |node: usize, words: [&str; 2]| {
        nodes[node].run::<String>(&["CLUSTER", "SETSLOT", &slot, words[0], words[1]]);
    };
    set(to, ["IMPORTING", &from_id]);
    set(from, ["MIGRATING", &to_id]);
    let keys: Vec<String> = nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    for key in &keys {
        // A key that has gone meanwhile is no error.
        nodes[from].run::<String>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000", "REPLACE"]);
    }
    std::thread::sleep(half_way);
    set(to, ["NODE", &to_id]);
    set(from, ["NODE", &to_id]);
}

/// As docs/scale.md says: the standby lacks nothing that was acknowledged, the old primary is fenced, the address leads to the new one.
fn promote(behind: &mut Behind) {
    let standby = behind.primary.standby(&[]);
    let waits = "ALTER SYSTEM SET synchronous_standby_names = '*'";
    behind.primary.sql("postgres", waits);
    behind.primary.sql("postgres", "SELECT pg_reload_conf()");
    let followed = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    let until = now() + Duration::from_secs(20);
    while behind.primary.sql("postgres", followed) != "1" {
        assert!(now() < until, "the standby follows");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    behind.primary.kill();
    standby.promote();
    behind.to_primary.iter().for_each(|wire| wire.leads_to(port_of(&standby)));
    behind.primary = standby;
}
