//! The licence: its number, holder's name, classes, states, validity, points, and the history they are folded from.

mod class;
mod elicence;
mod fold;
mod history;
mod name;
mod number;
mod points;
mod qualification;
mod state;
mod stops;
mod validity;

pub use class::{ClassHolding, ClassSet, ClassesFault, MotorType, VehicleClass};
pub use elicence::{ELicenceEvent, ELicencePath, RefusalGround, RefusalGroup};
pub use history::{Change, ChangeKind, Endorsement, History, Record};
pub use name::{FullName, NameFault};
pub use number::{DocumentKind, FileNumber, LicenceNumber, NumberFault, NumberRules};
pub(crate) use points::POINTS_FULL;
pub use points::PointsEvent;
pub use qualification::{AsOf, Known, Qualification};
pub use state::{StateGround, StateLetter, StateSet};
pub use stops::{STOPS_MAX, Stop, Stops, StopsFull};
pub use validity::{Validity, ValidityTerm};
