//! Probation (实习期) at a moment, and what it forbids (Order 162 arts. 76-77).

use jiff::civil::Date;

use super::outcome::{Criterion, CriterionKind, Reason};
use crate::domain::disclosure::{Probation, ProbationKind};
use crate::domain::licence::{ClassHolding, ClassSet, MotorType, Qualification};
use crate::domain::rules::Rules;
use crate::domain::time::months_after;
use crate::domain::vehicle::{Requirement, Vehicle, VehicleUse};

/// Returns the probation in which the vehicle would be driven on a day: `None` if any class that permits it is past
/// its probation, for in an added-class probation the older classes are unrestricted.
pub(super) fn probation_with(
    held: &Qualification,
    rules: &Rules,
    day: Date,
    required: Requirement,
) -> Option<Probation> {
    let asked = required.suffices.union(required.might_suffice);
    let relied_on =
        |holding: &&ClassHolding| !ClassSet::of(&[holding.class]).closure().intersection(asked).is_empty();
    let mut found = None;
    for holding in held.classes.iter().filter(relied_on) {
        let probation = probation_of(holding, held, rules).filter(|probation| day <= probation.last_day)?;
        found = Some(probation);
    }
    found
}

/// Returns the probation a class stands in: that of the first class of its group while it lasts, else its own.
fn probation_of(holding: &ClassHolding, held: &Qualification, rules: &Rules) -> Option<Probation> {
    let first = match holding.class.motor_type() {
        MotorType::Car => held.first_car_class,
        MotorType::Motorcycle => held.first_motorcycle_class,
        MotorType::Other => None,
    };
    let own = begun(ProbationKind::AddedClass, holding.since, rules, first != Some(holding.since));
    let of_group = first.and_then(|first| begun(ProbationKind::FirstLicence, first, rules, false));
    [of_group, own].into_iter().flatten().max_by_key(|probation| probation.last_day)
}

/// The probation that began on a day, under the rule of that day.
fn begun(kind: ProbationKind, first_day: Date, rules: &Rules, added: bool) -> Option<Probation> {
    let rule = rules.probation_on(first_day)?;
    if kind == ProbationKind::AddedClass && !(added && rule.each_added_class) {
        return None;
    }
    let last_day = months_after(first_day, i32::from(rule.months)).yesterday().ok()?;
    Some(Probation { kind, last_day })
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
pub(super) fn criterion(probation: Option<Probation>, forbidden: Option<bool>) -> Criterion {
    match (probation, forbidden) {
        (None, _) | (Some(_), Some(false)) => Criterion::met(CriterionKind::Probation),
        (Some(_), Some(true)) => Criterion::not_met(CriterionKind::Probation, Reason::Probation),
        (Some(_), None) => Criterion::unknown(CriterionKind::Probation, Reason::VehicleUnclear),
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
        probation_with(held, &Rules::default(), day, Requirement::any_of(&[class]))
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
