//! The fixed test drivers of `docs/policy.md` §7 as data: what happened to each, what is asked, and what must come out.
//!
//! Numbers and names never change; every date is counted from the as-of day, so that nothing rots. Nobody's number begins
//! with 0: none of these can be a real person. The registry's generator, the demo and the tests share this catalogue.

mod asked;
mod rows;
mod special;
mod states;
mod story;

use jiff::Timestamp;
use jiff::civil::Date;

use super::decision::{CriterionKind, Decision, Outcome, Reason};
use super::elicence::{NotShown, Shown};
use super::licence::{ChangeKind, DocumentKind};
use super::question::Question;
use super::time::Effective;

/// One driver of the catalogue.
#[derive(Clone, Debug)]
pub struct TestDriver {
    /// The row of `docs/policy.md` §7.
    pub row: u8,
    /// Which of the row's drivers: empty for the first, a word for each twin.
    pub twin: &'static str,
    /// What happened, in a few words.
    pub situation: &'static str,
    /// The document the number comes from.
    pub document: DocumentKind,
    /// The licence number now.
    pub number: &'static str,
    /// The number before it changed: it must still lead to the same subject.
    pub old_number: Option<&'static str>,
    /// The name on the licence; claims assert it too, unless `claimed_name` says otherwise.
    pub name: &'static str,
    /// The name a claim asserts.
    pub claimed_name: &'static str,
    /// What is recorded, in the order of recording: (effective, recorded, change). Empty: there is no such record.
    pub changes: Vec<(Effective, Timestamp, ChangeKind)>,
    /// What must come out.
    pub expectations: Vec<Expectation>,
    /// What the driver's e-licence shows a peer, or why no QR code is issued for it; empty where nobody is asked.
    pub e_licence: Vec<ELicenceExpectation>,
}

/// The column "IssueQr / peer" of `docs/policy.md` §7.
#[derive(Clone, Copy, Debug)]
pub struct ELicenceExpectation {
    /// When it is looked at; `None`: at any moment of the as-of day.
    pub asked_at: Option<Timestamp>,
    /// What must come out.
    pub expected: Result<Shown, NotShown>,
}

/// One question to a test driver, and what must come out.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The column of `docs/policy.md` §7, and what is special about the question.
    pub label: &'static str,
    /// The question.
    pub question: Question,
    /// When it is asked; `None`: at any moment of the as-of day.
    pub asked_at: Option<Timestamp>,
    /// As known when; `None`: when it is asked.
    pub known_at: Option<Timestamp>,
    /// The decision.
    pub decision: Decision,
    /// A criterion that must be among the answer's.
    pub shows: Option<(CriterionKind, Outcome, Reason)>,
    /// Whether the answer must say that something recorded later changed what holds at the moment.
    pub changed_since: bool,
}

/// Builds the catalogue as of a day.
pub fn test_drivers(as_of: Date) -> Vec<TestDriver> {
    let mut drivers = rows::ordinary(as_of);
    drivers.extend(states::with_states(as_of));
    drivers.extend(special::special(as_of));
    drivers.sort_by_key(|driver| driver.row);
    drivers
}

#[cfg(test)]
mod tests;
