//! What is played: which partner asks about which test driver, and what must come out.

use jiff::Timestamp;

use super::asking;
use crate::cli::verify::words::short;
use crate::domain::catalogue::{Expectation, TestDriver};
use crate::domain::decision::{CriterionKind, Outcome, Reason};
use crate::domain::question::Question;
use crate::domain::time::civil_day;
use crate::gateway::proto;

/// One question of one partner.
pub struct Scene {
    /// The partner.
    pub who: &'static str,
    /// What the table says is asked.
    pub asked: String,
    /// What is sent.
    pub request: proto::VerifyRequest,
    /// What must come out.
    pub expected: Expected,
}

/// What an answer must be.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The decision.
    pub decision: proto::Decision,
    /// A criterion that must be among the answer's: kind, outcome, reason.
    pub shows: Option<(i32, i32, i32)>,
    /// The answer must say that something recorded later changed it.
    pub changed_since: bool,
    /// Where the reading must come from.
    pub level: Option<proto::Source>,
    /// The name that must be masked in the answer.
    pub masks: Option<&'static str>,
    /// A state letter that must be released.
    pub state: Option<&'static str>,
}

/// The scenes that come from the catalogue: partner, words, row, twin, label of the expectation.
const FROM_CATALOGUE: [(&str, &str, u8, &str, &str); 17] = [
    ("rental-demo", "checkout: C1, 3 days", 1, "", "rental"),
    ("rental-demo", "the same again", 1, "", "rental"),
    ("rental-demo", "checkout: licensed 5 months ago", 2, "", "rental"),
    ("rental-demo", "checkout: valid for 2 more days", 9, "", "rental"),
    ("rental-demo", "checkout: expired 30 days ago", 11, "", "rental"),
    ("rental-demo", "checkout: number changed since", 30, "", "rental"),
    ("insurer-demo", "accident 10 days ago, after expiry", 11, "", "claim"),
    ("insurer-demo", "accident 10 days ago, 12 points reached", 15, "", "claim before the detention"),
    ("insurer-demo", "accident 5 days ago, licence detained", 15, "", "claim 5 days ago"),
    ("insurer-demo", "accident 10 days ago, as known 5 days ago", 20, "", "claim as known 5 days ago"),
    ("insurer-demo", "the same, as known now", 20, "", "claim"),
    ("insurer-demo", "accident before the record begins", 31, "", "claim 400 days ago"),
    ("recruiter-demo", "driver, C1, 3 years", 1, "", "recruit"),
    ("recruiter-demo", "ride-hailing, 12 points 60 days ago", 16, "", "ride-hailing"),
    ("transport-demo", "filed driver, violation pending", 1, "pending", "transport pending"),
    ("transport-demo", "filed driver, review overdue", 23, "", "transport"),
    ("transport-demo", "city bus, in probation", 2, "", "transport bus"),
];

/// The test driver a police terminal asks about: suspended.
const SUSPENDED: u8 = 17;

/// Builds the scenes. A row that is not in the catalogue is left out; the tests see to it that none is.
pub fn scenes(drivers: &[TestDriver], now: Timestamp) -> Vec<Scene> {
    let mut scenes: Vec<Scene> = FROM_CATALOGUE
        .iter()
        .filter_map(|(who, asked, row, twin, label)| {
            let driver = drivers.iter().find(|driver| driver.row == *row && driver.twin == *twin)?;
            let expectation = driver.expectations.iter().find(|expectation| expectation.label == *label)?;
            Some(from_catalogue(who, asked, driver, expectation, now))
        })
        .collect();
    // Nobody was asked about before: the first reading comes from the registry, the second from memory.
    if let [first, second, ..] = scenes.as_mut_slice() {
        first.expected.level = Some(proto::Source::Registry);
        second.expected.level = Some(proto::Source::InProcess);
    }
    let suspended = drivers.iter().find(|driver| driver.row == SUSPENDED);
    scenes.extend(suspended.map(|driver| enforcement(driver, now)));
    scenes
}

fn from_catalogue(
    who: &'static str,
    asked: &str,
    driver: &TestDriver,
    expectation: &Expectation,
    now: Timestamp,
) -> Scene {
    let code = |(kind, outcome, reason): (CriterionKind, Outcome, Reason)| {
        (i32::from(kind.code()), i32::from(outcome.code()), i32::from(reason.code()))
    };
    let is_rental = matches!(expectation.question, Question::Rental { .. });
    let asked = match &expectation.question {
        Question::InsuranceClaim { occurred_at, .. } => format!("{asked} ({})", civil_day(*occurred_at)),
        _ => asked.to_owned(),
    };
    Scene {
        who,
        asked,
        request: asking::ask(driver, &expectation.question, expectation.known_at, now),
        expected: Expected {
            decision: proto::Decision::try_from(i32::from(expectation.decision.code())).unwrap_or_default(),
            shows: expectation.shows.map(code),
            changed_since: expectation.changed_since,
            masks: is_rental.then_some(driver.name),
            ..Expected::default()
        },
    }
}

fn enforcement(driver: &TestDriver, now: Timestamp) -> Scene {
    Scene {
        who: "enforcement-demo",
        asked: "roadside check, licence suspended".to_owned(),
        request: asking::ask(driver, &Question::Enforcement { vehicle: None }, None, now),
        expected: Expected {
            decision: proto::Decision::NotQualified,
            state: Some("D"),
            ..Expected::default()
        },
    }
}

impl Expected {
    /// Compares an answer with what must come out.
    ///
    /// # Errors
    /// Says what is different.
    pub fn compare(&self, answer: &proto::VerifyResponse) -> Result<(), String> {
        if answer.decision() != self.decision {
            return Err(format!("expected {}", short::<proto::Decision>(self.decision.into())));
        }
        if let Some((kind, outcome, reason)) = self.shows {
            let shown =
                |one: &proto::Criterion| (one.kind, one.outcome, one.reason) == (kind, outcome, reason);
            if !answer.criteria.iter().any(shown) {
                let kind = short::<proto::CriterionKind>(kind);
                return Err(format!("expected {kind}: {}", short::<proto::Reason>(reason)));
            }
        }
        let provenance = answer.provenance.clone().unwrap_or_default();
        if self.changed_since != provenance.changed_since.is_some() {
            return Err(format!(
                "expected changed_since to be {}",
                if self.changed_since { "set" } else { "absent" }
            ));
        }
        if let Some(level) = self.level
            && provenance.source() != level
        {
            return Err(format!("expected a reading from {}", short::<proto::Source>(level.into())));
        }
        let disclosure = answer.disclosure.clone().unwrap_or_default();
        if let Some(name) = self.masks {
            let masked = disclosure.masked_name.unwrap_or_default();
            if masked == name || !masked.contains('*') {
                return Err("expected a masked name".to_owned());
            }
        }
        if let Some(state) = self.state
            && !disclosure.states.iter().any(|one| one == state)
        {
            return Err(format!("expected state {state}"));
        }
        if answer.environment() == proto::Environment::Sandbox {
            Ok(())
        } else {
            Err("expected SANDBOX".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogue::test_drivers;

    fn now() -> Timestamp {
        "2026-11-22T02:00:00Z".parse().unwrap()
    }

    #[test]
    fn every_scene_is_in_the_catalogue() {
        let scenes = scenes(&test_drivers(civil_day(now())), now());
        assert_eq!(scenes.len(), FROM_CATALOGUE.len() + 1);
        assert!(scenes.iter().any(|scene| scene.request.known_at.is_some()));
        assert!(scenes.iter().any(|scene| scene.expected.changed_since));
    }

    fn rental(name: &str) -> proto::VerifyResponse {
        proto::VerifyResponse {
            decision: proto::Decision::Qualified.into(),
            disclosure: Some(proto::Disclosure { masked_name: Some(name.to_owned()), ..Default::default() }),
            environment: proto::Environment::Sandbox.into(),
            ..Default::default()
        }
    }

    #[test]
    fn an_answer_that_differs_is_told_apart() {
        let expected =
            Expected {
                decision: proto::Decision::Qualified, masks: Some("测试甲"), ..Expected::default()
            };
        assert_eq!(expected.compare(&rental("测**")), Ok(()));
        assert_eq!(expected.compare(&rental("测试甲")), Err("expected a masked name".to_owned()));
        let tenure = (
            proto::CriterionKind::Tenure.into(),
            proto::Outcome::NotMet.into(),
            proto::Reason::TenureShort.into(),
        );
        let no = Expected { decision: proto::Decision::NotQualified, ..expected.clone() };
        assert_eq!(no.compare(&rental("测**")), Err("expected NOT_QUALIFIED".to_owned()));
        let shows = Expected { shows: Some(tenure), ..expected.clone() };
        assert_eq!(shows.compare(&rental("测**")), Err("expected TENURE: TENURE_SHORT".to_owned()));
        let level = Expected { level: Some(proto::Source::Redis), ..expected };
        assert_eq!(level.compare(&rental("测**")), Err("expected a reading from REDIS".to_owned()));
    }
}
