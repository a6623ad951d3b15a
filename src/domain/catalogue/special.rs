//! Rows about ages, unconfirmed subjects and records without a past: 26 to 29, 31, 33.

use jiff::civil::Date;

use super::TestDriver;
use super::asked::{ACCIDENT, Asked, expect, vehicle};
use super::story::{Story, days_after, years_after};
use crate::domain::decision::{CriterionKind, Decision, Reason};
use crate::domain::elicence::NotShown;
use crate::domain::licence::{
    ChangeKind, DocumentKind, ELicenceEvent, ELicencePath, Endorsement, VehicleClass,
};
use crate::domain::question::Role;

use Decision::{Indeterminate as Perhaps, NotQualified as No, Qualified as Yes};

/// Builds the rows.
pub(super) fn special(as_of: Date) -> Vec<TestDriver> {
    let mut drivers = e_licences(as_of);
    drivers.extend(aged(as_of));
    drivers.extend(unconfirmed(as_of));
    drivers.extend(without_past(as_of));
    drivers.extend(school_bus(as_of));
    drivers
}

/// Row 26: the e-licence's own life never enters a decision about a claim.
fn e_licences(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let path = ELicencePath::Camera;
    let issued = [(-300, ELicenceEvent::Applied { path }), (-299, ELicenceEvent::Issued)];
    let driver = |twin, number, steps: &[(i32, ELicenceEvent)], why| {
        let story = Story::about(as_of, 26, twin, number).licensed(10, &[VehicleClass::C1]);
        story.e_licence(steps).not_shown(why).expect(asked.qualified(VehicleClass::C1))
    };
    let exchanged = ChangeKind::AuthoritySet { code: "测B".to_owned() };
    vec![
        driver("", "000000199001012611", &[], NotShown::NotIssued)
            .situation("no e-licence was ever issued")
            .told(),
        driver("superseded", "00000019900101262X", &issued, NotShown::Superseded)
            .situation("the authority changed after the e-licence was issued: to be applied for anew")
            .then(-100, -100, exchanged)
            .told(),
        driver("photo-withdrawn", "000000199001012638", &issued, NotShown::Withdrawn)
            .situation("the e-licence service was ended for abuse of the photo")
            .e_licence(&[(-100, ELicenceEvent::Withdrawn)])
            .told(),
    ]
}

/// Soon after the ceiling of 63 came into force.
const ROW_63: Date = jiff::civil::date(2025, 1, 2);

/// Rows 27 and 28: classes that end on a birthday.
fn aged(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let born = |day: i32, years: i32| years_after(days_after(as_of, day), -years);
    // Who is 63 soon after 2025 was 60 before, and lost what ended at 60: these obtained it under the rule of 2025.
    let since = ROW_63.max(years_after(as_of, -20));
    let coach_driver = |twin, number| {
        let story = Story::about(as_of, 27, twin, number).with(DocumentKind::Passport);
        let first = story.years_ago(20);
        story.licensed_on(first, born(0, 63), &[VehicleClass::C1]).class_added(since, VehicleClass::A1)
    };
    let machinist = Story::about(as_of, 28, "", "000000TEST28").with(DocumentKind::Passport);
    let qualified_but_transport =
        || asked.qualified(VehicleClass::A1).into_iter().filter(|expected| expected.label != "transport");
    vec![
        coach_driver("", "000000TEST27")
            .situation("A1, turns 63 today")
            .expect(qualified_but_transport())
            .expect([
                expect("transport", asked.transport(VehicleClass::A1), No)
                    .not_met(CriterionKind::Class, Reason::ClassNotCovered),
                expect("claim, coach, before the birthday", asked.claim(ACCIDENT), Yes).about(vehicle("K11")),
            ])
            .told(),
        coach_driver("extended", "000000TEST27X")
            .situation("A1, turns 63 today, extended")
            .then(-20, -20, ChangeKind::AgeExtended { class: VehicleClass::A1, ceiling_years: 66 })
            .expect(asked.qualified(VehicleClass::A1))
            .told(),
        machinist
            .licensed_on(since, born(-20, 63), &[VehicleClass::M])
            .situation("M only, turned 63 20 days ago: the whole licence is cancelled")
            .not_shown(NotShown::Hidden)
            .expect([
                asked.claim_refuted("claim", ACCIDENT, Reason::Cancelled).about(vehicle("J11")),
                expect("claim before the birthday", asked.claim(-30), Yes).about(vehicle("J11")),
            ])
            .expect(asked.not_in_force())
            .told(),
    ]
}

/// Row 29: three situations, one answer.
fn unconfirmed(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let about = |twin, number| Story::about(as_of, 29, twin, number).unseen();
    let nothing = || {
        [
            ("claim", asked.claim(ACCIDENT)),
            ("purchase", asked.purchase()),
            ("rental", asked.rental()),
            ("recruit", asked.recruit()),
            ("transport", asked.transport(VehicleClass::C1)),
        ]
        .map(|(label, question)| {
            expect(label, question, Perhaps).unknown(CriterionKind::Subject, Reason::SubjectNotConfirmed)
        })
    };
    vec![
        about("", "000000199001012910")
            .situation("a wrong name against a right number")
            .licensed(10, &[VehicleClass::C1])
            .claimed_as("测试丙")
            .expect(nothing())
            .told(),
        about("no-such-number", "000000199001012929").situation("no such number").expect(nothing()).told(),
        about("protected", "000000199001012937")
            .situation("a protected person")
            .licensed(10, &[VehicleClass::C1])
            .then(-300, -300, ChangeKind::ProtectionSet)
            .expect(nothing())
            .told(),
    ]
}

/// Row 31: a snapshot import knows nothing from before its day.
fn without_past(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let mut story =
        Story::about(as_of, 31, "", "000000199001013112").licensed(10, &[VehicleClass::C1]).told();
    let imported = super::story::recorded_on(days_after(as_of, -200));
    for (_, recorded_at, _) in &mut story.changes {
        *recorded_at = imported;
    }
    let begins = crate::domain::time::Effective::At(imported);
    story.changes.push((begins, imported, ChangeKind::HistoryBegins));
    story.situation = "imported from a snapshot 200 days ago";
    story.expectations = asked.qualified(VehicleClass::C1);
    story.expectations.extend([
        expect("claim 400 days ago", asked.claim(-400), Perhaps)
            .unknown(CriterionKind::Record, Reason::HistoryNotHeld),
        expect("ride-hailing", asked.recruit_as(Role::RideHailing), Perhaps)
            .unknown(CriterionKind::PointsRecord, Reason::PeriodsNotHeld),
    ]);
    vec![story]
}

/// Row 33: school buses.
fn school_bus(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let endorsed = |twin, number, years: i32| {
        let story = Story::about(as_of, 33, twin, number).with(DocumentKind::Passport);
        let (first, born) = (story.years_ago(10), story.years_ago(years));
        story.licensed_on(first, born, &[VehicleClass::B1]).then(
            -1000,
            -1000,
            ChangeKind::EndorsementSet { endorsement: Endorsement::SchoolBus },
        )
    };
    let school_bus = |decision| expect("transport school bus", asked.transport_as(Role::SchoolBus), decision);
    vec![
        endorsed("", "000000TEST33", 60)
            .situation("school-bus endorsement, 60 years old")
            .expect([school_bus(Yes)])
            .told(),
        endorsed("too-old", "000000TEST33X", 61)
            .situation("school-bus endorsement, 61 years old")
            .expect([school_bus(No).not_met(CriterionKind::Age, Reason::Age)])
            .told(),
        Story::about(as_of, 33, "no-endorsement", "000000199001013331")
            .situation("C1 without the endorsement")
            .licensed(10, &[VehicleClass::C1])
            .expect([school_bus(No).not_met(CriterionKind::Endorsement, Reason::EndorsementMissing)])
            .told(),
    ]
}
