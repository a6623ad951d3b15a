//! Rules left out on purpose, one at a time. The checker must find what each of them is for.

/// A protocol that lacks one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The fill race: a change throws the fact out of the caches, and facts are not judged by position. A reading taken before the
    /// change and put in after it stays.
    FillRace,
    /// The rewind: a promotion or a restore begins no new epoch, so that a reading of the lost branch looks current.
    NoNewEpoch,
    /// The rewind in two steps: a new epoch is the next number of the copy that was restored, which may be one that was in force
    /// on the lost branch.
    EpochNumberedByCopy,
    /// A replica that starts takes facts of Redis from before its start for judged.
    NoToldFrom,
    /// Readers look at the slots first and at the watermark then.
    SlotsBeforeWatermark,
    /// The tail publishes its watermark before it has raised the slots.
    PublishedBeforeSlots,
    /// A poll counts from its end.
    PollTimedAtEnd,
    /// The feed is tailed from the standby.
    TailOnStandby,
    /// The heads are read by a statement after the facts.
    PositionReadLater,
    /// The home of a number is not told that the number came into being elsewhere.
    HomeNotTold,
    /// Sequences are taken without the head's lock: a later one may be seen before an earlier one.
    SeqWithoutLock,
    /// The registry in this process acknowledges before it has raised the slots.
    AcknowledgedBeforeSlots,
    /// With a stalled feed the standby is asked.
    BypassOnStandby,
    /// A reading past a stalled feed counts from its end.
    BypassTimedAtEnd,
    /// The age that is checked last counts from the judgement, not from the moment the fact is known to be true of.
    AgeFromJudgement,
    /// Nothing is checked after the record.
    NoLastCheck,
    /// Not ours but the operator's: the old primary is not fenced off, and answers its old connections.
    OldPrimaryAlive,
}

impl Flaw {
    pub(crate) const ALL: [Self; 17] = [
        Self::FillRace,
        Self::NoNewEpoch,
        Self::EpochNumberedByCopy,
        Self::NoToldFrom,
        Self::SlotsBeforeWatermark,
        Self::PublishedBeforeSlots,
        Self::PollTimedAtEnd,
        Self::TailOnStandby,
        Self::PositionReadLater,
        Self::HomeNotTold,
        Self::SeqWithoutLock,
        Self::AcknowledgedBeforeSlots,
        Self::BypassOnStandby,
        Self::BypassTimedAtEnd,
        Self::AgeFromJudgement,
        Self::NoLastCheck,
        Self::OldPrimaryAlive,
    ];
}

impl Flaw {
    /// Which stale answer it must lead to: that the holder may drive, but for a number that came into being and is not found.
    pub(crate) fn leads_to_valid(self) -> bool {
        self != Self::HomeNotTold
    }
}
