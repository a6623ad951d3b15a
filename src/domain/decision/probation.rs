//! Probation (实习期) at a moment, and what it forbids (Order 162 arts. 76-77).

use jiff::civil::Date;

use super::outcome::{Criterion, CriterionKind, Reason};
use crate::domain::disclosure::{Probation, ProbationKind};
use crate::domain::licence::{ClassHolding, ClassSet, MotorType, Qualification};
use crate::domain::rules::Rules;
use crate::domain::time::{months_after, start_of};
use crate::domain::vehicle::{Requirement, Vehicle, VehicleUse};

/// Whether a vehicle would be driven in probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InProbation {
    /// Past every probation, or never in one.
    No,
    /// In this one.
    Yes(Probation),
    /// In one, unless an earlier class began it that the record, imported without its past, does not tell of.
    Unknown,
}

impl InProbation {
    /// The probation, if it is known to run.
    pub(super) fn known(self) -> Option<Probation> {
        match self {
            Self::Yes(probation) => Some(probation),
            Self::No | Self::Unknown => None,
        }
    }

    /// In probation by either.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes(_), _) | (_, Self::No) => self,
            (Self::No | Self::Unknown, _) => other,
        }
    }
}

/// Returns the probation in which the vehicle would be driven on a day: none if any class that permits it is past its
/// probation, for in an added-class probation the older classes are unrestricted. A class that only might permit the
/// vehicle, were it described better, counts where no class surely does.
pub(super) fn probation_with(
    held: &Qualification,
    rules: &Rules,
    day: Date,
    required: Requirement,
) -> InProbation {
    let permits = |holding: &ClassHolding, asked: ClassSet| {
        !ClassSet::of(&[holding.class]).closure().intersection(asked).is_empty()
    };
    let surely = held.classes.iter().any(|holding| permits(holding, required.suffices));
    let asked = if surely { required.suffices } else { required.might_suffice };
    let mut found = InProbation::No;
    for holding in held.classes.iter().filter(|holding| permits(holding, asked)) {
        match probation_of(holding, held, rules, day) {
            InProbation::No => return InProbation::No,
            InProbation::Unknown => found = InProbation::Unknown,
            probation if found != InProbation::Unknown => found = probation,
            InProbation::Yes(_) => {}
        }
    }
    found
}

/// Returns the probation of the first car-type class, for roles whose class is not held at all.
pub(super) fn of_first_car_class(held: &Qualification, rules: &Rules, day: Date) -> InProbation {
    held.first_car_class.map_or(InProbation::No, |first| of_group(first, held, rules, day))
}

/// Returns the probation a class stands in: that of the first class of its group while it lasts, else its own.
fn probation_of(holding: &ClassHolding, held: &Qualification, rules: &Rules, day: Date) -> InProbation {
    let first = match holding.class.motor_type() {
        MotorType::Car => held.first_car_class,
        MotorType::Motorcycle => held.first_motorcycle_class,
        MotorType::Other => None,
    };
    let of_group = first.map_or(InProbation::No, |first| of_group(first, held, rules, day));
    let added = first != Some(holding.since)
        && rules.probation_on(holding.since).is_some_and(|rule| rule.each_added_class);
    let own = if added { begun(holding.since, held, rules, day) } else { None };
    match (of_group, own) {
        (of_group, None) => of_group,
        (InProbation::Yes(first), Some(own)) if first.last_day > own.last_day => of_group,
        (_, Some(own)) => InProbation::Yes(own),
    }
}

/// The probation of the first class of a group. A record without its past tells the first day of the class held now: if
/// the licence is older, that class may have replaced another.
fn of_group(first: Date, held: &Qualification, rules: &Rules, day: Date) -> InProbation {
    let past_not_held = held.history_from.is_some_and(|from| start_of(first) <= from);
    let replaced = past_not_held && held.first_issue.is_some_and(|issued| issued < first);
    match begun(first, held, rules, day) {
        None => InProbation::No,
        Some(_) if replaced => InProbation::Unknown,
        Some(probation) => InProbation::Yes(probation),
    }
}

/// The probation that began on a day and still runs, under the rule of the day it began. Where every added class begins
/// one, the first class of a group is an added one too for somebody who held something before.
fn begun(first_day: Date, held: &Qualification, rules: &Rules, day: Date) -> Option<Probation> {
    let rule = rules.probation_on(first_day)?;
    let last_day = months_after(first_day, i32::from(rule.months)).yesterday().ok()?;
    let added = rule.each_added_class && held_before(held, first_day);
    let kind = if added { ProbationKind::AddedClass } else { ProbationKind::FirstLicence };
    (day <= last_day).then_some(Probation { kind, last_day })
}

fn held_before(held: &Qualification, day: Date) -> bool {
    [held.first_issue, held.first_car_class, held.first_motorcycle_class]
        .into_iter()
        .flatten()
        .chain(held.classes.iter().map(|holding| holding.since))
        .any(|since| since < day)
}

/// Says whether probation forbids a use: 公共汽车, 营运客车, duty, dangerous goods, towing. `None`: it was not said.
pub(super) fn forbids(vehicle: &Vehicle) -> Option<bool> {
    match (vehicle.used_for.map(is_forbidden_use), vehicle.draws_trailer()) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// Says whether probation forbids a use by itself.
pub(super) const fn is_forbidden_use(used_for: VehicleUse) -> bool {
    match used_for {
        VehicleUse::CommercialPassenger
        | VehicleUse::PublicBus
        | VehicleUse::OnDuty
        | VehicleUse::DangerousGoods => true,
        VehicleUse::Private | VehicleUse::CommercialGoods => false,
    }
}

/// The criterion where what probation forbids decides.
pub(super) fn criterion(probation: InProbation, forbidden: Option<bool>) -> Criterion {
    const KIND: CriterionKind = CriterionKind::Probation;
    match (probation, forbidden) {
        (InProbation::No, _) | (_, Some(false)) => Criterion::met(KIND),
        (InProbation::Yes(_), Some(true)) => Criterion::not_met(KIND, Reason::Probation),
        (InProbation::Unknown, Some(true)) => Criterion::unknown(KIND, Reason::StateUnresolved),
        (_, None) => Criterion::unknown(KIND, Reason::VehicleUnclear),
    }
}

/// The criterion where probation is a fact that does not decide.
pub(super) fn noted(probation: InProbation) -> Criterion {
    match probation {
        InProbation::No => Criterion::met(CriterionKind::Probation),
        InProbation::Yes(_) => Criterion::noted(CriterionKind::Probation, Reason::Probation),
        InProbation::Unknown => Criterion::noted(CriterionKind::Probation, Reason::StateUnresolved),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::licence::VehicleClass;

    fn holder(classes: &[(VehicleClass, Date)], first_car: Option<Date>) -> Qualification {
        Qualification {
            classes: classes.iter().map(|&(class, since)| ClassHolding { class, since }).collect(),
            first_car_class: first_car,
            ..Qualification::default()
        }
    }

    fn with(held: &Qualification, day: Date, class: VehicleClass) -> Option<Probation> {
        let found = probation_with(held, &Rules::default(), day, Requirement::any_of(&[class]));
        assert_ne!(found, InProbation::Unknown);
        found.known()
    }

    #[test]
    fn twelve_months_after_the_first_class() {
        let first = date(2025, 6, 15);
        let held = holder(&[(VehicleClass::C1, first)], Some(first));
        let expected = Some(Probation { kind: ProbationKind::FirstLicence, last_day: date(2026, 6, 14) });
        assert_eq!(with(&held, date(2026, 6, 14), VehicleClass::C1), expected);
        assert_eq!(with(&held, date(2026, 6, 15), VehicleClass::C1), None);
        assert_eq!(with(&held, date(2026, 6, 14), VehicleClass::E), None, "not driven with the class");
    }

    #[test]
    fn added_classes_only_before_april_2022() {
        let first = date(2012, 1, 1);
        for (added, expected) in [
            (
                date(2022, 3, 31),
                Some(Probation { kind: ProbationKind::AddedClass, last_day: date(2023, 3, 30) }),
            ),
            (date(2022, 4, 1), None),
        ] {
            let held = holder(&[(VehicleClass::C1, first), (VehicleClass::A1, added)], Some(first));
            assert_eq!(with(&held, date(2022, 6, 15), VehicleClass::A1), expected, "{added}");
            assert_eq!(
                with(&held, date(2022, 6, 15), VehicleClass::C1),
                None,
                "older classes are unrestricted"
            );
        }
    }

    #[test]
    fn a_class_that_replaced_another_does_not_begin_anew() {
        let held = holder(&[(VehicleClass::B2, date(2026, 1, 1))], Some(date(2014, 1, 1)));
        assert_eq!(with(&held, date(2026, 6, 15), VehicleClass::B2), None);
    }

    #[test]
    fn a_class_added_within_the_first_probation_shares_it() {
        let (first, added) = (date(2025, 6, 15), date(2026, 1, 1));
        let held = holder(&[(VehicleClass::C1, first), (VehicleClass::C5, added)], Some(first));
        let found = with(&held, date(2026, 2, 1), VehicleClass::C5).unwrap();
        assert_eq!(found.last_day, date(2026, 6, 14));
    }

    #[test]
    fn a_snapshot_of_an_upgraded_driver_does_not_tell_whether_a_probation_runs() {
        let (issued, upgraded, imported) = (date(2014, 1, 1), date(2026, 1, 1), date(2026, 3, 1));
        let snapshot = Qualification {
            first_issue: Some(issued),
            history_from: Some(start_of(imported)),
            ..holder(&[(VehicleClass::B2, upgraded)], Some(upgraded))
        };
        let ask = |held: &Qualification, day| {
            probation_with(held, &Rules::default(), day, Requirement::any_of(&[VehicleClass::B2]))
        };
        assert_eq!(ask(&snapshot, date(2026, 6, 15)), InProbation::Unknown);
        assert_eq!(ask(&snapshot, date(2027, 6, 15)), InProbation::No, "over in either case");
        let first = Qualification { first_issue: Some(upgraded), ..snapshot.clone() };
        assert!(ask(&first, date(2026, 6, 15)).known().is_some());
        let whole = Qualification { history_from: None, ..snapshot };
        assert!(ask(&whole, date(2026, 6, 15)).known().is_some());
    }

    #[test]
    fn before_april_2022_a_first_car_class_was_added_to_a_motorcycle_licence() {
        let (rider, driver) = (date(2010, 1, 1), date(2021, 6, 15));
        let held = Qualification {
            first_motorcycle_class: Some(rider),
            ..holder(&[(VehicleClass::D, rider), (VehicleClass::C1, driver)], Some(driver))
        };
        let kind = |held| with(held, date(2021, 7, 1), VehicleClass::C1).unwrap().kind;
        assert_eq!(kind(&held), ProbationKind::AddedClass);
        let alone = holder(&[(VehicleClass::C1, driver)], Some(driver));
        assert_eq!(kind(&alone), ProbationKind::FirstLicence);
    }

    #[test]
    fn a_class_that_only_might_permit_the_vehicle_hides_no_probation() {
        let (old, new) = (date(2010, 1, 1), date(2025, 12, 1));
        let held = Qualification {
            first_motorcycle_class: Some(old),
            ..holder(&[(VehicleClass::D, old), (VehicleClass::C1, new)], Some(new))
        };
        let required = Requirement {
            might_suffice: ClassSet::of(&[VehicleClass::D]),
            ..Requirement::any_of(&[VehicleClass::C1])
        };
        let found = probation_with(&held, &Rules::default(), date(2026, 6, 15), required);
        assert_eq!(found.known().map(|probation| probation.last_day), Some(date(2026, 11, 30)));
    }

    #[test]
    fn what_probation_forbids() {
        let car = Vehicle::of_class(VehicleClass::C1);
        for used_for in VehicleUse::ALL.iter().copied() {
            let expected = !matches!(used_for, VehicleUse::Private | VehicleUse::CommercialGoods);
            assert_eq!(forbids(&Vehicle { used_for: Some(used_for), ..car.clone() }), Some(expected));
        }
        assert_eq!(forbids(&car), None);
        let towing = Vehicle { combination_mass_kg: Some(4000), used_for: Some(VehicleUse::Private), ..car };
        assert_eq!(forbids(&towing), Some(true));
    }
}
