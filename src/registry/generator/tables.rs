//! How often things happen, in one place. `docs/population.md` says where each figure comes from and which are assumptions;
//! the tests of `distribution` hold what comes out to it.

use super::calendar::Day;
use crate::domain::licence::VehicleClass::{
    self, A1, A2, A3, B1, B2, C1, C2, C3, C4, C5, C6, D, E, F, M, N, P,
};
use crate::domain::licence::{DocumentKind, ELicencePath, RefusalGround};

/// Ages in whole years, both included, by per mille of all drivers.
pub(super) const AGES: [((i32, i32), u32); 6] =
    [((18, 25), 109), ((26, 35), 300), ((36, 50), 380), ((51, 60), 150), ((61, 70), 50), ((71, 79), 11)];

/// Years since the first issue, by per mille; bounded by the age.
pub(super) const TENURES: [((i32, i32), u32); 6] =
    [((0, 1), 40), ((1, 3), 90), ((3, 8), 180), ((8, 12), 160), ((12, 19), 210), ((19, 36), 320)];

/// The documents numbers come from, by how many in ten thousand.
pub(super) const DOCUMENTS: [(DocumentKind, u32); 4] = [
    (DocumentKind::ResidentId, 9_960),
    (DocumentKind::Passport, 20),
    (DocumentKind::HkMoTravelPermit, 14),
    (DocumentKind::TwTravelPermit, 6),
];

/// First classes, by per mille. A1, A2, B1 and C6 cannot be a first licence (Order 162 art. 16).
pub(super) const FIRST_CLASSES: [(VehicleClass, u32); 12] = [
    (C1, 650),
    (C2, 180),
    (E, 60),
    (B2, 45),
    (D, 40),
    (F, 6),
    (C3, 5),
    (A3, 5),
    (C4, 3),
    (C5, 3),
    (M, 2),
    (N, 1),
];

/// Classes that are not extended by others here: losing one by age would otherwise not cancel the licence.
pub(super) const ALONE: [VehicleClass; 5] = [C3, C4, M, N, P];

/// A class that may be added: from which classes, after how many years of holding one, and how often.
pub(super) struct Addition {
    pub(super) to: VehicleClass,
    pub(super) from: &'static [VehicleClass],
    /// Per mille of those who hold one of `from`.
    pub(super) permille: u32,
    /// Years until it is wanted: at least and at most, after the class it builds on.
    pub(super) years: (i32, i32),
}

/// In the order in which one builds on the other.
pub(super) const ADDITIONS: [Addition; 9] = [
    Addition { to: C1, from: &[C2, D, E, F], permille: 110, years: (1, 8) },
    Addition { to: E, from: &[C1, C2], permille: 55, years: (1, 15) },
    Addition { to: D, from: &[C1, C2], permille: 25, years: (1, 15) },
    Addition { to: B2, from: &[C1], permille: 40, years: (1, 10) },
    Addition { to: C6, from: &[C1, C2], permille: 15, years: (1, 20) },
    Addition { to: B1, from: &[A3, B2, C1], permille: 14, years: (3, 12) },
    Addition { to: A2, from: &[B1, B2], permille: 300, years: (3, 10) },
    Addition { to: A1, from: &[A3, B1, B2, A2], permille: 90, years: (5, 12) },
    Addition { to: M, from: &[C1], permille: 2, years: (1, 10) },
];

/// 1 April 2022: Order 162 came into force and made C6.
pub(super) const ORDER_162: Day = Day::new(2022, 4, 1);
/// 1 January 2025: Order 172 raised ages.
pub(super) const ORDER_172: Day = Day::new(2025, 1, 1);

/// Returns the ages at which a class may be applied for on a day, both included; `None` at the top: no limit.
///
/// From April 2022 and January 2025 as in `docs/domain.md` §3. Before, as in Order 123, which was the strictest of those in
/// force since the classes have these names.
pub(super) fn application_ages(class: VehicleClass, on: Day) -> (i32, Option<i32>) {
    let era = |before: (i32, i32), order_162: (i32, i32), order_172: (i32, i32)| {
        let ages = if on < ORDER_162 {
            before
        } else if on < ORDER_172 {
            order_162
        } else {
            order_172
        };
        (ages.0, Some(ages.1))
    };
    match class {
        C1 | C2 | C5 | F if on >= ORDER_162 => (18, None),
        C1 | C2 | C5 | F => (18, Some(70)),
        C3 | C4 | M => era((18, 60), (18, 60), (18, 63)),
        D | E => era((18, 60), (18, 60), (18, 70)),
        C6 => era((20, 60), (20, 60), (20, 70)),
        A3 | B2 | N | P => era((20, 50), (20, 60), (20, 63)),
        B1 => era((21, 50), (20, 60), (20, 63)),
        A2 => era((24, 50), (22, 60), (22, 63)),
        A1 => era((26, 50), (22, 60), (22, 63)),
    }
}

/// What adding a class takes besides the age: which class held how many years, and periods without 12 points ahead of the
/// running one.
pub(super) struct Precondition {
    /// Years `from` must have been held.
    pub(super) years: i32,
    /// Periods before the running one that must be free of 12 points, as the running one must.
    pub(super) clean_periods: i32,
}

/// Returns what building `to` on `from` takes on a day; `None`: it cannot be (Order 162 arts. 16–17; before: Order 123 art. 15).
pub(super) fn precondition(to: VehicleClass, from: VehicleClass, on: Day) -> Option<Precondition> {
    let needs = |years, clean_periods| Some(Precondition { years, clean_periods });
    let is_162 = on >= ORDER_162;
    match (to, from) {
        (C6, C1 | C2) if is_162 => needs(1, 1),
        (C6, _) => None,
        (B1, A3 | B2 | C1 | C2 | C3 | C4) => {
            if is_162 {
                needs(2, 2)
            } else {
                needs(3, 3)
            }
        }
        (A2, B1 | B2) => {
            if is_162 {
                needs(2, 2)
            } else {
                needs(3, 3)
            }
        }
        (A2, A1) => {
            if is_162 {
                needs(1, 2)
            } else {
                needs(1, 3)
            }
        }
        (A1, A3 | B1) => {
            if is_162 {
                needs(2, 3)
            } else {
                needs(5, 5)
            }
        }
        (A1, B2) => {
            if is_162 {
                needs(3, 3)
            } else {
                needs(5, 5)
            }
        }
        (A1, A2) => {
            if is_162 {
                needs(1, 3)
            } else {
                needs(2, 5)
            }
        }
        (B1 | A2 | A1, _) => None,
        _ => needs(0, 1),
    }
}

/// Returns the birthday on which a class ends, given that it was not over before 2025 (Order 162 art. 65, Order 172).
pub(super) fn ceiling(class: VehicleClass, birth: Day) -> Option<Day> {
    let [at_60, at_63, at_70] = [60, 63, 70].map(|years| birth.years_after(years));
    match class {
        A1 | A2 | A3 | B1 | B2 | M | N | P => Some(if at_60 < ORDER_172 { at_60 } else { at_63 }),
        C3 | C4 | C6 | D | E => Some(at_70),
        C1 | C2 | C5 | F => None,
    }
}

/// Whether 12 points cost this class (Order 162 art. 78: the highest of these).
pub(super) const DEGRADABLE: [VehicleClass; 5] = [A1, A2, A3, B1, B2];

/// Per mille of periods with points, and with a second act in the same period.
pub(super) const POINTS_PERIODS: (u32, u32) = (130, 200);
/// Points of one act, by weight; 12 at once is [`TWELVES`].
pub(super) const ACTS: [(u8, u32); 4] = [(1, 30), (3, 44), (6, 22), (9, 4)];
/// Per ten thousand periods, from the second on: 12 points.
pub(super) const TWELVES: u32 = 25;
/// Per mille of 12-point cases that do not come to the course, and are announced as stopped (J).
pub(super) const STOPPED: u32 = 80;
/// Per mille of single acts that are reversed later (记分管理办法 art. 16).
pub(super) const REVERSED: u32 = 6;
/// Per mille of acts that are reported late.
pub(super) const LATE_REPORTS: u32 = 30;

/// Per mille of validity ends that are missed; of those, how many renew within the year.
pub(super) const MISSED_RENEWALS: (u32, u32) = (18, 650);
/// Per mille of validity ends that are deferred (延期换证): military service, abroad.
pub(super) const DEFERRED_RENEWALS: u32 = 4;

/// Per hundred thousand drivers: a licence that ended, by its letter.
pub(super) const ENDINGS: [(u8, u32); 4] = [(b'G', 450), (b'F', 130), (b'E', 12), (b' ', 99_408)];
/// Per mille of holders of 71 and more whose licence ended for want of a medical (R).
pub(super) const NO_MEDICAL: u32 = 25;

/// Letters carried today beside those that follow from points and validity, by how many in a hundred thousand.
pub(super) const LETTERS: [(&[u8], u32); 11] = [
    (b"", 94_730),
    (b"H", 3_500),
    (b"I", 300),
    (b"HI", 30),
    (b"S", 450),
    (b"SH", 180),
    (b"D", 250),
    (b"U", 200),
    (b"C", 60),
    (b"K", 20),
    (b"L", 30),
];
/// Per mille of drivers with deferred medical or review (延期体检, 延期审验), of those to whom it can happen.
pub(super) const DEFERRED_REVIEWS: u32 = 12;
/// Per mille of drivers who once had violations on hand, and a suspension, that are lifted again.
pub(super) const PAST_LETTERS: [(u8, u32, (i32, i32)); 2] = [(b'H', 90, (5, 200)), (b'D', 8, (30, 180))];

/// Per mille of drivers who moved to another authority.
pub(super) const MOVED: u32 = 60;
/// Per mille of drivers whose name changed.
pub(super) const RENAMED: u32 = 3;
/// Per mille of drivers whose number changed: resident numbers corrected, other documents renewed.
pub(super) const RENUMBERED: (u32, u32) = (2, 400);
/// Per mille of holders of a bus class who may drive school buses.
pub(super) const SCHOOL_BUS: u32 = 30;
/// Per mille of holders of a class with the ceiling of 63 who are let on to 66.
pub(super) const EXTENDED: u32 = 100;

/// Per mille of those whose class ended with their age who did not exchange the licence: it is announced void.
pub(super) const NOT_EXCHANGED: u32 = 300;

/// 1 June 2021: the first cities issue e-licences; all do from 10 December.
pub(super) const E_LICENCES_BEGIN: Day = Day::new(2021, 6, 1);
/// Per mille of holders who apply for one, within how many days of being able to.
pub(super) const E_LICENCES: (u32, i32) = (600, 1_800);
/// How they are applied for, by weight.
pub(super) const E_LICENCE_PATHS: [(ELicencePath, u32); 4] = [
    (ELicencePath::StoredPhoto, 72),
    (ELicencePath::Camera, 17),
    (ELicencePath::Album, 9),
    (ELicencePath::Window, 2),
];
/// Per mille of reviewed photos that are refused, and of issued e-licences whose photo is changed or that are withdrawn.
pub(super) const REFUSED_PHOTOS: u32 = 120;
/// See [`REFUSED_PHOTOS`].
pub(super) const CHANGED_PHOTOS: u32 = 60;
/// See [`REFUSED_PHOTOS`].
pub(super) const WITHDRAWN: u32 = 1;
/// Per mille of those whose e-licence an exchange made out of date who apply anew.
pub(super) const REAPPLIED: u32 = 750;
/// What is wrong with refused photos.
pub(super) const PHOTO_FAULTS: [RefusalGround; 6] = [
    RefusalGround::PhotoBackground,
    RefusalGround::PhotoClothes,
    RefusalGround::PhotoBeautified,
    RefusalGround::PhotoGlasses,
    RefusalGround::PhotoLight,
    RefusalGround::PhotoHair,
];

/// Authorities nobody has, by weight: `测` is no province.
pub(super) const AUTHORITIES: [(&str, u32); 10] = [
    ("测A", 24),
    ("测B", 17),
    ("测C", 12),
    ("测D", 10),
    ("测E", 9),
    ("测F", 8),
    ("测G", 7),
    ("测H", 6),
    ("测J", 4),
    ("测K", 3),
];

/// What every Chinese name begins with: nobody is called so.
pub(super) const SURNAME: &str = "测试";
/// Given names are made of one or two of these.
pub(super) const GIVEN: [&str; 48] = [
    "伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超",
    "霞", "平", "刚", "玲", "红", "鑫", "波", "宇", "浩", "凯", "健", "俊", "帆", "雪", "琳", "晨", "阳",
    "倩", "宁", "博", "文", "玉", "兰", "建", "国", "华", "春", "梅", "海", "燕", "峰",
];
/// Latin given names, for passports.
pub(super) const LATIN: [&str; 12] =
    ["ALEX", "MARIA", "JOHN", "ANNA", "OMAR", "LENA", "IVAN", "SARA", "PAUL", "MINH", "KIM", "ROSA"];
/// Per mille of names with a middle dot.
pub(super) const DOTTED: u32 = 15;
