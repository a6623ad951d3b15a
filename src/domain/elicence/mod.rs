//! The electronic licence (电子驾驶证): its life, what the app shows of it, and when it may be issued.
//!
//! Three questions that are easily mixed up have three answers here, each from its own facts:
//!
//! | question | answered by | rests on |
//! |---|---|---|
//! | may one be issued? | [`may_be_issued`] | the licence's state and validity |
//! | may it be shown, and how? | [`may_be_shown`] | its own life, and the licence's state |
//! | may its holder drive? | [`may_drive`] | the licence's state, validity and ages: never the e-licence |
//!
//! A 逾期未审验 bars the issue and colours the display, and leaves the licence standing; pending violations bar nothing; a
//! driver without any e-licence drives on. No question about driving reads anything in this folder: `decision` folds the history
//! into a [`Qualification`](crate::domain::licence::Qualification), which holds nothing about it. A peer scan alone asks what the
//! screen shows, and is told that and no more.

mod calendar;
mod display;
mod issue;
mod life;
#[cfg(test)]
mod tests;

pub use calendar::WorkingDays;
pub use display::{Display, Groups, NotShown, Shown, may_be_shown, may_drive};
pub use issue::{PHOTO_CHANGE_MONTHS, TooSoon, may_be_issued, may_change_photo};
pub use life::{ELicence, Impossible, Stage};
