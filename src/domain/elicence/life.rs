//! The life of an e-licence: a fold over its events, and over what makes it out of date.
//!
//! ```text
//! none → applied → [under review] → issued ⇄ (how it is shown: `display`) → superseded | withdrawn → re-applied → …
//!                       ↘ refused → applied
//! ```
//!
//! An issued e-licence is bound to classes, validity and authority (`docs/domain.md` §0 no. 31). When a 换证 changes one of them it
//! is superseded, whether or not the authority said so: what would go on showing a class that is gone is worse than one
//! application too many. A birthday exchanges nothing, and neither does the announcement that it took a class.

use jiff::Timestamp;
use jiff::civil::Date;

use super::WorkingDays;
use crate::domain::licence::{
    AsOf, ChangeKind, ClassSet, ELicenceEvent, ELicencePath, History, RefusalGround, Validity,
};

/// Working days a review may take (`docs/domain.md` §0 no. 22).
const REVIEW_WORKING_DAYS: u16 = 1;

/// Where an e-licence stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Never applied for.
    #[default]
    None,
    /// Applied for.
    Applied,
    /// A person looks at the photo.
    UnderReview,
    /// Issued.
    Issued,
    /// Refused.
    Refused(RefusalGround),
    /// Out of date: apply anew.
    Superseded,
    /// Ended for abuse of the photo.
    Withdrawn,
}

/// What is known of an e-licence at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ELicence {
    /// Where it stands.
    pub stage: Stage,
    /// The day it came to stand there.
    pub since: Option<Date>,
    /// How it was applied for last.
    pub path: Option<ELicencePath>,
    /// The last day its photo was changed, before a re-application too.
    pub photo_changed_on: Option<Date>,
}

/// An event that cannot follow on what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("does not follow on the e-licence's stage")]
pub struct Impossible;

/// What an issued e-licence is bound to.
#[derive(Clone, PartialEq)]
struct Binding<'h> {
    classes: ClassSet,
    validity: Option<Validity>,
    authority: Option<&'h str>,
}

impl ELicence {
    /// Folds the history into what is known of the e-licence at a moment. What happens at one moment counts together: a class
    /// added in error and taken back at the moment it was added exchanged nothing.
    pub fn of(history: &History, as_of: AsOf) -> Self {
        let mut known = Self::default();
        let mut licence = Binding { classes: ClassSet::EMPTY, validity: None, authority: None };
        let mut bound: Option<Binding<'_>> = None;
        let mut at = Timestamp::MIN;
        let mut day = Date::MIN;
        for (from, change) in history.known_by_effect(as_of.known) {
            if from > as_of.moment {
                break;
            }
            if from > at {
                known.supersede_if_unbound(&mut bound, &licence, day);
            }
            (at, day) = (from, change.effective.day());
            match &change.kind {
                ChangeKind::ELicence(event) => {
                    known.step(*event, day);
                    bound = (known.stage == Stage::Issued).then(|| bound.unwrap_or_else(|| licence.clone()));
                    if *event == ELicenceEvent::Issued {
                        bound = Some(licence.clone());
                    }
                }
                other => licence.note(other),
            }
        }
        known.supersede_if_unbound(&mut bound, &licence, day);
        known
    }

    /// Takes a recorded event as it stands: whether it should have come is asked before it is recorded.
    fn step(&mut self, event: ELicenceEvent, day: Date) {
        match event {
            ELicenceEvent::Applied { path } | ELicenceEvent::Reapplied { path } => {
                self.path = Some(path);
                self.enter(Stage::Applied, day);
            }
            ELicenceEvent::UnderReview => self.enter(Stage::UnderReview, day),
            ELicenceEvent::Issued => self.enter(Stage::Issued, day),
            ELicenceEvent::Refused { ground } => self.enter(Stage::Refused(ground), day),
            ELicenceEvent::Superseded => self.enter(Stage::Superseded, day),
            ELicenceEvent::Withdrawn => self.enter(Stage::Withdrawn, day),
            ELicenceEvent::PhotoChanged => self.photo_changed_on = Some(day),
        }
    }

    fn enter(&mut self, stage: Stage, day: Date) {
        self.stage = stage;
        self.since = Some(day);
    }

    fn supersede_if_unbound(&mut self, bound: &mut Option<Binding<'_>>, licence: &Binding<'_>, day: Date) {
        if bound.as_ref().is_some_and(|bound| bound != licence) {
            *bound = None;
            self.enter(Stage::Superseded, day);
        }
    }

    /// Says whether an event can follow. For those who take events in: what cannot follow is put aside for a person.
    ///
    /// # Errors
    /// [`Impossible`].
    pub fn admits(&self, event: ELicenceEvent) -> Result<(), Impossible> {
        let follows = match event {
            ELicenceEvent::Applied { .. } => matches!(self.stage, Stage::None | Stage::Refused(_)),
            ELicenceEvent::Reapplied { .. } => {
                matches!(self.stage, Stage::Superseded | Stage::Withdrawn | Stage::Refused(_))
            }
            ELicenceEvent::UnderReview => self.stage == Stage::Applied && self.is_reviewed(),
            ELicenceEvent::Issued | ELicenceEvent::Refused { .. } => {
                matches!(self.stage, Stage::Applied | Stage::UnderReview)
            }
            ELicenceEvent::PhotoChanged | ELicenceEvent::Withdrawn => self.stage == Stage::Issued,
            // Already superseded by what was exchanged: said once more.
            ELicenceEvent::Superseded => matches!(self.stage, Stage::Issued | Stage::Superseded),
        };
        if follows { Ok(()) } else { Err(Impossible) }
    }

    /// A person reviews every photo the authority does not hold yet (no. 22-25).
    fn is_reviewed(&self) -> bool {
        self.path != Some(ELicencePath::StoredPhoto)
    }

    /// Returns the day by which a review under way should be done. Nothing follows from its passing.
    pub fn review_due(&self, calendar: &WorkingDays) -> Option<Date> {
        let begun = self.since.filter(|_| self.stage == Stage::UnderReview)?;
        Some(calendar.due(begun, REVIEW_WORKING_DAYS))
    }
}

impl<'h> Binding<'h> {
    /// Notes what an exchange changes. A class announced void stays on the licence until it is exchanged.
    fn note(&mut self, kind: &'h ChangeKind) {
        match kind {
            ChangeKind::ClassAdded { class } => {
                self.classes.insert(*class);
            }
            ChangeKind::ClassRemoved { class } => {
                self.classes.remove(*class);
            }
            ChangeKind::ValiditySet { validity }
            | ChangeKind::ValidityRenewed { validity }
            | ChangeKind::ValidityExtended { validity } => self.validity = Some(*validity),
            ChangeKind::AuthoritySet { code } => self.authority = Some(code),
            _ => {}
        }
    }
}
