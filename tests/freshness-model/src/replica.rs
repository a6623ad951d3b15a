//! One gateway: its slot table, its tail of the feed, what it holds, and the question it answers.
//!
//! Every step that another process could come between is a step of its own here. A replica that sleeps is one that takes none
//! while time goes on.

use crate::flaw::Flaw;
use crate::scene::{BOUND, Scene};
use crate::world::{Heads, Log, Position, Reading, Readings, TOO_OLD, World, older};

/// Nothing is told of a partition yet.
const NOT_YET: u8 = u8::MAX;

/// `cache::SlotTable`, with the slots of the number asked about and of its subject, which always rise together here. One that is
/// shared with others by chance refuses more, never less.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotTable {
    pub(crate) epoch: u8,
    told_from: [u8; 2],
    slots: [u8; 2],
    /// Age of the watermark.
    pub(crate) watermark: u8,
}

/// `registry::postgres::tail`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tail {
    /// The timeline of the server it is connected to, settled.
    pub(crate) on: Option<u8>,
    told: Option<Heads>,
    pub(crate) poll: Poll,
}

/// How far a poll is; ages since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Poll {
    Idle,
    Began {
        age: u8,
    },
    /// The heads were read; the rows of `next` and the partitions after it are to be told.
    Telling {
        age: u8,
        heads: Heads,
        told: Heads,
        next: usize,
    },
    /// Everything is told.
    Told {
        age: u8,
    },
}

/// The question under way; ages since the moment the fact is known to be true of.
///
/// A step nobody could tell from its being taken later is no step: a fact that waits in hand to be judged is one that was fetched
/// later, because nothing is ever taken out of [`State::redis`](crate::model::State).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Question {
    None,
    /// The fact is read and its position is not ([`Flaw::PositionReadLater`]).
    HalfRead {
        valid: bool,
        partition: usize,
        on: u8,
    },
    /// The registry's reading is on its way to the caches.
    Arriving {
        reading: Reading,
    },
    /// The registry is asked past the caches (`FactCache::read_for_this_caller`), as of now.
    Asked {
        age: u8,
    },
    /// Its reading is there.
    Latest {
        reading: Reading,
        age: u8,
    },
    /// The slots were found good before the watermark is looked at ([`Flaw::SlotsBeforeWatermark`]).
    SlotsGood {
        reading: Reading,
    },
    /// The watermark was loaded and is young enough.
    WatermarkLoaded {
        reading: Reading,
        age: u8,
    },
    /// On record, or about to be.
    Cleared {
        valid: bool,
        age: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Replica {
    pub(crate) table: SlotTable,
    pub(crate) tail: Tail,
    /// The in-process level.
    pub(crate) held: Option<Reading>,
    pub(crate) question: Question,
    pub(crate) restarts_left: u8,
}

impl SlotTable {
    fn new() -> Self {
        Self { epoch: 0, told_from: [NOT_YET; 2], slots: [0; 2], watermark: TOO_OLD }
    }

    /// `SlotTable::enter_epoch`.
    fn enter_epoch(&mut self, epoch: u8) {
        if epoch > self.epoch {
            *self = Self { epoch, told_from: [NOT_YET; 2], slots: [0; 2], watermark: self.watermark };
        }
    }

    /// `SlotTable::follows_from`, for all partitions.
    fn follows_from(&mut self, from: Heads) {
        self.enter_epoch(from.epoch);
        if self.epoch == from.epoch {
            for (told_from, seq) in self.told_from.iter_mut().zip(from.seqs) {
                *told_from = if *told_from == NOT_YET { seq } else { seq.max(*told_from) };
            }
        }
    }

    /// `SlotTable::changed`.
    pub(crate) fn changed(&mut self, position: Position) {
        self.enter_epoch(position.epoch);
        if self.epoch != position.epoch {
            return;
        }
        let slot = &mut self.slots[position.partition];
        *slot = position.seq.max(*slot);
    }

    /// `SlotTable::judge_in`, what comes after the watermark.
    pub(crate) fn admits(&self, position: Position, flaw: Option<Flaw>) -> bool {
        let told_from = if flaw == Some(Flaw::NoToldFrom) { 0 } else { self.told_from[position.partition] };
        let is_outdated = flaw != Some(Flaw::FillRace) && self.slots[position.partition] > position.seq;
        self.epoch == position.epoch && position.seq >= told_from && !is_outdated
    }
}

impl Replica {
    /// Starts: nothing is held, nothing is told.
    pub(crate) fn start(scene: &Scene, world: &World, restarts_left: u8) -> Self {
        let mut table = SlotTable::new();
        if scene.embedded {
            table.follows_from(world.log.heads());
            table.watermark = 0;
        }
        let tail = Tail { on: None, told: None, poll: Poll::Idle };
        Self { table, tail, held: None, question: Question::None, restarts_left }
    }

    /// `tail::follow`: connects to the primary, and settles which epoch is in force before anything else (`server::settle`).
    pub(crate) fn connect(&mut self, world: &mut World, flaw: Option<Flaw>) {
        if !world.is_settled(flaw) {
            begin_epoch(world, flaw);
        }
        self.tail.on = Some(world.timeline);
        self.tail.poll = Poll::Idle;
    }

    /// The server went away. What was told already may still be published.
    pub(crate) fn disconnect(&mut self) {
        self.tail.on = None;
        if !matches!(self.tail.poll, Poll::Told { .. }) {
            self.tail.poll = Poll::Idle;
        }
    }

    /// `tail::poll` up to its first row: the heads of all partitions, from one statement. `back`: at the very start it begins
    /// with what was written since Redis' oldest entry.
    pub(crate) fn read_heads(&mut self, world: &mut World, back: bool, flaw: Option<Flaw>) {
        let Poll::Began { age } = self.tail.poll else { return };
        let mut heads_now = match world.unfenced {
            Some(unfenced) if self.tail.on != Some(world.timeline) => unfenced,
            _ if flaw == Some(Flaw::TailOnStandby) => world.log.up_to(world.standby).heads(),
            _ => world.log.heads(),
        };
        let told = match self.tail.told {
            Some(told) if has_gone_back(told, heads_now) && flaw != Some(Flaw::TailOnStandby) => {
                begin_epoch(world, flaw);
                heads_now = world.log.heads();
                self.table.follows_from(heads_now);
                heads_now
            }
            Some(told) if told.epoch == heads_now.epoch => told,
            // `tail::start`.
            before => {
                let seqs = if before.is_none() && back { [0; 2] } else { heads_now.seqs };
                let from = Heads { seqs, ..heads_now };
                self.table.follows_from(from);
                from
            }
        };
        if flaw == Some(Flaw::PublishedBeforeSlots) {
            self.publish(age);
        }
        self.tail.poll = Poll::Telling { age, heads: heads_now, told, next: 0 };
        self.end_telling();
    }

    /// `tail::tell` for one partition: every row after what was told, at least up to the heads.
    pub(crate) fn tell(&mut self, world: &World, flaw: Option<Flaw>) {
        let Poll::Telling { age, heads: up_to, mut told, next } = self.tail.poll else { return };
        if self.tail.on != Some(world.timeline) {
            // The rows of a server that was left alive are not walked through: its heads alone do the harm.
            self.tail.poll = Poll::Idle;
            return;
        }
        let len = if flaw == Some(Flaw::TailOnStandby) { world.standby } else { world.log.len() };
        let is_home_told = flaw != Some(Flaw::HomeNotTold);
        for row in world.log.up_to(len).rows(next, told.seqs[next], is_home_told) {
            if row.concerns {
                self.table.changed(row.position);
                if flaw == Some(Flaw::FillRace) {
                    self.held = None;
                }
            }
            told.seqs[next] = told.seqs[next].max(row.position.seq);
        }
        told.seqs[next] = told.seqs[next].max(up_to.seqs[next]);
        self.tail.poll = Poll::Telling { age, heads: up_to, told, next: next + 1 };
        self.end_telling();
    }

    /// Goes past partitions that have nothing to tell.
    fn end_telling(&mut self) {
        let Poll::Telling { age, heads, told, mut next } = self.tail.poll else { return };
        while next < 2 && told.seqs[next] >= heads.seqs[next] {
            next += 1;
        }
        self.tail.poll = if next < 2 {
            Poll::Telling { age, heads, told, next }
        } else {
            self.tail.told = Some(told);
            Poll::Told { age }
        };
    }

    /// `SlotTable::caught_up`.
    pub(crate) fn caught_up(&mut self, flaw: Option<Flaw>) {
        let Poll::Told { age } = self.tail.poll else { return };
        self.publish(if flaw == Some(Flaw::PollTimedAtEnd) { 0 } else { age });
        self.tail.poll = Poll::Idle;
    }

    fn publish(&mut self, age: u8) {
        self.table.watermark = self.table.watermark.min(age);
    }

    /// Asks for a reading to fill the caches with: `RecordSource::read`, on the primary or, where there is one, the standby. That
    /// a standby behind what is known here is not asked (`Known::is_ahead_of`) saves work, and carries nothing.
    pub(crate) fn read(&mut self, log: Log, on: u8, flaw: Option<Flaw>) {
        let reading = log.read();
        self.question = if flaw == Some(Flaw::PositionReadLater) {
            Question::HalfRead { valid: reading.valid, partition: reading.position.partition, on }
        } else {
            Question::Arriving { reading }
        };
    }

    /// Reads past the caches: `RecordSource::read_latest`. It is true as of its start.
    pub(crate) fn read_latest(&mut self, log: Log) {
        let Question::Asked { age } = self.question else { return };
        self.question = Question::Latest { reading: log.read(), age };
    }

    /// The reading is there: both levels are filled with it. Here they take everything; that the code offers them only what is
    /// usable just then (`Levels::read_on`) saves work, and carries nothing.
    pub(crate) fn arrive(&mut self, scene: &Scene, redis: &mut Readings) {
        let Question::Arriving { reading } = self.question else { return };
        self.hold(scene, reading);
        redis.insert(reading);
        self.question = Question::None;
    }

    /// `InProcess::hold`: unless a later one is held.
    pub(crate) fn hold(&mut self, scene: &Scene, reading: Reading) {
        if scene.in_process && self.held.is_none_or(|held| held.position <= reading.position) {
            self.held = Some(reading);
        }
    }

    fn is_stalled(&self) -> bool {
        self.table.watermark > BOUND
    }

    /// `FactCache::known_true_at` of a cached fact, its first half: the watermark is loaded before the slots. Refused facts leave no
    /// trace: the question begins anew.
    pub(crate) fn judge(&mut self, reading: Reading, flaw: Option<Flaw>) {
        self.question = if self.is_stalled() {
            Question::None
        } else if flaw == Some(Flaw::SlotsBeforeWatermark) {
            let is_good = self.table.admits(reading.position, flaw);
            if is_good { Question::SlotsGood { reading } } else { Question::None }
        } else {
            Question::WatermarkLoaded { reading, age: self.table.watermark }
        };
    }

    /// The same of a reading past the caches: with a stalled feed it stands for itself if it was begun young enough ago.
    pub(crate) fn judge_latest(&mut self, flaw: Option<Flaw>) {
        let Question::Latest { reading, age } = self.question else { return };
        let age = if flaw == Some(Flaw::BypassTimedAtEnd) { 0 } else { age };
        if self.is_stalled() {
            let cleared = Question::Cleared { valid: reading.valid, age };
            self.question = if age <= BOUND { cleared } else { Question::None };
        } else {
            self.judge(reading, flaw);
        }
    }

    pub(crate) fn load_watermark_late(&mut self) {
        let Question::SlotsGood { reading } = self.question else { return };
        let cleared = Question::Cleared { valid: reading.valid, age: self.table.watermark };
        self.question = if self.is_stalled() { Question::None } else { cleared };
    }

    /// Its second half: epoch, beginning and slots.
    pub(crate) fn load_slots(&mut self, flaw: Option<Flaw>) {
        let Question::WatermarkLoaded { reading, age } = self.question else { return };
        self.question = if self.table.admits(reading.position, flaw) {
            let age = if flaw == Some(Flaw::AgeFromJudgement) { 0 } else { age };
            Question::Cleared { valid: reading.valid, age }
        } else {
            Question::None
        };
    }

    /// The answer leaves, unless it is too old by now (`Verification::verify`, after the record). Returns what it says.
    pub(crate) fn leave(&mut self, flaw: Option<Flaw>) -> Option<bool> {
        let Question::Cleared { valid, age } = std::mem::replace(&mut self.question, Question::None) else {
            return None;
        };
        (age <= BOUND || flaw == Some(Flaw::NoLastCheck)).then_some(valid)
    }

    pub(crate) fn tick(&mut self, scene: &Scene) {
        if !scene.embedded {
            self.table.watermark = older(self.table.watermark);
        }
        match &mut self.tail.poll {
            Poll::Idle => {}
            Poll::Began { age } | Poll::Telling { age, .. } | Poll::Told { age } => *age = older(*age),
        }
        let age = match &mut self.question {
            Question::Asked { age }
            | Question::Latest { age, .. }
            | Question::WatermarkLoaded { age, .. }
            | Question::Cleared { age, .. } => age,
            Question::None
            | Question::HalfRead { .. }
            | Question::Arriving { .. }
            | Question::SlotsGood { .. } => return,
        };
        *age = older(*age);
        if *age > BOUND && scene.flaw.is_none() {
            // It can only end in UNAVAILABLE, whatever else happens.
            self.question = Question::None;
        }
    }
}

/// `tail::has_gone_back`.
fn has_gone_back(told: Heads, heads: Heads) -> bool {
    let is_lower = told.seqs.iter().zip(heads.seqs).any(|(told, head)| *told > head);
    heads.epoch < told.epoch || heads.epoch == told.epoch && is_lower
}

/// `server::begin_epoch`: a number that was never in force, not even on a branch this server knows nothing of.
pub(crate) fn begin_epoch(world: &mut World, flaw: Option<Flaw>) {
    let epoch = match flaw {
        Some(Flaw::EpochNumberedByCopy) => world.log.heads().epoch + 1,
        _ => world.epochs + 1,
    };
    world.begin_epoch(epoch);
}
