//! The Redis level against a real `redis-server`, and a Cluster of six, that are killed, stopped, filled up, emptied and made to lie.

mod cluster;
mod faults;
mod notes;
mod own;
mod rotation;
mod tls;
mod values;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{CodecFault, RecordCodec, RedisLevel, RedisOptions, RedisSecrets, SealingKey};
use crate::cache::testing::{CLAIM, Notes, RealClock, ScriptedSource, at, number, record, subject, within};
use crate::cache::{
    BreakerState, CacheObserver, CacheOptions, FactCache, FreshnessOptions, RedisFault, RegistryAccess,
    SlotTable, Watermark,
};
use crate::domain::licence::Record;
use crate::domain::time::Clock as _;
use crate::redis_link::testing::Server;
use crate::verification::ports::{ChangeObserver as _, Fact, FactSource, Facts as _};

/// The deadline of every question here; an answer that waits for Redis longer than half of it would come too late.
const DEADLINE: Duration = Duration::from_millis(400);
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// What facts are found by.
const FACTS: &str = "dg:2:*";
const MARKER: &[u8] = b"MARKED-IDENTIFIER";

/// Subject, then the number of changes.
struct Codec;

impl RecordCodec for Codec {
    fn encode(&self, record: &Record) -> Vec<u8> {
        let changes = u32::try_from(record.history.changes().len()).unwrap();
        [MARKER, &record.subject.as_bytes()[..8], &changes.to_be_bytes()].concat()
    }

    fn decode(&self, bytes: &[u8]) -> Result<Record, CodecFault> {
        let rest = bytes.strip_prefix(MARKER).ok_or(CodecFault)?;
        let (n, rest) = rest.split_first_chunk::<8>().ok_or(CodecFault)?;
        let changes = u32::from_be_bytes(rest.try_into().map_err(|_| CodecFault)?);
        Ok(record(u64::from_le_bytes(*n), usize::try_from(changes).unwrap()))
    }
}

fn secrets() -> RedisSecrets {
    RedisSecrets {
        naming: Zeroizing::new([1; 32]),
        sealing: SealingKey::new(1, [2; 32]),
        retired: Vec::new(),
    }
}

/// One replica: its own in-process level, its own view of the feed, and a core with a connection of its own.
struct Replica {
    facts: Arc<FactCache>,
    freshness: Arc<SlotTable>,
    notes: Arc<Notes>,
    core: JoinSet<()>,
}

impl Replica {
    fn over(source: &Arc<ScriptedSource>, options: RedisOptions) -> Self {
        Self::with(source, options, &secrets())
    }

    fn with(source: &Arc<ScriptedSource>, options: RedisOptions, secrets: &RedisSecrets) -> Self {
        let notes = Arc::new(Notes::default());
        let observer = Arc::clone(&notes) as Arc<dyn CacheObserver>;
        let clock = Arc::new(RealClock);
        let freshness = SlotTable::new(FreshnessOptions::default(), Watermark::InProcess, clock.clone());
        freshness.told_from(at(1, 0));
        let redis = RedisLevel::start(
            options,
            secrets,
            Arc::new(Codec),
            clock.clone(),
            Arc::clone(&observer),
            &Handle::current(),
        );
        let facts = FactCache::new(
            RegistryAccess::free(Arc::clone(source) as _),
            Arc::clone(&freshness),
            Some(redis.unwrap()),
            CacheOptions::default(),
            clock,
            observer,
            Handle::current(),
        );
        let mut core = JoinSet::new();
        core.spawn(facts.core_task().unwrap());
        Self { facts, freshness, notes, core }
    }

    async fn asks_by_itself(&self) {
        eventually("the core has its own", || self.facts.redis().unwrap().asks_by_itself()).await;
    }

    async fn connected(source: &Arc<ScriptedSource>, server: &Server) -> Self {
        let replica = Self::over(source, RedisOptions::new(server.url()));
        replica.becomes(BreakerState::Closed).await;
        replica.asks_by_itself().await;
        replica
    }

    /// Where a fresh replica finds subject 0.
    async fn found_by_another(source: &Arc<ScriptedSource>, options: RedisOptions) -> FactSource {
        let other = Self::over(source, options);
        other.becomes(BreakerState::Closed).await;
        other.ask(0).await.source
    }

    async fn becomes(&self, state: BreakerState) {
        eventually("the breaker changes", || self.notes.breaker.lock().unwrap().last() == Some(&state)).await;
    }

    async fn ask(&self, n: u64) -> Fact {
        let began = RealClock.since_boot();
        let fact = self.facts.look_up(number(n), None, within(DEADLINE), CLAIM).wait().await.unwrap();
        assert!(RealClock.since_boot() - began < DEADLINE, "within the caller's deadline");
        fact
    }

    /// Tells of a change of a subject, so that what is held of it is read anew.
    fn change(&self, n: u64, source: &ScriptedSource) {
        self.freshness.changed(&subject(n), &[number(n)], source.put(n, 4));
    }

    fn saw(&self, fault: RedisFault) -> bool {
        self.notes.redis_faults.lock().unwrap().contains(&fault)
    }

    fn could_not_write(&self, fault: RedisFault) -> bool {
        self.notes.unwritten.lock().unwrap().contains(&fault)
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = RealClock.since_boot() + RECOVERY_MAX;
    while !holds() {
        assert!(RealClock.since_boot() < until, "not within {RECOVERY_MAX:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn changes_of(fact: &Fact) -> usize {
    fact.record.as_ref().map_or(0, |record| record.history.changes().len())
}

fn registry_of(subjects: u64) -> Arc<ScriptedSource> {
    let source = ScriptedSource::new();
    for n in 0..subjects {
        source.put(n, 3);
    }
    source
}

/// Asks one replica about every subject, until Redis holds them all.
async fn fill(server: &Server, source: &Arc<ScriptedSource>, subjects: u64) {
    let filling = Replica::connected(source, server).await;
    for n in 0..subjects {
        filling.ask(n).await;
    }
    eventually("redis holds the facts", || server.keys(FACTS).len() == usize::try_from(subjects).unwrap())
        .await;
}
