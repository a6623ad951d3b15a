//! The few masked fields that leave. Masks are made here and nowhere else.

mod disclose;
mod mask;

pub use disclose::disclose;
pub use mask::MaskedName;

use jiff::civil::Date;

use super::closed_set::closed_set;
use super::elicence::{Display, Groups};
use super::licence::{ClassSet, StateSet};

closed_set! {
    /// A field that can be released.
    pub enum Field {
        /// The masked name.
        MaskedName = 1, "masked-name";
        /// The last valid day, only if passed at the moment asked about.
        ExpiredOn = 2, "expired-on";
        /// Kind and last day of probation.
        Probation = 3, "probation";
        /// Years since first issue, in bands.
        TenureBand = 4, "tenure-band";
        /// Violation or accident pending.
        Pending = 5, "pending";
        /// State letters.
        States = 6, "states";
        /// Classes in force.
        Classes = 7, "classes";
        /// Whether the paper licence is needed.
        PaperLicenceNeeded = 8, "paper-licence-needed";
        /// How the e-licence is shown: its colour, and whether a deferral is written on it.
        Display = 9, "display";
        /// Whether a car-type and a motorcycle-type class is held.
        ClassGroups = 10, "class-groups";
    }
}

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(u16);

impl FieldSet {
    /// No field.
    pub const EMPTY: Self = Self(0);

    /// Builds a set.
    pub const fn of(fields: &[Field]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < fields.len() {
            bits |= 1 << fields[index].code();
            index += 1;
        }
        Self(bits)
    }

    /// Says whether the field is in the set.
    pub const fn contains(self, field: Field) -> bool {
        self.0 & (1 << field.code()) != 0
    }

    /// Returns the fields in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the fields of this set that the other lacks.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the set as bits, one at each field's code, for storage and tokens.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Takes the bits of a set; `None` when a bit is no field's.
    pub fn from_bits(bits: u16) -> Option<Self> {
        let known: Self = Field::ALL.iter().copied().collect();
        (bits & !known.0 == 0).then_some(Self(bits))
    }

    /// Says whether no field is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the fields in order of their codes.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.iter().copied().filter(move |field| self.contains(*field))
    }
}

impl std::fmt::Display for FieldSet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.iter().map(Field::word).collect();
        out.write_str(&words.join(", "))
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |bits, field| bits | (1 << field.code())))
    }
}

closed_set! {
    /// Which probation (实习期).
    pub enum ProbationKind {
        /// After the first car-type or motorcycle-type class.
        FirstLicence = 1, "first-licence";
        /// After a class added before 1 April 2022.
        AddedClass = 2, "added-class";
    }
}

/// Probation at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probation {
    /// Which.
    pub kind: ProbationKind,
    /// Its last day, inclusive.
    pub last_day: Date,
}

closed_set! {
    /// Whole years since first issue, in bands.
    pub enum TenureBand {
        /// Less than 1.
        Under1 = 1, "under-1";
        /// 1 to 2.
        From1To2 = 2, "1-2";
        /// 3 to 5.
        From3To5 = 3, "3-5";
        /// 6 and more.
        From6 = 4, "6+";
    }
}

/// How an e-licence looks to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplayShown {
    /// The colour: normal, red or void.
    pub display: Display,
    /// Whether 延期 is written on it.
    pub deferred: bool,
}

/// Matters pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// 违法未处理
    pub violation: bool,
    /// 事故未处理
    pub accident: bool,
}

/// The fields released: the only thing that converts into a response's fields, and only `disclose` makes one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disclosure {
    /// See [`Field::MaskedName`].
    pub masked_name: Option<MaskedName>,
    /// See [`Field::ExpiredOn`].
    pub expired_on: Option<Date>,
    /// See [`Field::Probation`].
    pub probation: Option<Probation>,
    /// See [`Field::TenureBand`].
    pub tenure_band: Option<TenureBand>,
    /// See [`Field::Pending`].
    pub pending: Option<Pending>,
    /// See [`Field::States`].
    pub states: Option<StateSet>,
    /// See [`Field::Classes`].
    pub classes: Option<ClassSet>,
    /// See [`Field::PaperLicenceNeeded`].
    pub paper_licence_needed: Option<bool>,
    /// See [`Field::Display`].
    pub display: Option<DisplayShown>,
    /// See [`Field::ClassGroups`].
    pub class_groups: Option<Groups>,
}

impl Disclosure {
    /// Releases nothing: all that is ever said about a subject that was not confirmed.
    pub fn nothing() -> Self {
        Self::default()
    }
}
