//! The rules as tables: each with the day it came into force and where it comes from. No date stands alone.
//!
//! What `docs/domain.md` marks *unverified* can be overridden in the configuration (`config::rules`); the defaults are here.

use jiff::civil::{Date, date};

use super::decision::NotCovered;
use super::elicence::WorkingDays;
use super::licence::{ClassSet, Endorsement, StateLetter, StateSet, VehicleClass};
use super::question::{CoverageEdition, Purpose, Role};
use super::vehicle::VehicleUse;

/// A rule and the day it came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated<T> {
    /// First day in force. [`Date::MIN`]: nothing older is held, so it stands for all that came before.
    pub in_force_from: Date,
    /// Where it comes from.
    pub source: &'static str,
    /// The rule.
    pub rule: T,
}

/// Returns the rule in force on a day. Tables are ordered by date and begin at [`Date::MIN`].
fn in_force<T>(table: &[Dated<T>], day: Date) -> Option<&T> {
    table.iter().rev().find(|row| row.in_force_from <= day).map(|row| &row.rule)
}

/// All rules a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Ages at which classes end.
    pub age_ceilings: Vec<Dated<AgeCeilings>>,
    /// What begins a probation, by the day a class was obtained.
    pub probation: Vec<Dated<ProbationRule>>,
    /// What the editions of cover name.
    pub editions: Vec<EditionRule>,
    /// What the roles demand.
    pub roles: Vec<Dated<RoleRule>>,
    /// How long a consent may run, by purpose.
    pub consent_days_max: Vec<(Purpose, u16)>,
    /// The closed sets thresholds come from (`docs/policy.md` §4).
    pub thresholds: Thresholds,
    /// Nobody younger is asked about (`docs/policy.md` §5).
    pub subject_age_min: u8,
    /// Which days are worked: when a review of an e-licence is due. It decides nothing.
    pub working_days: WorkingDays,
    /// Days ahead at most of `reliance_until`: an end further off is nobody's business, for it could tell a birthday.
    pub reliance_days_max: u16,
}

/// The closed sets thresholds come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Tenures in months.
    pub tenure_months: Vec<u16>,
    /// Margins of validity beyond a return, in days.
    pub margin_days: Vec<u16>,
}

/// The age at which the ban on a class bites, on the birthday itself (Order 162 arts. 65, 110).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgeCeilings {
    by_class: [Option<u8>; VehicleClass::ALL.len() + 1],
}

impl AgeCeilings {
    /// Builds a table from groups of classes; classes not named have no ceiling.
    pub fn of(groups: &[(ClassSet, u8)]) -> Self {
        let mut table = Self::default();
        for (classes, years) in groups {
            classes.iter().for_each(|class| table.set(class, Some(*years)));
        }
        table
    }

    /// Sets the ceiling of one class.
    pub fn set(&mut self, class: VehicleClass, years: Option<u8>) {
        self.by_class[usize::from(class.code())] = years;
    }

    /// Returns the ceiling of a class in whole years.
    pub fn ceiling(&self, class: VehicleClass) -> Option<u8> {
        self.by_class[usize::from(class.code())]
    }
}

/// What begins a probation (实习期).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbationRule {
    /// How long it lasts.
    pub months: u8,
    /// Whether every added class begins one, or only the first car-type and the first motorcycle-type class.
    pub each_added_class: bool,
}

/// What an edition of cover names: only its grounds decide a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditionRule {
    /// The edition.
    pub edition: CoverageEdition,
    /// States that decide against the driver. Those of [`CLAIM_NOTED`] not named here are noted.
    pub decides: StateSet,
    /// Whether what probation forbids decides; else probation is noted.
    pub probation_decides: bool,
    /// Where it comes from.
    pub source: &'static str,
}

/// What a role demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// The role.
    pub role: Role,
    /// Any one of these classes, or one that covers it; empty: the question names the class.
    pub classes: ClassSet,
    /// Months since first issue.
    pub tenure_months: Option<u16>,
    /// Least age in whole years (以上: the birthday counts).
    pub age_min: Option<u8>,
    /// Greatest age in whole years (不超过: not above, so it ends with the next birthday).
    pub age_max: Option<u8>,
    /// Recent points periods that must be free of a 12-point record.
    pub periods_without_full_points: Option<u8>,
    /// The endorsement demanded.
    pub endorsement: Option<Endorsement>,
    /// What the vehicle is used for: decides what probation forbids.
    pub used_for: Option<VehicleUse>,
    /// Whether a trailer is drawn.
    pub draws_trailer: bool,
    /// What the role's law asks that no licence registry knows.
    pub not_covered: &'static [NotCovered],
}

/// States an insurance claim notes unless the edition names them (`docs/policy.md` §2).
pub const CLAIM_NOTED: &[StateLetter] = &[
    StateLetter::PointsFull,
    StateLetter::Stopped,
    StateLetter::RenewalOverdue,
    StateLetter::RenewalDeferred,
    StateLetter::MedicalDeferred,
    StateLetter::ReviewOverdue,
    StateLetter::ReviewDeferred,
];

/// Letters a coverage edition names by default: 暂扣 撤销 吊销 注销 注销可恢复 扣留.
const EDITION_DECIDES: &[StateLetter] = &[
    StateLetter::Suspended,
    StateLetter::Annulled,
    StateLetter::Revoked,
    StateLetter::Cancelled,
    StateLetter::CancelledRestorable,
    StateLetter::Detained,
];

impl Default for Rules {
    fn default() -> Self {
        Self {
            age_ceilings: age_ceilings(),
            probation: probation(),
            editions: editions(),
            roles: roles(),
            // *Unverified*: no law fixes a number of days; PIPL art. 19 asks for the shortest time the purpose needs.
            consent_days_max: vec![
                (Purpose::InsuranceClaim, 366),
                (Purpose::InsurancePurchase, 90),
                (Purpose::Rental, 366),
                (Purpose::Recruitment, 90),
                (Purpose::Transport, 366),
            ],
            thresholds: Thresholds { tenure_months: vec![6, 12, 24, 36], margin_days: vec![0, 30, 60] },
            subject_age_min: 18,
            working_days: WorkingDays::default(),
            reliance_days_max: 30,
        }
    }
}

/// Order 162 art. 65, and Order 172 from 2025 (its 63 is from the consultation draft: *unverified*).
fn age_ceilings() -> Vec<Dated<AgeCeilings>> {
    use VehicleClass::{A1, A2, A3, B1, B2, C3, C4, C6, D, E, M, N, P};
    let until_60_or_63 = ClassSet::of(&[A1, A2, A3, B1, B2, M, N, P]);
    let until_70 = ClassSet::of(&[C3, C4, C6, D, E]);
    vec![
        Dated {
            in_force_from: Date::MIN,
            source: "Order 162 art. 65 and its predecessors",
            rule: AgeCeilings::of(&[(until_60_or_63, 60), (until_70, 70)]),
        },
        Dated {
            in_force_from: date(2025, 1, 1),
            source: "Order 172 (draft wording)",
            rule: AgeCeilings::of(&[(until_60_or_63, 63), (until_70, 70)]),
        },
    ]
}

/// Order 162 art. 76 from 1 April 2022; Orders 123 and 139 before.
fn probation() -> Vec<Dated<ProbationRule>> {
    vec![
        Dated {
            in_force_from: Date::MIN,
            source: "Orders 123 and 139",
            rule: ProbationRule { months: 12, each_added_class: true },
        },
        Dated {
            in_force_from: date(2022, 4, 1),
            source: "Order 162 art. 76",
            rule: ProbationRule { months: 12, each_added_class: false },
        },
    ]
}

/// What the editions name (`docs/domain.md` §6; the list of the 2020 edition is *unverified*).
fn editions() -> Vec<EditionRule> {
    let decides = EDITION_DECIDES.iter().copied().collect();
    let named =
        |edition, probation_decides, source| EditionRule { edition, decides, probation_decides, source };
    vec![
        named(
            CoverageEdition::Compulsory,
            false,
            "交强险条例 art. 22: 未取得驾驶资格 (*unverified* for 暂扣, 扣留)",
        ),
        named(CoverageEdition::Commercial2014, true, "综合商业保险示范条款 2014 art. 8(2)"),
        named(CoverageEdition::Commercial2020, false, "综合商业保险示范条款 2020 (*unverified*)"),
    ]
}

const CRIME_AND_CERTIFICATE: &[NotCovered] =
    &[NotCovered::CriminalDrinkDrugRecord, NotCovered::OccupationalCertificate];
const CERTIFICATE: &[NotCovered] = &[NotCovered::OccupationalCertificate];
const CRIME: &[NotCovered] = &[NotCovered::CriminalDrinkDrugRecord];

/// What the roles demand (`docs/domain.md` §5).
fn roles() -> Vec<Dated<RoleRule>> {
    use VehicleClass::{A1, A2, A3, B1, B2, C1, C2};
    let since = |in_force_from, source, rule| Dated { in_force_from, source, rule };
    let driver = RoleRule {
        role: Role::Driver,
        classes: ClassSet::EMPTY,
        tenure_months: None,
        age_min: None,
        age_max: None,
        periods_without_full_points: None,
        endorsement: None,
        used_for: None,
        draws_trailer: false,
        not_covered: &[NotCovered::LicenceLostOrDamaged],
    };
    let road_transport = RoleRule { age_max: Some(60), not_covered: CERTIFICATE, ..driver };
    vec![
        since(Date::MIN, "no rule of its own", driver),
        since(
            date(2016, 11, 1),
            "网约车办法 art. 14",
            RoleRule {
                role: Role::RideHailing,
                classes: ClassSet::of(&[C1, C2]),
                tenure_months: Some(36),
                periods_without_full_points: Some(3),
                used_for: Some(VehicleUse::CommercialPassenger),
                not_covered: CRIME_AND_CERTIFICATE,
                ..driver
            },
        ),
        since(
            date(2023, 7, 20),
            "道路运输条例 (2023) art. 22; class by annex 1",
            RoleRule {
                role: Role::Goods,
                classes: ClassSet::of(&[B2]),
                used_for: Some(VehicleUse::CommercialGoods),
                ..road_transport
            },
        ),
        since(
            date(2023, 7, 20),
            "道路运输条例 (2023) art. 22; class by annex 1",
            RoleRule {
                role: Role::HeavyGoods,
                classes: ClassSet::of(&[A2]),
                used_for: Some(VehicleUse::CommercialGoods),
                draws_trailer: true,
                ..road_transport
            },
        ),
        since(
            date(2023, 7, 20),
            "道路运输条例 (2023) art. 9; 从业人员管理规定 art. 9",
            RoleRule {
                role: Role::Coach,
                classes: ClassSet::of(&[A1]),
                tenure_months: Some(12),
                used_for: Some(VehicleUse::CommercialPassenger),
                ..road_transport
            },
        ),
        since(
            date(2023, 7, 20),
            "as passenger transport (*unverified* for city buses)",
            RoleRule {
                role: Role::CityBus,
                classes: ClassSet::of(&[A3]),
                used_for: Some(VehicleUse::PublicBus),
                ..road_transport
            },
        ),
        since(
            date(2022, 4, 1),
            "Order 162 art. 87 (its classes *unverified*)",
            RoleRule {
                role: Role::SchoolBus,
                classes: ClassSet::of(&[A1, B1]),
                tenure_months: Some(36),
                age_min: Some(25),
                age_max: Some(60),
                periods_without_full_points: Some(3),
                endorsement: Some(Endorsement::SchoolBus),
                used_for: Some(VehicleUse::CommercialPassenger),
                not_covered: CRIME,
                ..driver
            },
        ),
    ]
}

impl Rules {
    /// Returns the ceilings in force on a day.
    pub fn age_ceilings_on(&self, day: Date) -> AgeCeilings {
        in_force(&self.age_ceilings, day).copied().unwrap_or_default()
    }

    /// Returns every table of ceilings that was in force between two days, each with the last of these days it was.
    pub fn ages_in_force(&self, since: Date, day: Date) -> impl Iterator<Item = (Date, &AgeCeilings)> {
        self.age_ceilings.iter().enumerate().filter_map(move |(index, row)| {
            let next = self.age_ceilings.get(index + 1).map(|next| next.in_force_from);
            let until = next.and_then(|next| next.yesterday().ok()).map_or(day, |last| last.min(day));
            (row.in_force_from <= until && until >= since).then_some((until, &row.rule))
        })
    }

    /// Returns what begins a probation for a class obtained on a day.
    pub fn probation_on(&self, day: Date) -> Option<&ProbationRule> {
        in_force(&self.probation, day)
    }

    /// Returns what an edition names. An edition without a rule is decided by every state.
    pub fn edition(&self, edition: CoverageEdition) -> Option<&EditionRule> {
        self.editions.iter().find(|rule| rule.edition == edition)
    }

    /// Returns what a role demands on a day: the rule in force, else the oldest one held.
    pub fn role_on(&self, role: Role, day: Date) -> Option<&RoleRule> {
        let mut of_role = self.roles.iter().filter(|row| row.rule.role == role);
        let first = of_role.next()?;
        let newest = of_role.rfind(|row| row.in_force_from <= day).unwrap_or(first);
        Some(&newest.rule)
    }

    /// Returns how many days a consent may run for a purpose; 0 where consent is no ground.
    pub fn consent_days_max(&self, purpose: Purpose) -> u16 {
        self.consent_days_max.iter().find(|(named, _)| *named == purpose).map_or(0, |(_, days)| *days)
    }
}
