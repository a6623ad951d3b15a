//! What a subject holds at a moment, as known at a moment: a pure fold over the history.

use jiff::Timestamp;
use jiff::civil::Date;

use super::{
    Change, ClassHolding, ClassSet, Endorsement, FileNumber, FullName, PointsEvent, StateGround, StateSet,
    Validity, VehicleClass,
};
use crate::domain::subject::Position;

/// The two clocks of a question: when it was, and what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The moment asked about.
    pub moment: Timestamp,
    /// How much of what was recorded counts.
    pub known: Known,
}

/// How much of what was recorded counts: what the authority had recorded by a moment, and had handed in by a position of the
/// feed. Both ascend along a history, so together they name a beginning of it; the same pair names the same beginning for
/// ever, whatever is recorded or handed in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Only what was recorded at or before this moment counts.
    pub at: Timestamp,
    /// Only what lies at or before this position counts.
    pub position: Position,
}

impl Known {
    /// Everything recorded by a moment, wherever it lies in the feed.
    pub const fn at(moment: Timestamp) -> Self {
        Self { at: moment, position: Position::LAST }
    }

    /// Says whether a change is known.
    pub fn counts(self, change: &Change) -> bool {
        change.recorded_at <= self.at && change.position.is_reached_by(self.position)
    }
}

impl AsOf {
    /// A moment, as known at a moment.
    pub const fn new(moment: Timestamp, known_at: Timestamp) -> Self {
        Self { moment, known: Known::at(known_at) }
    }
}

/// What a subject holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Qualification {
    /// First issue, if the licence was issued by the moment asked about.
    pub first_issue: Option<Date>,
    /// Classes held (before ages are applied), each with its first day.
    pub classes: Vec<ClassHolding>,
    /// First day of the first car-type class, held still or not: where probation starts.
    pub first_car_class: Option<Date>,
    /// First day of the first motorcycle-type class, held still or not.
    pub first_motorcycle_class: Option<Date>,
    /// Classes of these announced void because of age: what they cover below the ceiling is still driven.
    pub lost_by_age: ClassSet,
    /// Extended age ceilings.
    pub age_extensions: Vec<(VehicleClass, u8)>,
    /// Endorsements held.
    pub endorsements: Vec<Endorsement>,
    /// State letters carried.
    pub states: StateSet,
    /// Why letters carried were set, where it was said.
    pub state_grounds: Vec<(u8, StateGround)>,
    /// For each of N, P, T carried: the last day of the original period.
    pub deferred_until: Vec<(u8, Option<Date>)>,
    /// Validity; `None` when the record does not say.
    pub validity: Option<Validity>,
    /// Points of the running period.
    pub points: u8,
    /// Every period in which 12 points were reached.
    pub points_events: Vec<PointsEvent>,
    /// When the licence was cancelled, if G or R is carried.
    pub cancelled_at: Option<Timestamp>,
    /// Birth date.
    pub birth_day: Option<Date>,
    /// The holder's name now.
    pub name: Option<FullName>,
    /// The file number now.
    pub file_number: Option<FileNumber>,
    /// A protected person.
    pub protected: bool,
    /// Changes are held or quarantined.
    pub disputed: bool,
    /// The record was deleted by law.
    pub erased: bool,
    /// The record holds nothing from before this moment.
    pub history_from: Option<Timestamp>,
}
