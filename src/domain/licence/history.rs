//! A licence is a history of changes with two clocks: when a change takes effect, and when it was recorded.

use jiff::Timestamp;
use jiff::civil::Date;

use super::{
    AsOf, DocumentKind, ELicenceEvent, FileNumber, FullName, Known, LicenceNumber, StateGround, Stops,
    Validity, VehicleClass,
};
use crate::domain::closed_set::closed_set;
use crate::domain::subject::{Position, SubjectId, SubjectSecret};
use crate::domain::time::Effective;

/// What a store holds about one subject, and what caches hold parsed.
///
/// In this order in memory: whether a cached record is still true is asked of its subject, and then who it is lies where the count of
/// its holders does, one reach into memory and not two.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Record {
    /// Who.
    pub subject: SubjectId,
    /// Everything that was ever recorded.
    pub history: History,
    /// The subject's own secret, from which evidence pseudonyms and openings derive.
    pub secret: SubjectSecret,
    /// What the driver stopped.
    pub stops: Stops,
}

/// All changes of one subject, in the order they were recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    changes: Vec<Change>,
    /// The changes in the order they take effect, worked out once: every request folds, few histories change.
    by_effect: Box<[InEffect]>,
}

/// Where a change stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InEffect {
    /// The first moment at which it holds.
    pub(super) from: Timestamp,
    /// Its place in the order of recording.
    pub(super) index: usize,
}

/// One recorded change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When it takes effect. May lie before `recorded_at` (a late report, a reversal) or after it.
    pub effective: Effective,
    /// When the authority recorded it. Never runs back within one history.
    pub recorded_at: Timestamp,
    /// Its place in the feed.
    pub position: Position,
    /// What changed.
    pub kind: ChangeKind,
}

closed_set! {
    /// An endorsement (签注) on a licence.
    pub enum Endorsement {
        /// 准予驾驶校车 (Order 162 art. 87)
        SchoolBus = 1, "school-bus";
    }
}

/// What a change says. A reversal is the opposite change with the same effective time and a later recorded time.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// First issue (初次领证); effective on the first-issue day.
    Issued,
    /// The document number, which is the licence number, from now on (Order 162 arts. 12, 66).
    NumberSet {
        /// The kind of document.
        document: DocumentKind,
        /// Its number.
        number: LicenceNumber,
    },
    /// The holder's full name.
    NameSet {
        /// The name.
        name: FullName,
    },
    /// The holder's birth date.
    BirthDaySet {
        /// The day.
        day: Date,
    },
    /// The file number (档案编号).
    FileNumberSet {
        /// The number.
        number: FileNumber,
    },
    /// The issuing authority (发证机关代号), as on plates: `鲁A`.
    AuthoritySet {
        /// Its code, 2 to 8 characters.
        code: String,
    },
    /// A class begins.
    ClassAdded {
        /// The class.
        class: VehicleClass,
    },
    /// A class ends: downgrade, exchange, probation.
    ClassRemoved {
        /// The class.
        class: VehicleClass,
    },
    /// A class was announced void because its holder reached the ceiling and did not exchange the licence (Order 162
    /// art. 65). What the class covers below the ceiling outlives it, and the e-licence does: no licence was exchanged.
    ClassLostByAge {
        /// The class.
        class: VehicleClass,
    },
    /// The age ceiling of a class is extended to an age in whole years (Order 172).
    AgeExtended {
        /// The class.
        class: VehicleClass,
        /// The ban now bites on this birthday.
        ceiling_years: u8,
    },
    /// An endorsement begins.
    EndorsementSet {
        /// Which.
        endorsement: Endorsement,
    },
    /// An endorsement ends.
    EndorsementLifted {
        /// Which.
        endorsement: Endorsement,
    },
    /// Validity is set: with the first issue, or corrected.
    ValiditySet {
        /// The term and its end.
        validity: Validity,
    },
    /// Validity is renewed at its end (期满换证): six years become ten, ten long-term.
    ValidityRenewed {
        /// The new term and its end.
        validity: Validity,
    },
    /// Validity is extended without a new term.
    ValidityExtended {
        /// The term and its later end.
        validity: Validity,
    },
    /// A state letter begins.
    StateSet {
        /// A-Z, unknown letters included.
        letter: u8,
        /// For N, P, T: the last day of the original period, inside which the deferral does not bite.
        original_end: Option<Date>,
    },
    /// A state letter ends.
    StateLifted {
        /// A-Z.
        letter: u8,
    },
    /// Why a letter was set, said together with it or later (same effective time), or why it was lifted. Kept on record for
    /// the authority and the wallet; no partner learns it.
    StateGrounded {
        /// A-Z.
        letter: u8,
        /// Why.
        ground: StateGround,
    },
    /// The points of the running period now stand at this value.
    PointsSet {
        /// 0 to 255; 12 and more bar driving.
        points: u8,
    },
    /// The points of the running period are cleared.
    PointsCleared,
    /// Points set with the same effective time were reversed (记分管理办法 art. 16): no record of them remains.
    PointsReversed,
    /// The person is protected: claims are answered as if there were no such record.
    ProtectionSet,
    /// The protection ends.
    ProtectionLifted,
    /// The record holds nothing from before its effective time (a snapshot import).
    HistoryBegins,
    /// Changes of this subject are held or quarantined: answers are RECORD_IN_DISPUTE.
    DisputeOpened,
    /// The dispute is settled.
    DisputeSettled,
    /// A step in the life of the e-licence. No decision about driving reads it.
    ELicence(ELicenceEvent),
    /// The record was deleted by law: from now on, whatever moment is asked about, there is no such record.
    Erased,
}

impl History {
    /// Builds a history from changes in the order they were recorded.
    pub fn from_changes(changes: Vec<Change>) -> Self {
        let in_effect =
            |(index, change): (usize, &Change)| InEffect { from: change.effective.moment(), index };
        let mut by_effect: Box<[InEffect]> = changes.iter().enumerate().map(in_effect).collect();
        by_effect.sort_unstable();
        Self { changes, by_effect }
    }

    /// Returns the changes in the order they were recorded.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Says whether the record was deleted by law. It is for good: no change undoes it.
    pub fn is_erased(&self) -> bool {
        self.changes.iter().any(|change| change.kind == ChangeKind::Erased)
    }

    /// Returns the changes by the moment they take effect, then by recording.
    pub(super) fn by_effect(&self) -> impl DoubleEndedIterator<Item = (Timestamp, &Change)> {
        self.by_effect.iter().filter_map(|place| Some((place.from, self.changes.get(place.index)?)))
    }

    /// Returns the known changes by the moment they take effect, then by recording.
    pub(in crate::domain) fn known_by_effect(
        &self,
        known: Known,
    ) -> impl Iterator<Item = (Timestamp, &Change)> {
        let known = self.changes.get(..self.known_count(known)).unwrap_or_default();
        self.by_effect.iter().filter_map(move |place| Some((place.from, known.get(place.index)?)))
    }

    /// Counts the changes that are known, from the first on. Recorded time and position never run back within a history (stores
    /// refuse what would), so what is known is always a beginning of it.
    pub(super) fn known_count(&self, known: Known) -> usize {
        match self.changes.last() {
            Some(last) if known.counts(last) => self.changes.len(),
            _ => self.changes.partition_point(|change| known.counts(change)),
        }
    }

    /// Returns when something was recorded after the moment asked about that takes effect by then, the latest first.
    pub fn recorded_late(&self, as_of: AsOf) -> impl Iterator<Item = Timestamp> {
        self.changes
            .iter()
            .rev()
            .take_while(move |change| change.recorded_at > as_of.moment)
            .filter(move |change| as_of.known.counts(change) && change.effective.moment() <= as_of.moment)
            .map(|change| change.recorded_at)
    }

    /// Says whether a first issue that takes effect after a moment is known: then, and only then, is it known that nothing
    /// was issued before.
    pub fn is_issued_later(&self, known: Known, after: Timestamp) -> bool {
        self.by_effect()
            .rev()
            .take_while(|(from, _)| *from > after)
            .any(|(_, change)| change.kind == ChangeKind::Issued && known.counts(change))
    }

    /// Returns the moments after `after` and up to `until` at which something already known takes effect.
    pub fn known_ahead(
        &self,
        known: Known,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Timestamp> {
        self.by_effect()
            .rev()
            .take_while(move |(from, _)| *from > after)
            .filter(move |(from, change)| *from <= until && known.counts(change))
            .map(|(from, _)| from)
    }
}
