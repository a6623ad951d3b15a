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
    /// When the first car-type and the first motorcycle-type class were added: what a reversal takes back.
    first_car_from: Option<Timestamp>,
    first_motorcycle_from: Option<Timestamp>,
    /// What was taken away: the opposite change at the same moment gives it back as it was.
    removed: Vec<RemovedClass>,
    lifted: Vec<LiftedState>,
}

struct RemovedClass {
    at: Timestamp,
    place: usize,
    holding: ClassHolding,
    /// Place and years of the age extension that went with it.
    extension: Option<(usize, u8)>,
    /// The first class of the group before the removal, and when it was added.
    first: (Option<Date>, Option<Timestamp>),
}

struct LiftedState {
    at: Timestamp,
    letter: u8,
    original_end: Option<Date>,
    cancelled_at: Option<Timestamp>,
    full_since: Option<Timestamp>,
}

/// Says whether a letter dates a cancellation.
fn cancels(letter: u8) -> bool {
    letter == StateLetter::Cancelled.code() || letter == StateLetter::CancelledRestorable.code()
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
            Kind::ClassAdded { class } => self.add_class(*class, from, day),
            Kind::ClassRemoved { class } => self.remove_class(*class, from, day),
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
        self.removed.clear();
        for first in [&mut self.held.first_car_class, &mut self.held.first_motorcycle_class] {
            if first.is_some_and(|first| first < day) {
                *first = None;
            }
        }
    }

    fn add_class(&mut self, class: VehicleClass, from: Timestamp, day: Date) {
        if self.held.classes.iter().any(|held| held.class == class) {
            return;
        }
        let reversed =
            self.removed.iter().rposition(|removed| removed.holding.class == class && removed.at == from);
        if let Some(index) = reversed {
            let removed = self.removed.remove(index);
            return self.restore_class(&removed);
        }
        self.held.classes.push(ClassHolding { class, since: day });
        if let Some((first, first_from)) = self.first_of_group(class)
            && first.is_none()
        {
            (*first, *first_from) = (Some(day), Some(from));
        }
    }

    fn restore_class(&mut self, removed: &RemovedClass) {
        let class = removed.holding.class;
        self.held.classes.insert(removed.place.min(self.held.classes.len()), removed.holding);
        if let Some((place, years)) = removed.extension {
            let place = place.min(self.held.age_extensions.len());
            self.held.age_extensions.insert(place, (class, years));
        }
        if let Some((first, first_from)) = self.first_of_group(class) {
            (*first, *first_from) = removed.first;
        }
    }

    fn remove_class(&mut self, class: VehicleClass, from: Timestamp, day: Date) {
        let Some(place) = self.held.classes.iter().position(|held| held.class == class) else { return };
        let holding = self.held.classes.remove(place);
        let extension = self.held.age_extensions.iter().position(|(extended, _)| *extended == class);
        let extension = extension.map(|place| (place, self.held.age_extensions.remove(place).1));
        let group = class.motor_type();
        let shared =
            self.held.classes.iter().any(|held| held.class.motor_type() == group && held.since == day);
        let mut before = (None, None);
        if let Some((first, first_from)) = self.first_of_group(class) {
            before = (*first, *first_from);
            // Taken back at the moment it was added: it never was the first.
            if *first_from == Some(from) && holding.since == day && !shared {
                (*first, *first_from) = (None, None);
            }
        }
        self.removed.push(RemovedClass { at: from, place, holding, extension, first: before });
    }

    /// The first class of a class's group, and when it was added; `None` for classes of neither group.
    fn first_of_group(&mut self, class: VehicleClass) -> Option<(&mut Option<Date>, &mut Option<Timestamp>)> {
        match class.motor_type() {
            MotorType::Car => Some((&mut self.held.first_car_class, &mut self.first_car_from)),
            MotorType::Motorcycle => {
                Some((&mut self.held.first_motorcycle_class, &mut self.first_motorcycle_from))
            }
            MotorType::Other => None,
        }
    }

    /// Extends the ceiling of a class that is held; of a class that is not, there is nothing to extend.
    fn extend_age(&mut self, class: VehicleClass, ceiling_years: u8) {
        if !self.held.classes.iter().any(|holding| holding.class == class) {
            return;
        }
        self.held.age_extensions.retain(|(extended, _)| *extended != class);
        self.held.age_extensions.push((class, ceiling_years));
    }

    fn set_state(&mut self, letter: u8, original_end: Option<Date>, from: Timestamp, day: Date) {
        self.held.states.insert_letter(letter);
        match StateLetter::from_code(letter) {
            Some(
                StateLetter::RenewalDeferred | StateLetter::MedicalDeferred | StateLetter::ReviewDeferred,
            ) => {
                let lifted = self.take_lifted(from, |lifted| lifted == letter);
                let original_end = original_end.or(lifted.and_then(|lifted| lifted.original_end));
                self.held.deferred_until.retain(|(deferred, _)| *deferred != letter);
                self.held.deferred_until.push((letter, original_end));
            }
            Some(StateLetter::Cancelled | StateLetter::CancelledRestorable) => {
                // A change from R to G at one moment is no second cancellation either.
                let lifted = self.take_lifted(from, cancels);
                let since = lifted.and_then(|lifted| lifted.cancelled_at).unwrap_or(from);
                self.held.cancelled_at.get_or_insert(since);
            }
            Some(StateLetter::PointsFull) => {
                let lifted = self.take_lifted(from, |lifted| lifted == letter);
                self.full_since = lifted.map_or(Some(from), |lifted| lifted.full_since);
                if self.full_since == Some(from) {
                    self.note_full(day);
                }
            }
            _ => {}
        }
    }

    fn lift_state(&mut self, letter: u8, from: Timestamp, day: Date) {
        self.remember_lifted(letter, from);
        self.held.states.remove_letter(letter);
        self.held.deferred_until.retain(|(deferred, _)| *deferred != letter);
        let states = self.held.states;
        if !states.contains(StateLetter::Cancelled) && !states.contains(StateLetter::CancelledRestorable) {
            self.held.cancelled_at = None;
        }
        let reversed = letter == StateLetter::PointsFull.code() && self.full_since == Some(from);
        let reached_by_points = self.held.points >= POINTS_FULL
            && self.points_before.is_some_and(|(moment, before)| moment == from && before < POINTS_FULL);
        if reversed && !reached_by_points {
            self.forget_full(day);
        }
    }

    /// Remembers what setting the letter again at the same moment has to give back.
    fn remember_lifted(&mut self, letter: u8, at: Timestamp) {
        let deferred = self.held.deferred_until.iter().find(|(deferred, _)| *deferred == letter);
        let bears_more = deferred.is_some() || cancels(letter) || letter == StateLetter::PointsFull.code();
        if bears_more && self.held.states.contains_letter(letter) {
            self.lifted.push(LiftedState {
                at,
                letter,
                original_end: deferred.and_then(|(_, original_end)| *original_end),
                cancelled_at: self.held.cancelled_at,
                full_since: self.full_since,
            });
        }
    }

    fn take_lifted(&mut self, at: Timestamp, is_asked: impl Fn(u8) -> bool) -> Option<LiftedState> {
        let index = self.lifted.iter().rposition(|lifted| lifted.at == at && is_asked(lifted.letter))?;
        Some(self.lifted.remove(index))
    }

    /// A second setting at one moment corrects the first: what it corrects leaves no record.
    fn set_points(&mut self, points: u8, from: Timestamp, day: Date) {
        let before = match self.points_before {
            Some((moment, before)) if moment == from => before,
            _ => self.held.points,
        };
        self.points_before = Some((from, before));
        match (self.held.points >= POINTS_FULL, points >= POINTS_FULL) {
            (false, true) => self.note_full(day),
            (true, false) if before < POINTS_FULL => self.forget_full(day),
            _ => {}
        }
        self.held.points = points;
    }

    fn reverse_points(&mut self, from: Timestamp, day: Date) {
        if let Some((moment, before)) = self.points_before
            && moment == from
        {
            self.held.points = before;
            // Who had 12 points before reached them before: that is not reversed.
            if before < POINTS_FULL {
                self.forget_full(day);
            }
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
            (1u8..=17, 60u8..70).prop_map(|(code, ceiling_years)| ChangeKind::AgeExtended {
                class: VehicleClass::from_code(code).unwrap(),
                ceiling_years,
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
        fn what_is_reversed_never_happened(
            steps in any_steps(), more in 0usize..3, odd in 0i64..40, kind in any_kind(), moment in 0i64..100,
        ) {
            // Everything else happens on even days.
            let told = |(effective, kind): (i64, ChangeKind)| change(2 * effective, 0, kind);
            let plain: Vec<Change> = steps.into_iter().map(told).collect();
            let day = 2 * odd + 1;
            let before = History::from_changes(plain.clone()).fold(as_of(day, 500));
            let Some(opposite) = opposite(&kind, &before) else { return Ok(()) };
            let mut pairs = plain.clone();
            for _ in 0..=more {
                pairs.push(change(day, 200, kind.clone()));
                pairs.push(change(day, 201, opposite.clone()));
            }
            let moment = as_of(moment, 500);
            prop_assert_eq!(
                History::from_changes(pairs).fold(moment), History::from_changes(plain).fold(moment)
            );
        }
    }

    /// What reverses a change that changes something, given what was held before it.
    fn opposite(kind: &ChangeKind, before: &Qualification) -> Option<ChangeKind> {
        let holds = |asked: &VehicleClass| before.classes.iter().any(|held| held.class == *asked);
        match kind {
            ChangeKind::ClassAdded { class } if !holds(class) => {
                Some(ChangeKind::ClassRemoved { class: *class })
            }
            ChangeKind::ClassRemoved { class } if holds(class) => {
                Some(ChangeKind::ClassAdded { class: *class })
            }
            ChangeKind::StateSet { letter, .. } if !before.states.contains_letter(*letter) => {
                Some(ChangeKind::StateLifted { letter: *letter })
            }
            ChangeKind::StateLifted { letter } if before.states.contains_letter(*letter) => {
                Some(set(*letter))
            }
            ChangeKind::PointsSet { .. } => Some(ChangeKind::PointsReversed),
            _ => None,
        }
    }

    fn any_steps() -> impl Strategy<Value = Vec<(i64, ChangeKind)>> {
        proptest::collection::vec((0i64..40, any_kind()), 0..30)
    }

    #[test]
    fn a_removal_reversed_gives_back_first_day_and_extension() {
        let class = VehicleClass::A1;
        let history = History::from_changes(vec![
            change(0, 0, ChangeKind::Issued),
            change(0, 0, ChangeKind::ClassAdded { class }),
            change(5, 5, ChangeKind::AgeExtended { class, ceiling_years: 66 }),
            change(10, 10, ChangeKind::ClassRemoved { class }),
            change(10, 20, ChangeKind::ClassAdded { class }),
        ]);
        let held = history.fold(as_of(30, 30));
        assert_eq!(held.classes, [ClassHolding { class, since: date(2026, 1, 1) }]);
        assert_eq!(held.age_extensions, [(class, 66)]);
        assert_eq!(history.fold(as_of(30, 15)).classes, []);
    }

    #[test]
    fn a_class_added_in_error_is_no_first_class() {
        let class = VehicleClass::C1;
        let held = History::from_changes(vec![
            change(5, 5, ChangeKind::ClassAdded { class }),
            change(5, 9, ChangeKind::ClassRemoved { class }),
            change(8, 9, ChangeKind::ClassAdded { class }),
        ])
        .fold(as_of(30, 30));
        assert_eq!(held.first_car_class, Some(date(2026, 1, 9)));
    }

    #[test]
    fn a_restoration_reversed_leaves_the_day_of_the_cancellation() {
        let mut changes =
            vec![change(5, 5, set(b'R')), change(20, 20, ChangeKind::StateLifted { letter: b'R' })];
        changes.push(change(20, 25, set(b'R')));
        let held = History::from_changes(changes.clone()).fold(as_of(40, 40));
        assert_eq!(held.cancelled_at, Some(changes[0].effective.moment()));
    }

    #[test]
    fn a_reversal_keeps_what_was_reached_before() {
        let points =
            |effective, recorded, points| change(effective, recorded, ChangeKind::PointsSet { points });
        let fold = |changes| History::from_changes(changes).fold(as_of(40, 40));
        let reversed =
            fold(vec![points(5, 5, 12), points(9, 9, 15), change(9, 20, ChangeKind::PointsReversed)]);
        assert_eq!((reversed.points, reversed.points_events.len()), (12, 1));
        let corrected = fold(vec![points(5, 5, 12), points(5, 20, 6)]);
        assert_eq!((corrected.points, corrected.points_events.len()), (6, 0));
        let corrected_later = fold(vec![points(5, 5, 12), points(9, 20, 6)]);
        assert_eq!(corrected_later.points_events.len(), 1, "another moment corrects nothing");
    }
}
