//! Three gateways on one PostgreSQL and one Redis, every wire between them in the test's hand.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::people::{self, DRIVERS, Replica, Stage};
use super::proxy::Proxy;
use crate::harness::{Deployment, Gateway};
use crate::redis_testing::{Cluster, Server as RedisServer};
use crate::testing::Server as Primary;

pub(super) const REPLICAS: usize = 3;
/// The replica that keeps nothing in process: what it answers is Redis' or the registry's.
pub(super) const WITHOUT_MEMORY: usize = 2;
const READERS_EACH: usize = 2;
const READERS_PAUSE: Duration = Duration::from_millis(12);

/// What stands behind the gateways.
pub(super) struct Behind {
    pub(super) primary: Primary,
    pub(super) database: String,
    pub(super) redis: Redis,
    /// One wire to PostgreSQL for each replica, then the one to Redis (of one server; a Cluster's nodes name themselves).
    pub(super) to_primary: Vec<Proxy>,
    pub(super) to_redis: Option<Proxy>,
}

/// One Redis, or a Cluster.
pub(super) enum Redis {
    One(RedisServer),
    Cluster(Cluster),
}

impl Behind {
    pub(super) fn start(runtime: &Runtime, cluster: bool) -> Self {
        let primary = Primary::start();
        let url = primary.database();
        let database = url.rsplit('/').next().expect("its name").to_owned();
        let redis =
            if cluster { Redis::Cluster(Cluster::start()) } else { Redis::One(RedisServer::start(&[])) };
        let (to_primary, to_redis) = runtime.block_on(async {
            let mut to_primary = Vec::new();
            for _ in 0..REPLICAS {
                to_primary.push(Proxy::to(port_of(&primary)).await);
            }
            let to_redis = match &redis {
                Redis::One(server) => Some(Proxy::to(server.port).await),
                Redis::Cluster(_) => None,
            };
            (to_primary, to_redis)
        });
        Self { primary, database, redis, to_primary, to_redis }
    }

    /// Writes the deployments of the gateways: one registry, one Redis key, wide contracts.
    pub(super) fn deployments(&self, freshness_ms: i64) -> Vec<Deployment> {
        let url = |index: usize| {
            self.primary.url(&self.database).replace(
                &format!(":{}/", port_of(&self.primary)),
                &format!(":{}/", self.to_primary[index].port),
            )
        };
        let mut deployments: Vec<Deployment> = Vec::new();
        for index in 0..REPLICAS {
            let keys = deployments.first().map(|first| first.folder().join("data/registry.keys"));
            let deployment = Deployment::on_postgres(&url(index), keys.as_deref());
            if index == 0 {
                let into = deployment.folder();
                let into = into.to_str().expect("text");
                let generate =
                    ["registry", "generate", "--count", "1", "--with-test-drivers", "--into", into];
                deployment.run(&generate);
            }
            let key = deployment.folder().join("data/redis.key");
            let file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(key);
            file.expect("the key can be made").write_all(&[7; 32]).expect("and written");
            deployment.configure(|config| self.configure(config, index, freshness_ms));
            deployment.contract("enforcement-demo", |contract| {
                let allowance = contract["allowance"].as_table_mut().expect("a table");
                for key in ["rate_per_second", "burst", "quota_per_minute", "quota_per_hour", "quota_per_day"]
                {
                    allowance.insert(key.to_owned(), 1_000_000.into());
                }
            });
            deployments.push(deployment);
        }
        deployments
    }

    fn configure(&self, config: &mut toml::Table, index: usize, freshness_ms: i64) {
        let cache = config["cache"].as_table_mut().expect("a table");
        cache.insert("freshness_ms".to_owned(), freshness_ms.into());
        if index == WITHOUT_MEMORY {
            cache.insert("in_process_mib".to_owned(), 0.into());
        }
        let mut redis = toml::Table::new();
        match (&self.redis, &self.to_redis) {
            (Redis::Cluster(cluster), _) => {
                redis.insert("nodes".to_owned(), cluster.urls()[..3].to_vec().into())
            }
            (Redis::One(server), wire) => {
                let port = wire.as_ref().map_or(server.port, |wire| wire.port);
                redis.insert("url".to_owned(), format!("redis://127.0.0.1:{port}").into())
            }
        };
        cache.insert("redis".to_owned(), redis.into());
    }
}

/// Returns the port a server listens on.
pub(super) fn port_of(primary: &Primary) -> u16 {
    let url = primary.url("postgres");
    let port = url.rsplit([':', '/']).nth(1).and_then(|port| port.parse().ok());
    port.expect("the url names it")
}

/// Says where the replicas are.
pub(super) fn replicas(gateways: &[Gateway<'_>]) -> Vec<Replica> {
    let replica = |(index, gateway): (usize, &Gateway<'_>)| Replica {
        index,
        address: gateway.address(),
        terminal: gateway.tls("enforcement-demo"),
        authority: gateway.tls("authority-demo"),
    };
    gateways.iter().enumerate().map(replica).collect()
}

/// Has readers ask every replica, and two writers change the drivers between them, until the play is over. Returns who does.
pub(super) fn open(
    runtime: &Runtime,
    stage: &Arc<Stage>,
    replicas: &[Replica],
    seed: u64,
) -> Vec<JoinHandle<()>> {
    stage.history.lock().unwrap().without_memory = Some(WITHOUT_MEMORY);
    let mut everybody = vec![runtime.spawn(people::watch_myself(Arc::clone(stage)))];
    for reader in 0..REPLICAS * READERS_EACH {
        let replica = replicas[reader % REPLICAS].clone();
        let own_seed = seed.wrapping_add(reader as u64);
        everybody.push(runtime.spawn(people::ask_on(Arc::clone(stage), replica, own_seed, READERS_PAUSE)));
    }
    for writer in 0..2 {
        let mine = (0..DRIVERS.len()).filter(|driver| driver % 2 == writer).collect();
        let own_seed = seed.wrapping_add(100 + writer as u64);
        let write = people::write_on(Arc::clone(stage), replicas.to_vec(), mine, own_seed);
        everybody.push(runtime.spawn(write));
    }
    everybody
}
