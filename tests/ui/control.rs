//! Compiles: what the cases beside it do wrong is not a wrong set-up.

use drivegate::domain::disclosure::Disclosure;
use drivegate::domain::licence::{FullName, LicenceNumber};

/// A debug print is elided, and what was released can be read.
pub fn permitted(number: &LicenceNumber, name: &FullName, disclosure: &Disclosure) -> String {
    format!("{number:?} {name:?} {:?}", disclosure.masked_name.as_ref().map(|mask| mask.as_str()))
}
