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
        folded.changed_since = self.changed_since(as_of, &folded);
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
