//! The rate of all replicas together.

use super::*;

/// The largest excess of what was admitted over the rate, between any two moments.
#[derive(Default)]
struct Excess {
    admitted: f64,
    lowest: f64,
    lowest_at: Duration,
    largest: f64,
    /// Between which moments.
    between: (Duration, Duration),
}

impl Excess {
    fn add(&mut self, admitted: u64, elapsed: Duration, rate_per_second: u32) {
        self.admitted += admitted as f64;
        let over = self.admitted - elapsed.as_secs_f64() * f64::from(rate_per_second);
        if over - self.lowest > self.largest {
            self.largest = over - self.lowest;
            self.between = (self.lowest_at, elapsed);
        }
        if over < self.lowest {
            (self.lowest, self.lowest_at) = (over, elapsed);
        }
    }
}

#[test]
fn together_the_replicas_admit_the_rate_and_one_burst() {
    for (rate_per_second, burst) in [(1, 1), (5, 20), (100, 100), (200, 20)] {
        let mut world = World::new(rate(rate_per_second, burst), 1);
        world.steps(Duration::from_secs(10));
        let mut admitted = 0;
        let offered = u64::from(rate_per_second * 5).div_ceil(300);
        for _ in 0..6_000 {
            admitted += (0..3).map(|index| world.requests(index, offered)).sum::<u64>();
            world.step();
        }
        let expected = 60.0 * f64::from(rate_per_second) + f64::from(burst);
        let ratio = admitted as f64 / expected;
        assert!((0.97..=1.01).contains(&ratio), "{rate_per_second}/s, burst {burst}: {ratio}");
    }
}

/// What is admitted between any two moments, whatever is lost: the rate, one burst, and one of each replica.
#[test]
fn no_interval_admits_more_than_the_rate_and_one_burst() {
    for seed in seeds(200) {
        let mut dice = StdRng::seed_from_u64(seed);
        let allowance = rate(dice.random_range(10..500), dice.random_range(50..500));
        let mut world = World::new(allowance, seed);
        world.faults = Faults { call_lost: 5, reply_lost: 5, late: 5, twice: 5 };
        let (mut excess, mut back_at, mut faults) = (Excess::default(), None, Vec::new());
        for step in 0..8_000_u32 {
            match dice.random_range(0..1_500) {
                _ if back_at.is_some() => {}
                0 => {
                    world.is_redis_away = true;
                    let back = step + dice.random_range(1..1_500);
                    faults.push((step, back));
                    back_at = Some(back);
                }
                1 => {
                    faults.push((step, step));
                    world.flush();
                }
                _ => {}
            }
            if back_at.is_some_and(|at| at <= step) {
                world.is_redis_away = false;
                back_at = None;
            }
            world.step();
            let is_flood = step / 1_000 % 2 == 0;
            let admitted = (0..3).map(|index| world.requests(index, if is_flood { 20 } else { 1 })).sum();
            excess.add(admitted, STEP * (step + 1), allowance.rate_per_second);
        }
        let rate_per_second = f64::from(allowance.rate_per_second);
        // A fifth of a second: what a replica may be granted after a short pause before the others tell that they were alone.
        // One of each replica: a bucket of tokens is divided in whole ones.
        let most = f64::from(allowance.burst) + 3.0 * f64::from(REPLICAS) + rate_per_second * 0.2;
        let (largest, between) = (excess.largest, excess.between);
        assert!(
            largest <= most,
            "seed {seed}: {largest} over {most}, {between:?}, {faults:?}, {allowance:?}"
        );
    }
}

/// Alone, each replica makes up its part of the rate: together the rate, and nothing on top when Redis is back.
#[test]
fn without_redis_the_rate_is_divided() {
    let mut world = World::new(rate(300, 300), 1);
    world.steps(Duration::from_secs(5));
    let flood = |world: &mut World, seconds: u64| {
        let mut admitted = 0;
        for _ in 0..seconds * 100 {
            admitted += (0..3).map(|index| world.requests(index, 5)).sum::<u64>();
            world.step();
        }
        admitted
    };
    flood(&mut world, 5);
    world.is_redis_away = true;
    flood(&mut world, 1);
    let alone = flood(&mut world, 10);
    assert!((2_950..=3_010).contains(&alone), "{alone} in 10 s at 300/s");
    world.is_redis_away = false;
    let again = flood(&mut world, 10);
    assert!((2_700..=3_100).contains(&again), "{again} in 10 s at 300/s");
    assert_eq!(world.mode(0), LimitMode::Leased);
}
