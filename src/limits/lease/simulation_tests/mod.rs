//! Replicas that share one contract, on a clock of the test's own: what they admit together, whatever is lost on the way.
//!
//! The replicas are the real limits; the script runs in a real `redis-server`, with the two lines that read the server's clock and
//! run replaced. A call may be lost, its reply may be lost, it may arrive late or twice; Redis may be away, emptied, fail over to a server
//! that lacks the last writes, or change its mind about the time; a replica may die with all it holds. Every failure names its seed;
//! `DRIVEGATE_SEED=…` runs that one alone,
//! `DRIVEGATE_SEEDS=…` so many.

mod faults_tests;
mod nonsense_tests;
mod quotas_tests;
mod rates_tests;

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
        let script = include_str!("../script.lua");
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
            .arg(now.subsec_microsecond())
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

/// Returns the first seed, so many more from there as `DRIVEGATE_SEEDS` asks for, or the one `DRIVEGATE_SEED` names.
fn seeds(first: u64) -> Vec<u64> {
    let asked = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    asked("DRIVEGATE_SEED")
        .map_or_else(|| (first..first + asked("DRIVEGATE_SEEDS").unwrap_or(1)).collect(), |seed| vec![seed])
}
