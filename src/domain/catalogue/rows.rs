//! Rows about classes, tenure, validity and numbers: 1 to 10, 30, 32, 34.

use jiff::ToSpan as _;
use jiff::civil::{Date, date};

use super::TestDriver;
use super::asked::{ACCIDENT, Asked, expect, small_car, vehicle};
use super::story::{NORMAL, Story, at_hour, days_after};
use crate::domain::decision::{CriterionKind, Decision, Reason};
use crate::domain::elicence::{Display, Groups, Shown};
use crate::domain::licence::{ChangeKind, ValidityTerm, VehicleClass};
use crate::domain::question::Role;
use crate::domain::time::{end_of, months_after};
use crate::domain::vehicle::{Vehicle, VehicleUse};

use Decision::{NotQualified as No, Qualified as Yes};

/// Builds the rows.
pub(super) fn ordinary(as_of: Date) -> Vec<TestDriver> {
    let mut drivers = experienced(as_of);
    drivers.extend(beginners(as_of));
    drivers.extend(upgraded(as_of));
    drivers.extend(narrow_classes(as_of));
    drivers.extend(expiring(as_of));
    drivers.extend(renumbered(as_of));
    drivers
}

/// Rows 1, 32 and 34: nothing against them. Rows 32 and 34 differ in what happens around the driver.
fn experienced(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let plain = |row, twin, number| Story::about(as_of, row, twin, number).licensed(10, &[VehicleClass::C1]);
    vec![
        plain(1, "", "000000199001010114")
            .situation("正常, C1 for 10 years")
            .expect(asked.qualified(VehicleClass::C1))
            .expect([expect("ride-hailing", asked.recruit_as(Role::RideHailing), Yes)])
            .told(),
        plain(1, "pending", "000000199001010122")
            .situation("违法未处理 and 事故未处理")
            .states(-40, "HI")
            .expect(asked.qualified(VehicleClass::C1))
            .expect([expect("transport pending", asked.transport(VehicleClass::C1), Yes)
                .noted(CriterionKind::Pending, Reason::Pending)])
            .told(),
        plain(32, "", "000000199001013219")
            .situation("consent withdrawn; the licence is in order")
            .expect(asked.qualified(VehicleClass::C1))
            .told(),
        plain(34, "", "000000199001013411")
            .situation("for faults around an ordinary driver")
            .unseen()
            .expect(asked.qualified(VehicleClass::C1))
            .told(),
    ]
}

/// Row 2: in probation after the first licence.
fn beginners(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let first = months_after(as_of, -5);
    let beginner = Story::about(as_of, 2, "", "000000199001010210")
        .situation("first licence 5 months ago")
        .licensed_on(first, date(1990, 1, 1), &[VehicleClass::C1]);
    vec![
        beginner
            .expect([
                expect("claim", asked.claim(ACCIDENT), Yes)
                    .noted(CriterionKind::Probation, Reason::Probation),
                expect("claim before the first issue", asked.claim(-365), No)
                    .not_met(CriterionKind::Licence, Reason::NoLicenceAtT),
                expect("purchase", asked.purchase(), Yes),
                expect("rental", asked.rental(), No).not_met(CriterionKind::Tenure, Reason::TenureShort),
                expect("recruit", asked.recruit(), No).not_met(CriterionKind::Tenure, Reason::TenureShort),
                expect("transport bus", asked.transport_as(Role::CityBus), No)
                    .not_met(CriterionKind::Probation, Reason::Probation),
            ])
            .told(),
    ]
}

/// Rows 3 and 6: a higher class added later.
fn upgraded(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let coach =
        Vehicle { used_for: Some(VehicleUse::CommercialPassenger), seats: Some(45), ..vehicle("K11") };
    let added = |twin, number, on| {
        Story::about(as_of, 3, twin, number)
            .licensed(10, &[VehicleClass::C1])
            .class_added(on, VehicleClass::A1)
    };
    vec![
        added("", "000000199001010317", date(2023, 5, 1))
            .situation("C1 for 10 years, A1 added in 2023: no probation for added classes any more")
            .expect(asked.qualified(VehicleClass::A1))
            .told(),
        added("before-2022-04", "000000199001010325", date(2022, 3, 1))
            .situation("A1 added a month before the rule changed: probation for the added class")
            .expect(asked.qualified(VehicleClass::A1))
            .expect([expect(
                "claim in June 2022, coach",
                asked.claim_at(at_hour(date(2022, 6, 15), 12)),
                Yes,
            )
            .about(coach)
            .noted(CriterionKind::Probation, Reason::Probation)])
            .told(),
        Story::about(as_of, 6, "", "000000199001010616")
            .situation("C1 for 12 years, B2 instead since 3 years")
            .licensed(12, &[VehicleClass::C1])
            .then(-1095, -1095, ChangeKind::ClassRemoved { class: VehicleClass::C1 })
            .then(-1095, -1095, ChangeKind::ClassAdded { class: VehicleClass::B2 })
            .expect(asked.qualified(VehicleClass::B2))
            .told(),
    ]
}

/// Rows 4, 5, 7 and 8: classes that permit less than the question needs.
fn narrow_classes(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let holding =
        |row, number, classes: &[VehicleClass]| Story::about(as_of, row, "", number).licensed(10, classes);
    let not_covered =
        |label, question| expect(label, question, No).not_met(CriterionKind::Class, Reason::ClassNotCovered);
    let manual = Vehicle { automatic: Some(false), ..small_car() };
    let train = |mass| Vehicle { total_mass_kg: Some(2000), combination_mass_kg: Some(mass), ..small_car() };
    vec![
        holding(4, "000000199001010413", &[VehicleClass::C2])
            .situation("C2: automatic cars only")
            .expect([
                not_covered("claim, manual", asked.claim(ACCIDENT)).about(manual.clone()),
                expect("claim, automatic", asked.claim(ACCIDENT), Yes),
                not_covered("rental, manual", asked.rental()).about(manual),
                expect("rental, automatic", asked.rental(), Yes).about(small_car()),
                not_covered("recruit", asked.recruit()),
                expect("transport", asked.transport(VehicleClass::C2), Yes),
            ])
            .told(),
        holding(5, "00000019900101051X", &[VehicleClass::C5])
            .situation("C5, asked about an ordinary automatic car")
            .expect([
                not_covered("claim", asked.claim(ACCIDENT)),
                not_covered("rental", asked.rental()).about(small_car()),
                not_covered("recruit", asked.recruit()),
            ])
            .told(),
        holding(7, "000000199001010712", &[VehicleClass::C1, VehicleClass::C6])
            .situation("C1 and C6, car with trailer of 4499 or 4500 kg in all")
            .expect([
                expect("claim, 4499 kg", asked.claim(ACCIDENT), Yes).about(train(4499)),
                not_covered("claim, 4500 kg", asked.claim(ACCIDENT)).about(train(4500)),
                expect("rental, 4499 kg", asked.rental(), Yes).about(train(4499)),
                not_covered("rental, 4500 kg", asked.rental()).about(train(4500)),
                expect("recruit", asked.recruit(), Yes),
            ])
            .told(),
        holding(8, "000000199001010819", &[VehicleClass::D, VehicleClass::E])
            .situation("motorcycles only")
            .shows(Shown { groups: Groups { car: false, motorcycle: true }, ..NORMAL })
            .expect([
                not_covered("claim", asked.claim(ACCIDENT)),
                not_covered("rental", asked.rental()),
                not_covered("recruit", asked.recruit()),
            ])
            .told(),
    ]
}

/// Rows 9 and 10: validity ends during the rental, or at the end of the day.
fn expiring(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let ending = |row, number, last: Date| {
        let story = Story::about(as_of, row, "", number);
        let first = last.saturating_sub(6.years());
        story.issued(first, date(1990, 1, 1), &[VehicleClass::C1]).valid_until(
            first,
            ValidityTerm::SixYears,
            Some(last),
        )
    };
    let next_day = end_of(as_of);
    let last_second = next_day - 1.second();
    let not_in_force = |label, question| {
        expect(label, question, No)
            .not_met(CriterionKind::Licence, Reason::LicenceNotInForce)
            .asked_at(next_day)
    };
    let ends =
        |question| expect("rental", question, No).not_met(CriterionKind::Period, Reason::EndsWithinPeriod);
    vec![
        ending(9, "000000199001010915", days_after(as_of, 2))
            .situation("last valid day in 2 days, return in 3")
            .expect([
                expect("claim", asked.claim(ACCIDENT), Yes),
                ends(asked.rental()),
                expect("recruit", asked.recruit(), Yes),
                expect("transport", asked.transport(VehicleClass::C1), Yes),
            ])
            .told(),
        ending(10, "000000199001011010", as_of)
            .situation("last valid day is today")
            .shows_at(last_second, Ok(NORMAL))
            .shows_at(next_day, Ok(Shown { display: Display::Red, ..NORMAL }))
            .expect([
                expect("claim at 23:59:59", asked.claim_at(last_second), Yes).asked_at(next_day),
                expect("claim at the next 00:00", asked.claim_at(next_day), Yes)
                    .noted(CriterionKind::Licence, Reason::ExpiredUnderOneYear)
                    .asked_at(next_day),
                ends(asked.rental()),
                expect("recruit at 23:59:59", asked.recruit(), Yes).asked_at(last_second),
                expect("transport at 23:59:59", asked.transport(VehicleClass::C1), Yes).asked_at(last_second),
                not_in_force("rental at the next 00:00", asked.rental_from(1)),
                not_in_force("recruit at the next 00:00", asked.recruit()),
                not_in_force("transport at the next 00:00", asked.transport(VehicleClass::C1)),
            ])
            .told(),
    ]
}

/// Row 30: numbers that changed, and names that are not three Han characters.
fn renumbered(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let told =
        |story: Story| story.licensed(10, &[VehicleClass::C1]).expect(asked.qualified(VehicleClass::C1));
    vec![
        told(
            Story::about(as_of, 30, "", "000000199001013016")
                .formerly("000000199001013024")
                .named("欧阳测试"),
        )
        .situation("the number changed; a compound surname")
        .renumbered(-100)
        .told(),
        told(Story::about(as_of, 30, "middle-dot", "000000199001013032").named("测古丽·测买提"))
            .situation("a name with a middle dot")
            .told(),
        told(Story::about(as_of, 30, "latin", "000000199001013040").named("TEST DRIVER"))
            .situation("a name in Latin letters")
            .told(),
    ]
}
