//! The catalogue against the rules.

use jiff::civil::date;

use super::*;
use crate::domain::claim::{Claim, Ground};
use crate::domain::decision::{Criterion, Ruling, confirm, decide};
use crate::domain::elicence::{Display, ELicence, Groups, may_be_shown};
use crate::domain::licence::{AsOf, Change, FullName, History, LicenceNumber, NumberRules};
use crate::domain::presentation::Holder;
use crate::domain::rules::Rules;
use crate::domain::subject::Position;
use crate::domain::time::{civil_day, start_of};

/// As-of days under both tables of age ceilings, a leap day and a year's end among them.
const DAYS: [Date; 4] = [date(2026, 11, 22), date(2025, 3, 1), date(2028, 2, 29), date(2031, 12, 31)];

fn history(driver: &TestDriver) -> History {
    let change = |(seq, (effective, recorded_at, kind)): (u64, &(Effective, Timestamp, ChangeKind))| Change {
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
    let current = history.fold(AsOf::new(now, now));
    if !confirm(&claim(driver), &current) {
        return (Ruling::not_confirmed(), None);
    }
    let as_of = AsOf::new(expected.question.moment(now), expected.known_at.unwrap_or(now));
    let ruled = decide(&expected.question, &history, as_of, now, &Rules::default());
    (ruled.ruling, ruled.changed_since)
}

#[test]
fn every_row_comes_out_as_it_must_whenever_it_is_asked() {
    let mut wrong = Vec::new();
    for as_of in DAYS {
        for driver in test_drivers(as_of) {
            for expected in &driver.expectations {
                for now in moments(expected.asked_at, as_of) {
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

/// The moments at which something is asked that may be asked at any moment of a day.
fn moments(asked_at: Option<Timestamp>, as_of: Date) -> Vec<Timestamp> {
    let moment = |seconds| start_of(as_of) + jiff::SignedDuration::from_secs(seconds);
    asked_at.map_or_else(|| [1, 12 * 3600, 24 * 3600 - 1].map(moment).to_vec(), |asked_at| vec![asked_at])
}

#[test]
fn every_e_licence_shows_what_it_must_whenever_it_is_looked_at() {
    let rules = Rules::default();
    for as_of in DAYS {
        for driver in test_drivers(as_of) {
            let history = history(&driver);
            for expectation in &driver.e_licence {
                for now in moments(expectation.asked_at, as_of) {
                    let as_of = AsOf::new(now, now);
                    let (known, held) = (ELicence::of(&history, as_of), history.fold(as_of));
                    let shown = may_be_shown(&known, &held, &rules, civil_day(now));
                    let (row, twin) = (driver.row, driver.twin);
                    assert_eq!(shown, expectation.expected, "row {row} {twin} at {now}: {known:?}");
                }
            }
            let silent = matches!(driver.row, 29 | 34);
            assert_eq!(driver.e_licence.is_empty(), silent, "row {}", driver.row);
        }
    }
}

/// The column "IssueQr / peer": what the screen shows is what a peer scan decides. An e-licence for which no QR code is issued looks void,
/// were it scanned all the same because it was issued a moment before.
#[test]
fn every_peer_scan_comes_out_as_the_screen_shows() {
    let rules = Rules::default();
    for as_of in DAYS {
        for driver in test_drivers(as_of) {
            let history = history(&driver);
            let Claim { document, number, .. } = claim(&driver);
            let question = Question::PeerScan { scanner: Holder { document, number } };
            for expectation in &driver.e_licence {
                for now in moments(expectation.asked_at, as_of) {
                    let ruled = decide(&question, &history, AsOf::new(now, now), now, &rules);
                    let (decision, outcome, reason, looks) = match expectation.expected {
                        Ok(shown) if shown.display == Display::Normal => {
                            (Decision::Qualified, Outcome::Met, None, shown)
                        }
                        Ok(shown) => {
                            let reason = Some(Reason::LicenceNotInForce);
                            (Decision::NotQualified, Outcome::NotMet, reason, shown)
                        }
                        Err(_) => {
                            let looks =
                                Shown { display: Display::Void, deferred: false, groups: Groups::default() };
                            let reason = Some(Reason::StateUnresolved);
                            (Decision::Indeterminate, Outcome::Unknown, reason, looks)
                        }
                    };
                    let (row, twin) = (driver.row, driver.twin);
                    assert_eq!(ruled.ruling.decision, decision, "row {row} {twin} at {now}");
                    let criterion = Criterion { kind: CriterionKind::Licence, outcome, reason };
                    assert_eq!(ruled.ruling.criteria, [criterion], "row {row} {twin} at {now}");
                    assert_eq!(ruled.e_licence, Some(looks), "row {row} {twin} at {now}");
                    assert_eq!(ruled.ruling.reliance_until, None, "row {row} {twin} at {now}");
                }
            }
        }
    }
}

/// The three reasons of row 26, and the two by which a licence's state keeps its e-licence from being shown.
#[test]
fn every_reason_not_to_show_an_e_licence_has_a_driver() {
    let drivers = test_drivers(DAYS[0]);
    for reason in NotShown::ALL {
        let has_it = |driver: &TestDriver| driver.e_licence.iter().any(|one| one.expected == Err(*reason));
        assert!(drivers.iter().any(has_it), "{reason}");
    }
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
        let numbers =
            driver.changes.iter().filter(|(_, _, kind)| matches!(kind, ChangeKind::NumberSet { .. })).count();
        assert_eq!(
            numbers,
            usize::from(!empty) + usize::from(driver.old_number.is_some()),
            "row {}",
            driver.row
        );
    }
}
