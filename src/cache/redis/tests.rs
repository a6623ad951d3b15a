//! The Redis level against a real `redis-server` that is killed, stopped, filled up, emptied and made to lie.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redis::Commands as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::seal::Sealer;
use super::{CodecFault, RecordCodec, RedisLevel, RedisOptions, RedisSecrets, SealingKey};
use crate::cache::RegistryAccess;
use crate::cache::testing::{CLAIM, Notes, RealClock, ScriptedSource, at, number, record, subject, within};
use crate::cache::{
    BreakerState, CacheObserver, CacheOptions, FactCache, FreshnessOptions, RedisFault, SlotTable,
    StaleCause, Watermark,
};
use crate::domain::licence::Record;
use crate::domain::time::Clock as _;
use crate::verification::ports::{
    ChangeObserver as _, Fact, FactSource, Facts as _, LookUpError, NotShared, RequestName, SharedNotes, Soon,
};

/// The deadline of every question here; an answer that waits for Redis longer than half of it would come too late.
const DEADLINE: Duration = Duration::from_millis(400);
const RECOVERY_MAX: Duration = Duration::from_secs(5);
const MARKER: &[u8] = b"MARKED-IDENTIFIER";

/// A `redis-server` of our own, on a free port.
struct Server {
    process: Child,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut server = Self::reserve(arguments);
        server.revive();
        server
    }

    /// A server that is not there yet.
    fn reserve(arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let absent = Command::new("true").spawn().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { process: absent, port, folder: tempfile::tempdir().unwrap(), arguments }
    }

    fn revive(&mut self) {
        let _ = self.process.wait();
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
        if !self.arguments.iter().any(|argument| argument == "--tls-port") {
            command.args(["--port", &port]);
        }
        command.args(&self.arguments).arg("--dir").arg(self.folder.path());
        self.process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap_or_else(|error| {
            panic!("cannot run redis-server ({error}): get it with `apt-get install redis-server`")
        });
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen");
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn console(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    fn facts_held(&self) -> usize {
        self.console().keys::<_, Vec<String>>("dg:1:*").unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

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

/// One replica: its own in-process level, its own view of the feed.
struct Replica {
    facts: Arc<FactCache>,
    freshness: Arc<SlotTable>,
    notes: Arc<Notes>,
}

impl Replica {
    fn over(source: &Arc<ScriptedSource>, options: RedisOptions) -> Self {
        let notes = Arc::new(Notes::default());
        let observer = Arc::clone(&notes) as Arc<dyn CacheObserver>;
        let clock = Arc::new(RealClock);
        let freshness = SlotTable::new(FreshnessOptions::default(), Watermark::InProcess, clock.clone());
        freshness.told_from(at(1, 0));
        let redis = RedisLevel::start(
            options,
            &secrets(),
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
        Self { facts, freshness, notes }
    }

    async fn connected(source: &Arc<ScriptedSource>, server: &Server) -> Self {
        let replica = Self::over(source, RedisOptions::new(server.url()));
        replica.becomes(BreakerState::Closed).await;
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
    eventually("redis holds the facts", || server.facts_held() == usize::try_from(subjects).unwrap()).await;
}

#[tokio::test]
async fn what_one_replica_read_another_finds_in_redis() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    fill(&server, &source, 3).await;
    let reads = source.read_count();

    let other = Replica::connected(&source, &server).await;
    let fact = other.ask(1).await;
    assert_eq!((changes_of(&fact), fact.source, fact.position), (3, FactSource::Redis, at(1, 3)));
    assert_eq!(fact.record.unwrap().subject, subject(1));
    let unknown = other.ask(2).await;
    assert_eq!((unknown.record.is_none(), unknown.source), (true, FactSource::Redis));
    assert!(matches!(other.facts.look_up(number(1), None, within(DEADLINE), CLAIM), Soon::Now(Ok(_))));
    assert_eq!(source.read_count(), reads);
    assert!(!other.saw(RedisFault::Unsealable));
}

#[tokio::test]
async fn redis_holds_nothing_in_the_clear_and_not_for_ever() {
    let server = Server::start(&[]);
    fill(&server, &registry_of(3), 3).await;
    let mut console = server.console();
    for key in console.keys::<_, Vec<String>>("*").unwrap() {
        let value: Vec<u8> = console.get(&key).unwrap();
        assert!(!value.windows(MARKER.len()).any(|window| window == MARKER));
        assert!((0..3).all(|n| !value.windows(8).any(|window| window == &subject(n).as_bytes()[8..])));
        let seconds: i64 = console.ttl(&key).unwrap();
        assert!((1..=3_600).contains(&seconds));
    }
}

#[tokio::test]
async fn a_change_makes_the_value_in_redis_useless_at_once() {
    let server = Server::start(&[]);
    let source = registry_of(1);
    fill(&server, &source, 1).await;
    let mut console = server.console();
    let key = console.keys::<_, Vec<String>>("dg:1:*").unwrap().remove(0);
    let before: Vec<u8> = console.get(&key).unwrap();

    let replica = Replica::connected(&source, &server).await;
    let position = source.put(0, 4);
    replica.freshness.changed(&subject(0), &[number(0)], position);
    assert_eq!(changes_of(&replica.ask(0).await), 4);
    assert_eq!(
        *replica.notes.refused.lock().unwrap(),
        [(FactSource::Redis, StaleCause::Outdated)],
        "the held value was met and refused"
    );
    // A Redis that brings the past back (failover, reordering) brings nothing back here.
    eventually("the new value is written", || server.console().get::<_, Vec<u8>>(&key).unwrap() != before)
        .await;
    let () = console.set(&key, &before).unwrap();
    let late = Replica::over(&source, RedisOptions::new(server.url()));
    late.becomes(BreakerState::Closed).await;
    late.freshness.changed(&subject(0), &[number(0)], position);
    assert_eq!(changes_of(&late.ask(0).await), 4);
}

#[tokio::test]
async fn values_of_another_epoch_or_of_an_earlier_life_are_read_anew() {
    let server = Server::start(&[]);
    let source = registry_of(1);
    fill(&server, &source, 1).await;
    source.restore(2, 0);
    let restored = Replica::connected(&source, &server).await;
    assert_eq!(restored.ask(0).await.source, FactSource::Registry);
    assert_eq!(restored.notes.refused.lock().unwrap()[0], (FactSource::Redis, StaleCause::OtherEpoch));

    // Nobody told this replica of the changes since the value was written: it cannot judge it.
    eventually("rewritten", || !restored.notes.refused.lock().unwrap().is_empty()).await;
    source.put(0, 9);
    let restarted = Replica::connected(&source, &server).await;
    restarted.freshness.told_from(at(2, 1));
    let fact = restarted.ask(0).await;
    assert_eq!((changes_of(&fact), fact.source), (9, FactSource::Registry));
}

#[tokio::test]
async fn a_redis_that_lies_is_a_miss() {
    let server = Server::start(&[]);
    let source = registry_of(8);
    fill(&server, &source, 8).await;
    let sealer = Sealer::new(&secrets());
    let mut console = server.console();
    let key = |n: u64| sealer.name(number(n)).to_vec();
    let held = |console: &mut redis::Connection, n: u64| console.get::<_, Vec<u8>>(key(n)).unwrap();

    let (first, second) = (held(&mut console, 0), held(&mut console, 1));
    let () = console.set(key(0), &second).unwrap();
    let () = console.set(key(1), &first).unwrap();
    let mut corrupt = held(&mut console, 2);
    corrupt[30] ^= 1;
    let () = console.set(key(2), corrupt).unwrap();
    let truncated = held(&mut console, 3)[..20].to_vec();
    let () = console.set(key(3), truncated).unwrap();
    let () = console.set(key(4), vec![1_u8; 1 << 20]).unwrap();
    let () = console.del(key(5)).unwrap();
    let () = console.rpush(key(5), "a list").unwrap();
    let undecodable = sealer.seal(&sealer.name(number(6)), at(1, 100), Some(b"no record")).unwrap();
    let () = console.set(key(6), undecodable).unwrap();

    let replica = Replica::connected(&source, &server).await;
    for n in 0..7 {
        let fact = replica.ask(n).await;
        assert_eq!((changes_of(&fact), fact.source), (3, FactSource::Registry), "subject {n}");
        assert_eq!(fact.record.unwrap().subject, subject(n));
    }
    assert_eq!(replica.ask(7).await.source, FactSource::Redis, "the honest rest is used");
    let faults = replica.notes.redis_faults.lock().unwrap().clone();
    let count = |fault| faults.iter().filter(|seen| **seen == fault).count();
    assert_eq!(count(RedisFault::Unsealable), 5);
    assert_eq!((count(RedisFault::Refused), count(RedisFault::Undecodable)), (1, 1));
}

#[tokio::test]
async fn an_emptied_redis_is_filled_again() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    fill(&server, &source, 2).await;
    let replica = Replica::connected(&source, &server).await;
    assert_eq!(replica.ask(0).await.source, FactSource::Redis);
    let () = redis::cmd("FLUSHALL").query(&mut server.console()).unwrap();
    assert_eq!(replica.ask(1).await.source, FactSource::Registry);
    eventually("written again", || server.facts_held() == 1).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_used_once_it_is() {
    let mut server = Server::reserve(&[]);
    let source = registry_of(2);
    let replica = Replica::over(&source, RedisOptions::new(server.url()));
    assert_eq!(replica.ask(0).await.source, FactSource::Registry);
    eventually("told", || replica.saw(RedisFault::Disconnected)).await;
    server.revive();
    replica.becomes(BreakerState::Closed).await;
    replica.ask(1).await;
    eventually("in use", || server.facts_held() > 0).await;
}

#[tokio::test]
async fn a_killed_redis_costs_no_answer_and_comes_back() {
    let mut server = Server::start(&[]);
    let source = registry_of(200);
    let replica = Replica::connected(&source, &server).await;
    replica.ask(0).await;
    server.kill();
    for n in 1..100 {
        assert_eq!(changes_of(&replica.ask(n).await), 3);
    }
    replica.becomes(BreakerState::Open).await;
    assert!(
        replica.could_not_write(RedisFault::NotAsked) || replica.could_not_write(RedisFault::Disconnected)
    );
    server.revive();
    replica.becomes(BreakerState::Closed).await;
    // After the pause that follows a failed write, facts are written again.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    replica.ask(150).await;
    eventually("written again", || server.facts_held() > 0).await;
}

#[tokio::test]
async fn a_redis_that_stops_answering_is_not_waited_for_and_comes_back() {
    let server = Server::start(&[]);
    let source = registry_of(400);
    let replica = Replica::connected(&source, &server).await;
    replica.ask(0).await;
    server.signal(Signal::STOP);
    let stopped = RealClock.since_boot();
    for n in 1..50 {
        assert_eq!(replica.ask(n).await.source, FactSource::Registry);
    }
    assert_eq!(*replica.notes.breaker.lock().unwrap(), [BreakerState::Closed, BreakerState::Open]);
    assert!(
        RealClock.since_boot() - stopped < Duration::from_secs(1),
        "open within a second, then no waiting"
    );
    assert!(replica.saw(RedisFault::Timeout));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = RealClock.since_boot();
    for n in 50..150 {
        replica.ask(n).await;
    }
    assert!(RealClock.since_boot() - began < Duration::from_millis(500), "probes wait, requests do not");
    server.signal(Signal::CONT);
    replica.becomes(BreakerState::Closed).await;
    replica.ask(300).await;
    // The value of the late question is written, and another replica finds it.
    eventually("in use again", || server.facts_held() > 0).await;
}

#[tokio::test]
async fn a_full_redis_still_answers_reads_and_is_not_hammered() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let source = registry_of(300);
    fill(&server, &source, 1).await;
    let () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").query(&mut server.console()).unwrap();
    let replica = Replica::connected(&source, &server).await;
    assert_eq!(replica.ask(0).await.source, FactSource::Redis);
    for n in 1..200 {
        assert_eq!(changes_of(&replica.ask(n).await), 3);
    }
    eventually("told", || replica.could_not_write(RedisFault::Full)).await;
    assert_eq!(replica.notes.breaker.lock().unwrap().last(), Some(&BreakerState::Closed), "reads go on");
    let () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").query(&mut server.console()).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    replica.ask(250).await;
    eventually("written again", || server.facts_held() > 1).await;
}

#[tokio::test]
async fn a_redis_that_became_a_replica_still_answers_reads() {
    let server = Server::start(&[]);
    let source = registry_of(10);
    fill(&server, &source, 1).await;
    let () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query(&mut server.console()).unwrap();
    let replica = Replica::connected(&source, &server).await;
    assert_eq!(replica.ask(0).await.source, FactSource::Redis);
    assert_eq!(replica.ask(5).await.source, FactSource::Registry);
    eventually("told", || replica.could_not_write(RedisFault::ReadOnly)).await;
}

#[tokio::test]
async fn a_redis_that_forbids_reading_opens_the_breaker() {
    let server = Server::start(&[]);
    let source = registry_of(50);
    let replica = Replica::connected(&source, &server).await;
    let () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg("default")
        .arg("-getrange")
        .query(&mut server.console())
        .unwrap();
    for n in 0..20 {
        assert_eq!(replica.ask(n).await.source, FactSource::Registry);
    }
    assert_eq!(replica.notes.breaker.lock().unwrap()[..2], [BreakerState::Closed, BreakerState::Open]);
    assert!(replica.saw(RedisFault::Refused) && replica.saw(RedisFault::NotAsked));
    let () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg("default")
        .arg("+getrange")
        .query(&mut server.console())
        .unwrap();
    replica.becomes(BreakerState::Closed).await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_not_hidden_by_redis_longer_than_facts_are_usable() {
    let server = Server::start(&[]);
    let source = registry_of(2);
    fill(&server, &source, 1).await;
    let replica = Replica::connected(&source, &server).await;
    source.fail_with(Some(LookUpError::RegistryUnavailable));
    assert_eq!(replica.ask(0).await.source, FactSource::Redis, "known to be current");
    replica.freshness.changed(&subject(0), &[number(0)], source.put(0, 4));
    let failed = replica.facts.look_up(number(0), None, within(DEADLINE), CLAIM).wait().await;
    assert_eq!(failed.unwrap_err(), LookUpError::RegistryUnavailable, "never an old fact");
}

#[tokio::test]
async fn tls_with_an_own_authority_and_a_password_works_and_a_foreign_authority_does_not() {
    let (authority, files) = certificates();
    let path = |name: &str| files.path().join(name).display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (certificate, key) = (path("server.pem"), path("server.key"));
    let arguments = [
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "word",
    ];
    let mut server = Server::reserve(&arguments);
    server.port = port.parse().unwrap();
    server.revive();
    let options = |authority: &[u8], password: &str| {
        let mut options = RedisOptions::new(format!("rediss://:{password}@127.0.0.1:{port}"));
        options.address.authority_pem = Some(authority.to_vec());
        options
    };
    let source = registry_of(2);
    let replica = Replica::over(&source, options(&authority, "word"));
    replica.becomes(BreakerState::Closed).await;
    replica.ask(0).await;
    let until = RealClock.since_boot() + RECOVERY_MAX;
    while Replica::found_by_another(&source, options(&authority, "word")).await != FactSource::Redis {
        assert!(RealClock.since_boot() < until, "the fact went through the tls connection");
    }

    for (authority, password) in [(certificates().0, "word"), (authority, "another")] {
        let refused = Replica::over(&source, options(&authority, password));
        eventually("refused", || !refused.notes.redis_faults.lock().unwrap().is_empty()).await;
        assert!(refused.notes.breaker.lock().unwrap().iter().all(|state| *state != BreakerState::Closed));
        assert_eq!(refused.ask(0).await.source, FactSource::Registry);
    }
}

/// An authority's PEM, and a folder with a server certificate of it.
fn certificates() -> (Vec<u8>, TempDir) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("server.pem"), server.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), server_key.serialize_pem()).unwrap();
    (authority.pem().into_bytes(), folder)
}

/// Starts a replica's level alone, for the notes.
async fn notes_of(server: &Server) -> (RedisLevel, Arc<dyn SharedNotes>, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let level = RedisLevel::start(
        RedisOptions::new(server.url()),
        &secrets(),
        Arc::new(Codec),
        Arc::new(RealClock),
        Arc::clone(&notes) as Arc<dyn CacheObserver>,
        &Handle::current(),
    );
    let level = level.unwrap();
    let shared = level.notes();
    eventually("it is connected", || shared.is_asked()).await;
    (level, shared, notes)
}

const KEPT_FOR: Duration = Duration::from_secs(60);

/// Goal: of two replicas one has a request, and what it leaves is read by the other and by nobody else. Method: two levels on one
/// server; what lies there is looked at, moved, changed and made to go.
#[tokio::test]
async fn replicas_leave_each_other_notes_that_name_and_tell_nothing() {
    let server = Server::start(&[]);
    let (_one, first, _) = notes_of(&server).await;
    let (_other, second, heard) = notes_of(&server).await;
    let partner = "rental-demo".parse().unwrap();
    let name = |id| RequestName { partner: &partner, id };
    let leave = |notes: &Arc<dyn SharedNotes>, id: &'static str| {
        let (notes, partner) = (Arc::clone(notes), partner.clone());
        async move {
            let name = RequestName { partner: &partner, id };
            notes.leave_or_read(name, MARKER, KEPT_FOR, within(DEADLINE)).await
        }
    };
    assert_eq!(leave(&first, "request-1").await, Ok(None));
    assert_eq!(leave(&second, "request-1").await, Ok(Some(MARKER.to_vec())));
    assert_eq!(leave(&second, "request-2").await, Ok(None), "another request");

    let mut console = server.console();
    let keys: Vec<String> = console.keys("dg:r:*").unwrap();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        assert!(!key.contains("request") && !key.contains("rental"), "{key}");
        let value: Vec<u8> = console.get(key).unwrap();
        assert!(!value.windows(MARKER.len()).any(|window| window == MARKER), "it is sealed");
        let left: i64 = console.pttl(key).unwrap();
        assert!((1..=60_000).contains(&left), "{left}");
    }
    let [one, other]: [Vec<u8>; 2] = [&keys[0], &keys[1]].map(|key| console.get(key).unwrap());
    let (): () = console.set(&keys[0], other).unwrap();
    let (): () = console.set(&keys[1], &one[..one.len() - 1]).unwrap();
    for id in ["request-1", "request-2"] {
        assert_eq!(leave(&second, id).await, Err(NotShared), "moved or cut");
    }
    assert!(heard.redis_faults.lock().unwrap().contains(&RedisFault::Unsealable));

    first.replace(name("request-1"), b"answer", KEPT_FOR);
    for _ in 0..500 {
        if leave(&second, "request-1").await == Ok(Some(b"answer".to_vec())) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(leave(&second, "request-1").await, Ok(Some(b"answer".to_vec())));
    first.take_away(name("request-1"));
    eventually("it is gone", || server.console().keys::<_, Vec<String>>("dg:r:*").unwrap().len() == 1).await;
}

/// A Redis that hangs, or is gone, keeps nobody waiting longer than its bound, and soon nobody at all.
#[tokio::test]
async fn a_redis_that_hangs_keeps_no_request_waiting() {
    let mut server = Server::start(&[]);
    let (_level, shared, _) = notes_of(&server).await;
    let partner = "rental-demo".parse().unwrap();
    server.signal(Signal::STOP);
    let mut asked = 0;
    while shared.is_asked() {
        let name = RequestName { partner: &partner, id: "request-1" };
        let began = RealClock.since_boot();
        assert_eq!(shared.leave_or_read(name, b"note", KEPT_FOR, within(DEADLINE)).await, Err(NotShared));
        assert!(RealClock.since_boot() - began < DEADLINE);
        asked += 1;
        assert!(asked <= 10, "the breaker opens");
    }
    server.signal(Signal::CONT);
    server.kill();
    let name = RequestName { partner: &partner, id: "request-1" };
    shared.replace(name, b"note", KEPT_FOR);
    shared.take_away(name);
    assert_eq!(shared.leave_or_read(name, b"note", KEPT_FOR, within(DEADLINE)).await, Err(NotShared));
}
