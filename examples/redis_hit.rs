//! Measures what a fact from Redis costs a core, beside a fact in process and a bare read of the same client.
//!
//! ```text
//! redis-server --port 6390 --save '' &
//! taskset -c 0 cargo run --release --example redis_hit redis://127.0.0.1:6390/       # 128 in flight
//! taskset -c 0 cargo run --release --example redis_hit redis://127.0.0.1:6390/ 1     # so many
//! ```
//!
//! Redis is emptied first. 10,000 drivers lie in a registry in memory and, sealed, in Redis; the in-process level in front of that holds some forty. All
//! on one thread, whose CPU time is counted: look-ups of facts that are in Redis, the same where all are held in process, and `GETRANGE`s of the same
//! values over a connection of the same client, in turns. What the gateway pays besides, an answer that is suspended once more than a warm one, is
//! `scripts/bench --redis`.

#![allow(clippy::print_stdout, reason = "a program that measures says what it measured")]
#![allow(clippy::expect_used, reason = "what fails ends the measurement")]
#![allow(clippy::cast_precision_loss, reason = "a figure for people to read")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drivegate::app::SystemClock;
use drivegate::cache::{
    CacheOptions, CodecFault, FactCache, FreshnessOptions, RecordCodec, RedisLevel, RedisOptions,
    RedisSecrets, RegistryAccess, SealingKey, SlotTable, Unobserved, Watermark,
};
use drivegate::domain::licence::{DocumentKind, Record};
use drivegate::domain::subject::{NumberPseudonym, SubjectId};
use drivegate::domain::time::Clock as _;
use drivegate::registry::generator::Population;
use drivegate::registry::{EmbeddedRegistry, NewSubject, RegistryKeys, RegistryOptions, codec};
use drivegate::verification::ports::{Class, Deadline, FactSource, Facts as _, Pseudonyms as _, Turn};
use jiff::civil::date;
use redis::aio::MultiplexedConnection;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// As the gateway has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DRIVERS: usize = 10_000;
const TOGETHER: usize = 1_000;
const QUESTIONS: usize = 100_000;
const ROUNDS: usize = 7;
const CLAIM: Turn<'static> = Turn { class: Class::Claim, partner: None };

/// The encoding the gateway hands in.
struct RecordBytes;

impl RecordCodec for RecordBytes {
    fn encode(&self, record: &Record) -> Vec<u8> {
        let mut bytes = record.subject.as_bytes().to_vec();
        codec::encode(record, &mut bytes).map(|()| bytes).unwrap_or_default()
    }

    fn decode(&self, bytes: &[u8]) -> Result<Record, CodecFault> {
        let (subject, record) = bytes.split_first_chunk::<16>().ok_or(CodecFault)?;
        codec::decode(SubjectId::from_bytes(*subject), record).map_err(|_undecodable| CodecFault)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: redis_hit <url of a redis that may be emptied> [in flight]")?;
    let in_flight = arguments.next().map_or(Ok(128), |count| count.parse())?;
    let core = Builder::new_current_thread().enable_all().build()?;
    let background = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut bare = core.block_on(async {
        let mut connection = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
        Ok::<_, redis::RedisError>(connection)
    })?;
    let (registry, people) = registry()?;

    let held = cache(&registry, CacheOptions::default(), None, &background);
    let few = CacheOptions { bytes_max: 1 << 16, ..CacheOptions::default() };
    let level = RedisLevel::start(
        RedisOptions::new(&url),
        &RedisSecrets {
            naming: Zeroizing::new([1; 32]),
            sealing: SealingKey::new(1, [2; 32]),
            retired: Vec::new(),
        },
        Arc::new(RecordBytes),
        Arc::new(SystemClock),
        Arc::new(Unobserved),
        background.handle(),
    )?;
    let in_redis = cache(&registry, few, Some(level), &background);
    core.spawn(in_redis.core_task().ok_or("there is a level")?);
    core.block_on(async {
        while in_redis.asks_redis() != Some(true) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let names = core.block_on(async {
        loop {
            // Few at once: what finds no place in the writer's queue is not written.
            for people in people.chunks(100) {
                for number in people {
                    look_up(&in_redis, *number).await;
                    look_up(&held, *number).await;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let names: Vec<String> = redis::cmd("KEYS").arg("dg:*").query_async(&mut bare).await?;
            if names.len() >= people.len() {
                return Ok::<_, redis::RedisError>(names);
            }
        }
    })?;

    let [mut hits, mut warm, mut reads] = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        hits.push(measure(&core, in_flight, &asking(&in_redis, &people, (in_flight, FactSource::Redis))));
        warm.push(measure(&core, in_flight, &asking(&held, &people, (in_flight, FactSource::InProcess))));
        reads.push(measure(&core, in_flight, &reading(&bare, &names)));
    }
    println!("CPU of the core for each, {in_flight} in flight, medians of {ROUNDS} (lowest to highest):");
    for (what, rounds) in [("fact from Redis", hits), ("fact in process", warm), ("bare GETRANGE", reads)] {
        let mut rounds = rounds;
        rounds.sort_by(f64::total_cmp);
        let [lowest, middle, highest] = [0, ROUNDS / 2, ROUNDS - 1].map(|place| rounds[place]);
        println!("{what:16} {middle:6.2} µs ({lowest:.2} to {highest:.2})");
    }
    Ok(())
}

type Everybody = Arc<Vec<NumberPseudonym>>;

fn registry() -> Result<(Arc<EmbeddedRegistry>, Everybody), Box<dyn Error>> {
    let keys = Arc::new(RegistryKeys::ephemeral()?);
    let registry = EmbeddedRegistry::in_memory(Arc::clone(&keys), RegistryOptions::default())?;
    let mut people = Vec::with_capacity(DRIVERS);
    let mut population = Population::new(1, date(2026, 11, 1)).take(DRIVERS).peekable();
    while population.peek().is_some() {
        let batch: Vec<_> = population.by_ref().take(TOGETHER).map(NewSubject::into_submission).collect();
        people.extend(batch.iter().map(|driver| keys.pseudonym(DocumentKind::ResidentId, &driver.number)));
        registry.apply(&batch)?;
    }
    Ok((Arc::new(registry), Arc::new(people)))
}

fn cache(
    registry: &Arc<EmbeddedRegistry>,
    options: CacheOptions,
    redis: Option<RedisLevel>,
    background: &Runtime,
) -> Arc<FactCache> {
    let clock = Arc::new(SystemClock);
    let slots = SlotTable::new(FreshnessOptions::default(), Watermark::InProcess, Arc::clone(&clock) as _);
    slots.told_from(registry.head());
    let access = RegistryAccess::free(Arc::clone(registry) as _);
    FactCache::new(access, slots, redis, options, clock, Arc::new(Unobserved), background.handle().clone())
}

async fn look_up(facts: &FactCache, number: NumberPseudonym) -> FactSource {
    let deadline = Deadline { since_boot: SystemClock.since_boot() + Duration::from_secs(5) };
    let fact = facts.look_up(number, None, deadline, CLAIM).wait().await;
    fact.expect("everybody is in the registry").source
}

type Asking = Box<dyn Fn(Arc<AtomicUsize>, &mut JoinSet<()>)>;

/// Asks about one driver after the other until enough were asked about.
fn asking(facts: &Arc<FactCache>, people: &Everybody, (in_flight, expected): (usize, FactSource)) -> Asking {
    let (facts, people) = (Arc::clone(facts), Arc::clone(people));
    Box::new(move |asked, tasks| {
        let (facts, people) = (Arc::clone(&facts), Arc::clone(&people));
        tasks.spawn(async move {
            let mut others = 0_usize;
            while let Some(next) = next(&asked) {
                others += usize::from(look_up(&facts, people[next % people.len()]).await != expected);
                tokio::task::yield_now().await;
            }
            assert!(others <= QUESTIONS / 50 / in_flight, "{others} came from elsewhere than {expected:?}");
        });
    })
}

/// Reads one value after the other until enough were read.
fn reading(bare: &MultiplexedConnection, names: &[String]) -> Asking {
    let (bare, names) = (bare.clone(), Arc::new(names.to_vec()));
    Box::new(move |asked, tasks| {
        let (mut bare, names) = (bare.clone(), Arc::clone(&names));
        tasks.spawn(async move {
            while let Some(next) = next(&asked) {
                let mut command = redis::cmd("GETRANGE");
                command.arg(&names[next % names.len()]).arg("0").arg("65536");
                let value: Vec<u8> = command.query_async(&mut bare).await.expect("Redis answers");
                assert!(value.len() > 32, "it is there");
            }
        });
    })
}

fn next(asked: &AtomicUsize) -> Option<usize> {
    Some(asked.fetch_add(1, Ordering::Relaxed)).filter(|next| *next < QUESTIONS)
}

/// Returns microseconds of this thread's CPU for each question.
fn measure(core: &Runtime, in_flight: usize, asking: &Asking) -> f64 {
    core.block_on(async {
        let (asked, mut tasks) = (Arc::default(), JoinSet::new());
        let began = cpu();
        (0..in_flight).for_each(|_| asking(Arc::clone(&asked), &mut tasks));
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a task ends well");
        }
        (cpu() - began).as_secs_f64() * 1e6 / QUESTIONS as f64
    })
}

fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}
