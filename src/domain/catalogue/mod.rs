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
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::claim::{Claim, Ground};
    use crate::domain::decision::{Ruling, confirm, decide};
    use crate::domain::licence::{AsOf, Change, FullName, History, LicenceNumber, NumberRules};
    use crate::domain::rules::Rules;
    use crate::domain::subject::Position;
    use crate::domain::time::start_of;

    fn history(driver: &TestDriver) -> History {
        let change =
            |(seq, (effective, recorded_at, kind)): (u64, &(Effective, Timestamp, ChangeKind))| Change {
                effective: *effective,
                recorded_at: *recorded_at,
                position: Position { epoch: 1, partition: 0, seq },
                kind: kind.clone(),
            };
        History::from_changes((1..).zip(&driver.changes).map(change).collect())
    }

    fn claim(driver: &TestDriver) -> Claim {
        let rules = NumberRules { accept_test_numbers: true };
        Claim {
            document: driver.document,
            number: LicenceNumber::parse(driver.document, driver.number, rules).unwrap(),
            name: FullName::parse(driver.claimed_name).unwrap(),
            file_number: None,
            ground: Ground::LegalDuty,
        }
    }

    /// Answers as the use case does: confirm as known now, then decide.
    fn answer(driver: &TestDriver, expected: &Expectation, now: Timestamp) -> (Ruling, Option<Timestamp>) {
        let history = history(driver);
        let current = history.fold(AsOf { moment: now, known_at: now });
        if !confirm(&claim(driver), &current) {
            return (Ruling::not_confirmed(), None);
        }
        let as_of =
            AsOf { moment: expected.question.moment(now), known_at: expected.known_at.unwrap_or(now) };
        let ruled = decide(&expected.question, &history, as_of, now, &Rules::default());
        (ruled.ruling, ruled.changed_since)
    }

    #[test]
    fn every_row_comes_out_as_it_must_whenever_it_is_asked() {
        let mut wrong = Vec::new();
        for as_of in [date(2026, 11, 22), date(2025, 3, 1), date(2028, 2, 29), date(2031, 12, 31)] {
            for driver in test_drivers(as_of) {
                for expected in &driver.expectations {
                    let day = start_of(as_of);
                    let asked = match expected.asked_at {
                        Some(moment) => vec![moment],
                        None => [1, 12 * 3600, 24 * 3600 - 1]
                            .map(|seconds| day + jiff::SignedDuration::from_secs(seconds))
                            .to_vec(),
                    };
                    for now in asked {
                        let (ruling, changed_since) = answer(&driver, expected, now);
                        let shown = expected.shows.is_none_or(|(kind, outcome, reason)| {
                            ruling.criteria.iter().any(|criterion| {
                                (criterion.kind, criterion.outcome, criterion.reason)
                                    == (kind, outcome, Some(reason))
                            })
                        });
                        if ruling.decision != expected.decision
                            || !shown
                            || changed_since.is_some() != expected.changed_since
                        {
                            wrong.push(format!(
                                "row {} {:?} ({}), {} asked {now}, as of {as_of}: {ruling:?} {changed_since:?}",
                                driver.row, driver.twin, driver.situation, expected.label
                            ));
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn every_row_is_there_and_every_number_stands_once() {
        let drivers = test_drivers(date(2026, 11, 22));
        let rows: std::collections::BTreeSet<u8> = drivers.iter().map(|driver| driver.row).collect();
        assert!((1..=34).all(|row| rows.contains(&row)), "{rows:?}");
        let mut numbers = std::collections::BTreeSet::new();
        for driver in &drivers {
            assert!(!driver.expectations.is_empty(), "row {}", driver.row);
            for number in [Some(driver.number), driver.old_number].into_iter().flatten() {
                assert!(number.starts_with('0') && numbers.insert(number), "row {}: {number}", driver.row);
                let production = LicenceNumber::parse(driver.document, number, NumberRules::default());
                assert!(production.is_err(), "row {} could be somebody", driver.row);
            }
        }
    }

    #[test]
    fn nothing_is_recorded_out_of_order_or_in_the_future() {
        let as_of = date(2026, 11, 22);
        for driver in test_drivers(as_of) {
            let recorded: Vec<_> = driver.changes.iter().map(|(_, recorded_at, _)| *recorded_at).collect();
            assert!(recorded.is_sorted(), "row {} {}", driver.row, driver.twin);
            assert!(
                recorded.iter().all(|moment| *moment < start_of(as_of)),
                "row {} {}",
                driver.row,
                driver.twin
            );
            let empty = driver.row == 29 && driver.twin == "no-such-number";
            assert_eq!(driver.changes.is_empty(), empty);
            let numbers = driver
                .changes
                .iter()
                .filter(|(_, _, kind)| matches!(kind, ChangeKind::NumberSet { .. }))
                .count();
            assert_eq!(
                numbers,
                usize::from(!empty) + usize::from(driver.old_number.is_some()),
                "row {}",
                driver.row
            );
        }
    }
}
