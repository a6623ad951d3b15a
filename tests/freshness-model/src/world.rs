//! The authority's side: the log of changes on the server in force, its standby and its backup, and what is true.
//!
//! One number is asked about. It has its home in partition [`HOME`]; its subject's record lies in partition [`RECORD`], as that of a
//! number somebody got later may (`src/registry/postgres/layout.rs`). A server's state is the fold of its log, so that a standby is
//! a prefix of it, and what a promotion or a restore loses is what they cut off.

use crate::flaw::Flaw;

/// Where the number lies, and where "no such number" is read.
pub(crate) const HOME: usize = 1;
/// Where the subject's record lies.
pub(crate) const RECORD: usize = 0;
/// Age of what is older than the bound, however old. An age is in ticks, since the moment it counts from.
pub(crate) const TOO_OLD: u8 = crate::scene::BOUND + 1;

/// `domain::subject::Position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) epoch: u8,
    pub(crate) partition: usize,
    pub(crate) seq: u8,
}

/// `verification::ports::Reading`, as far as the protocol cares: whether the holder may drive, and as of where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reading {
    pub(crate) valid: bool,
    pub(crate) position: Position,
}

/// `registry::store::FeedHeads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Heads {
    pub(crate) epoch: u8,
    pub(crate) seqs: [u8; 2],
}

/// The fold of a log's beginning into heads.
struct Folding {
    /// The last sequence that was taken; the head, unless it is unseen yet.
    taken: [u8; 2],
    heads: Heads,
}

impl Folding {
    fn new() -> Self {
        Self { taken: [0; 2], heads: Heads { epoch: 0, seqs: [0; 2] } }
    }

    /// Takes the next entry. Returns the partitions in which it is a row that is seen.
    fn take(&mut self, entry: Entry) -> &'static [usize] {
        let (partitions, seen): (&[usize], bool) = match entry {
            Entry::Epoch { epoch, .. } => {
                self.heads.epoch = epoch;
                return &[];
            }
            Entry::Change { change: Change::Acquire, seen } => (&[RECORD, HOME], seen),
            Entry::Change { change: Change::Other(HOME), seen } => (&[HOME], seen),
            Entry::Change { seen, .. } => (&[RECORD], seen),
        };
        for partition in partitions {
            self.taken[*partition] += 1;
            if seen {
                self.heads.seqs[*partition] = self.taken[*partition];
            }
        }
        if seen { partitions } else { &[] }
    }
}

impl Heads {
    pub(crate) fn at(self, partition: usize) -> Position {
        Position { epoch: self.epoch, partition, seq: self.seqs[partition] }
    }
}

/// What the authority hands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// The number comes into being, for a subject whose record lies elsewhere: a row in each partition (`Plan::add_number`).
    Acquire,
    /// The holder may not drive any more.
    Revoke,
    /// The holder may drive again.
    Restore,
    /// Of somebody else in this partition.
    Other(usize),
}

/// A row of a server's log, in the order of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// `seen: false`: it took its sequences and has not committed yet, which only [`Flaw::SeqWithoutLock`]
    /// allows.
    Change { change: Change, seen: bool },
    /// `server::begin_epoch`: the epoch in force began here, on this timeline.
    Epoch { epoch: u8, timeline: u8 },
}

/// A row of the feed that concerns the number asked about.
pub(crate) struct Row {
    pub(crate) position: Position,
    /// It raises the slots of the number and its subject.
    pub(crate) concerns: bool,
}

/// A server's log, or as much of it as some server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    entries: [Option<Entry>; ENTRIES_MAX],
    len: usize,
}

/// More entries than any scene comes to.
const ENTRIES_MAX: usize = 8;

impl Log {
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut log = Self { entries: [None; ENTRIES_MAX], len: 0 };
        entries.iter().for_each(|entry| log.push(*entry));
        log
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    fn push(&mut self, entry: Entry) {
        self.entries[self.len] = Some(entry);
        self.len += 1;
    }

    /// A prefix: what a standby or a backup holds of it.
    pub(crate) fn up_to(self, len: usize) -> Self {
        let mut prefix = self;
        prefix.entries[len..].fill(None);
        prefix.len = len;
        prefix
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Entry> + '_ {
        self.entries.iter().copied().flatten()
    }

    /// Takes a change's sequences, unseen yet ([`Flaw::SeqWithoutLock`]).
    pub(crate) fn take_seq(&mut self, change: Change) {
        self.push(Entry::Change { change, seen: false });
    }

    /// Makes it seen.
    pub(crate) fn commit_late(&mut self, index: usize) {
        if let Some(Entry::Change { seen, .. }) = &mut self.entries[index] {
            *seen = true;
        }
    }

    /// Where the feed stands: `feed::heads`.
    pub(crate) fn heads(&self) -> Heads {
        let mut folding = Folding::new();
        for entry in self.iter() {
            folding.take(entry);
        }
        folding.heads
    }

    /// Whether the number has an owner, and whether the owner may drive.
    pub(crate) fn content(&self) -> (bool, bool) {
        let (mut owned, mut valid) = (false, true);
        for entry in self.iter() {
            match entry {
                Entry::Change { change: Change::Acquire, seen: true } => owned = true,
                Entry::Change { change: Change::Revoke, seen: true } => valid = false,
                Entry::Change { change: Change::Restore, seen: true } => valid = true,
                _ => {}
            }
        }
        (owned, owned && valid)
    }

    /// A look-up in one snapshot of a server: `reading::look_up`. The record's position for a number that has an owner, the home's
    /// for one that has none.
    pub(crate) fn read(&self) -> Reading {
        let (owned, valid) = self.content();
        Reading { valid, position: self.heads().at(if owned { RECORD } else { HOME }) }
    }

    /// The rows of a partition after a sequence that a reader of the feed sees: `feed::after`.
    pub(crate) fn rows(&self, partition: usize, after: u8, is_home_told: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut folding = Folding::new();
        for entry in self.iter() {
            let is_here = folding.take(entry).contains(&partition);
            let position = folding.heads.at(partition);
            let Entry::Change { change, .. } = entry else { continue };
            if is_here && position.seq > after {
                let concerns = match change {
                    Change::Other(_) => false,
                    Change::Acquire => partition == RECORD || is_home_told,
                    Change::Revoke | Change::Restore => true,
                };
                rows.push(Row { position, concerns });
            }
        }
        rows
    }

    /// The timeline on which the epoch in force began, by the registry's own word.
    pub(crate) fn epoch_began_on(&self) -> u8 {
        let began = self.iter().rev().find_map(|entry| match entry {
            Entry::Epoch { timeline, .. } => Some(timeline),
            Entry::Change { .. } => None,
        });
        began.unwrap_or_default()
    }
}

/// Readings of the number asked about, each at most once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Readings(u128);

impl Readings {
    pub(crate) fn insert(&mut self, reading: Reading) {
        let Position { epoch, partition, seq } = reading.position;
        let index = ((usize::from(epoch) * 2 + partition) * ENTRIES_MAX + usize::from(seq)) * 2;
        self.0 |= 1 << (index + usize::from(reading.valid));
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Reading> {
        (0..u128::BITS as usize).filter(move |index| self.0 >> index & 1 == 1).map(|index| {
            let seq = (index / 2 % ENTRIES_MAX) as u8;
            let partition = index / 2 / ENTRIES_MAX % 2;
            let epoch = (index / 4 / ENTRIES_MAX) as u8;
            Reading { valid: index % 2 == 1, position: Position { epoch, partition, seq } }
        })
    }
}

impl std::fmt::Debug for Readings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

/// How far the change that was made last is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Last {
    /// Its writer knows that it is durable.
    Acknowledged,
    /// It is durable; its writer does not know yet. What was true before, for readers.
    Committed { before: bool },
    /// As above, and the slots of the process the registry lives in were raised.
    Told { before: bool },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) log: Log,
    /// So many entries has the standby replayed.
    pub(crate) standby: usize,
    /// So many entries lie in the backup.
    pub(crate) backup: usize,
    pub(crate) timeline: u8,
    /// The highest epoch that was ever in force, on whichever timeline.
    pub(crate) epochs: u8,
    pub(crate) last: Last,
    /// How long ago each content was last true, by index: 0 that the holder may not drive, 1 that he may. A content stays true
    /// until the change that ends it is acknowledged.
    pub(crate) last_true: [u8; 2],
    /// Heads of a server that was taken for lost, while replicas may still reach it.
    pub(crate) unfenced: Option<Heads>,
    pub(crate) changes_left: u8,
    pub(crate) promotions_left: u8,
    pub(crate) restores_left: u8,
}

impl World {
    /// Whether the epoch in force began on this server: `server::settle`.
    pub(crate) fn is_settled(&self, flaw: Option<Flaw>) -> bool {
        self.log.epoch_began_on() == self.timeline || flaw == Some(Flaw::NoNewEpoch)
    }

    pub(crate) fn allows(&self, change: Change) -> bool {
        let (owned, valid) = self.log.content();
        match change {
            Change::Acquire => !owned,
            Change::Revoke => valid,
            Change::Restore => owned && !valid,
            // Nobody reads the home of a number that has an owner.
            Change::Other(partition) => partition == RECORD || !owned,
        }
    }

    /// A change commits: row, record and head in one transaction (`writing::write`).
    pub(crate) fn commit(&mut self, change: Change) {
        let before = self.log.content().1;
        self.log.push(Entry::Change { change, seen: true });
        self.last = Last::Committed { before };
        self.changes_left -= 1;
        self.settle_truth();
    }

    /// Its writer hears that it is durable. From here on the old content is wrong.
    pub(crate) fn acknowledge(&mut self) {
        self.last = Last::Acknowledged;
    }

    /// The server is lost, or goes back to a backup: what `kept` does not hold has never happened.
    pub(crate) fn cut_back(&mut self, kept: usize) {
        self.log = self.log.up_to(kept);
        self.timeline += 1;
        self.standby = kept;
        self.backup = self.backup.min(kept);
        self.last = Last::Acknowledged;
        self.settle_truth();
    }

    /// `server::begin_epoch`, with the number it chooses.
    pub(crate) fn begin_epoch(&mut self, epoch: u8) {
        self.epochs = self.epochs.max(epoch);
        self.log.push(Entry::Epoch { epoch, timeline: self.timeline });
    }

    /// What is true now is as young as can be.
    pub(crate) fn settle_truth(&mut self) {
        self.last_true[usize::from(self.log.content().1)] = 0;
        if let Last::Committed { before } | Last::Told { before } = self.last {
            self.last_true[usize::from(before)] = 0;
        }
    }

    pub(crate) fn tick(&mut self) {
        self.last_true = self.last_true.map(older);
        self.settle_truth();
    }
}

/// An age after one tick more.
pub(crate) fn older(age: u8) -> u8 {
    (age + 1).min(TOO_OLD)
}
