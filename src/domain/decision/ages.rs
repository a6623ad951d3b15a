//! Which classes are in force at an age (Order 162 art. 65): the ban bites on the birthday.

use jiff::civil::Date;

use crate::domain::licence::{ClassSet, Qualification, VehicleClass};
use crate::domain::rules::{AgeCeilings, Rules};
use crate::domain::time::birthday;

/// Classes whose loss by age takes the whole licence with it when nothing else is held (Order 162 art. 79(10)).
const CANCELLED_WHEN_ALONE: ClassSet =
    ClassSet::of(&[VehicleClass::M, VehicleClass::N, VehicleClass::P, VehicleClass::C3, VehicleClass::C4]);

/// The classes the age leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InForce {
    /// May be driven.
    pub(super) surely: ClassSet,
    /// May be driven, or has ended: there is a ceiling, and the record does not say how old the holder is.
    pub(super) perhaps: ClassSet,
}

impl InForce {
    /// Every class not known to have ended.
    pub(super) const fn at_most(self) -> ClassSet {
        self.surely.union(self.perhaps)
    }
}

/// Returns every class a holder may drive on a day: what the classes held cover, less what the age forbids.
/// The lower classes outlive the class that covers them: who loses A1 at 63 still drives what needs C1.
pub(super) fn classes_in_force(held: &Qualification, rules: &Rules, day: Date) -> InForce {
    let mut left = InForce { surely: ClassSet::EMPTY, perhaps: ClassSet::EMPTY };
    let ceilings = rules.age_ceilings_on(day);
    for class in permitted(held).iter() {
        match has_ended(held, &ceilings, day, class) {
            Some(false) => left.surely = left.surely.with(class),
            None => left.perhaps = left.perhaps.with(class),
            Some(true) => {}
        }
    }
    left
}

/// Says whether age has cancelled the whole licence. `None`: it depends on a birth date that is not recorded.
pub(super) fn is_cancelled_by_age(held: &Qualification, rules: &Rules, day: Date) -> Option<bool> {
    if held.classes.is_empty()
        || held.classes.iter().any(|holding| !CANCELLED_WHEN_ALONE.contains(holding.class))
    {
        return Some(false);
    }
    let ceilings = rules.age_ceilings_on(day);
    let mut all_ended = Some(true);
    for holding in &held.classes {
        match has_ended(held, &ceilings, day, holding.class) {
            Some(false) => return Some(false),
            None => all_ended = None,
            Some(true) => {}
        }
    }
    all_ended
}

fn permitted(held: &Qualification) -> ClassSet {
    held.classes.iter().map(|holding| holding.class).collect::<ClassSet>().closure()
}

/// Says whether age has ended a class. `None`: a ceiling exists, and the birth date is not recorded.
fn has_ended(held: &Qualification, ceilings: &AgeCeilings, day: Date, class: VehicleClass) -> Option<bool> {
    let Some(years) = ceiling(held, ceilings, class) else { return Some(false) };
    held.birth_day.map(|born| birthday(born, years) <= day)
}

/// The ceiling of a class for this holder: the rule's, or a later one to which it was extended. What extends a class
/// extends what is driven with it.
fn ceiling(held: &Qualification, ceilings: &AgeCeilings, class: VehicleClass) -> Option<u8> {
    let general = ceilings.ceiling(class)?;
    let extended = held
        .age_extensions
        .iter()
        .filter(|(extended, _)| extended.covers(class))
        .map(|(_, years)| *years)
        .max();
    Some(extended.map_or(general, |years| years.max(general)))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::licence::ClassHolding;

    fn holder(classes: &str, born: Date) -> Qualification {
        let since = date(2000, 1, 1);
        let classes = ClassSet::parse(classes).unwrap();
        Qualification {
            birth_day: Some(born),
            classes: classes.iter().map(|class| ClassHolding { class, since }).collect(),
            ..Qualification::default()
        }
    }

    fn surely(held: &Qualification, day: Date) -> ClassSet {
        let left = classes_in_force(held, &Rules::default(), day);
        assert_eq!(left.perhaps, ClassSet::EMPTY);
        left.surely
    }

    /// The table of `docs/domain.md` §3: class, ceiling before and from 2025; 0: none.
    const CEILINGS: [(&str, u8, u8); 17] = [
        ("A1", 60, 63),
        ("A2", 60, 63),
        ("A3", 60, 63),
        ("B1", 60, 63),
        ("B2", 60, 63),
        ("C1", 0, 0),
        ("C2", 0, 0),
        ("C3", 70, 70),
        ("C4", 70, 70),
        ("C5", 0, 0),
        ("C6", 70, 70),
        ("D", 70, 70),
        ("E", 70, 70),
        ("F", 0, 0),
        ("M", 60, 63),
        ("N", 60, 63),
        ("P", 60, 63),
    ];

    #[test]
    fn every_ceiling_bites_on_the_birthday_itself() {
        for (printed, before, since_2025) in CEILINGS {
            let class: VehicleClass = printed.parse().unwrap();
            for (years, turning) in [(before, date(2024, 6, 15)), (since_2025, date(2026, 6, 15))] {
                let born = turning.saturating_sub(jiff::Span::new().years(i64::from(if years == 0 {
                    90
                } else {
                    years
                })));
                let holder = holder(printed, born);
                let on = |day| surely(&holder, day).contains(class);
                assert!(on(turning.yesterday().unwrap()), "{printed} the day before {years}");
                assert_eq!(on(turning), years == 0, "{printed} on the birthday {years}");
            }
        }
    }

    #[test]
    fn lower_classes_outlive_the_one_that_covers_them() {
        let driver = holder("A1", date(1963, 6, 15));
        let left = surely(&driver, date(2026, 6, 15));
        assert_eq!(left.to_string(), "C1C2C3C4");
        let trucker = holder("A2", date(1963, 6, 15));
        let left = surely(&trucker, date(2026, 6, 15));
        assert_eq!(left.to_string(), "C1C2C3C4C6", "A2 holders keep C6 up to 70");
    }

    #[test]
    fn an_extension_extends_what_is_driven_with_the_class() {
        let extended =
            Qualification { age_extensions: vec![(VehicleClass::A1, 66)], ..holder("A1", date(1963, 6, 15)) };
        let left = surely(&extended, date(2029, 6, 14));
        assert!(left.contains(VehicleClass::A1) && left.contains(VehicleClass::B2));
        assert!(!surely(&extended, date(2029, 6, 15)).contains(VehicleClass::A1));
    }

    #[test]
    fn age_cancels_a_licence_of_machines_or_low_speed_trucks_only() {
        let rules = Rules::default();
        let born = date(1956, 6, 15);
        let day = date(2026, 6, 15);
        for (printed, cancelled) in
            [("M", true), ("NP", true), ("C3C4", true), ("C1M", false), ("A1", false), ("D", false)]
        {
            assert_eq!(
                is_cancelled_by_age(&holder(printed, born), &rules, day),
                Some(cancelled),
                "{printed}"
            );
        }
        assert_eq!(is_cancelled_by_age(&holder("M", date(1980, 1, 1)), &rules, day), Some(false));
        assert_eq!(is_cancelled_by_age(&Qualification::default(), &rules, day), Some(false));
    }

    #[test]
    fn without_a_birth_date_a_ceiling_is_neither_reached_nor_not() {
        let unknown = |classes| Qualification { birth_day: None, ..holder(classes, date(1990, 1, 1)) };
        let (rules, day) = (Rules::default(), date(2026, 1, 1));
        let left = classes_in_force(&unknown("A1"), &rules, day);
        assert_eq!(left.surely.to_string(), "C1C2");
        assert_eq!(left.perhaps.to_string(), "A1A3B1B2C3C4M");
        for (classes, cancelled) in [("M", None), ("C3C4", None), ("C1M", Some(false)), ("A1", Some(false))] {
            assert_eq!(is_cancelled_by_age(&unknown(classes), &rules, day), cancelled, "{classes}");
        }
    }
}
