//! Quotas while calls get lost, Redis forgets and replicas die.

use super::*;

/// What was given in each minute and each hour, by the window each answer was counted in, and what may be given beyond the limit.
#[derive(Default)]
struct Given {
    by_window: [BTreeMap<i64, u64>; 2],
    all: u64,
    recent: VecDeque<u64>,
    deaths: u32,
    unknown: u64,
}

impl Given {
    /// Asks a replica and counts what it gives.
    fn ask(&mut self, world: &World, index: usize, asked: u64) {
        let answers = world.answers(index, asked);
        let caps = world.replicas[index].limits.ledger(&partner()).caps(&world.allowance);
        for (sums, (starts_at, _)) in self.by_window.iter_mut().zip(caps) {
            *sums.entry(starts_at).or_default() += answers;
        }
        self.all += answers;
        self.recent.push_back(answers);
        if self.recent.len() > 200 {
            self.recent.pop_front();
        }
    }

    /// Redis lost something: if a replica has died, what was given in the last two seconds may stay unknown.
    fn lost(&mut self) {
        if self.deaths > 0 {
            self.unknown += self.recent.iter().sum::<u64>();
        }
    }

    fn must_keep(&self, world: &World, seed: u64) {
        let limits = [world.allowance.quota_per_minute, world.allowance.quota_per_hour];
        for (sums, limit) in self.by_window.iter().zip(limits) {
            let most = limit.max(u64::from(REPLICAS)) + self.unknown;
            for (starts_at, given) in sums {
                assert!(*given <= most, "seed {seed}, window from {starts_at}: {given} of {limit}");
            }
        }
        assert!(self.all > 0, "seed {seed}: something was given");
    }
}

/// What befalls Redis or a replica, one at a time: a replica cut off alone while Redis forgets everything tells nobody what it holds.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Away,
    Emptied,
    FailedOver,
    CutOff,
}

impl World {
    /// Makes it happen; returns for how many steps.
    fn suffer(&mut self, fault: Fault, dice: &mut StdRng) -> u32 {
        match fault {
            Fault::Away => {
                self.is_redis_away = true;
                dice.random_range(1..3_000)
            }
            Fault::Emptied => {
                self.flush();
                200
            }
            Fault::FailedOver => {
                self.fail_over();
                200
            }
            Fault::CutOff => {
                // For less than it takes to be taken for dead.
                let index = dice.random_range(0..self.replicas.len());
                self.replicas[index].is_cut_off = true;
                dice.random_range(1..900)
            }
        }
    }

    fn recover(&mut self) {
        self.is_redis_away = false;
        self.replicas.iter_mut().for_each(|replica| replica.is_cut_off = false);
    }

    fn must_hold_no_more_than_the_limits(&self, seed: u64, step: u32) {
        let limits = [self.allowance.quota_per_minute, self.allowance.quota_per_hour];
        for (sums, limit) in self.caps().iter().zip(limits) {
            let most = limit.max(u64::from(REPLICAS));
            let fault = || format!("seed {seed}, step {step}: {sums:?} of {limit}");
            assert!(sums.values().all(|sum| *sum <= most), "{}", fault());
        }
    }
}

/// Goal: no window gives more than its limit, or one answer per replica if that is more. Method: random quotas, lossy calls, one fault after
/// the other; at every step what all may still give is added up.
#[test]
fn no_window_gives_more_than_its_limit_whatever_is_lost() {
    for seed in seeds(0) {
        let mut dice = StdRng::seed_from_u64(seed);
        let allowance = quota(dice.random_range(1..200), dice.random_range(1..400), PLENTY);
        let mut world = World::new(allowance, seed);
        // One that starts while Redis is away begins with a share of its own.
        world.steps(Duration::from_secs(2));
        world.faults = Faults { call_lost: 10, reply_lost: 10, late: 10, twice: 10 };
        let (mut given, mut back_at, mut faults) = (Given::default(), None, Vec::new());
        for step in 0..13_000_u32 {
            if dice.random_range(0..40) == 0 {
                world.replicate();
            }
            if back_at.is_none() && dice.random_range(0..500) == 0 {
                let fault =
                    [Fault::Away, Fault::Emptied, Fault::FailedOver, Fault::CutOff][dice.random_range(0..4)];
                faults.push((step, fault));
                back_at = Some(step + world.suffer(fault, &mut dice));
            }
            if back_at.is_some_and(|at| at <= step) {
                world.recover();
                back_at = None;
            }
            world.step();
            world.must_hold_no_more_than_the_limits(seed, step);
            if dice.random_range(0..4) == 0 {
                given.ask(&world, dice.random_range(0..3), dice.random_range(1..8));
            }
        }
        println!("seed {seed}: {faults:?}");
        given.must_keep(&world, seed);
    }
}

/// Goal: the same while replicas die, and Redis goes away: what the dead gave without a word counts as all they held.
#[test]
fn replicas_that_die_give_nothing_twice() {
    for seed in seeds(50) {
        let mut dice = StdRng::seed_from_u64(seed);
        let allowance = quota(dice.random_range(1..200), dice.random_range(100..800), PLENTY);
        let mut world = World::new(allowance, seed);
        world.faults = Faults { call_lost: 5, reply_lost: 5, late: 5, twice: 5 };
        let (mut given, mut back_at) = (Given::default(), None);
        for step in 0..12_000_u32 {
            // One that starts while Redis is away begins with a share of its own.
            let have_begun = world.replicas.iter().all(|replica| replica.limits.have_begun());
            if back_at.is_none() && have_begun && dice.random_range(0..1_000) == 0 {
                back_at = Some(step + world.suffer(Fault::Away, &mut dice));
            }
            if dice.random_range(0..800) == 0 {
                let index = dice.random_range(0..3);
                match back_at {
                    Some(_) if world.replicas.len() == 3 => drop(world.replicas.swap_remove(index)),
                    None if world.replicas.len() == 3 => world.replace(index),
                    _ => {}
                }
            }
            if back_at.is_some_and(|at| at <= step) {
                world.recover();
                back_at = None;
            }
            if back_at.is_none() && world.replicas.len() < 3 {
                world.join();
            }
            world.step();
            if dice.random_range(0..4) == 0 {
                let index = dice.random_range(0..world.replicas.len());
                given.ask(&world, index, dice.random_range(1..8));
            }
        }
        given.must_keep(&world, seed);
    }
}

/// Goal: what a replica that died had given is not given again by a Redis that forgot it, but for what was given in the last two seconds.
#[test]
fn what_the_dead_gave_outlives_redis() {
    for seed in seeds(70) {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut world = World::new(quota(PLENTY, dice.random_range(500..2_000), PLENTY), seed);
        let mut given = Given::default();
        for step in 0..9_000_u32 {
            if step % 40 == 0 {
                world.replicate();
            }
            match dice.random_range(0..1_500) {
                0 => {
                    given.deaths += 1;
                    world.replace(dice.random_range(0..3));
                }
                1 => {
                    given.lost();
                    world.flush();
                    world.steps(Duration::from_secs(2));
                }
                2 => {
                    given.lost();
                    world.fail_over();
                    world.steps(Duration::from_secs(2));
                }
                _ => {}
            }
            world.step();
            given.ask(&world, dice.random_range(0..3), 1);
        }
        given.must_keep(&world, seed);
    }
}

/// Goal: what a dead replica held comes back to the others, but for a second's worth.
#[test]
fn what_the_dead_held_comes_back() {
    for seed in seeds(100) {
        let mut dice = StdRng::seed_from_u64(seed);
        let allowance = Allowance { rate_per_second: 100, burst: 50, ..quota(PLENTY, 5_000, PLENTY) };
        let (mut world, mut given) = (World::new(allowance, seed), Given::default());
        for step in 0..12_000_u32 {
            world.step();
            let index = dice.random_range(0..3);
            given.ask(&world, index, if step < 6_000 { dice.random_range(0..3) } else { 4 });
            if step < 6_000 && dice.random_range(0..600) == 0 {
                given.deaths += 1;
                world.replace(index);
            }
        }
        given.must_keep(&world, seed);
        let least = 5_000 - u64::from(given.deaths) * 150;
        assert!(given.all >= least, "seed {seed}: {} of 5000, {} died", given.all, given.deaths);
    }
}
