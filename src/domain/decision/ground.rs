//! What stands against a licence at a moment: the state letters, and what follows from dates without a letter.

use jiff::civil::Date;

use super::ages::is_cancelled_by_age;
use super::outcome::{Criterion, CriterionKind, Reason};
use crate::domain::licence::{POINTS_FULL, Qualification, StateLetter};
use crate::domain::rules::Rules;
use crate::domain::time::{civil_day, months_after};

/// One thing that stands against a licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::domain) enum Ground {
    /// Not issued by then.
    NeverIssued,
    /// 逾期未换证, by letter or by date: expired for no more than a year.
    Expired,
    /// 注销, or what the law makes of a licence by date or age.
    Cancelled,
    /// 注销可恢复
    CancelledRestorable,
    /// 吊销
    Revoked,
    /// 撤销
    Annulled,
    /// 暂扣
    Suspended,
    /// 扣留
    Detained,
    /// 扣押
    Seized,
    /// 超分
    PointsFull,
    /// 逾期未审验
    ReviewOverdue,
    /// 停止使用
    Stopped,
    /// 延期, past the original period.
    Deferred,
    /// 转出, 锁定, a letter nobody knows, a deferral or a validity without date.
    Unresolved,
}

impl Ground {
    /// Every ground, in the order in which criteria show them.
    pub(super) const ALL: [Self; 14] = [
        Self::NeverIssued,
        Self::Expired,
        Self::Cancelled,
        Self::CancelledRestorable,
        Self::Revoked,
        Self::Annulled,
        Self::Suspended,
        Self::Detained,
        Self::Seized,
        Self::PointsFull,
        Self::ReviewOverdue,
        Self::Stopped,
        Self::Deferred,
        Self::Unresolved,
    ];

    /// The exact reason: for claims and enforcement only. There is no code for 扣押.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::NeverIssued => Reason::NoLicenceAtT,
            Self::Expired => Reason::ExpiredUnderOneYear,
            Self::Cancelled => Reason::Cancelled,
            Self::CancelledRestorable => Reason::CancelledRestorable,
            Self::Revoked => Reason::Revoked,
            Self::Annulled => Reason::Annulled,
            Self::Suspended => Reason::Suspended,
            Self::Detained => Reason::Detained,
            Self::Seized => Reason::LicenceNotInForce,
            Self::PointsFull => Reason::PointsFull,
            Self::ReviewOverdue => Reason::ReviewOverdue,
            Self::Stopped => Reason::Stopped,
            Self::Deferred => Reason::Deferred,
            Self::Unresolved => Reason::StateUnresolved,
        }
    }
}

/// A set of grounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::domain) struct GroundSet(u32);

impl GroundSet {
    fn insert(&mut self, ground: Ground) {
        self.0 |= 1 << ground as u32;
    }

    pub(in crate::domain) const fn contains(self, ground: Ground) -> bool {
        self.0 & (1 << ground as u32) != 0
    }

    pub(in crate::domain) const fn without(self, ground: Ground) -> Self {
        Self(self.0 & !(1 << ground as u32))
    }

    pub(in crate::domain) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(in crate::domain) fn iter(self) -> impl Iterator<Item = Ground> {
        Ground::ALL.into_iter().filter(move |ground| self.contains(*ground))
    }

    /// The one code everybody but claims and enforcement sees: every ground bars, but what is unresolved is unknown.
    pub(in crate::domain) fn in_force(self) -> Criterion {
        if self.is_empty() {
            Criterion::met(CriterionKind::Licence)
        } else if self.without(Ground::Unresolved).is_empty() {
            Criterion::unknown(CriterionKind::Licence, Reason::StateUnresolved)
        } else {
            Criterion::not_met(CriterionKind::Licence, Reason::LicenceNotInForce)
        }
    }
}

/// What a letter means (`docs/policy.md` §2, `docs/domain.md` §2). `None`: nothing stands against the licence.
const fn ground_of(letter: StateLetter) -> Option<Ground> {
    use StateLetter as Letter;
    match letter {
        Letter::Normal | Letter::ViolationPending | Letter::AccidentPending => None,
        Letter::PointsFull => Some(Ground::PointsFull),
        Letter::TransferredOut | Letter::Locked => Some(Ground::Unresolved),
        Letter::Suspended => Some(Ground::Suspended),
        Letter::Annulled => Some(Ground::Annulled),
        Letter::Revoked => Some(Ground::Revoked),
        Letter::Cancelled => Some(Ground::Cancelled),
        Letter::Stopped => Some(Ground::Stopped),
        Letter::Seized => Some(Ground::Seized),
        Letter::RenewalOverdue => Some(Ground::Expired),
        Letter::CancelledRestorable => Some(Ground::CancelledRestorable),
        Letter::ReviewOverdue => Some(Ground::ReviewOverdue),
        Letter::Detained => Some(Ground::Detained),
        // By date: see `deferrals`.
        Letter::RenewalDeferred | Letter::MedicalDeferred | Letter::ReviewDeferred => None,
    }
}

/// Finds everything that stands against a licence on a day.
pub(in crate::domain) fn grounds(held: &Qualification, rules: &Rules, day: Date) -> GroundSet {
    let mut found = GroundSet::default();
    if held.first_issue.is_none() {
        found.insert(Ground::NeverIssued);
        return found;
    }
    held.states.iter().filter_map(ground_of).for_each(|ground| found.insert(ground));
    if held.states.has_unknown() {
        found.insert(Ground::Unresolved);
    }
    if held.points >= POINTS_FULL {
        found.insert(Ground::PointsFull);
    }
    match is_cancelled_by_age(held, rules, day) {
        Some(true) => found.insert(Ground::Cancelled),
        None => found.insert(Ground::Unresolved),
        Some(false) => {}
    }
    held.deferred_until
        .iter()
        .filter_map(|(_, until)| deferral(*until, day))
        .for_each(|ground| found.insert(ground));
    expiry(held, day, &mut found);
    restoration(held, day, &mut found);
    // A letter M that outlived the licence says nothing any more.
    if found.contains(Ground::Cancelled) || found.contains(Ground::CancelledRestorable) {
        found = found.without(Ground::Expired);
    }
    found
}

/// A deferral bites past the original period; without its date it is unknown whether it bites.
fn deferral(original_end: Option<Date>, day: Date) -> Option<Ground> {
    match original_end {
        Some(end) if day <= end => None,
        Some(_) => Some(Ground::Deferred),
        None => Some(Ground::Unresolved),
    }
}

/// Years from cancellation during which a licence can be restored (Order 162 art. 79).
const RESTORABLE_MONTHS: i32 = 24;

/// Months after expiry after which a licence is cancelled (Order 162 art. 79).
const EXPIRED_MONTHS: i32 = 12;

/// Expiry by date, whether or not a letter says so yet: expired up to a year, then cancelled and restorable for two
/// years, then cancelled for good. A cancellation by letter, or a deferred renewal that bites, says more than the date;
/// a renewal deferred nobody knows how far leaves it open what the date means.
fn expiry(held: &Qualification, day: Date, found: &mut GroundSet) {
    let renewal =
        held.deferred_until.iter().find(|(letter, _)| *letter == StateLetter::RenewalDeferred.code());
    let deferred = renewal.is_some_and(|(_, end)| end.is_none() || found.contains(Ground::Deferred));
    if deferred || found.contains(Ground::Cancelled) || found.contains(Ground::CancelledRestorable) {
        return;
    }
    let Some(validity) = held.validity else { return found.insert(Ground::Unresolved) };
    let Some(last_day) = validity.last_day.filter(|last_day| *last_day < day) else { return };
    let cancelled_on = months_after(last_day, EXPIRED_MONTHS);
    if day <= cancelled_on {
        found.insert(Ground::Expired);
        return;
    }
    let restorable = day <= months_after(cancelled_on, RESTORABLE_MONTHS);
    found.insert(if restorable { Ground::CancelledRestorable } else { Ground::Cancelled });
}

/// Two years after its cancellation a licence is no longer restorable, whatever its letter still says.
fn restoration(held: &Qualification, day: Date, found: &mut GroundSet) {
    let by_letter = held.states.contains(StateLetter::CancelledRestorable);
    let passed = held
        .cancelled_at
        .is_some_and(|cancelled| day > months_after(civil_day(cancelled), RESTORABLE_MONTHS));
    if by_letter && passed {
        *found = found.without(Ground::CancelledRestorable);
        found.insert(Ground::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::licence::{StateSet, Validity, ValidityTerm};
    use crate::domain::time::start_of;

    const DAY: Date = date(2026, 6, 15);

    fn holder(letters: &str) -> Qualification {
        Qualification {
            first_issue: Some(date(2010, 1, 1)),
            states: StateSet::parse(letters).unwrap(),
            validity: Some(Validity { term: ValidityTerm::LongTerm, last_day: None }),
            ..Qualification::default()
        }
    }

    fn found(held: &Qualification, day: Date) -> Vec<Ground> {
        grounds(held, &Rules::default(), day).iter().collect()
    }

    #[test]
    fn every_letter() {
        for (letter, expected) in [
            ("A", None),
            ("B", Some(Ground::PointsFull)),
            ("C", Some(Ground::Unresolved)),
            ("D", Some(Ground::Suspended)),
            ("E", Some(Ground::Annulled)),
            ("F", Some(Ground::Revoked)),
            ("G", Some(Ground::Cancelled)),
            ("H", None),
            ("I", None),
            ("J", Some(Ground::Stopped)),
            ("K", Some(Ground::Seized)),
            ("L", Some(Ground::Unresolved)),
            ("M", Some(Ground::Expired)),
            ("O", Some(Ground::Unresolved)),
            ("Q", Some(Ground::Unresolved)),
            ("R", Some(Ground::CancelledRestorable)),
            ("S", Some(Ground::ReviewOverdue)),
            ("U", Some(Ground::Detained)),
            ("V", Some(Ground::Unresolved)),
            ("W", Some(Ground::Unresolved)),
            ("X", Some(Ground::Unresolved)),
            ("Y", Some(Ground::Unresolved)),
            ("Z", Some(Ground::Unresolved)),
        ] {
            assert_eq!(found(&holder(letter), DAY), Vec::from_iter(expected), "{letter}");
        }
    }

    #[test]
    fn deferrals_bite_past_their_original_period() {
        for letter in ["N", "P", "T"] {
            let deferred = |until| Qualification {
                deferred_until: vec![(letter.as_bytes()[0], until)],
                ..holder(letter)
            };
            assert_eq!(found(&deferred(Some(DAY)), DAY), [], "{letter}: the last day is inside");
            assert_eq!(found(&deferred(DAY.yesterday().ok()), DAY), [Ground::Deferred], "{letter}");
            assert_eq!(found(&deferred(None), DAY), [Ground::Unresolved], "{letter}");
        }
    }

    #[test]
    fn a_renewal_deferred_without_its_date_leaves_an_expiry_open() {
        for ended in [date(2026, 6, 1), date(2025, 1, 1), date(2020, 1, 1)] {
            let held = Qualification {
                deferred_until: vec![(b'N', None)],
                validity: Some(Validity { term: ValidityTerm::SixYears, last_day: Some(ended) }),
                ..holder("N")
            };
            assert_eq!(found(&held, DAY), [Ground::Unresolved], "{ended}");
            let medical = Qualification { deferred_until: vec![(b'P', None)], ..held };
            assert!(found(&medical, DAY).len() == 2, "{ended}: a medical defers no renewal");
        }
    }

    #[test]
    fn nothing_is_expired_once_it_is_cancelled() {
        let ended = Some(Validity { term: ValidityTerm::SixYears, last_day: Some(date(2026, 6, 1)) });
        for (letters, expected) in [
            ("MG", Ground::Cancelled),
            ("MR", Ground::CancelledRestorable),
            ("G", Ground::Cancelled),
            ("R", Ground::CancelledRestorable),
        ] {
            assert_eq!(
                found(&Qualification { validity: ended, ..holder(letters) }, DAY),
                [expected],
                "{letters}"
            );
        }
    }

    #[test]
    fn without_a_birth_date_it_is_unknown_whether_age_cancelled_a_licence() {
        let holding = crate::domain::licence::ClassHolding {
            class: crate::domain::licence::VehicleClass::M,
            since: date(2010, 1, 1),
        };
        let held = Qualification { classes: vec![holding], ..holder("") };
        assert_eq!(found(&held, DAY), [Ground::Unresolved]);
    }

    #[test]
    fn the_time_course_of_expiry() {
        let held = |letters| Qualification {
            validity: Some(Validity { term: ValidityTerm::SixYears, last_day: Some(date(2022, 6, 15)) }),
            ..holder(letters)
        };
        for letters in ["", "A", "M"] {
            let on = |day| found(&held(letters), day);
            assert_eq!(on(date(2022, 6, 16)), [Ground::Expired], "{letters}");
            assert_eq!(on(date(2023, 6, 15)), [Ground::Expired], "{letters}");
            assert_eq!(on(date(2023, 6, 16)), [Ground::CancelledRestorable], "{letters}");
            assert_eq!(on(date(2025, 6, 15)), [Ground::CancelledRestorable], "{letters}");
            assert_eq!(on(date(2025, 6, 16)), [Ground::Cancelled], "{letters}");
        }
        assert_eq!(found(&held(""), date(2022, 6, 15)), [], "the last valid day is valid");
    }

    #[test]
    fn two_years_after_its_cancellation_nothing_is_restorable() {
        let cancelled = Qualification { cancelled_at: Some(start_of(date(2024, 6, 15))), ..holder("R") };
        assert_eq!(found(&cancelled, DAY), [Ground::CancelledRestorable]);
        assert_eq!(found(&cancelled, date(2026, 6, 16)), [Ground::Cancelled]);
    }

    #[test]
    fn a_cancellation_by_letter_says_more_than_the_date() {
        let expired = Some(Validity { term: ValidityTerm::SixYears, last_day: Some(date(2026, 6, 1)) });
        assert_eq!(found(&Qualification { validity: expired, ..holder("G") }, DAY), [Ground::Cancelled]);
    }

    #[test]
    fn points_bar_without_their_letter_and_an_unissued_licence_has_one_ground() {
        assert_eq!(found(&Qualification { points: 12, ..holder("") }, DAY), [Ground::PointsFull]);
        assert_eq!(found(&Qualification { points: 11, ..holder("") }, DAY), []);
        assert_eq!(found(&Qualification { first_issue: None, ..holder("BG") }, DAY), [Ground::NeverIssued]);
        assert_eq!(found(&Qualification { validity: None, ..holder("") }, DAY), [Ground::Unresolved]);
    }
}
