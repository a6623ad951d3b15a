//! What may happen next, and what must always hold.

use stateright::{Model, Property};

use crate::flaw::Flaw;
use crate::replica::{Poll, Question, Replica, begin_epoch};
use crate::scene::{BOUND, Scene};
use crate::world::{Change, Entry, HOME, Last, Log, RECORD, Reading, Readings, World};

pub(crate) const FRESH: &str = "no answer leaves that was last true longer ago than the bound";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) replicas: Vec<Replica>,
    /// Everything that was ever written for the number. Redis gives any of it, or nothing: what it lost, kept, or was handed late
    /// by a failover. It gives nothing else, because values are sealed for their key (`cache::redis::seal`).
    pub(crate) redis: Readings,
    pub(crate) stale_left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Tick,
    /// A change commits.
    Commit(Change),
    /// A change takes its sequence and commits later ([`Flaw::SeqWithoutLock`]).
    TakeSeq(Change),
    CommitLate(usize),
    /// The slots of the process the registry lives in are raised.
    Raise,
    Acknowledge,
    /// The standby replays one entry more.
    Replay,
    /// The standby becomes the primary; what it had not replayed is lost.
    Promote,
    /// Somebody who changes the registry connects to its new server.
    Settle,
    BackUp,
    /// The backup becomes the primary.
    Restore,
    Restart(usize),
    Connect(usize),
    Disconnect(usize),
    BeginPoll(usize),
    ReadHeads {
        replica: usize,
        back: bool,
    },
    Tell(usize),
    Publish(usize),
    ReadPrimary(usize),
    ReadStandby(usize),
    ReadPosition(usize),
    Arrive(usize),
    /// A fact of the in-process level is judged: the watermark first.
    Recall(usize),
    /// A fact of Redis is judged: the watermark first.
    Fetch(usize, Reading),
    Bypass(usize),
    ReadLatest(usize),
    ReadLatestOnStandby(usize),
    JudgeLatest(usize),
    LoadWatermarkLate(usize),
    LoadSlots(usize),
    Leave(usize),
}

const CHANGES: [Change; 5] =
    [Change::Acquire, Change::Revoke, Change::Restore, Change::Other(RECORD), Change::Other(HOME)];

impl Model for Scene {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let begun = Entry::Epoch { epoch: 1, timeline: 0 };
        let owned = Entry::Change { change: Change::Acquire, seen: true };
        let logs: &[&[Entry]] = if self.newcomer { &[&[begun], &[begun, owned]] } else { &[&[begun, owned]] };
        logs.iter().map(|log| self.begin(Log::of(log))).collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.push(Step::Tick);
        self.steps_of_world(state, steps);
        for (index, replica) in state.replicas.iter().enumerate() {
            self.steps_of_tail(state, index, replica, steps);
            self.steps_of_question(state, index, replica, steps);
            if replica.restarts_left > 0 {
                steps.push(Step::Restart(index));
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut next, step);
        if self.strangers {
            self.let_strangers_read(&mut next);
        }
        // Which of two replicas is which makes no difference.
        next.replicas.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(FRESH, |_: &Self, state: &State| !state.stale_left)];
        if self.flaw.is_some() {
            return properties;
        }
        // The walk is worth something only if all of this happens in it.
        properties.push(Property::sometimes("a valid answer may leave", |_: &Self, state: &State| {
            cleared(state, true)
        }));
        properties.push(Property::sometimes("another answer may leave", |_: &Self, state: &State| {
            cleared(state, false)
        }));
        properties.push(Property::sometimes("a cached fact is refused", |_: &Self, state: &State| {
            state.replicas.iter().any(|replica| match replica.question {
                Question::WatermarkLoaded { reading, .. } => !replica.table.admits(reading.position, None),
                _ => false,
            })
        }));
        if self.bypass {
            properties.push(Property::sometimes(
                "an answer goes past a stalled feed",
                |_: &Self, state: &State| {
                    let goes = |replica: &Replica| {
                        replica.table.watermark > BOUND
                            && matches!(replica.question, Question::Cleared { age, .. } if age == 0)
                    };
                    state.replicas.iter().any(goes)
                },
            ));
        }
        if self.promotions + self.restores > 0 {
            properties.push(Property::sometimes(
                "an answer of the last epoch may leave",
                |scene: &Self, state: &State| {
                    let epochs = 1 + scene.promotions + scene.restores;
                    cleared(state, true) && state.replicas.iter().any(|replica| replica.table.epoch == epochs)
                },
            ));
            properties.push(Property::sometimes(
                "a change that was acknowledged is lost",
                |_: &Self, state: &State| {
                    state.world.timeline > 0
                        && state.redis.iter().any(|reading| {
                            let heads = state.world.log.heads();
                            reading.position.seq > heads.seqs[reading.position.partition]
                        })
                },
            ));
        }
        properties
    }
}

/// Whether an answer is about to leave in time.
fn cleared(state: &State, said: bool) -> bool {
    let is_cleared = |replica: &Replica| matches!(replica.question, Question::Cleared { valid, age } if valid == said && age <= BOUND);
    state.replicas.iter().any(is_cleared)
}

impl Scene {
    fn begin(&self, log: Log) -> State {
        let mut world = World {
            standby: log.len(),
            backup: log.len(),
            log,
            timeline: 0,
            epochs: 1,
            last: Last::Acknowledged,
            last_true: [crate::world::TOO_OLD; 2],
            unfenced: None,
            changes_left: self.changes,
            promotions_left: self.promotions,
            restores_left: self.restores,
        };
        world.settle_truth();
        let replica = Replica::start(self, &world, self.restarts);
        let mut state = State {
            world,
            replicas: vec![replica; self.replicas],
            redis: Readings::default(),
            stale_left: false,
        };
        if self.strangers {
            self.let_strangers_read(&mut state);
        }
        state
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Other replicas read everything on every server, and write it to Redis.
    fn let_strangers_read(&self, state: &mut State) {
        let World { log, standby, .. } = &state.world;
        state.redis.insert(log.read());
        if self.standby {
            state.redis.insert(log.up_to(*standby).read());
        }
    }

    fn steps_of_world(&self, state: &State, steps: &mut Vec<Step>) {
        let world = &state.world;
        // Writers settle which epoch is in force when they connect (`connection::admit_writer`).
        let is_settled = world.is_settled(self.flaw);
        if !is_settled {
            steps.push(Step::Settle);
        }
        if world.changes_left > 0 && world.last == Last::Acknowledged && is_settled {
            let allowed = || CHANGES.into_iter().filter(|change| world.allows(*change));
            steps.extend(allowed().map(Step::Commit));
            if self.has(Flaw::SeqWithoutLock) {
                steps.extend(allowed().map(Step::TakeSeq));
            }
        }
        let late = |(index, entry): (usize, Entry)| {
            let is_late = matches!(entry, Entry::Change { seen: false, .. });
            (is_late && world.last == Last::Acknowledged).then_some(Step::CommitLate(index))
        };
        steps.extend(world.log.iter().enumerate().filter_map(late));
        match world.last {
            Last::Acknowledged => {}
            Last::Committed { .. } if self.embedded => {
                steps.push(Step::Raise);
                if self.has(Flaw::AcknowledgedBeforeSlots) {
                    steps.push(Step::Acknowledge);
                }
            }
            Last::Committed { .. } | Last::Told { .. } => steps.push(Step::Acknowledge),
        }
        if self.standby && world.standby < world.log.len() {
            steps.push(Step::Replay);
        }
        if world.promotions_left > 0 {
            steps.push(Step::Promote);
        }
        if world.restores_left > 0 {
            steps.push(Step::Restore);
            if world.backup < world.log.len() {
                steps.push(Step::BackUp);
            }
        }
    }

    fn steps_of_tail(&self, state: &State, index: usize, replica: &Replica, steps: &mut Vec<Step>) {
        if self.embedded {
            return;
        }
        let tail = &replica.tail;
        match tail.poll {
            Poll::Told { .. } => steps.push(Step::Publish(index)),
            _ if tail.on.is_none() => steps.push(Step::Connect(index)),
            Poll::Idle => steps.push(Step::BeginPoll(index)),
            Poll::Began { .. } => {
                steps.push(Step::ReadHeads { replica: index, back: false });
                if replica.table.epoch == 0 {
                    steps.push(Step::ReadHeads { replica: index, back: true });
                }
            }
            Poll::Telling { .. } => steps.push(Step::Tell(index)),
        }
        if tail.on.is_some_and(|on| on != state.world.timeline) {
            steps.push(Step::Disconnect(index));
        }
    }

    fn steps_of_question(&self, state: &State, index: usize, replica: &Replica, steps: &mut Vec<Step>) {
        match replica.question {
            Question::None => {
                if replica.held.is_some() {
                    steps.push(Step::Recall(index));
                }
                steps.extend(state.redis.iter().map(|reading| Step::Fetch(index, reading)));
                if !self.strangers {
                    steps.push(Step::ReadPrimary(index));
                    steps.extend(self.standby.then_some(Step::ReadStandby(index)));
                }
                steps.extend(self.bypass.then_some(Step::Bypass(index)));
            }
            Question::HalfRead { .. } => steps.push(Step::ReadPosition(index)),
            Question::Arriving { .. } => steps.push(Step::Arrive(index)),
            Question::Asked { .. } if self.has(Flaw::BypassOnStandby) => {
                steps.push(Step::ReadLatestOnStandby(index))
            }
            Question::Asked { .. } => steps.push(Step::ReadLatest(index)),
            Question::Latest { .. } => steps.push(Step::JudgeLatest(index)),
            Question::SlotsGood { .. } => steps.push(Step::LoadWatermarkLate(index)),
            Question::WatermarkLoaded { .. } => steps.push(Step::LoadSlots(index)),
            Question::Cleared { .. } => steps.push(Step::Leave(index)),
        }
    }

    fn take(&self, state: &mut State, step: Step) {
        let State { world, replicas, redis, stale_left } = state;
        let flaw = self.flaw;
        match step {
            Step::Tick => {
                world.tick();
                replicas.iter_mut().for_each(|replica| replica.tick(self));
            }
            Step::Commit(change) => world.commit(change),
            Step::TakeSeq(change) => {
                world.log.take_seq(change);
                world.changes_left -= 1;
            }
            Step::CommitLate(index) => {
                let before = world.log.content().1;
                world.log.commit_late(index);
                world.last = Last::Committed { before };
                world.settle_truth();
            }
            Step::Raise => self.raise(world, replicas),
            Step::Acknowledge => world.acknowledge(),
            Step::Replay => world.standby += 1,
            Step::Promote => {
                world.promotions_left -= 1;
                let kept = world.standby;
                self.lose_server(world, replicas, kept);
            }
            Step::Settle => begin_epoch(world, flaw),
            Step::BackUp => world.backup = world.log.len(),
            Step::Restore => {
                world.restores_left -= 1;
                let kept = world.backup;
                self.lose_server(world, replicas, kept);
            }
            Step::Restart(index) => {
                let restarts_left = replicas[index].restarts_left - 1;
                replicas[index] = Replica::start(self, world, restarts_left);
            }
            Step::Connect(index) => replicas[index].connect(world, flaw),
            Step::Disconnect(index) => replicas[index].disconnect(),
            Step::BeginPoll(index) => replicas[index].tail.poll = Poll::Began { age: 0 },
            Step::ReadHeads { replica, back } => replicas[replica].read_heads(world, back, flaw),
            Step::Tell(index) => replicas[index].tell(world, flaw),
            Step::Publish(index) => replicas[index].caught_up(flaw),
            Step::ReadPrimary(index) => replicas[index].read(world.log, world.timeline, flaw),
            Step::ReadStandby(index) => {
                replicas[index].read(world.log.up_to(world.standby), world.timeline, flaw)
            }
            Step::ReadPosition(index) => {
                if let Question::HalfRead { valid, partition, on } = replicas[index].question {
                    let reading = Reading { valid, position: world.log.heads().at(partition) };
                    let arriving = Question::Arriving { reading };
                    replicas[index].question = if on == world.timeline { arriving } else { Question::None };
                }
            }
            Step::Arrive(index) => replicas[index].arrive(self, redis),
            Step::Recall(index) => {
                if let Some(reading) = replicas[index].held {
                    replicas[index].judge(reading, flaw);
                }
            }
            Step::Fetch(index, reading) => {
                replicas[index].hold(self, reading);
                replicas[index].judge(reading, flaw);
            }
            Step::Bypass(index) => replicas[index].question = Question::Asked { age: 0 },
            Step::ReadLatest(index) => replicas[index].read_latest(world.log),
            Step::ReadLatestOnStandby(index) => replicas[index].read_latest(world.log.up_to(world.standby)),
            Step::JudgeLatest(index) => replicas[index].judge_latest(flaw),
            Step::LoadWatermarkLate(index) => replicas[index].load_watermark_late(),
            Step::LoadSlots(index) => replicas[index].load_slots(flaw),
            Step::Leave(index) => {
                if let Some(valid) = replicas[index].leave(flaw) {
                    let is_sought = flaw.is_none_or(|flaw| flaw.leads_to_valid() == valid);
                    *stale_left |= is_sought && world.last_true[usize::from(valid)] > BOUND;
                }
            }
        }
    }

    /// `Shared::publish` of a registry in this process: observers hear before the writer does.
    fn raise(&self, world: &mut World, replicas: &mut [Replica]) {
        let Last::Committed { before } = world.last else { return };
        let before_it = world.log.up_to(world.log.len() - 1).heads();
        for partition in [RECORD, HOME] {
            let told = world.log.rows(partition, before_it.seqs[partition], true);
            for row in told.into_iter().filter(|row| row.concerns) {
                replicas.iter_mut().for_each(|replica| replica.table.changed(row.position));
            }
        }
        world.last = Last::Told { before };
    }

    /// Another server takes over. The old one is gone before the new one takes a change: that is the operator's to see to.
    fn lose_server(&self, world: &mut World, replicas: &mut [Replica], kept: usize) {
        let left_alive = self.has(Flaw::OldPrimaryAlive);
        world.unfenced = left_alive.then(|| world.log.heads());
        world.cut_back(kept);
        if !left_alive {
            replicas.iter_mut().for_each(Replica::disconnect);
        }
    }
}
