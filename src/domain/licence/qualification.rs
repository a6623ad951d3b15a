//! What a subject holds at a moment, as known at a moment: a pure fold over the history.

use jiff::Timestamp;
use jiff::civil::Date;

use super::{ClassHolding, Endorsement, FileNumber, FullName, PointsEvent, StateSet, Validity, VehicleClass};

/// The two clocks of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The moment asked about.
    pub moment: Timestamp,
    /// Only what was recorded at or before this moment counts.
    pub known_at: Timestamp,
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
    /// Extended age ceilings.
    pub age_extensions: Vec<(VehicleClass, u8)>,
    /// Endorsements held.
    pub endorsements: Vec<Endorsement>,
    /// State letters carried.
    pub states: StateSet,
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
    /// The record holds nothing from before this moment.
    pub history_from: Option<Timestamp>,
}
