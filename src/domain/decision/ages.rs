//! Which classes are in force at an age (Order 162 art. 65): the ban bites on the birthday.

use jiff::civil::Date;

use crate::domain::licence::{ClassHolding, ClassSet, Qualification, VehicleClass};
use crate::domain::rules::{AgeCeilings, Rules};
use crate::domain::time::{civil_day, has_reached};

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
    for holding in &held.classes {
        for class in ClassSet::of(&[holding.class]).closure().without(left.surely).iter() {
            match has_ended(held, rules, day, holding, class) {
                Some(false) => left.surely = left.surely.with(class),
                None => left.perhaps = left.perhaps.with(class),
                Some(true) => {}
            }
        }
    }
    left.perhaps = left.perhaps.without(left.surely);
    left
}

/// Says whether age has ended a class that is held: the licence has to be exchanged for what is left.
pub(super) fn has_ended_a_class(held: &Qualification, rules: &Rules, day: Date) -> bool {
    held.classes.iter().any(|holding| has_ended(held, rules, day, holding, holding.class) == Some(true))
}

/// Says whether age has cancelled the whole licence. `None`: it depends on a birth date that is not recorded.
pub(super) fn is_cancelled_by_age(held: &Qualification, rules: &Rules, day: Date) -> Option<bool> {
    if held.classes.is_empty()
        || held.classes.iter().any(|holding| !CANCELLED_WHEN_ALONE.contains(holding.class))
    {
        return Some(false);
    }
    let mut all_ended = Some(true);
    for holding in &held.classes {
        match has_ended(held, rules, day, holding, holding.class) {
            Some(false) => return Some(false),
            None => all_ended = None,
            Some(true) => {}
        }
    }
    all_ended
}

/// Says whether age has ended a class, itself held or covered by the class held, by a day. `None`: a ceiling exists, and the
/// birth date is not recorded.
fn has_ended(
    held: &Qualification,
    rules: &Rules,
    day: Date,
    holding: &ClassHolding,
    class: VehicleClass,
) -> Option<bool> {
    let announced = held.lost_by_age.contains(holding.class);
    if announced && falls_with(&rules.age_ceilings_on(day), class, holding.class) {
        return Some(true);
    }
    let Some(born) = held.birth_day else {
        return if rules.age_ceilings_on(day).ceiling(class).is_some() { None } else { Some(false) };
    };
    let extended = extended(held, class);
    // What a rule of its time has ended, no later rule with a higher ceiling gives back; the class has to be obtained anew.
    // A snapshot says what was held on its day: what rules of before took, it leaves out itself.
    let since = held.history_from.map_or(holding.since, |from| holding.since.max(civil_day(from)));
    let ended = rules.ages_in_force(since, day).any(|(until, ceilings)| {
        let ceiling =
            ceilings.ceiling(class).map(|years| extended.map_or(years, |extended| extended.max(years)));
        ceiling.is_some_and(|years| has_reached(born, years, until))
    });
    Some(ended)
}

/// Says whether a class goes with one that was announced void: that one itself, and what it covers up to the same age.
fn falls_with(ceilings: &AgeCeilings, class: VehicleClass, lost: VehicleClass) -> bool {
    let lasts_no_longer = match (ceilings.ceiling(class), ceilings.ceiling(lost)) {
        (Some(years), Some(lost_at)) => years <= lost_at,
        _ => false,
    };
    class == lost || lasts_no_longer
}

/// The age to which the authority extended a class for this holder. What extends a class extends what is driven with it.
fn extended(held: &Qualification, class: VehicleClass) -> Option<u8> {
    let of_class = held.age_extensions.iter().filter(|(extended, _)| extended.covers(class));
    of_class.map(|(_, years)| *years).max()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::time::start_of;

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
            // Who turned 60 before 2025 never reached the 63 of the rule that came then.
            for (years, turning) in [(before, date(2024, 6, 15)), (since_2025, date(2029, 6, 15))] {
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
    fn a_class_lost_at_60_before_2025_does_not_revive_under_the_63_of_later() {
        let class = VehicleClass::A1;
        let turned_60 = |turned: Date| holder("A1", turned.saturating_sub(jiff::Span::new().years(60)));
        let drives = |held: &Qualification, day| surely(held, day).contains(class);
        let lost = turned_60(date(2024, 12, 31));
        assert!(drives(&lost, date(2024, 12, 30)));
        for day in [date(2024, 12, 31), date(2025, 1, 1), date(2026, 11, 22), date(2028, 1, 1)] {
            assert!(!drives(&lost, day), "{day}");
            assert!(surely(&lost, day).contains(VehicleClass::C1), "{day}");
        }
        let kept = turned_60(date(2025, 1, 1));
        assert!(drives(&kept, date(2025, 1, 1)) && drives(&kept, date(2027, 12, 31)));
        assert!(!drives(&kept, date(2028, 1, 1)));
        let machines = turned_60(date(2024, 12, 31));
        let machines = Qualification { classes: holder("M", date(1970, 1, 1)).classes, ..machines };
        assert_eq!(is_cancelled_by_age(&machines, &Rules::default(), date(2026, 1, 1)), Some(true));
    }

    #[test]
    fn a_class_obtained_anew_after_it_was_lost_is_held_to_the_later_ceiling() {
        let mut held = holder("A1", date(1964, 6, 15));
        let snapshot = Qualification { history_from: Some(start_of(date(2026, 1, 1))), ..held.clone() };
        assert!(
            surely(&snapshot, date(2026, 6, 15)).contains(VehicleClass::A1),
            "a snapshot of 2026 says so"
        );
        assert!(!surely(&snapshot, date(2027, 6, 15)).contains(VehicleClass::A1), "63");
        held.classes[0].since = date(2025, 3, 1);
        assert!(surely(&held, date(2025, 3, 1)).contains(VehicleClass::A1));
        assert!(!surely(&held, date(2027, 6, 15)).contains(VehicleClass::A1), "63");
    }

    #[test]
    fn what_was_announced_void_takes_with_it_what_ends_at_the_same_age() {
        let lost = |classes, born| Qualification {
            lost_by_age: ClassSet::of(&[VehicleClass::A1]),
            ..holder(classes, born)
        };
        let day = date(2026, 6, 15);
        assert_eq!(surely(&lost("A1", date(1966, 1, 1)), day).to_string(), "C1C2C3C4");
        assert_eq!(surely(&lost("A1B1", date(1966, 1, 1)), day).to_string(), "B1C1C2C3C4M");
        let unknown = Qualification { birth_day: None, ..lost("A1", date(1966, 1, 1)) };
        assert!(!classes_in_force(&unknown, &Rules::default(), day).at_most().contains(VehicleClass::A1));
        assert!(has_ended_a_class(&unknown, &Rules::default(), day));
        assert!(!has_ended_a_class(&holder("A1", date(1966, 1, 1)), &Rules::default(), day));
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
