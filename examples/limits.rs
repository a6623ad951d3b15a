//! Measures what the limits cost a request: this process alone, and with slices leased from Redis.
//!
//! ```text
//! cargo run --release --example limits                             # without Redis: this replica's share
//! cargo run --release --example limits redis://127.0.0.1:6379/     # leased
//! ```
//!
//! Each round spends a million requests of the rate and reserves and charges an answer for each, as one core does.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that measures says what it measured"
)]

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use drivegate::admission::Meters as _;
use drivegate::app::SystemClock;
use drivegate::domain::partner::{Allowance, PartnerId};
use drivegate::domain::time::Clock as _;
use drivegate::limits::{LeaseObserver, LeaseOutcome, LimitLeases, LimitOptions, LocalLimits};
use drivegate::redis_link::RedisAddress;
use drivegate::verification::ports::Quotas as _;

const REQUESTS: u32 = 1_000_000;
const ROUNDS: usize = 7;
const REPLICAS_MAX: u32 = 3;

/// Nothing here binds: what is measured is the counting.
const ALLOWANCE: Allowance = Allowance {
    rate_per_second: 100_000_000,
    burst: u32::MAX,
    in_flight_max: 100,
    connections_max: 100,
    quota_per_minute: 1 << 50,
    quota_per_hour: 1 << 50,
    quota_per_day: 1 << 50,
};

struct Counts;

impl LeaseObserver for Counts {
    fn leased(&self, outcome: LeaseOutcome, calls: u64) {
        // What is measured is another case then, and the last line says so.
        if outcome == LeaseOutcome::Failed && std::env::args().nth(1).is_some() {
            eprintln!("{calls} calls to Redis failed");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let partner: PartnerId = "rental-demo".parse()?;
    let alone = LocalLimits::new(Arc::new(SystemClock), LimitOptions::default());
    let options = LimitOptions { replicas_max: NonZeroU32::new(REPLICAS_MAX), ..LimitOptions::default() };
    let shared = Arc::new(LocalLimits::new(Arc::new(SystemClock), options));
    shared.know([(&partner, &ALLOWANCE)]);

    let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Nobody listens on port 1: without an address this replica keeps to its share.
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:1/".to_owned());
    let (address, scope) = (RedisAddress::new(url), std::process::id().to_be_bytes());
    let leases =
        LimitLeases::start(Arc::clone(&shared), &address, &scope, Arc::new(Counts), background.handle())?;
    background.block_on(leases.begun(Duration::from_secs(3)));
    // The bucket begins empty: more than all rounds spend is in it by then.
    std::thread::sleep(Duration::from_secs(2));

    let mut rounds: Vec<[f64; 2]> = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push([round(&alone, &partner), round(&shared, &partner)]);
    }
    let median = |of: usize| {
        let mut figures: Vec<f64> = rounds.iter().map(|round| round[of]).collect();
        figures.sort_by(f64::total_cmp);
        (figures[ROUNDS / 2], figures[0], figures[ROUNDS - 1])
    };
    for (what, of) in [("this process alone", 0), ("shared by replicas", 1)] {
        let (middle, lowest, highest) = median(of);
        println!("{what}: {middle:.0} ns a request ({lowest:.0} to {highest:.0})");
    }
    println!("limits kept: {:?}", shared.mode(&partner, &ALLOWANCE));
    background.block_on(leases.leave());
    Ok(())
}

/// Returns nanoseconds a request.
fn round(limits: &LocalLimits, partner: &PartnerId) -> f64 {
    let began = SystemClock.since_boot();
    for _ in 0..REQUESTS {
        let place = limits.spend(partner, &ALLOWANCE);
        let charged = limits.reserve(partner, &ALLOWANCE, None).map(|reserved| reserved.charge());
        assert!(place.is_ok() && charged == Ok(true), "nothing binds");
    }
    (SystemClock.since_boot() - began).as_secs_f64() * 1e9 / f64::from(REQUESTS)
}
