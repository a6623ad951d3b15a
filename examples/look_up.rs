//! Measures a warm look-up in process and the freshness check before the record, as every answer makes them.
//!
//! ```text
//! cargo run --release --example look_up              # 100,000 drivers
//! cargo run --release --example look_up 10000        # so many
//! cargo run --release --example look_up 10000 20     # each twenty times in the order they were read, and no figure: whoever counts
//!                                                    # instructions takes the difference of two such runs
//! ```
//!
//! The drivers lie in a registry in memory. All are looked up once; then each round asks about a million of them in random order, on one
//! core. What is measured: fetching a fact from the in-process level, judging it by its slots and the watermark, and judging it again.

#![allow(clippy::print_stdout, reason = "a program that measures says what it measured")]
#![allow(clippy::cast_precision_loss, reason = "a figure for people to read")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use drivegate::app::SystemClock;
use drivegate::cache::{
    CacheOptions, FactCache, FreshnessOptions, RegistryAccess, SlotTable, Unobserved, Watermark,
};
use drivegate::domain::licence::DocumentKind;
use drivegate::domain::subject::NumberPseudonym;
use drivegate::domain::time::Clock as _;
use drivegate::registry::generator::Population;
use drivegate::registry::{EmbeddedRegistry, NewSubject, RegistryKeys, RegistryOptions};
use drivegate::verification::ports::{Class, Deadline, Facts as _, Pseudonyms as _, Soon, Turn};
use jiff::civil::date;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::runtime::Builder;

/// As the gateway has it: where facts lie in memory is half of what a look-up costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUESTIONS: usize = 1_000_000;
const ROUNDS: usize = 7;
const TOGETHER: usize = 4_000;
const CLAIM: Turn<'static> = Turn { class: Class::Claim, partner: None };

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let keys = Arc::new(RegistryKeys::ephemeral()?);
    let registry = EmbeddedRegistry::in_memory(Arc::clone(&keys), RegistryOptions::default())?;
    let mut people: Vec<NumberPseudonym> = Vec::with_capacity(count);
    let mut population = Population::new(1, date(2026, 11, 1)).take(count).peekable();
    while population.peek().is_some() {
        let batch: Vec<_> = population.by_ref().take(TOGETHER).map(NewSubject::into_submission).collect();
        people.extend(batch.iter().map(|driver| keys.pseudonym(DocumentKind::ResidentId, &driver.number)));
        registry.apply(&batch)?;
    }

    let clock = Arc::new(SystemClock);
    let slots = SlotTable::new(FreshnessOptions::default(), Watermark::InProcess, Arc::clone(&clock) as _);
    let registry = Arc::new(registry);
    registry.observe(Arc::clone(&slots) as _);
    slots.told_from(registry.head());
    let facts = FactCache::new(
        RegistryAccess::free(Arc::clone(&registry) as _),
        slots,
        None,
        CacheOptions::default(),
        Arc::clone(&clock) as _,
        Arc::new(Unobserved),
        runtime.handle().clone(),
    );
    for number in &people {
        let deadline = Deadline { since_boot: clock.since_boot() + Duration::from_secs(5) };
        runtime.block_on(facts.look_up(*number, None, deadline, CLAIM).wait())?;
    }
    if let Some(times) = std::env::args().nth(2) {
        for _ in 0..times.parse()? {
            people.iter().for_each(|number| look_up(&facts, *number));
        }
        return Ok(());
    }

    let mut rounds: Vec<f64> = (0..ROUNDS).map(|round| measure(&facts, &people, round as u64)).collect();
    rounds.sort_by(f64::total_cmp);
    let [lowest, middle, highest] = [0, ROUNDS / 2, ROUNDS - 1].map(|place| rounds[place]);
    println!("look-up and check, {count} drivers: {middle:.0} ns ({lowest:.0} to {highest:.0})");
    Ok(())
}

/// Returns nanoseconds a question. Whom to ask about is drawn before: whoever asks has the number at hand.
fn measure(facts: &FactCache, people: &[NumberPseudonym], seed: u64) -> f64 {
    let mut random = StdRng::seed_from_u64(seed);
    let questions: Vec<_> = (0..QUESTIONS).map(|_| people[random.random_range(0..people.len())]).collect();
    let began = SystemClock.since_boot();
    questions.iter().for_each(|number| look_up(facts, *number));
    nanoseconds_since(began)
}

/// Fetches what is held of somebody, and judges it once more.
#[inline(never)]
fn look_up(facts: &FactCache, number: NumberPseudonym) {
    let deadline = Deadline { since_boot: Duration::MAX };
    let held = match facts.look_up(number, None, deadline, CLAIM) {
        Soon::Now(Ok(fact)) => facts.known_true_at(number, &fact),
        _ => None,
    };
    assert!(held.is_some(), "everybody is held, and nothing changes");
}

fn nanoseconds_since(began: Duration) -> f64 {
    (SystemClock.since_boot() - began).as_secs_f64() * 1e9 / QUESTIONS as f64
}
