//! What held at a moment, as known at a moment: one pass over the changes in the order they take effect.

use jiff::Timestamp;
use jiff::civil::Date;

use super::history::{Change, ChangeKind, History};
use super::points::POINTS_FULL;
use super::{
    AsOf, ClassHolding, MotorType, PointsEvent, Qualification, StateGround, StateLetter, VehicleClass,
};

impl History {
    /// Folds the history into what held at a moment, from what was recorded by a moment.
    ///
    /// Changes apply in the order they take effect, then in the order they were recorded, so a reversal (the opposite
    /// change, same effective time, recorded later) undoes what it reverses. Who the holder is (name, file number,
    /// protection, disputes) is taken as known, not as of the moment: an accident of last year is asked about under today's name.
    pub fn fold(&self, as_of: AsOf) -> Qualification {
        let mut fold = Fold::default();
        let identity_by = as_of.known.at.max(as_of.moment);
        for (from, change) in self.known_by_effect(as_of.known) {
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
        | Kind::DisputeSettled
        | Kind::Erased => true,
        Kind::Issued
        | Kind::NumberSet { .. }
        | Kind::AuthoritySet { .. }
        | Kind::ClassAdded { .. }
        | Kind::ClassRemoved { .. }
        | Kind::ClassLostByAge { .. }
        | Kind::AgeExtended { .. }
        | Kind::EndorsementSet { .. }
        | Kind::EndorsementLifted { .. }
        | Kind::ValiditySet { .. }
        | Kind::ValidityRenewed { .. }
        | Kind::ValidityExtended { .. }
        | Kind::StateSet { .. }
        | Kind::StateLifted { .. }
        | Kind::StateGrounded { .. }
        | Kind::PointsSet { .. }
        | Kind::PointsCleared
        | Kind::PointsReversed
        | Kind::ELicence(_) => false,
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
    lost: Vec<(Timestamp, VehicleClass)>,
    lifted: Vec<LiftedState>,
}

struct RemovedClass {
    at: Timestamp,
    place: usize,
    holding: ClassHolding,
    /// Place and years of the age extension that went with it.
    extension: Option<(usize, u8)>,
    /// Whether age had taken it before.
    lost_by_age: bool,
    /// The first class of the group before the removal, and when it was added.
    first: (Option<Date>, Option<Timestamp>),
}

struct LiftedState {
    at: Timestamp,
    letter: u8,
    ground: Option<StateGround>,
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
            Kind::Erased => self.held.erased = true,
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
            Kind::ClassLostByAge { class } => self.lose_class(*class, from),
            Kind::AgeExtended { class, ceiling_years } => self.extend_age(*class, *ceiling_years),
            Kind::EndorsementSet { endorsement } if !self.held.endorsements.contains(endorsement) => {
                self.held.endorsements.push(*endorsement);
            }
            Kind::EndorsementLifted { endorsement } => {
                self.held.endorsements.retain(|held| held != endorsement);
            }
            Kind::ValiditySet { validity }
            | Kind::ValidityRenewed { validity }
            | Kind::ValidityExtended { validity } => self.held.validity = Some(*validity),
            Kind::StateSet { letter, original_end } => self.set_state(*letter, *original_end, from, day),
            Kind::StateLifted { letter } => self.lift_state(*letter, from, day),
            Kind::StateGrounded { letter, ground } => self.ground_state(*letter, *ground),
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
        if let Some(holding) = self.held.classes.iter_mut().find(|held| held.class == class) {
            // Announced void and added again: reversed at the same moment, obtained anew at a later one.
            let was_lost = self.held.lost_by_age.remove(class);
            if was_lost && !self.lost.contains(&(from, class)) {
                holding.since = day;
            }
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
        if removed.lost_by_age {
            self.held.lost_by_age.insert(class);
        }
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
        let lost_by_age = self.held.lost_by_age.remove(class);
        self.removed.push(RemovedClass { at: from, place, holding, extension, lost_by_age, first: before });
    }

    /// A class not held cannot be lost.
    fn lose_class(&mut self, class: VehicleClass, from: Timestamp) {
        if self.held.classes.iter().any(|held| held.class == class) && self.held.lost_by_age.insert(class) {
            self.lost.push((from, class));
        }
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
        // A change from R to G at one moment is no second cancellation either.
        let lifted = self.take_lifted(from, |lifted| lifted == letter || cancels(lifted) && cancels(letter));
        if let Some(ground) =
            lifted.as_ref().filter(|lifted| lifted.letter == letter).and_then(|it| it.ground)
        {
            self.ground_state(letter, ground);
        }
        match StateLetter::from_code(letter) {
            Some(
                StateLetter::RenewalDeferred | StateLetter::MedicalDeferred | StateLetter::ReviewDeferred,
            ) => {
                let original_end = original_end.or(lifted.and_then(|lifted| lifted.original_end));
                self.held.deferred_until.retain(|(deferred, _)| *deferred != letter);
                self.held.deferred_until.push((letter, original_end));
            }
            Some(StateLetter::Cancelled | StateLetter::CancelledRestorable) => {
                let since = lifted.and_then(|lifted| lifted.cancelled_at).unwrap_or(from);
                self.held.cancelled_at.get_or_insert(since);
            }
            Some(StateLetter::PointsFull) => {
                self.full_since = lifted.map_or(Some(from), |lifted| lifted.full_since);
                if self.full_since == Some(from) {
                    self.note_full(day);
                }
            }
            _ => {}
        }
    }

    /// The ground of a letter carried. Of one that was lifted it says why, which nothing here asks.
    fn ground_state(&mut self, letter: u8, ground: StateGround) {
        if self.held.states.contains_letter(letter) {
            self.held.state_grounds.retain(|(grounded, _)| *grounded != letter);
            self.held.state_grounds.push((letter, ground));
        }
    }

    fn lift_state(&mut self, letter: u8, from: Timestamp, day: Date) {
        self.remember_lifted(letter, from);
        self.held.states.remove_letter(letter);
        self.held.deferred_until.retain(|(deferred, _)| *deferred != letter);
        self.held.state_grounds.retain(|(grounded, _)| *grounded != letter);
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
        let ground = self.held.state_grounds.iter().find(|(grounded, _)| *grounded == letter);
        let bears_more = deferred.is_some()
            || ground.is_some()
            || cancels(letter)
            || letter == StateLetter::PointsFull.code();
        if bears_more && self.held.states.contains_letter(letter) {
            self.lifted.push(LiftedState {
                at,
                letter,
                ground: ground.map(|(_, ground)| *ground),
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
mod tests;
