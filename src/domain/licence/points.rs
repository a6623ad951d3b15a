//! Penalty points (记分): 12 in a 12-month period bar driving (RTSL 24; 记分管理办法 arts. 3, 17).

use jiff::civil::Date;

/// A period in which 12 points were reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointsEvent {
    /// The day 12 points were reached.
    pub reached_on: Date,
}

/// Points from which driving is barred (RTSL 24).
pub(crate) const POINTS_FULL: u8 = 12;
