//! What the operator says about hold-backs, said to the desk that keeps them.

use std::time::Duration;

use jiff::Timestamp;

use super::gateway::Parts;
use crate::admin::ports::{HoldBackLifted, HoldBackSet, HolderSaid, OperatorError};
use crate::admin::report::HoldBackLine;
use crate::config::{hex, unhex};
use crate::domain::licence::{LicenceNumber, NumberRules};
use crate::domain::presentation::Holder;
use crate::evidence::ports::HoldBack;
use crate::evidence::{HoldBackWanted, NoHoldBack};
use crate::verification::ports::Deadline;

/// How long finding a driver may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Sets one.
pub(super) async fn set(
    parts: &Parts,
    holder: HolderSaid,
    wanted: HoldBackSet,
) -> Result<HoldBackLine, OperatorError> {
    let moment = |text: &str| text.parse::<Timestamp>().map_err(|_| unfit("a moment is not in RFC 3339"));
    let partner = wanted.partner.map(|id| id.parse().map_err(|_| OperatorError::PartnerNotKnown));
    let wanted = HoldBackWanted {
        partner: partner.transpose()?,
        from: wanted.from.as_deref().map(moment).transpose()?,
        until: moment(&wanted.until)?,
        set_by: wanted.set_by,
        ground: wanted.ground,
    };
    let roster = parts.identity.roster();
    if wanted.partner.as_ref().is_some_and(|partner| roster.contract_of(partner).is_none()) {
        return Err(OperatorError::PartnerNotKnown);
    }
    let holder = parsed(parts, &holder)?;
    let set = parts.hold_backs.set(&holder, wanted, deadline(parts)).await;
    set.map(|hold_back| line(parts, &hold_back)).map_err(|why| told(&why))
}

/// Lists a driver's.
pub(super) async fn list(parts: &Parts, holder: HolderSaid) -> Result<Vec<HoldBackLine>, OperatorError> {
    let holder = parsed(parts, &holder)?;
    let listed = parts.hold_backs.list(&holder, deadline(parts)).await.map_err(|why| told(&why))?;
    Ok(listed.iter().map(|hold_back| line(parts, hold_back)).collect())
}

/// Lifts one.
pub(super) async fn lift(
    parts: &Parts,
    holder: HolderSaid,
    wanted: HoldBackLifted,
) -> Result<HoldBackLine, OperatorError> {
    let id = unhex(&wanted.id).and_then(|id| id.try_into().ok());
    let id = id.ok_or_else(|| unfit("an id has 32 hexadecimal digits"))?;
    let holder = parsed(parts, &holder)?;
    let who = (wanted.lifted_by.as_str(), wanted.ground.as_str());
    let lifted = parts.hold_backs.lift(&holder, id, who, deadline(parts)).await.map_err(|why| told(&why))?;
    Ok(HoldBackLine { in_force: false, ..line(parts, &lifted) })
}

fn parsed(parts: &Parts, holder: &HolderSaid) -> Result<Holder, OperatorError> {
    let rules = NumberRules { accept_test_numbers: parts.accepts_test_numbers };
    let document = holder.document;
    let number = LicenceNumber::parse(document, &holder.number, rules);
    let number = number.map_err(|fault| OperatorError::NotUsable { what: format!("the number {fault}") })?;
    Ok(Holder { document, number })
}

fn deadline(parts: &Parts) -> Deadline {
    Deadline { since_boot: parts.clock.since_boot() + WITHIN }
}

fn line(parts: &Parts, hold_back: &HoldBack) -> HoldBackLine {
    HoldBackLine {
        id: hex(&hold_back.id),
        partner: hold_back.partner.as_ref().map(ToString::to_string),
        from: hold_back.from.to_string(),
        until: hold_back.until.to_string(),
        set_by: hold_back.set_by.clone(),
        ground: hold_back.ground.clone(),
        set_at: hold_back.set_at.to_string(),
        in_force: parts.clock.now() < hold_back.until,
    }
}

fn unfit(what: &str) -> OperatorError {
    OperatorError::NotUsable { what: what.to_owned() }
}

fn told(why: &NoHoldBack) -> OperatorError {
    match why {
        NoHoldBack::NoFacts(_) | NoHoldBack::NoStore | NoHoldBack::NoEvidence => {
            OperatorError::Failed { what: why.to_string() }
        }
        NoHoldBack::HolderNotKnown
        | NoHoldBack::NotKnown
        | NoHoldBack::Over
        | NoHoldBack::TooLong { .. }
        | NoHoldBack::Texts => unfit(&why.to_string()),
    }
}
