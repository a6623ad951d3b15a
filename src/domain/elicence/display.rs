//! How an e-licence is shown: the five groups of states (`docs/domain.md` §2), and who may drive, which is another question.

use jiff::civil::Date;

use super::life::{ELicence, Stage};
use crate::domain::closed_set::closed_set;
use crate::domain::decision::{Ground, GroundSet, Outcome, grounds};
use crate::domain::licence::{MotorType, Qualification};
use crate::domain::rules::Rules;

closed_set! {
    /// The display of an e-licence.
    pub enum Display {
        /// Green ground, black code.
        Normal = 1, "normal";
        /// The code is red: 12 points, expired, review overdue, detained, seized, suspended.
        Red = 2, "red";
        /// 「驾驶证电子版无效」: stopped, locked, or a state nobody can read.
        Void = 3, "void";
        /// No longer shown: annulled, revoked, cancelled.
        Hidden = 4, "hidden";
    }
}

closed_set! {
    /// Why an e-licence is not shown, and no QR code issued for it. The holder's wallet alone learns which.
    pub enum NotShown {
        /// Never issued, or not yet, or refused.
        NotIssued = 1, "NOT_ISSUED";
        /// Classes, validity or authority changed: apply anew.
        Superseded = 2, "SUPERSEDED";
        /// The service was ended for abuse of the photo.
        Withdrawn = 3, "WITHDRAWN";
        /// Shown as void only: no QR code.
        Void = 4, "VOID";
        /// The licence is gone.
        Hidden = 5, "HIDDEN";
    }
}

/// What an e-licence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The colour: [`Display::Normal`] or [`Display::Red`].
    pub display: Display,
    /// 延期…, past the original period. Which of the three it is, is not said: one is about health.
    pub deferred: bool,
    /// The groups of the classes held. A class itself could tell a health fact.
    pub groups: Groups,
}

/// The groups of classes held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// A car-type class.
    pub car: bool,
    /// A motorcycle-type class.
    pub motorcycle: bool,
}

impl Groups {
    fn of(held: &Qualification) -> Self {
        let any = |group| held.classes.iter().any(|holding| holding.class.motor_type() == group);
        Self { car: any(MotorType::Car), motorcycle: any(MotorType::Motorcycle) }
    }
}

impl Display {
    /// The display the licence's state demands of an issued e-licence. A record in doubt is void: a stuck revocation must
    /// not look green.
    pub fn of(held: &Qualification, rules: &Rules, day: Date) -> Self {
        if held.erased {
            return Self::Hidden;
        }
        if held.disputed {
            return Self::Void;
        }
        let mut display = Self::Normal;
        for ground in grounds(held, rules, day).iter() {
            display = display.max(Self::demanded_by(ground));
        }
        display
    }

    /// Groups 2, 3 and 4 of the published rule; group 5 is a label, not a colour.
    const fn demanded_by(ground: Ground) -> Self {
        match ground {
            Ground::Expired
            | Ground::ReviewOverdue
            | Ground::PointsFull
            | Ground::Detained
            | Ground::Seized
            | Ground::Suspended => Self::Red,
            Ground::Stopped | Ground::Unresolved => Self::Void,
            Ground::NeverIssued
            | Ground::Cancelled
            | Ground::CancelledRestorable
            | Ground::Revoked
            | Ground::Annulled => Self::Hidden,
            Ground::Deferred => Self::Normal,
        }
    }
}

/// Says whether an e-licence may be shown on a day, and how; if not, why not.
///
/// # Errors
/// [`NotShown`]: what is gone or void says so before what has to be applied for, for no application helps there.
pub fn may_be_shown(
    known: &ELicence,
    held: &Qualification,
    rules: &Rules,
    day: Date,
) -> Result<Shown, NotShown> {
    let display = Display::of(held, rules, day);
    match (display, known.stage) {
        (Display::Hidden, _) => Err(NotShown::Hidden),
        (Display::Void, _) => Err(NotShown::Void),
        (_, Stage::None | Stage::Applied | Stage::UnderReview | Stage::Refused(_)) => {
            Err(NotShown::NotIssued)
        }
        (_, Stage::Superseded) => Err(NotShown::Superseded),
        (_, Stage::Withdrawn) => Err(NotShown::Withdrawn),
        (display, Stage::Issued) => {
            let deferred = grounds(held, rules, day).contains(Ground::Deferred);
            Ok(Shown { display, deferred, groups: Groups::of(held) })
        }
    }
}

/// Says whether the licence is in force on a day: whether its holder may drive at all, what a class permits left aside.
pub fn may_drive(held: &Qualification, rules: &Rules, day: Date) -> Outcome {
    let found: GroundSet = grounds(held, rules, day);
    if held.disputed { Outcome::Unknown } else { found.in_force().outcome }
}
