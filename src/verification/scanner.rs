//! Who scans another user's e-licence must hold one that can be shown.

use super::answer::NoAnswer;
use super::verify::{Asking, Verification};
use crate::domain::decision::confirm_shown;
use crate::domain::elicence::{ELicence, may_be_shown};
use crate::domain::licence::{AsOf, Known};
use crate::domain::question::Question;
use crate::domain::subject::NumberPseudonym;
use crate::domain::time::civil_day;

impl Verification {
    /// Returns the number of who scans, for a peer scan.
    pub(super) fn scanner_of(&self, question: &Question) -> Option<NumberPseudonym> {
        match question {
            Question::PeerScan { scanner } => {
                Some(self.pseudonyms.pseudonym(scanner.document, &scanner.number))
            }
            _ => None,
        }
    }

    /// Holds a peer scan to the scanner's own e-licence: one that is shown, red or not. Whatever else is the case with the scanner, it is
    /// one refusal.
    pub(super) async fn demand_e_licence(
        &self,
        asking: &Asking<'_>,
        scanner: NumberPseudonym,
    ) -> Result<(), NoAnswer> {
        let fact = self
            .facts
            .look_up(scanner, asking.request.max_age, asking.deadline, asking.turn())
            .wait()
            .await
            .map_err(NoAnswer::NoFacts)?;
        let record = fact.record.ok_or(NoAnswer::ScannerNotAccepted)?;
        let as_of = AsOf { moment: asking.now, known: Known { at: asking.now, position: fact.position } };
        let held = record.history.fold(as_of);
        let known = ELicence::of(&record.history, as_of);
        let shown = may_be_shown(&known, &held, &self.rules, civil_day(asking.now));
        if confirm_shown(&held) && shown.is_ok() { Ok(()) } else { Err(NoAnswer::ScannerNotAccepted) }
    }
}
