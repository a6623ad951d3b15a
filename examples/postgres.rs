//! Measures the PostgreSQL store beside the same select over bare sqlx. `scripts/bench-postgres` starts a server and runs it.
//!
//! ```text
//! cargo run --release --example postgres -- URL [drivers] [seconds] [--intake]
//! ```
//!
//! The database must be empty. Prints one JSON object a line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measuring tool: it stops at the first thing that is not as it should be"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drivegate::domain::licence::{ChangeKind, DocumentKind, LicenceNumber};
use drivegate::domain::subject::{NumberPseudonym, Position, SubjectId};
use drivegate::domain::time::{Clock, Effective};
use drivegate::intake::ports::{ChangeId, ChangeStore as _, FeedName, IncomingChange, StatedChange};
use drivegate::registry::generator::Population;
use drivegate::registry::postgres::{PostgresOptions, TailOptions};
use drivegate::registry::store::wait;
use drivegate::registry::{
    Extent, LicenceStore, NewChange, NewSubject, Outcome, PostgresRegistry, RegistryKeys, Submission,
};
use drivegate::verification::ports::{ChangeObserver, FeedFollower, Pseudonyms as _, RecordSource as _};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use sqlx::{Connection as _, Row as _};

const PARTITIONS: u16 = 16;
const ROUNDS: usize = 5;
const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);
/// The look-up as one writes it, with the partition as a parameter.
const SELECT: &str = "SELECT h.epoch, h.seq, n.subject, r.sealed FROM feed_head h \
     LEFT JOIN number n ON n.partition = $1 AND n.pseudonym = $2 \
     LEFT JOIN record r ON r.partition = $1 AND r.subject = n.subject \
     WHERE h.partition = $1";

fn main() {
    let (flags, words): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let mut words = words.into_iter();
    let url = words.next().expect("the URL of an empty database");
    let drivers: usize = words.next().map_or(100_000, |count| count.parse().expect("a number of drivers"));
    let seconds: f64 = words.next().map_or(2.0, |count| count.parse().expect("seconds a round"));
    let round = Duration::from_secs_f64(seconds);

    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let options = PostgresOptions { partitions: PARTITIONS, ..PostgresOptions::new(&url) };
    let store = Arc::new(PostgresRegistry::open_alone(options.clone(), Arc::clone(&keys)).unwrap());
    let people = fill(&store, &keys, drivers);
    let runtime = runtime();
    runtime.block_on(execute(&url, "VACUUM ANALYZE"));
    say_sizes(&runtime, &url);
    look_ups(&runtime, &url, &store, &people, round);
    changes(&runtime, &url, &store, &people, round);
    feed(&store, &options, &keys, &people);
    if flags.iter().any(|flag| flag == "--intake") {
        intake(&runtime, &store, &people);
    }
}

/// A driver as the measurements know one.
struct Person {
    pseudonym: NumberPseudonym,
    number: LicenceNumber,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn execute(url: &str, statement: &'static str) {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
}

fn fill(store: &PostgresRegistry, keys: &RegistryKeys, count: usize) -> Vec<Person> {
    let submissions: Vec<Submission> =
        Population::new(1, AS_OF).take(count).map(NewSubject::into_submission).collect();
    let changes: usize = submissions.iter().map(|submission| submission.changes.len()).sum();
    let began = Instant::now();
    for batch in submissions.chunks(4_000) {
        let outcomes = wait(store.apply(batch)).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Created(_))));
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"what": "load", "drivers": count, "changes": changes, "seconds": took,
            "drivers_per_second": count as f64 / took, "changes_per_second": changes as f64 / took})
    );
    let person = |submission: Submission| Person {
        pseudonym: keys.pseudonym(DocumentKind::ResidentId, &submission.number),
        number: submission.number,
    };
    submissions.into_iter().map(person).collect()
}

/// Prints what a row takes, table by table.
fn say_sizes(runtime: &tokio::runtime::Runtime, url: &str) {
    const SIZES: &str = "SELECT t.name, sum(pg_relation_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint, \
        sum(c.reltuples)::bigint FROM (VALUES ('number'), ('record'), ('feed')) AS t(name) \
        JOIN pg_class c ON c.relkind = 'r' AND (c.relname = t.name OR c.relname LIKE t.name || '\\____') \
        GROUP BY t.name";
    runtime.block_on(async {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        for row in sqlx::query(SIZES).fetch_all(&mut connection).await.unwrap() {
            let (name, table, indexes, rows): (String, i64, i64, i64) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            println!(
                "{}",
                json!({"what": "size", "table": name, "rows": rows,
                    "table_bytes_per_row": table as f64 / rows as f64,
                    "index_bytes_per_row": indexes as f64 / rows as f64})
            );
        }
        let sealed: f64 = sqlx::query_scalar("SELECT avg(octet_length(sealed))::float8 FROM record")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        println!("{}", json!({"what": "sealed", "bytes_mean": sealed}));
    });
}

/// How one round of look-ups went.
struct Round {
    per_second: f64,
    cpu_us: f64,
    latencies: Histogram<u64>,
}

fn look_ups(
    runtime: &tokio::runtime::Runtime,
    url: &str,
    store: &Arc<PostgresRegistry>,
    people: &[Person],
    round: Duration,
) {
    let pseudonyms: Arc<[NumberPseudonym]> = people.iter().map(|person| person.pseudonym).collect();
    for in_flight in [1_usize, 16] {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        for _ in 0..ROUNDS {
            rounds[0].push(runtime.block_on(bare(url, &pseudonyms, in_flight, round)));
            rounds[1].push(runtime.block_on(pooled(url, &pseudonyms, in_flight, round)));
            rounds[2].push(runtime.block_on(stored(store, &pseudonyms, in_flight, round)));
        }
        for (name, rounds) in ["bare connections", "bare pool", "store"].iter().zip(&rounds) {
            say_rounds(name, in_flight, rounds);
        }
        for (against, index) in [("bare connections", 0), ("bare pool", 1)] {
            let ratios = rounds[2].iter().zip(&rounds[index]).map(|(store, bare)| store.cpu_us / bare.cpu_us);
            println!(
                "{}",
                json!({"what": "cpu ratio", "against": against, "in_flight": in_flight, "median": median(ratios)})
            );
        }
    }
}

fn say_rounds(name: &str, in_flight: usize, rounds: &[Round]) {
    let mut all = Histogram::<u64>::new(3).unwrap();
    for round in rounds {
        all.add(&round.latencies).unwrap();
    }
    println!(
        "{}",
        json!({"what": "look-ups", "by": name, "in_flight": in_flight,
            "per_second": median(rounds.iter().map(|round| round.per_second)),
            "cpu_us": median(rounds.iter().map(|round| round.cpu_us)),
            "p50_us": all.value_at_quantile(0.5) as f64 / 1e3,
            "p99_us": all.value_at_quantile(0.99) as f64 / 1e3})
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// This process's CPU time.
fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap())
}

/// Counts what every task asks until the round is over.
async fn measure<A: AsyncAsk>(asks: Vec<A>, pseudonyms: &Arc<[NumberPseudonym]>, round: Duration) -> Round {
    let over = Arc::new(AtomicBool::new(false));
    let (began, used) = (Instant::now(), cpu());
    let tasks: Vec<_> = asks
        .into_iter()
        .enumerate()
        .map(|(index, mut ask)| {
            let (over, pseudonyms) = (Arc::clone(&over), Arc::clone(pseudonyms));
            tokio::spawn(async move {
                let mut latencies = Histogram::<u64>::new(3).unwrap();
                // Far apart, and in no order the tables know.
                let mut next = index * 7_919;
                while !over.load(Ordering::Relaxed) {
                    next = (next + 104_729) % pseudonyms.len();
                    let asked = Instant::now();
                    ask.ask(pseudonyms[next]).await;
                    latencies.record(u64::try_from(asked.elapsed().as_nanos()).unwrap()).unwrap();
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(round).await;
    over.store(true, Ordering::Relaxed);
    let mut latencies = Histogram::<u64>::new(3).unwrap();
    for task in tasks {
        latencies.add(task.await.unwrap()).unwrap();
    }
    let (took, used) = (began.elapsed(), cpu().saturating_sub(used));
    Round {
        per_second: latencies.len() as f64 / took.as_secs_f64(),
        cpu_us: used.as_secs_f64() * 1e6 / latencies.len() as f64,
        latencies,
    }
}

trait AsyncAsk: Send + 'static {
    fn ask(&mut self, pseudonym: NumberPseudonym) -> impl Future<Output = ()> + Send;
}

impl AsyncAsk for sqlx::PgConnection {
    async fn ask(&mut self, pseudonym: NumberPseudonym) {
        let row = sqlx::query(SELECT)
            .bind(home(pseudonym))
            .bind(&pseudonym.as_bytes()[..])
            .fetch_one(self)
            .await
            .unwrap();
        assert!(is_told(&row));
    }
}

/// One number in some hundred was taken over by its subject later: its record lies in another partition, and the row says so by a
/// null. The store then asks once more; the bare select does not.
fn is_told(row: &sqlx::postgres::PgRow) -> bool {
    row.get::<Option<&[u8]>, _>(3).is_none_or(|sealed| sealed.len() > 100)
}

struct Pooled(sqlx::PgPool);

impl AsyncAsk for Pooled {
    async fn ask(&mut self, pseudonym: NumberPseudonym) {
        let query = sqlx::query(SELECT).bind(home(pseudonym)).bind(&pseudonym.as_bytes()[..]);
        assert!(is_told(&query.fetch_one(&self.0).await.unwrap()));
    }
}

struct Stored(Arc<PostgresRegistry>);

impl AsyncAsk for Stored {
    async fn ask(&mut self, pseudonym: NumberPseudonym) {
        // A few are erased: nothing is told of them, and they were read all the same.
        self.0.read(pseudonym).await.unwrap();
    }
}

fn home(pseudonym: NumberPseudonym) -> i16 {
    i16::from(pseudonym.as_bytes()[0]) & (PARTITIONS.cast_signed() - 1)
}

/// The store's own settings: the comparison is about code, not about plans.
fn connecting(url: &str) -> sqlx::postgres::PgConnectOptions {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    options.options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")])
}

async fn bare(url: &str, pseudonyms: &Arc<[NumberPseudonym]>, in_flight: usize, round: Duration) -> Round {
    let mut connections = Vec::new();
    for _ in 0..in_flight {
        let mut connection = sqlx::PgConnection::connect_with(&connecting(url)).await.unwrap();
        connection.ask(pseudonyms[0]).await;
        connections.push(connection);
    }
    measure(connections, pseudonyms, round).await
}

async fn pooled(url: &str, pseudonyms: &Arc<[NumberPseudonym]>, in_flight: usize, round: Duration) -> Round {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(u32::try_from(in_flight).unwrap())
        .test_before_acquire(false)
        .connect_with(connecting(url))
        .await
        .unwrap();
    let asks = (0..in_flight).map(|_| Pooled(pool.clone())).collect();
    let measured = measure(asks, pseudonyms, round).await;
    pool.close().await;
    measured
}

async fn stored(
    store: &Arc<PostgresRegistry>,
    pseudonyms: &Arc<[NumberPseudonym]>,
    in_flight: usize,
    round: Duration,
) -> Round {
    measure((0..in_flight).map(|_| Stored(Arc::clone(store))).collect(), pseudonyms, round).await
}

/// A change nobody has told yet.
fn points(person: &Person, turn: u64) -> Submission {
    let recorded_at = jiff::Timestamp::from_second(1_800_000_000 + i64::try_from(turn).unwrap()).unwrap();
    let kind = ChangeKind::PointsSet { points: u8::try_from(turn % 12).unwrap() };
    Submission {
        document: DocumentKind::ResidentId,
        number: person.number.clone(),
        extent: Extent::Continuation,
        changes: vec![NewChange { effective: Effective::At(recorded_at), recorded_at, kind }],
    }
}

fn changes(
    runtime: &tokio::runtime::Runtime,
    url: &str,
    store: &PostgresRegistry,
    people: &[Person],
    round: Duration,
) {
    let turn = AtomicU64::new(1);
    for (writers, batch_size) in [(1, 1), (8, 1), (1, 100), (1, 500), (4, 500)] {
        let (told, journal) = (AtomicU64::new(0), runtime.block_on(journal(url)));
        let latencies = Mutex::new(Histogram::<u64>::new(3).unwrap());
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    while began.elapsed() < round {
                        let first = turn.fetch_add(batch_size, Ordering::Relaxed);
                        let one = |turn: u64| {
                            points(&people[usize::try_from(turn * 31).unwrap() % people.len()], turn)
                        };
                        let batch: Vec<_> = (first..first + batch_size).map(one).collect();
                        let asked = Instant::now();
                        let outcomes = wait(store.apply(&batch)).unwrap();
                        let took = u64::try_from(asked.elapsed().as_nanos()).unwrap();
                        latencies.lock().unwrap().record(took).unwrap();
                        let taken = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Appended(_)));
                        told.fetch_add(taken.count() as u64, Ordering::Relaxed);
                    }
                });
            }
        });
        let (told, took) = (told.into_inner(), began.elapsed().as_secs_f64());
        let journal = runtime.block_on(self::journal(url)) - journal;
        let latencies = latencies.into_inner().unwrap();
        println!(
            "{}",
            json!({"what": "changes", "writers": writers, "batch": batch_size, "per_second": told as f64 / took,
                "batch_p50_ms": latencies.value_at_quantile(0.5) as f64 / 1e6,
                "journal_bytes_per_change": journal as f64 / told as f64})
        );
    }
}

/// Changes of the authority, of subjects it speaks of for the first time.
fn intake(runtime: &tokio::runtime::Runtime, store: &PostgresRegistry, people: &[Person]) {
    const PER_TRANSACTION: usize = 4_096;
    let source = FeedName::parse("authority-demo/bench").unwrap();
    let now = jiff::Timestamp::from_second(1_900_000_000).unwrap();
    let incoming = |(index, person): (usize, &Person)| {
        let kind = ChangeKind::PointsSet { points: 7 };
        IncomingChange {
            source: source.clone(),
            id: ChangeId::parse(&format!("bench-{index}")).unwrap(),
            sequence: 1,
            document: DocumentKind::ResidentId,
            number: person.number.clone(),
            content: Some(StatedChange { effective: Effective::At(now), recorded_at: now, kind }),
        }
    };
    let changes: Vec<_> = people.iter().enumerate().map(incoming).collect();
    let began = Instant::now();
    let mut applied = 0;
    for batch in changes.chunks(PER_TRANSACTION) {
        applied += runtime.block_on(store.take(batch.to_vec(), now)).unwrap().applied;
    }
    // Of the few who were erased nothing is taken any more.
    assert!(applied * 100 >= changes.len() as u64 * 99, "{applied} of {}", changes.len());
    println!(
        "{}",
        json!({"what": "intake", "changes": changes.len(), "batch": PER_TRANSACTION,
            "per_second": changes.len() as f64 / began.elapsed().as_secs_f64()})
    );
}

async fn journal(url: &str) -> i64 {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let written = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";
    sqlx::query_scalar(written).fetch_one(&mut connection).await.unwrap()
}

/// Notes when it was told of each position.
#[derive(Default)]
struct Follower {
    told: Mutex<std::collections::HashMap<Position, Instant>>,
    polls: AtomicU64,
}

impl ChangeObserver for Follower {
    fn changed(&self, _subject: &SubjectId, _pseudonyms: &[NumberPseudonym], position: Position) {
        self.told.lock().unwrap().insert(position, Instant::now());
    }
}

impl FeedFollower for Follower {
    fn follows_from(&self, _positions: &[Position]) {}

    fn caught_up(&self, _poll_began: Duration) {
        self.polls.fetch_add(1, Ordering::Relaxed);
    }
}

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn since_boot(&self) -> Duration {
        let boot = clock_gettime(ClockId::Boottime);
        Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).unwrap())
    }
}

/// Acknowledged here, heard by another replica.
fn feed(store: &PostgresRegistry, options: &PostgresOptions, keys: &Arc<RegistryKeys>, people: &[Person]) {
    const CHANGES: u64 = 1_000;
    let replica = PostgresRegistry::open_alone(options.clone(), Arc::clone(keys)).unwrap();
    let follower = Arc::new(Follower::default());
    replica.tail(follower.clone(), TailOptions::default(), Arc::new(RealClock));
    std::thread::sleep(Duration::from_millis(500));
    let mut acknowledged = Vec::new();
    for turn in 0..CHANGES {
        let person = &people[usize::try_from(turn * 97).unwrap() % people.len()];
        let outcomes = wait(store.apply(&[points(person, 50_000_000 + turn)])).unwrap();
        let at = Instant::now();
        // Of the few who were erased nothing is taken any more.
        if let Outcome::Appended(position) = outcomes[0] {
            acknowledged.push((position, at));
        }
        std::thread::sleep(Duration::from_millis(1 + turn % 7));
    }
    std::thread::sleep(Duration::from_secs(1));
    let told = follower.told.lock().unwrap();
    let mut delays = Histogram::<u64>::new(3).unwrap();
    for (position, at) in acknowledged {
        let delay = told[&position].saturating_duration_since(at);
        delays.record(u64::try_from(delay.as_nanos()).unwrap().max(1)).unwrap();
    }
    println!(
        "{}",
        json!({"what": "feed", "changes": CHANGES, "polls": follower.polls.load(Ordering::Relaxed),
            "acknowledged_to_told_p50_ms": delays.value_at_quantile(0.5) as f64 / 1e6,
            "acknowledged_to_told_p99_ms": delays.value_at_quantile(0.99) as f64 / 1e6,
            "acknowledged_to_told_max_ms": delays.max() as f64 / 1e6})
    );
}
