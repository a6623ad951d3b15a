//! Whom a request is about: what the driver showed, or what the partner claims.

use super::RequestRules;
use super::claim::parse_claim;
use super::faults::Faults;
use crate::domain::licence::LicenceNumber;
use crate::domain::presentation::Holder;
use crate::domain::time::civil_day;
use crate::gateway::proto::{self, verify_request};
use crate::verification::{About, Shown, ShownRefusal};

/// Parses the subject. What was shown and cannot be read has a reason of its own, and is no broken field.
pub(super) fn parse_about(
    faults: &mut Faults,
    subject: Option<verify_request::Subject>,
    rules: RequestRules,
) -> Option<Result<About, ShownRefusal>> {
    match subject {
        None => faults.refuse("subject", "exactly one must be set"),
        Some(verify_request::Subject::Claim(claim)) => {
            parse_claim(faults, claim, rules).map(|claim| Ok(About::Claimed(claim)))
        }
        Some(verify_request::Subject::Presentation(text)) => Some(Shown::parse(&text).map(About::Shown)),
    }
}

/// The paths of a holder's fields.
pub(in crate::gateway::convert) struct HolderPaths {
    /// The whole.
    pub(in crate::gateway::convert) whole: &'static str,
    /// The kind of document.
    pub(in crate::gateway::convert) document: &'static str,
    /// The number.
    pub(in crate::gateway::convert) number: &'static str,
}

/// Parses a holder, as the wallet knows its user.
pub(in crate::gateway::convert) fn parse_holder(
    faults: &mut Faults,
    at: &HolderPaths,
    holder: Option<proto::Holder>,
    rules: RequestRules,
) -> Option<Holder> {
    let Some(holder) = holder else { return faults.refuse(at.whole, "is required") };
    let document = faults.member(at.document, holder.document_kind)?;
    let number =
        faults.parsed(at.number, LicenceNumber::parse(document, &holder.licence_number, rules.numbers))?;
    let born = number.birth_day(document);
    let possible = born.is_none_or(|day| day <= civil_day(rules.now));
    faults.demand(possible, at.number, "holds an impossible birth date");
    Some(Holder { document, number })
}
