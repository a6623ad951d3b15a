//! The optional `[rules]` table: what `docs/domain.md` marks unverified can be set otherwise than by default.
//!
//! ```toml
//! [rules]
//! subject_age_min = 18
//! reliance_days_max = 30
//! consent_days_max = { rental = 180 }
//!
//! [[rules.age_ceilings]]
//! in_force_from = "2025-01-01"
//! years = { A1 = 63, A2 = 63 }
//!
//! [[rules.editions]]
//! edition = "commercial-2020"
//! decides = "DEFGRU"
//! probation_decides = false
//!
//! [[rules.roles]]
//! role = "city-bus"
//! age_max = 63
//!
//! [rules.working_days]
//! off = ["2026-10-01", "2026-10-02"]
//! worked = ["2026-10-10"]
//! ```

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;

use crate::domain::elicence::WorkingDays;
use crate::domain::licence::{ClassSet, ClassesFault, StateSet, VehicleClass};
use crate::domain::question::{CoverageEdition, Purpose, Role};
use crate::domain::rules::{AgeCeilings, Dated, Rules};

/// The table as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesTable {
    /// Nobody younger is asked about. Default 18.
    subject_age_min: Option<u8>,
    /// Days ahead at most of `reliance_until`, 1 to 366; 1, 7 and 30 below it are the nearer horizons. Default 30.
    reliance_days_max: Option<u16>,
    /// How long a consent may run, in days, by purpose: 1 to 1100.
    #[serde(default)]
    consent_days_max: BTreeMap<String, u16>,
    /// Age ceilings from a day on; classes not named keep what was in force before.
    #[serde(default)]
    age_ceilings: Vec<AgeCeilingsTable>,
    /// What editions of cover name: of the letters B D E F G J M N R S U, N for every deferral.
    #[serde(default)]
    editions: Vec<EditionTable>,
    /// What roles demand.
    #[serde(default)]
    roles: Vec<RoleTable>,
    /// Holidays and worked weekend days, for the day a review is due. Default: weekends alone are off.
    #[serde(default)]
    working_days: WorkingDaysTable,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkingDaysTable {
    #[serde(default)]
    off: Vec<String>,
    #[serde(default)]
    worked: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgeCeilingsTable {
    in_force_from: String,
    years: BTreeMap<String, u8>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EditionTable {
    edition: CoverageEdition,
    decides: String,
    probation_decides: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleTable {
    role: Role,
    classes: Option<String>,
    tenure_months: Option<u16>,
    age_min: Option<u8>,
    age_max: Option<u8>,
    periods_without_full_points: Option<u8>,
}

/// A key of the table cannot be what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {rule}")]
pub struct RulesFault {
    /// Which key.
    pub key: String,
    /// What it must be.
    pub rule: &'static str,
}

/// Where an overridden rule comes from.
const BY_CONFIGURATION: &str = "configuration";

/// The letters an edition can name. N stands for every deferral; K, L, C and unknown letters are UNKNOWN in any edition,
/// and A, H and I stand against nobody.
const DECISIVE: &[u8] = b"BDEFGJMNRSU";

/// No role is for anybody older: a bound, so that a slip does not pass for a rule.
const AGE_MAX: u8 = 120;

/// Most days a consent may be configured to run: three years.
const CONSENT_DAYS_MAX: u16 = 1100;

/// Most days `reliance_until` may be configured to look ahead.
const RELIANCE_DAYS_MAX: u16 = 366;

impl RulesTable {
    /// Returns the default rules with what the table overrides.
    ///
    /// # Errors
    /// The first [`RulesFault`], naming the key.
    pub fn over_defaults(&self) -> Result<Rules, RulesFault> {
        let mut rules = Rules::default();
        if let Some(years) = self.subject_age_min {
            within((14..=30).contains(&years), "rules.subject_age_min", "must be 14 to 30")?;
            rules.subject_age_min = years;
        }
        if let Some(days) = self.reliance_days_max {
            let fits = (1..=RELIANCE_DAYS_MAX).contains(&days);
            within(fits, "rules.reliance_days_max", "must be 1 to 366")?;
            rules.reliance_days_max = days;
        }
        self.apply_consent(&mut rules)?;
        self.apply_ages(&mut rules)?;
        self.apply_editions(&mut rules)?;
        self.apply_roles(&mut rules)?;
        rules.working_days = WorkingDays::new(
            days(&self.working_days.off, "rules.working_days.off")?,
            days(&self.working_days.worked, "rules.working_days.worked")?,
        );
        Ok(rules)
    }

    fn apply_consent(&self, rules: &mut Rules) -> Result<(), RulesFault> {
        for (word, days) in &self.consent_days_max {
            let key = format!("rules.consent_days_max.{word}");
            let purpose: Purpose = word.parse().map_err(|_| fault(&key, "must name a purpose"))?;
            within((1..=CONSENT_DAYS_MAX).contains(days), &key, "must be 1 to 1100")?;
            let row = rules.consent_days_max.iter_mut().find(|(named, _)| *named == purpose);
            row.ok_or_else(|| fault(&key, "must name a purpose that accepts consent"))?.1 = *days;
        }
        Ok(())
    }

    fn apply_ages(&self, rules: &mut Rules) -> Result<(), RulesFault> {
        let mut dated = Vec::with_capacity(self.age_ceilings.len());
        for (index, table) in self.age_ceilings.iter().enumerate() {
            let key = format!("rules.age_ceilings[{index}]");
            let from: Date = table
                .in_force_from
                .parse()
                .map_err(|_| fault(&key, "in_force_from must be a date: 2025-01-01"))?;
            dated.push((from, key, table));
        }
        // What was in force before is what the earlier tables made of it, in whatever order they are written.
        dated.sort_by_key(|(from, ..)| *from);
        for (from, key, table) in dated {
            let mut ceilings = rules.age_ceilings_on(from);
            for (word, years) in &table.years {
                let class: VehicleClass = word.parse().map_err(|_| fault(&key, "years must name classes"))?;
                within((50..=100).contains(years), &key, "years must be 50 to 100")?;
                ceilings.set(class, Some(*years));
            }
            put_dated(&mut rules.age_ceilings, from, ceilings);
        }
        Ok(())
    }

    fn apply_editions(&self, rules: &mut Rules) -> Result<(), RulesFault> {
        for (index, table) in self.editions.iter().enumerate() {
            let key = format!("rules.editions[{index}].decides");
            let decides =
                StateSet::parse(&table.decides).ok_or_else(|| fault(&key, "must be letters A-Z"))?;
            let decisive = decides.letters().all(|letter| DECISIVE.contains(&letter));
            within(decisive, &key, "must be letters that can decide: B D E F G J M N R S U")?;
            for rule in rules.editions.iter_mut().filter(|rule| rule.edition == table.edition) {
                rule.decides = decides;
                rule.probation_decides = table.probation_decides;
                rule.source = BY_CONFIGURATION;
            }
        }
        Ok(())
    }

    fn apply_roles(&self, rules: &mut Rules) -> Result<(), RulesFault> {
        for (index, table) in self.roles.iter().enumerate() {
            let key = format!("rules.roles[{index}]");
            let classes = table.classes.as_deref().map(ClassSet::parse).transpose();
            let classes =
                classes.map_err(|_: ClassesFault| fault(&key, "classes must be printed classes: A1B1"))?;
            let c5 = classes.is_some_and(|classes| classes.contains(VehicleClass::C5));
            within(!c5, &key, "classes must not name C5: it tells the holder's health")?;
            let ages = table.age_min.max(table.age_max);
            within(ages.is_none_or(|years| years <= AGE_MAX), &key, "ages must be 120 at most")?;
            for row in rules.roles.iter_mut().filter(|row| row.rule.role == table.role) {
                row.source = BY_CONFIGURATION;
                let rule = &mut row.rule;
                rule.classes = classes.unwrap_or(rule.classes);
                rule.tenure_months = table.tenure_months.or(rule.tenure_months);
                rule.age_min = table.age_min.or(rule.age_min);
                rule.age_max = table.age_max.or(rule.age_max);
                rule.periods_without_full_points =
                    table.periods_without_full_points.or(rule.periods_without_full_points);
            }
        }
        Ok(())
    }
}

/// Puts a rule in its place by date, or in the place of the one of the same date.
fn put_dated(table: &mut Vec<Dated<AgeCeilings>>, in_force_from: Date, rule: AgeCeilings) {
    table.retain(|row| row.in_force_from != in_force_from);
    table.push(Dated { in_force_from, source: BY_CONFIGURATION, rule });
    table.sort_by_key(|row| row.in_force_from);
}

/// Reads a list of dates.
fn days(texts: &[String], key: &str) -> Result<Vec<Date>, RulesFault> {
    let parsed =
        texts.iter().map(|text| text.parse().map_err(|_| fault(key, "must be dates as in 2026-10-01")));
    parsed.collect()
}

fn within(fits: bool, key: &str, rule: &'static str) -> Result<(), RulesFault> {
    if fits { Ok(()) } else { Err(fault(key, rule)) }
}

fn fault(key: &str, rule: &'static str) -> RulesFault {
    RulesFault { key: key.to_owned(), rule }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn rules(text: &str) -> Result<Rules, RulesFault> {
        toml::from_str::<RulesTable>(text).unwrap().over_defaults()
    }

    #[test]
    fn an_empty_table_changes_nothing() {
        assert_eq!(rules(""), Ok(Rules::default()));
    }

    #[test]
    fn every_key_overrides() {
        let rules = rules(
            r#"
            subject_age_min = 16
            reliance_days_max = 7
            consent_days_max = { rental = 180 }
            [[age_ceilings]]
            in_force_from = "2027-01-01"
            years = { A1 = 65 }
            [[editions]]
            edition = "commercial-2020"
            decides = "DEFGRUB"
            probation_decides = true
            [[roles]]
            role = "city-bus"
            classes = "A1A3"
            age_max = 63
            [working_days]
            off = ["2026-10-01", "2026-10-02"]
            worked = ["2026-10-03"]
            "#,
        )
        .unwrap();
        assert_eq!(rules.working_days.due(date(2026, 9, 30), 1), date(2026, 10, 3));
        assert_eq!((rules.subject_age_min, rules.reliance_days_max), (16, 7));
        assert_eq!(rules.consent_days_max(Purpose::Rental), 180);
        let a1 = |day| rules.age_ceilings_on(day).ceiling(VehicleClass::A1);
        assert_eq!((a1(date(2026, 12, 31)), a1(date(2027, 1, 1))), (Some(63), Some(65)));
        assert_eq!(rules.age_ceilings_on(date(2027, 1, 1)).ceiling(VehicleClass::C6), Some(70));
        assert!(rules.edition(CoverageEdition::Commercial2020).unwrap().probation_decides);
        let bus = rules.role_on(Role::CityBus, date(2026, 1, 1)).unwrap();
        assert_eq!((bus.classes.to_string().as_str(), bus.age_max), ("A1A3", Some(63)));
    }

    #[test]
    fn an_edition_names_only_letters_that_can_decide() {
        let decides = |letters: &str| {
            rules(&format!(
                "[[editions]]\nedition = \"compulsory\"\ndecides = \"{letters}\"\nprobation_decides = false"
            ))
        };
        assert!(decides("BDEFGJMNRSU").is_ok());
        for letter in "ACHIKLPTZ".chars() {
            assert_eq!(
                decides(&letter.to_string()).unwrap_err().key,
                "rules.editions[0].decides",
                "{letter}"
            );
        }
    }

    #[test]
    fn age_ceilings_build_on_each_other_by_date_however_they_are_written() {
        let later = "[[age_ceilings]]\nin_force_from = \"2029-01-01\"\nyears = { A2 = 66 }\n";
        let earlier = "[[age_ceilings]]\nin_force_from = \"2027-01-01\"\nyears = { A1 = 65 }\n";
        let written = rules(&format!("{later}{earlier}")).unwrap();
        assert_eq!(written, rules(&format!("{earlier}{later}")).unwrap());
        let ceilings = written.age_ceilings_on(date(2029, 1, 1));
        assert_eq!(
            (ceilings.ceiling(VehicleClass::A1), ceilings.ceiling(VehicleClass::A2)),
            (Some(65), Some(66))
        );
    }

    #[test]
    fn faults_name_the_key() {
        for (text, key) in [
            ("subject_age_min = 3", "rules.subject_age_min"),
            ("reliance_days_max = 0", "rules.reliance_days_max"),
            ("consent_days_max = { renting = 3 }", "rules.consent_days_max.renting"),
            ("consent_days_max = { enforcement = 3 }", "rules.consent_days_max.enforcement"),
            ("consent_days_max = { rental = 0 }", "rules.consent_days_max.rental"),
            ("[working_days]\noff = [\"2026-02-30\"]", "rules.working_days.off"),
            ("[working_days]\nworked = [\"soon\"]", "rules.working_days.worked"),
            ("[[age_ceilings]]\nin_force_from = \"soon\"\nyears = {}", "rules.age_ceilings[0]"),
            (
                "[[age_ceilings]]\nin_force_from = \"2027-01-01\"\nyears = { A9 = 60 }",
                "rules.age_ceilings[0]",
            ),
            (
                "[[editions]]\nedition = \"compulsory\"\ndecides = \"Z\"\nprobation_decides = false",
                "rules.editions[0].decides",
            ),
            ("[[roles]]\nrole = \"goods\"\nclasses = \"B9\"", "rules.roles[0]"),
            ("[[roles]]\nrole = \"goods\"\nclasses = \"B2C5\"", "rules.roles[0]"),
            ("[[roles]]\nrole = \"goods\"\nage_max = 255", "rules.roles[0]"),
            ("[[roles]]\nrole = \"goods\"\nage_min = 121", "rules.roles[0]"),
        ] {
            assert_eq!(rules(text).unwrap_err().key, key, "{text}");
        }
        assert!(
            toml::from_str::<RulesTable>("subject_age = 3").unwrap_err().to_string().contains("subject_age")
        );
    }
}
