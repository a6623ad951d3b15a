//! Rows about state letters, deferrals and late records: 11 to 25.

use jiff::civil::{Date, date};

use super::TestDriver;
use super::asked::{ACCIDENT, Asked, expect};
use super::story::{NORMAL, Story, days_after, recorded_on, years_after};
use crate::domain::decision::{CriterionKind, Decision, Reason};
use crate::domain::elicence::{NotShown, Shown};
use crate::domain::licence::{ChangeKind, DocumentKind, StateGround, ValidityTerm, VehicleClass};
use crate::domain::question::Role;

use Decision::{Indeterminate as Perhaps, NotQualified as No, Qualified as Yes};

/// Builds the rows.
pub(super) fn with_states(as_of: Date) -> Vec<TestDriver> {
    let mut drivers = expired(as_of);
    drivers.extend(cancelled(as_of));
    drivers.extend(points(as_of));
    drivers.extend(barred(as_of));
    drivers.extend(recorded_late(as_of));
    drivers.extend(doubtful(as_of));
    drivers.extend(deferred(as_of));
    drivers
}

/// Somebody with C1 for ten years.
fn plain(as_of: Date, row: u8, twin: &'static str, number: &'static str) -> Story {
    Story::about(as_of, row, twin, number).licensed(10, &[VehicleClass::C1])
}

/// A first licence whose six years ended so many days after the as-of day.
fn ended(as_of: Date, row: u8, twin: &'static str, number: &'static str, day: i32) -> Story {
    let last = days_after(as_of, day);
    let first = years_after(last, -6);
    let story = Story::about(as_of, row, twin, number).issued(first, date(1990, 1, 1), &[VehicleClass::C1]);
    story.valid_until(first, ValidityTerm::SixYears, Some(last))
}

/// Rows 11 and 12: expired for less and for more than a year; with and without the letter that says so.
fn expired(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let noted = || asked.claim_noted("claim", ACCIDENT, Reason::ExpiredUnderOneYear);
    let restorable = || asked.claim_refuted("claim", ACCIDENT, Reason::CancelledRestorable);
    vec![
        ended(as_of, 11, "", "000000199001011117", -30)
            .situation("逾期未换证, expired 30 days ago")
            .red()
            .states(-29, "M")
            .expect([noted()])
            .expect(asked.not_in_force())
            .told(),
        ended(as_of, 11, "no-letter", "000000199001011125", -30)
            .situation("expired 30 days ago, and no letter says so yet")
            .red()
            .expect([noted()])
            .expect(asked.not_in_force())
            .told(),
        ended(as_of, 12, "", "000000199001011213", -500)
            .situation("注销可恢复 after expiry")
            .not_shown(NotShown::Hidden)
            .states(-499, "M")
            .then(-134, -134, ChangeKind::StateLifted { letter: b'M' })
            .states(-134, "R")
            .expect([restorable()])
            .expect(asked.not_in_force())
            .told(),
        ended(as_of, 12, "no-letter", "000000199001011221", -500)
            .situation("expired for more than a year, and no letter says so yet")
            .not_shown(NotShown::Hidden)
            .expect([restorable()])
            .expect(asked.not_in_force())
            .told(),
    ]
}

/// Rows 13 and 14: cancelled inside validity.
fn cancelled(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let elderly = Story::about(as_of, 13, "", "000000TEST13").with(DocumentKind::Passport);
    let (first, born) = (elderly.years_ago(30), elderly.years_ago(71));
    vec![
        elderly
            .licensed_on(first, born, &[VehicleClass::C1])
            .situation("注销可恢复 at 71, without the yearly medical, inside validity")
            .not_shown(NotShown::Hidden)
            .states(-50, "R")
            .then(-50, -50, ChangeKind::StateGrounded { letter: b'R', ground: StateGround::NoMedical })
            .expect([asked.claim_refuted("claim", ACCIDENT, Reason::CancelledRestorable)])
            .expect(asked.not_in_force())
            .told(),
        plain(as_of, 14, "", "000000199001011416")
            .situation("注销 20 days ago")
            .not_shown(NotShown::Hidden)
            .states(-20, "G")
            .then(-20, -20, ChangeKind::StateGrounded { letter: b'G', ground: StateGround::Death })
            .expect([
                expect("claim 30 days ago", asked.claim(-30), Yes),
                asked.claim_refuted("claim", ACCIDENT, Reason::Cancelled),
            ])
            .expect(asked.not_in_force())
            .told(),
    ]
}

/// Rows 15 and 16: twelve points, before and after they are restored.
fn points(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let twelve = ChangeKind::PointsSet { points: 12 };
    vec![
        plain(as_of, 15, "", "000000199001011512")
            .situation("记满12分 12 days ago, 扣留 8 days ago")
            .red()
            .then(-12, -12, twelve.clone())
            .states(-12, "B")
            .states(-8, "U")
            .expect([
                asked.claim_noted("claim before the detention", ACCIDENT, Reason::PointsFull),
                asked.claim_refuted("claim 5 days ago", -5, Reason::Detained),
            ])
            .expect(asked.not_in_force())
            .told(),
        plain(as_of, 16, "", "000000199001011619")
            .situation("12 points 60 days ago, restored 30 days ago")
            .then(-60, -60, twelve)
            .states(-60, "BU")
            .then(-30, -30, ChangeKind::PointsCleared)
            .then(-30, -30, ChangeKind::StateLifted { letter: b'B' })
            .then(-30, -30, ChangeKind::StateLifted { letter: b'U' })
            .expect(asked.qualified(VehicleClass::C1))
            .expect([expect("ride-hailing", asked.recruit_as(Role::RideHailing), No)
                .not_met(CriterionKind::PointsRecord, Reason::PointsRecord)])
            .told(),
    ]
}

/// Rows 17, 18, 21 and 23: suspended, revoked, stopped, review overdue.
fn barred(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let not_in_force = |label, question| {
        expect(label, question, No).not_met(CriterionKind::Licence, Reason::LicenceNotInForce)
    };
    vec![
        plain(as_of, 17, "", "000000199001011715")
            .situation("暂扣 from 20 days ago until 10 days ahead")
            .red()
            .states(-20, "D")
            .then(10, -20, ChangeKind::StateLifted { letter: b'D' })
            .expect([
                asked.claim_refuted("claim", ACCIDENT, Reason::Suspended),
                not_in_force("rental after the suspension", asked.rental_from(15)),
            ])
            .expect(asked.not_in_force())
            .told(),
        plain(as_of, 18, "", "000000199001011811")
            .situation("吊销 100 days ago")
            .not_shown(NotShown::Hidden)
            .states(-100, "F")
            .expect([asked.claim_refuted("claim", ACCIDENT, Reason::Revoked)])
            .expect(asked.not_in_force())
            .told(),
        plain(as_of, 21, "", "00000019900101211X")
            .situation("停止使用")
            .not_shown(NotShown::Void)
            .states(-50, "J")
            .expect([asked.claim_noted("claim", ACCIDENT, Reason::Stopped)])
            .expect(asked.not_in_force())
            .told(),
        plain(as_of, 23, "", "000000199001012312")
            .situation("逾期未审验 and 违法未处理")
            .red()
            .states(-50, "SH")
            .expect([
                asked.claim_noted("claim", ACCIDENT, Reason::ReviewOverdue),
                not_in_force("purchase", asked.purchase()),
                not_in_force("rental", asked.rental()),
                not_in_force("recruit", asked.recruit()),
                expect("transport", asked.transport(VehicleClass::C1), No)
                    .not_met(CriterionKind::Review, Reason::ReviewOverdue),
            ])
            .told(),
    ]
}

/// Rows 19 and 20: what was recorded after the accident changes what held at it.
fn recorded_late(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let five_days_ago = recorded_on(days_after(as_of, -5));
    vec![
        plain(as_of, 19, "", "000000199001011918")
            .situation("撤销 recorded yesterday, effective 400 days ago")
            .not_shown(NotShown::Hidden)
            .then(-400, -1, ChangeKind::StateSet { letter: b'E', original_end: None })
            .expect([
                expect("claim as known 5 days ago", asked.claim(ACCIDENT), Yes).known_at(five_days_ago),
                asked.claim_refuted("claim", ACCIDENT, Reason::Annulled).changed_since(),
            ])
            .expect(asked.not_in_force())
            .told(),
        plain(as_of, 20, "", "000000199001012013")
            .situation("a penalty of 12 days ago, reversed yesterday")
            .then(-12, -12, ChangeKind::PointsSet { points: 12 })
            .states(-12, "BU")
            .then(-12, -1, ChangeKind::PointsReversed)
            .then(-12, -1, ChangeKind::StateLifted { letter: b'B' })
            .then(-12, -1, ChangeKind::StateLifted { letter: b'U' })
            .expect([
                asked
                    .claim_refuted("claim as known 5 days ago", ACCIDENT, Reason::Detained)
                    .known_at(five_days_ago),
                expect("claim", asked.claim(ACCIDENT), Yes).changed_since(),
                expect("ride-hailing", asked.recruit_as(Role::RideHailing), Yes),
                expect("rental", asked.rental(), Yes),
                expect("recruit", asked.recruit(), Yes),
                expect("transport", asked.transport(VehicleClass::C1), Yes),
            ])
            .told(),
    ]
}

/// Rows 22 and 25: letters that cannot be read safely.
fn doubtful(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let unresolved = |label, question| {
        expect(label, question, Perhaps).unknown(CriterionKind::Licence, Reason::StateUnresolved)
    };
    let everywhere = || {
        [
            unresolved("claim", asked.claim(ACCIDENT)),
            unresolved("purchase", asked.purchase()),
            unresolved("rental", asked.rental()),
            unresolved("recruit", asked.recruit()),
            unresolved("transport", asked.transport(VehicleClass::C1)),
        ]
    };
    vec![
        plain(as_of, 22, "", "000000199001012216")
            .situation("扣押")
            .red()
            .states(-50, "K")
            .expect([unresolved("claim", asked.claim(ACCIDENT))])
            .expect(asked.not_in_force())
            .told(),
        plain(as_of, 22, "locked", "000000199001012224")
            .situation("锁定")
            .not_shown(NotShown::Void)
            .states(-50, "L")
            .expect(everywhere())
            .told(),
        plain(as_of, 25, "", "000000199001012515")
            .situation("转出")
            .not_shown(NotShown::Void)
            .states(-50, "C")
            .expect(everywhere())
            .told(),
        plain(as_of, 25, "unknown-letter", "000000199001012523")
            .situation("a letter nobody knows")
            .not_shown(NotShown::Void)
            .states(-50, "Z")
            .expect(everywhere())
            .told(),
    ]
}

/// Row 24: renewal, medical or review deferred, inside and past the original period.
fn deferred(as_of: Date) -> Vec<TestDriver> {
    let asked = Asked { as_of };
    let deferring = |twin, number, letter, original_end: i32| {
        let original_end = Some(days_after(as_of, original_end));
        plain(as_of, 24, twin, number).then(-90, -90, ChangeKind::StateSet { letter, original_end })
    };
    let inside = |twin, number, letter| {
        deferring(twin, number, letter, 90)
            .situation("延期, inside the original period")
            .expect(asked.qualified(VehicleClass::C1))
            .told()
    };
    let past = |twin, number, letter| {
        deferring(twin, number, letter, -60)
            .situation("延期, past the original period")
            .shows(Shown { deferred: true, ..NORMAL })
            .expect([asked.claim_noted("claim", ACCIDENT, Reason::Deferred)])
            .expect(asked.not_in_force())
            .told()
    };
    vec![
        inside("", "000000199001012419", b'N'),
        inside("medical", "000000199001012427", b'P'),
        inside("review", "000000199001012435", b'T'),
        past("renewal-past", "000000199001012443", b'N'),
        past("medical-past", "000000199001012451", b'P'),
        past("review-past", "00000019900101246X", b'T'),
    ]
}
