//! How far long work on the store has come.

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Rows done in this stage.
    pub done: u64,
    /// Rows this stage has in all.
    pub total: u64,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The index of numbers.
    Numbers,
    /// The sealed records.
    Records,
    /// The change feed.
    Feed,
    /// What the intake keeps of subjects.
    IntakeSubjects,
    /// What the intake keeps of numbers nobody has.
    IntakeNumbers,
    /// Where changes wait.
    IntakeWaiting,
    /// Changes known by their id, one generation of them.
    IntakeKnown,
    /// The other generation.
    IntakeKnownBefore,
    /// Uses of presentations.
    BookUses,
    /// Share codes.
    BookCodes,
    /// When presentations are over.
    BookEnds,
    /// Consents.
    BookConsents,
    /// Hold-backs.
    BookHoldBacks,
}

impl Stage {
    /// Every stage.
    pub(super) const ALL: [Self; 13] = [
        Self::Numbers,
        Self::Records,
        Self::Feed,
        Self::IntakeSubjects,
        Self::IntakeNumbers,
        Self::IntakeWaiting,
        Self::IntakeKnown,
        Self::IntakeKnownBefore,
        Self::BookUses,
        Self::BookCodes,
        Self::BookEnds,
        Self::BookConsents,
        Self::BookHoldBacks,
    ];

    /// Returns what its rows are called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Numbers => "numbers",
            Self::Records => "records",
            Self::Feed => "feed rows",
            Self::IntakeSubjects | Self::IntakeNumbers => "states of the intake",
            Self::IntakeWaiting => "waiting changes",
            Self::IntakeKnown | Self::IntakeKnownBefore => "known changes",
            Self::BookUses => "uses",
            Self::BookCodes => "share codes",
            Self::BookEnds => "ends of presentations",
            Self::BookConsents => "consents",
            Self::BookHoldBacks => "hold-backs",
        }
    }
}

/// Whoever wants to know.
pub type Watcher<'w> = &'w mut dyn FnMut(Progress);

/// Rows between two words to a watcher: often enough for a bar, too rarely to cost anything.
const STEP: u64 = 8_192;

/// Counts rows of one stage and tells the watcher now and then.
pub(super) struct Counting<'w, 'f> {
    progress: Progress,
    watcher: &'w mut (dyn FnMut(Progress) + 'f),
}

impl<'w, 'f> Counting<'w, 'f> {
    pub(super) fn of(stage: Stage, total: u64, watcher: &'w mut (dyn FnMut(Progress) + 'f)) -> Self {
        Self { progress: Progress { stage, done: 0, total }, watcher }
    }

    pub(super) fn add(&mut self, count: u64) {
        let before = self.progress.done / STEP;
        self.progress.done += count;
        if self.progress.done / STEP != before || self.progress.done == self.progress.total {
            (self.watcher)(self.progress);
        }
    }

    pub(super) fn done(&self) -> u64 {
        self.progress.done
    }
}
