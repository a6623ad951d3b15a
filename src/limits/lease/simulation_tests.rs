//! Replicas that share one contract, on a clock of the test's own: what they admit together, whatever is lost on the way.
//!
//! The replicas are the real limits; the script runs in a real `redis-server`, with the two lines that read the server's clock and
//! run replaced. A call may be lost, its reply may be lost, it may arrive late or twice; Redis may be away, emptied, fail over to a server
//! that lacks the last writes, or change its mind about the time; a replica may die with all it holds. Every failure names its seed;
//! `DRIVEGATE_SEED=…` runs that one alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::message::Reply;
use crate::admission::{LimitMode, LimitWindow, Meters as _};
use crate::domain::partner::Allowance;
use crate::domain::time::Clock;
use crate::limits::leasing::Call;
use crate::limits::testing::{FakeClock, allowance, partner};
use crate::limits::{LimitOptions, LocalLimits};
use crate::redis_link::testing::Server;
use crate::verification::ports::Quotas as _;

const CLOCK_LINE: &str = "local clock = redis.call('TIME')";
const RUN_LINE: &str = "local info = redis.pcall('INFO', 'server')";
const STEP: Duration = Duration::from_millis(10);
/// Replicas, and `replicas_max`.
const REPLICAS: u32 = 3;
const PLENTY: u64 = 1_000_000_000;

/// A replica's clocks: the wall's is off, the boot's counts from another moment.
struct SkewedClock {
    shared: Arc<FakeClock>,
    wall: SignedDuration,
    boot: Duration,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        self.shared.now() + self.wall
    }

    fn since_boot(&self) -> Duration {
        self.shared.since_boot() + self.boot
    }
}

struct Replica {
    name: String,
    limits: Arc<LocalLimits>,
    is_cut_off: bool,
}

/// What may happen to a call, each in so many of a hundred.
#[derive(Clone, Copy, Default)]
struct Faults {
    call_lost: u32,
    reply_lost: u32,
    late: u32,
    twice: u32,
}

struct World {
    redis: redis::Connection,
    script: String,
    clock: Arc<FakeClock>,
    /// How far Redis' clock is ahead.
    redis_ahead: SignedDuration,
    is_redis_away: bool,
    /// The server's run, and what a standby has of it.
    redis_run: u32,
    standby: Vec<(String, String)>,
    replicas: Vec<Replica>,
    joined: u32,
    allowance: Allowance,
    faults: Faults,
    late: Vec<(String, Vec<i64>)>,
    dice: StdRng,
    _server: Server,
}

impl World {
    fn new(allowance: Allowance, seed: u64) -> Self {
        let script = include_str!("script.lua");
        assert_eq!((script.matches(CLOCK_LINE).count(), script.matches(RUN_LINE).count()), (1, 1));
        let server = Server::start(&[]);
        let mut redis = server.console();
        let script = script.replace(CLOCK_LINE, "local clock = {ARGV[#ARGV - 2], ARGV[#ARGV - 1]}");
        let script = script.replace(RUN_LINE, "local info = ARGV[#ARGV]");
        let mut world = Self {
            script: redis::cmd("SCRIPT").arg("LOAD").arg(script).query(&mut redis).unwrap(),
            redis,
            clock: FakeClock::new(),
            redis_ahead: SignedDuration::from_millis(700),
            is_redis_away: false,
            redis_run: 1,
            standby: Vec::new(),
            replicas: Vec::new(),
            joined: 0,
            allowance,
            faults: Faults::default(),
            late: Vec::new(),
            dice: StdRng::seed_from_u64(seed),
            _server: server,
        };
        for _ in 0..REPLICAS {
            world.join();
        }
        world
    }

    /// Starts a replica, which hears from Redis before it serves.
    fn join(&mut self) {
        let n = self.joined;
        self.joined += 1;
        let clock = SkewedClock {
            shared: Arc::clone(&self.clock),
            wall: SignedDuration::from_millis(i64::from(n % 3) * 400 - 400),
            boot: Duration::from_secs(u64::from(n) * 1_000),
        };
        let options = LimitOptions { replicas_max: REPLICAS.try_into().ok(), ..LimitOptions::default() };
        let limits = Arc::new(LocalLimits::new(Arc::new(clock), options));
        limits.know([(&partner(), &self.allowance)]);
        self.replicas.push(Replica { name: format!("replica-{n}"), limits, is_cut_off: false });
        let faults = std::mem::take(&mut self.faults);
        self.call(self.replicas.len() - 1);
        self.faults = faults;
    }

    fn redis_now(&self) -> Timestamp {
        self.clock.now() + self.redis_ahead
    }

    fn run(&mut self, replica: &str, arguments: &[i64]) -> Option<Reply> {
        let now = self.redis_now();
        let reply: Vec<i64> = redis::cmd("EVALSHA")
            .arg(&self.script)
            .arg(1)
            .arg("limits")
            .arg(replica)
            .arg(arguments)
            .arg(now.as_second())
            .arg(now.subsec_microsecond() + now.subsec_millisecond() * 1_000)
            .arg(format!("run_id:{:x}", self.redis_run))
            .query(&mut self.redis)
            .unwrap();
        Reply::read(&reply)
    }

    /// Makes the calls a replica is due to make.
    fn call(&mut self, index: usize) {
        let limits = Arc::clone(&self.replicas[index].limits);
        let name = self.replicas[index].name.clone();
        limits.make_up_rates();
        for call in limits.calls_due() {
            let reply = self.deliver(&name, &call, self.replicas[index].is_cut_off);
            limits.heard(&call, reply);
        }
    }

    fn deliver(&mut self, name: &str, call: &Call, is_cut_off: bool) -> Option<Reply> {
        if is_cut_off || self.is_redis_away {
            return None;
        }
        let arguments = call.ask.arguments();
        let Faults { call_lost, reply_lost, late, twice } = self.faults;
        match self.dice.random_range(0..100) {
            dice if dice < call_lost => None,
            dice if dice < call_lost + reply_lost => {
                self.run(name, &arguments);
                None
            }
            dice if dice < call_lost + reply_lost + late => {
                self.late.push((name.to_owned(), arguments));
                None
            }
            dice if dice < call_lost + reply_lost + late + twice => {
                let reply = self.run(name, &arguments);
                assert_eq!(self.run(name, &arguments), Some(Reply::Late));
                reply
            }
            _ => self.run(name, &arguments),
        }
    }

    /// Lets time pass and everybody who is due call.
    fn step(&mut self) {
        self.clock.advance(STEP);
        if !self.late.is_empty() && !self.is_redis_away && self.dice.random_range(0..5) == 0 {
            let index = self.dice.random_range(0..self.late.len());
            let (name, arguments) = self.late.swap_remove(index);
            self.run(&name, &arguments);
        }
        for index in 0..self.replicas.len() {
            self.call(index);
        }
    }

    fn steps(&mut self, span: Duration) {
        for _ in 0..span.as_millis() / STEP.as_millis() {
            self.step();
        }
    }

    /// Asks a replica for answers; returns how many it gives.
    fn answers(&self, index: usize, asked: u64) -> u64 {
        let limits = &self.replicas[index].limits;
        let reserve = || limits.reserve(&partner(), &self.allowance, None);
        (0..asked).map(|_| u64::from(reserve().is_ok_and(|reserved| reserved.charge()))).sum()
    }

    /// Knocks at a replica; returns how many are let in.
    fn requests(&self, index: usize, asked: u64) -> u64 {
        let limits = &self.replicas[index].limits;
        (0..asked).map(|_| u64::from(limits.spend(&partner(), &self.allowance).is_ok())).sum()
    }

    fn remaining(&self, index: usize, window: LimitWindow) -> u64 {
        let levels = self.replicas[index].limits.levels(&partner(), &self.allowance);
        levels.into_iter().find(|level| level.window == window).unwrap().remaining
    }

    /// What all replicas together may give, or have given, in each minute and hour they are in, if nobody hears from Redis again.
    fn caps(&self) -> [BTreeMap<i64, u64>; 2] {
        let mut caps = [BTreeMap::new(), BTreeMap::new()];
        for replica in &self.replicas {
            let of_replica = replica.limits.ledger(&partner()).caps(&self.allowance);
            for (sums, (starts_at, cap)) in caps.iter_mut().zip(of_replica) {
                *sums.entry(starts_at).or_default() += cap;
            }
        }
        caps
    }

    /// Redis' rows, for the words of a failure.
    fn rows(&mut self) -> BTreeMap<String, String> {
        redis::cmd("HGETALL").arg("limits").query(&mut self.redis).unwrap()
    }

    fn mode(&self, index: usize) -> LimitMode {
        self.replicas[index].limits.mode(&partner(), &self.allowance)
    }

    fn flush(&mut self) {
        redis::cmd("FLUSHALL").exec(&mut self.redis).unwrap();
    }

    /// The standby has everything, for now.
    fn replicate(&mut self) {
        self.standby = redis::cmd("HGETALL").arg("limits").query(&mut self.redis).unwrap();
    }

    /// The standby takes over: what was written since is lost.
    fn fail_over(&mut self) {
        self.flush();
        self.redis_run += 1;
        for (field, value) in &self.standby {
            redis::cmd("HSET").arg("limits").arg(field).arg(value).exec(&mut self.redis).unwrap();
        }
    }

    /// A replica dies with all it holds; another one starts.
    fn replace(&mut self, index: usize) {
        self.replicas.swap_remove(index);
        self.join();
    }
}

fn quota(per_minute: u64, per_hour: u64, per_day: u64) -> Allowance {
    Allowance {
        quota_per_minute: per_minute,
        quota_per_hour: per_hour,
        quota_per_day: per_day,
        ..rate(1_000, 1_000)
    }
}

fn rate(rate_per_second: u32, burst: u32) -> Allowance {
    Allowance {
        rate_per_second,
        burst,
        in_flight_max: 1_000,
        quota_per_minute: PLENTY,
        quota_per_hour: PLENTY,
        quota_per_day: PLENTY,
        ..allowance()
    }
}

/// Runs one seed, or the one that is asked for.
fn seeds(seeds: std::ops::Range<u64>) -> Vec<u64> {
    let asked = std::env::var("DRIVEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    asked.map_or_else(|| seeds.collect(), |seed| vec![seed])
}

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
    for seed in seeds(0..12) {
        let mut dice = StdRng::seed_from_u64(seed);
        let allowance = quota(dice.random_range(1..200), dice.random_range(1..400), PLENTY);
        let mut world = World::new(allowance, seed);
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
    for seed in seeds(50..58) {
        let mut dice = StdRng::seed_from_u64(seed);
        let allowance = quota(dice.random_range(1..200), dice.random_range(100..800), PLENTY);
        let mut world = World::new(allowance, seed);
        world.faults = Faults { call_lost: 5, reply_lost: 5, late: 5, twice: 5 };
        let (mut given, mut back_at) = (Given::default(), None);
        for step in 0..12_000_u32 {
            if back_at.is_none() && dice.random_range(0..1_000) == 0 {
                back_at = Some(step + world.suffer(Fault::Away, &mut dice));
            }
            if dice.random_range(0..800) == 0 {
                let index = dice.random_range(0..3);
                match back_at {
                    // One that starts while Redis is away begins with a share of its own.
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
    for seed in seeds(70..76) {
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
    for seed in seeds(100..104) {
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

/// The largest excess of what was admitted over the rate, between any two moments.
#[derive(Default)]
struct Excess {
    admitted: f64,
    lowest: f64,
    largest: f64,
}

impl Excess {
    fn add(&mut self, admitted: u64, elapsed: Duration, rate_per_second: u32) {
        self.admitted += admitted as f64;
        let over = self.admitted - elapsed.as_secs_f64() * f64::from(rate_per_second);
        self.largest = self.largest.max(over - self.lowest);
        self.lowest = self.lowest.min(over);
    }
}

#[test]
fn every_answer_of_a_window_can_be_had_at_one_replica() {
    for limit in [1, 2, 5, 7, 100, 1_000] {
        let mut world = World::new(quota(limit, PLENTY, PLENTY), limit);
        world.steps(Duration::from_secs(2));
        let mut given = 0;
        for _ in 0..3_000 {
            given += world.answers(1, 1);
            world.step();
        }
        assert_eq!(given, limit, "at one replica, the others idle");
        assert_eq!(world.mode(1), LimitMode::Leased);
        assert_eq!((0..3).map(|index| world.remaining(index, LimitWindow::QuotaMinute)).sum::<u64>(), 0);
    }
}

#[test]
fn an_emptied_redis_does_not_give_the_day_again() {
    let mut world = World::new(quota(PLENTY, PLENTY, 900), 1);
    world.steps(Duration::from_secs(3));
    let mut given = 0;
    for step in 0..6_000_u32 {
        if step % 500 == 250 {
            world.flush();
        }
        given += world.answers(usize::try_from(step % 3).unwrap(), 1);
        world.step();
    }
    assert_eq!(given, 900);
}

/// Redis goes away when half is spent, unevenly: what is left is divided, and together no more than the limit is given.
#[test]
fn without_redis_each_replica_gives_its_share_of_the_rest() {
    let mut world = World::new(quota(PLENTY, 900, PLENTY), 1);
    world.steps(Duration::from_secs(3));
    let mut given = 0;
    for _ in 0..450 {
        given += world.answers(0, 1);
        world.step();
    }
    world.steps(Duration::from_secs(3));
    assert_eq!(given, 450);
    world.is_redis_away = true;
    world.steps(Duration::from_secs(1));
    let shares: Vec<u64> = (0..3).map(|index| world.answers(index, 1_000)).collect();
    assert!(shares.iter().all(|share| (145..=155).contains(share)), "{shares:?}");
    assert!(given + shares.iter().sum::<u64>() <= 900, "{shares:?}");
    assert_eq!(world.mode(0), LimitMode::Divided);

    // A window that opens meanwhile is divided evenly.
    world.steps(Duration::from_secs(3_600));
    let shares: Vec<u64> = (0..3).map(|index| world.answers(index, 1_000)).collect();
    assert_eq!(shares, [300; 3]);
}

#[test]
fn a_replica_that_leaves_gives_back_what_it_holds() {
    let mut world = World::new(quota(PLENTY, 900, PLENTY), 1);
    world.steps(Duration::from_secs(3));
    let leaving = world.replicas.swap_remove(0);
    for call in leaving.limits.calls_to_leave() {
        assert_eq!(world.run(&leaving.name, &call.ask.arguments()), Some(Reply::Left));
    }
    let mut given = 0;
    for _ in 0..1_000 {
        given += world.answers(0, 2);
        world.step();
    }
    assert_eq!(given, 900);
}

#[test]
fn a_clock_of_redis_that_steps_back_opens_no_window_again() {
    for back in [2, 20, 300] {
        let mut world = World::new(quota(PLENTY, 300, PLENTY), 1);
        world.steps(Duration::from_secs(3));
        let mut given: u64 = (0..3).map(|index| world.answers(index, 60)).sum();
        world.redis_ahead -= SignedDuration::from_secs(back);
        for step in 0..3_000_u32 {
            world.step();
            given += world.answers(usize::try_from(step % 3).unwrap(), 1);
        }
        assert!((300..=303).contains(&given), "back by {back} s: {given}");
    }
}

#[test]
fn a_clock_of_redis_that_steps_forth_opens_the_next_window_once() {
    let mut world = World::new(quota(PLENTY, 300, PLENTY), 1);
    world.steps(Duration::from_secs(3));
    let mut given = 0;
    for step in 0..12_000_u32 {
        if step == 4_000 {
            world.redis_ahead += SignedDuration::from_secs(3_600);
        }
        world.step();
        given += world.answers(usize::try_from(step % 3).unwrap(), 1);
    }
    assert!((600..=606).contains(&given), "{given}");
}

#[test]
fn together_the_replicas_admit_the_rate_and_one_burst() {
    for (rate_per_second, burst) in [(1, 1), (5, 20), (100, 100), (1_000, 50), (3_000, 6_000)] {
        let mut world = World::new(rate(rate_per_second, burst), 1);
        world.steps(Duration::from_secs(30));
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
    for seed in seeds(200..210) {
        let mut dice = StdRng::seed_from_u64(seed);
        let allowance = rate(dice.random_range(10..500), dice.random_range(50..500));
        let mut world = World::new(allowance, seed);
        world.faults = Faults { call_lost: 5, reply_lost: 5, late: 5, twice: 5 };
        let (mut excess, mut back_at) = (Excess::default(), None);
        for step in 0..8_000_u32 {
            match dice.random_range(0..1_500) {
                _ if back_at.is_some() => {}
                0 => {
                    world.is_redis_away = true;
                    back_at = Some(step + dice.random_range(1..1_500));
                }
                1 => world.flush(),
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
        // Three tenths of a second: what a replica may be granted before another tells that both were alone.
        let most = f64::from(allowance.burst) + 3.0 * f64::from(REPLICAS) + rate_per_second * 0.3;
        assert!(excess.largest <= most, "seed {seed}: {} over {most}", excess.largest);
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

#[test]
fn what_redis_invents_entitles_to_no_more_than_the_contract() {
    let mut world = World::new(quota(PLENTY, 90, PLENTY), 1);
    world.steps(Duration::from_secs(2));
    let limits = Arc::clone(&world.replicas[0].limits);
    world.clock.advance(Duration::from_secs(1));
    let now_us = world.redis_now().as_microsecond();
    let hour = world.redis_now().as_second() / 3_600 * 3_600;
    for call in limits.calls_due() {
        let lie = [1, now_us, i64::MAX, i64::MAX, 0, i64::MAX, 0, hour, i64::MAX, 0, i64::MAX, 0, i64::MAX];
        limits.heard(&call, Reply::read(&lie));
    }
    assert!(world.answers(0, 1_000) <= 90);
    assert!(world.requests(0, 100_000) <= 2_000);
}
