//! What becomes of a change: the words that acknowledgements, stores and operators share.

use crate::domain::closed_set::closed_set;
use crate::domain::subject::Position;

/// Where a change stands. `P` is its place: a [`Position`], or within a plan its index among the changes appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<P = Position> {
    /// It is part of the record.
    Applied(P),
    /// It waits for an earlier change of its sequence.
    Held,
    /// It waits for the operator, or for what it lacks.
    Quarantined(QuarantineReason),
    /// The operator discarded it.
    Discarded,
}

impl<P> Fate<P> {
    /// Says whether it still waits: then, and only then, its subject's answers are in dispute.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Held | Self::Quarantined(_))
    }

    /// Replaces the place.
    pub fn map<Q>(self, place: impl FnOnce(P) -> Q) -> Fate<Q> {
        match self {
            Self::Applied(at) => Fate::Applied(place(at)),
            Self::Held => Fate::Held,
            Self::Quarantined(reason) => Fate::Quarantined(reason),
            Self::Discarded => Fate::Discarded,
        }
    }
}

closed_set! {
    /// Why a change is in quarantine.
    pub enum QuarantineReason {
        /// An earlier change of its sequence is missing, or is itself in quarantine. Taken when that is settled.
        SequenceGap = 1, "sequence-gap";
        /// Nobody has this number. Taken when the subject is known.
        UnknownSubject = 2, "unknown-subject";
        /// Its id was used for another change.
        ChangeIdReused = 3, "change-id-reused";
        /// Its place in the sequence is taken, or was passed.
        OutOfSequence = 4, "out-of-sequence";
        /// Recorded before the latest change on record.
        RecordedTimeBack = 5, "recorded-time-back";
        /// Recorded later than now.
        RecordedTimeAhead = 6, "recorded-time-ahead";
        /// What it says could not be understood. The authority sends it again, corrected, under the same id.
        NotUnderstood = 7, "not-understood";
        /// The number it sets belongs to another subject.
        NumberTaken = 8, "number-taken";
        /// The history holds as many changes as it may.
        RecordFull = 9, "record-full";
        /// It holds a value that cannot be stored.
        NotStorable = 10, "not-storable";
        /// It takes effect before the birth date.
        BeforeBirth = 20, "before-birth";
        /// A class is added before a licence was issued.
        NotIssued = 21, "not-issued";
        /// A class is added to a licence that is cancelled, revoked or annulled then.
        LicenceEnded = 22, "licence-ended";
        /// A class is added that is held then.
        ClassHeld = 23, "class-held";
        /// A class is removed, or its age extended, that is not held then.
        ClassNotHeld = 24, "class-not-held";
        /// A state letter is lifted that is not carried then.
        LetterNotCarried = 25, "letter-not-carried";
        /// An endorsement is lifted that is not held then.
        EndorsementNotHeld = 26, "endorsement-not-held";
        /// It ends before it begins.
        EndsBeforeItBegins = 27, "ends-before-it-begins";
        /// Points are reversed that were never set with that effective time.
        NothingToReverse = 28, "nothing-to-reverse";
    }
}

impl QuarantineReason {
    /// Says whether the change is taken by itself as soon as what it lacks is there.
    pub fn settles_itself(self) -> bool {
        matches!(self, Self::SequenceGap | Self::UnknownSubject)
    }
}

closed_set! {
    /// Why a change was not taken at all. The authority keeps it.
    pub enum RejectReason {
        /// The envelope (source, id, sequence, number) breaks a rule of the contract: nobody knows whose change it is.
        Malformed = 1, "malformed";
        /// As many changes of this subject wait as may. Settle those first.
        SubjectFull = 2, "subject-full";
        /// As many numbers nobody has wait as may. Settle those first.
        QuarantineFull = 3, "quarantine-full";
        /// The record on file cannot be read. The operator's matter.
        RecordUnreadable = 4, "record-unreadable";
        /// Nobody has this number, and what the change says could not be understood.
        NotUnderstood = 5, "not-understood";
    }
}

/// How one change came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<P = Position> {
    /// It came for the first time.
    New(Fate<P>),
    /// It came before; where it stands now.
    Duplicate(Fate<P>),
    /// It was not taken.
    Rejected(RejectReason),
}

impl<P> Outcome<P> {
    /// Replaces the place.
    pub fn map<Q>(self, place: impl FnOnce(P) -> Q) -> Outcome<Q> {
        match self {
            Self::New(fate) => Outcome::New(fate.map(place)),
            Self::Duplicate(fate) => Outcome::Duplicate(fate.map(place)),
            Self::Rejected(reason) => Outcome::Rejected(reason),
        }
    }
}
