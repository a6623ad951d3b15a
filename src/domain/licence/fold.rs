//! What held at a moment, as known at a moment: one pass over the changes in the order they take effect.

use jiff::Timestamp;
use jiff::civil::Date;

use super::history::{Change, ChangeKind, History};
use super::points::POINTS_FULL;
use super::{AsOf, ClassHolding, MotorType, PointsEvent, Qualification, StateLetter, VehicleClass};

impl History {
    /// Folds the history into what held at a moment, from what was recorded by a moment.
    ///
    /// Changes apply in the order they take effect, then in the order they were recorded, so a reversal (the opposite
    /// change, same effective time, recorded later) undoes what it reverses. Who the holder is (name, file number,
    /// protection, disputes) is taken as known, not as of the moment: an accident of last year is asked about under today's name.
    pub fn fold(&self, as_of: AsOf) -> Qualification {
        let mut folded = self.fold_known(as_of);
        // Before the record begins nothing is held that could have changed.
        if folded.history_from.is_none_or(|from| from <= as_of.moment) {
            folded.changed_since = self.changed_since(as_of, &folded);
        }
        folded
    }

    fn fold_known(&self, as_of: AsOf) -> Qualification {
        let mut fold = Fold::default();
        let identity_by = as_of.known_at.max(as_of.moment);
        for (from, change) in self.by_effect() {
            if change.recorded_at > as_of.known_at {
                continue;
            }
            if is_about_the_record(&change.kind) {
                fold.apply_to_record(from, change, identity_by);
            } else if from <= as_of.moment {
                fold.apply(from, change);
            }
        }
        fold.finish()
    }

    /// Finds the latest recording after the moment without which something else would hold at the moment.
    fn changed_since(&self, as_of: AsOf, now_known: &Qualification) -> Option<Timestamp> {
        let late = |change: &&Change| {
            change.recorded_at > as_of.moment
                && change.recorded_at <= as_of.known_at
                && change.effective.moment() <= as_of.moment
        };
        let mut judged = None;
        for change in self.changes().iter().rev().filter(late) {
            if judged == Some(change.recorded_at) {
                continue;
            }
            judged = Some(change.recorded_at);
            let known_at = just_before(change.recorded_at);
            if !holds_the_same(&self.fold_known(AsOf { known_at, ..as_of }), now_known) {
                return judged;
            }
        }
        None
    }
}

/// Facts of the record itself, not of a moment.
fn is_about_the_record(kind: &ChangeKind) -> bool {
    use ChangeKind as Kind;
    match kind {
        Kind::NameSet { .. }
        | Kind::BirthDaySet { .. }
        | Kind::FileNumberSet { .. }
        | Kind::ProtectionSet
        | Kind::ProtectionLifted
        | Kind::HistoryBegins
        | Kind::DisputeOpened
        | Kind::DisputeSettled => true,
        Kind::Issued
        | Kind::NumberSet { .. }
        | Kind::AuthoritySet { .. }
        | Kind::ClassAdded { .. }
        | Kind::ClassRemoved { .. }
        | Kind::AgeExtended { .. }
        | Kind::EndorsementSet { .. }
        | Kind::EndorsementLifted { .. }
        | Kind::ValiditySet { .. }
        | Kind::StateSet { .. }
        | Kind::StateLifted { .. }
        | Kind::PointsSet { .. }
        | Kind::PointsCleared
        | Kind::PointsReversed => false,
    }
}

/// Compares what a decision can rest on: whose name it is and what is in dispute are no part of it.
fn holds_the_same(one: &Qualification, other: &Qualification) -> bool {
    one.first_issue == other.first_issue
        && one.classes == other.classes
        && one.first_car_class == other.first_car_class
        && one.first_motorcycle_class == other.first_motorcycle_class
        && one.age_extensions == other.age_extensions
        && one.endorsements == other.endorsements
        && one.states == other.states
        && one.deferred_until == other.deferred_until
        && one.validity == other.validity
        && one.points == other.points
        && one.points_events == other.points_events
        && one.cancelled_at == other.cancelled_at
        && one.birth_day == other.birth_day
}

fn just_before(moment: Timestamp) -> Timestamp {
    moment.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN)
}

/// A fold under way. Texts are borrowed until the end, so that superseded ones cost nothing.
#[derive(Default)]
struct Fold<'a> {
    held: Qualification,
    name: Option<&'a super::FullName>,
    file_number: Option<&'a super::FileNumber>,
    /// Points before the first setting at this moment: what a reversal goes back to.
    points_before: Option<(Timestamp, u8)>,
    /// When the letter B began.
    full_since: Option<Timestamp>,
}

impl<'a> Fold<'a> {
    fn apply_to_record(&mut self, from: Timestamp, change: &'a Change, identity_by: Timestamp) {
        use ChangeKind as Kind;
        match &change.kind {
            Kind::HistoryBegins => self.held.history_from = Some(from),
            Kind::BirthDaySet { day } => self.held.birth_day = Some(*day),
            _ if from > identity_by => {}
            Kind::NameSet { name } => self.name = Some(name),
            Kind::FileNumberSet { number } => self.file_number = Some(number),
            Kind::ProtectionSet => self.held.protected = true,
            Kind::ProtectionLifted => self.held.protected = false,
            Kind::DisputeOpened => self.held.disputed = true,
            Kind::DisputeSettled => self.held.disputed = false,
            _ => {}
        }
    }

    fn apply(&mut self, from: Timestamp, change: &Change) {
        use ChangeKind as Kind;
        let day = change.effective.day();
        match &change.kind {
            Kind::Issued => self.issue(day),
            Kind::ClassAdded { class } => self.add_class(*class, day),
            Kind::ClassRemoved { class } => self.remove_class(*class),
            Kind::AgeExtended { class, ceiling_years } => self.extend_age(*class, *ceiling_years),
            Kind::EndorsementSet { endorsement } if !self.held.endorsements.contains(endorsement) => {
                self.held.endorsements.push(*endorsement);
            }
            Kind::EndorsementLifted { endorsement } => {
                self.held.endorsements.retain(|held| held != endorsement);
            }
            Kind::ValiditySet { validity } => self.held.validity = Some(*validity),
            Kind::StateSet { letter, original_end } => self.set_state(*letter, *original_end, from, day),
            Kind::StateLifted { letter } => self.lift_state(*letter, from, day),
            Kind::PointsSet { points } => self.set_points(*points, from, day),
            Kind::PointsCleared => self.held.points = 0,
            Kind::PointsReversed => self.reverse_points(from, day),
            _ => {}
        }
    }

    /// A first issue after an earlier one (a licence obtained anew) starts tenure and probation anew.
    fn issue(&mut self, day: Date) {
        self.held.first_issue = Some(day);
        for first in [&mut self.held.first_car_class, &mut self.held.first_motorcycle_class] {
            if first.is_some_and(|first| first < day) {
                *first = None;
            }
        }
    }

    fn add_class(&mut self, class: VehicleClass, day: Date) {
        if !self.held.classes.iter().any(|held| held.class == class) {
            self.held.classes.push(ClassHolding { class, since: day });
        }
        match class.motor_type() {
            MotorType::Car => _ = self.held.first_car_class.get_or_insert(day),
            MotorType::Motorcycle => _ = self.held.first_motorcycle_class.get_or_insert(day),
            MotorType::Other => {}
        }
    }

    fn remove_class(&mut self, class: VehicleClass) {
        self.held.classes.retain(|held| held.class != class);
        self.held.age_extensions.retain(|(extended, _)| *extended != class);
    }

    fn extend_age(&mut self, class: VehicleClass, ceiling_years: u8) {
        self.held.age_extensions.retain(|(extended, _)| *extended != class);
        self.held.age_extensions.push((class, ceiling_years));
    }

    fn set_state(&mut self, letter: u8, original_end: Option<Date>, from: Timestamp, day: Date) {
        self.held.states.insert_letter(letter);
        match StateLetter::from_code(letter) {
            Some(
                StateLetter::RenewalDeferred | StateLetter::MedicalDeferred | StateLetter::ReviewDeferred,
            ) => {
                self.held.deferred_until.retain(|(deferred, _)| *deferred != letter);
                self.held.deferred_until.push((letter, original_end));
            }
            Some(StateLetter::Cancelled | StateLetter::CancelledRestorable) => {
                self.held.cancelled_at.get_or_insert(from);
            }
            Some(StateLetter::PointsFull) => {
                self.full_since = Some(from);
                self.note_full(day);
            }
            _ => {}
        }
    }

    fn lift_state(&mut self, letter: u8, from: Timestamp, day: Date) {
        self.held.states.remove_letter(letter);
        self.held.deferred_until.retain(|(deferred, _)| *deferred != letter);
        let states = self.held.states;
        if !states.contains(StateLetter::Cancelled) && !states.contains(StateLetter::CancelledRestorable) {
            self.held.cancelled_at = None;
        }
        let reversed = letter == StateLetter::PointsFull.code() && self.full_since == Some(from);
        if reversed && self.held.points < POINTS_FULL {
            self.forget_full(day);
        }
    }

    fn set_points(&mut self, points: u8, from: Timestamp, day: Date) {
        if self.points_before.is_none_or(|(moment, _)| moment != from) {
            self.points_before = Some((from, self.held.points));
        }
        if points >= POINTS_FULL && self.held.points < POINTS_FULL {
            self.note_full(day);
        }
        self.held.points = points;
    }

    fn reverse_points(&mut self, from: Timestamp, day: Date) {
        if let Some((moment, before)) = self.points_before
            && moment == from
        {
            self.held.points = before;
            self.forget_full(day);
        }
    }

    /// Puts on record that 12 points were reached on a day, once.
    fn note_full(&mut self, day: Date) {
        if self.held.points_events.last().is_none_or(|event| event.reached_on != day) {
            self.held.points_events.push(PointsEvent { reached_on: day });
        }
    }

    fn forget_full(&mut self, day: Date) {
        self.held.points_events.retain(|event| event.reached_on != day);
    }

    fn finish(self) -> Qualification {
        Qualification { name: self.name.cloned(), file_number: self.file_number.cloned(), ..self.held }
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::licence::{StateSet, Validity, ValidityTerm};
    use crate::domain::subject::Position;
    use crate::domain::time::{Effective, start_of};

    /// A change by days: effective on one, recorded at noon of the other.
    fn change(effective: i64, recorded: i64, kind: ChangeKind) -> Change {
        let day = |days: i64| date(2026, 1, 1).saturating_add(days.days());
        Change {
            effective: Effective::On(day(effective)),
            recorded_at: start_of(day(recorded)) + 12.hours(),
            position: Position { epoch: 1, partition: 0, seq: 0 },
            kind,
        }
    }

    fn set(letter: u8) -> ChangeKind {
        ChangeKind::StateSet { letter, original_end: None }
    }

    fn as_of(moment: i64, known_at: i64) -> AsOf {
        let at = |days: i64| start_of(date(2026, 1, 1).saturating_add(days.days())) + 18.hours();
        AsOf { moment: at(moment), known_at: at(known_at) }
    }

    #[test]
    fn only_what_was_known_and_in_effect_counts() {
        let history = History::from_changes(vec![change(10, 10, set(b'D')), change(5, 20, set(b'U'))]);
        let letters = |moment, known| history.fold(as_of(moment, known)).states;
        assert_eq!(letters(9, 30), StateSet::parse("U").unwrap());
        assert_eq!(letters(9, 19), StateSet::EMPTY);
        assert_eq!(letters(10, 10), StateSet::parse("D").unwrap());
        assert_eq!(letters(30, 30), StateSet::parse("DU").unwrap());
    }

    #[test]
    fn a_late_record_sets_changed_since_and_an_idle_one_does_not() {
        let history = History::from_changes(vec![
            change(0, 0, ChangeKind::Issued),
            change(5, 20, set(b'U')),
            change(7, 25, set(b'D')),
            change(7, 26, ChangeKind::StateLifted { letter: b'D' }),
        ]);
        let since = |moment, known| history.fold(as_of(moment, known)).changed_since;
        assert_eq!(since(9, 19), None);
        assert_eq!(since(9, 21), Some(history.changes()[1].recorded_at));
        assert_eq!(since(9, 25), Some(history.changes()[2].recorded_at));
        assert_eq!(
            since(9, 30),
            Some(history.changes()[3].recorded_at),
            "it took back what had been reported"
        );
        assert_eq!(since(4, 30), None, "effective only later");
        assert_eq!(since(30, 30), None);
    }

    #[test]
    fn reversed_points_leave_no_record_and_restored_ones_do() {
        let twelve = || ChangeKind::PointsSet { points: 12 };
        let set_and = |kind: fn() -> Vec<Change>| {
            let mut changes = vec![change(1, 1, ChangeKind::PointsSet { points: 3 }), change(5, 5, twelve())];
            changes.extend(kind());
            History::from_changes(changes).fold(as_of(40, 40))
        };
        let reversed = set_and(|| vec![change(5, 20, ChangeKind::PointsReversed)]);
        assert_eq!((reversed.points, reversed.points_events.len()), (3, 0));
        let cleared = set_and(|| vec![change(20, 20, ChangeKind::PointsCleared)]);
        assert_eq!((cleared.points, cleared.points_events.len()), (0, 1));
        let by_letter = set_and(|| vec![change(5, 5, set(b'B'))]);
        assert_eq!(by_letter.points_events.len(), 1, "points and letter are one event");
    }

    #[test]
    fn cancellation_is_dated_by_its_first_letter() {
        let mut changes = vec![change(5, 5, set(b'R')), change(9, 9, set(b'G'))];
        let cancelled =
            |changes: &[Change]| History::from_changes(changes.to_vec()).fold(as_of(40, 40)).cancelled_at;
        assert_eq!(cancelled(&changes), Some(changes[0].effective.moment()));
        changes.push(change(10, 10, ChangeKind::StateLifted { letter: b'R' }));
        assert!(cancelled(&changes).is_some());
        changes.push(change(10, 10, ChangeKind::StateLifted { letter: b'G' }));
        assert_eq!(cancelled(&changes), None);
    }

    #[test]
    fn the_record_begins_although_its_beginning_lies_after_the_moment() {
        let history = History::from_changes(vec![change(50, 50, ChangeKind::HistoryBegins)]);
        assert!(history.fold(as_of(10, 60)).history_from.is_some());
    }

    /// The same said naively: sort copies, then look each fact up by itself, the last word first.
    mod naive {
        use super::*;

        pub(super) fn known(changes: &[Change], as_of: AsOf) -> Vec<Change> {
            let mut known: Vec<Change> = changes
                .iter()
                .filter(|change| {
                    change.recorded_at <= as_of.known_at && change.effective.moment() <= as_of.moment
                })
                .cloned()
                .collect();
            known.sort_by_key(|change| change.effective.moment());
            known
        }

        pub(super) fn carries(known: &[Change], asked: u8) -> bool {
            known
                .iter()
                .rev()
                .find_map(|change| match change.kind {
                    ChangeKind::StateSet { letter, .. } if letter == asked => Some(true),
                    ChangeKind::StateLifted { letter } if letter == asked => Some(false),
                    _ => None,
                })
                .unwrap_or(false)
        }

        pub(super) fn holds(known: &[Change], asked: VehicleClass) -> bool {
            known
                .iter()
                .rev()
                .find_map(|change| match change.kind {
                    ChangeKind::ClassAdded { class } if class == asked => Some(true),
                    ChangeKind::ClassRemoved { class } if class == asked => Some(false),
                    _ => None,
                })
                .unwrap_or(false)
        }

        pub(super) fn validity(known: &[Change]) -> Option<Validity> {
            known.iter().rev().find_map(|change| match change.kind {
                ChangeKind::ValiditySet { validity } => Some(validity),
                _ => None,
            })
        }

        pub(super) fn first_issue(known: &[Change]) -> Option<Date> {
            known.iter().rev().find_map(|change| match change.kind {
                ChangeKind::Issued => Some(change.effective.day()),
                _ => None,
            })
        }
    }

    fn any_kind() -> impl Strategy<Value = ChangeKind> {
        let class = (1u8..=17).prop_map(|code| VehicleClass::from_code(code).unwrap());
        prop_oneof![
            Just(ChangeKind::Issued),
            class.clone().prop_map(|class| ChangeKind::ClassAdded { class }),
            class.prop_map(|class| ChangeKind::ClassRemoved { class }),
            (b'A'..=b'Z').prop_map(set),
            (b'A'..=b'Z').prop_map(|letter| ChangeKind::StateLifted { letter }),
            (0i64..40).prop_map(|days| ChangeKind::ValiditySet {
                validity: Validity {
                    term: ValidityTerm::SixYears,
                    last_day: Some(date(2026, 1, 1).saturating_add(days.days())),
                }
            }),
            (0u8..15).prop_map(|points| ChangeKind::PointsSet { points }),
            Just(ChangeKind::PointsCleared),
            Just(ChangeKind::PointsReversed),
        ]
    }

    fn any_history() -> impl Strategy<Value = History> {
        proptest::collection::vec((0i64..40, 0i64..6, any_kind()), 0..30).prop_map(|steps| {
            let mut recorded = 0;
            let step = |(effective, later, kind)| {
                recorded += later;
                change(effective, recorded, kind)
            };
            History::from_changes(steps.into_iter().map(step).collect())
        })
    }

    proptest! {
        #[test]
        fn the_fold_agrees_with_the_naive_model(
            history in any_history(), moment in 0i64..60, known_at in 0i64..100,
        ) {
            let asked = as_of(moment, known_at);
            let held = history.fold(asked);
            let known = naive::known(history.changes(), asked);
            for letter in b'A'..=b'Z' {
                prop_assert_eq!(held.states.contains_letter(letter), naive::carries(&known, letter));
            }
            for class in VehicleClass::ALL.iter().copied() {
                let folded = held.classes.iter().any(|holding| holding.class == class);
                prop_assert_eq!(folded, naive::holds(&known, class));
            }
            prop_assert_eq!(held.validity, naive::validity(&known));
            prop_assert_eq!(held.first_issue, naive::first_issue(&known));
        }

        #[test]
        fn what_was_known_then_never_changes(
            history in any_history(), more in any_history(), moment in 0i64..60, known_at in 0i64..100,
        ) {
            let asked = as_of(moment, known_at);
            let later = more.changes().iter().cloned().map(|mut change| {
                change.recorded_at = asked.known_at + 1.hour();
                change
            });
            let known = history.changes().iter().filter(|change| change.recorded_at <= asked.known_at).cloned();
            let grown = History::from_changes(known.chain(later).collect());
            prop_assert_eq!(grown.fold(asked), history.fold(asked));
        }

        #[test]
        fn a_changed_since_is_a_late_recording(history in any_history(), moment in 0i64..60) {
            let asked = as_of(moment, 200);
            let held = history.fold(asked);
            let then = history.fold(AsOf { known_at: asked.moment, ..asked });
            match held.changed_since {
                Some(since) => prop_assert!(since > asked.moment),
                None => prop_assert!(holds_the_same(&held, &then)),
            }
        }
    }
}
