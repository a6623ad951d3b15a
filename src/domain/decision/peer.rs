//! 互扫: what another user of the app sees of the e-licence that is shown. The colour, and nothing else about the licence.

use super::outcome::{Criterion, CriterionKind, Reason};
use super::ruled::Case;
use crate::domain::elicence::{Display, ELicence, Groups, Shown, may_be_shown};
use crate::domain::licence::AsOf;

/// How the e-licence looks now. What must not be shown looks void, whatever the cause: an e-licence withdrawn since the QR code was
/// issued, a licence cancelled since, a record in dispute.
pub(super) fn shown(case: &Case<'_>) -> Shown {
    let known = ELicence::of(case.history, AsOf { moment: case.moment, known: case.known });
    let void = Shown { display: Display::Void, deferred: false, groups: Groups::default() };
    may_be_shown(&known, case.held, case.rules, case.day).unwrap_or(void)
}

/// Green is met, red is not, void says nothing.
pub(super) fn criteria(shown: &Shown) -> Vec<Criterion> {
    vec![match shown.display {
        Display::Normal => Criterion::met(CriterionKind::Licence),
        Display::Red => Criterion::not_met(CriterionKind::Licence, Reason::LicenceNotInForce),
        Display::Void | Display::Hidden => {
            Criterion::unknown(CriterionKind::Licence, Reason::StateUnresolved)
        }
    }]
}
