//! What every licence store must do, whatever it stands on. A store runs the suite with one line.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jiff::civil::date;

use super::embedded::{FeedRow, RegistryError};
use super::submission::{Extent, NewChange, NewSubject, Outcome, Rejection, Submission};
use super::{EmbeddedRegistry, RegistryKeys, RegistryOptions};
use crate::domain::licence::{ChangeKind, DocumentKind, FullName, LicenceNumber, NumberRules, VehicleClass};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::domain::time::Effective;
use crate::verification::ports::{ChangeObserver, LookUpError, Pseudonyms, Reading, RecordSource};

/// A store as the suite sees it.
pub(super) trait LicenceStore: RecordSource {
    fn apply(&self, batch: &[Submission]) -> Result<Vec<Outcome>, RegistryError>;
    fn observe(&self, observer: Arc<dyn ChangeObserver>);
    fn feed_after(&self, seq: u64, count_max: usize) -> Result<Vec<FeedRow>, RegistryError>;
    fn new_epoch(&self) -> Result<u32, RegistryError>;
    fn pseudonyms(&self) -> &dyn Pseudonyms;
}

impl LicenceStore for EmbeddedRegistry {
    fn apply(&self, batch: &[Submission]) -> Result<Vec<Outcome>, RegistryError> {
        Self::apply(self, batch)
    }

    fn observe(&self, observer: Arc<dyn ChangeObserver>) {
        Self::observe(self, observer);
    }

    fn feed_after(&self, seq: u64, count_max: usize) -> Result<Vec<FeedRow>, RegistryError> {
        Self::feed_after(self, seq, count_max)
    }

    fn new_epoch(&self) -> Result<u32, RegistryError> {
        Self::new_epoch(self)
    }

    fn pseudonyms(&self) -> &dyn Pseudonyms {
        &**self.keys()
    }
}

pub(super) const ONE: &str = "000000199001010018";
pub(super) const TWO: &str = "000000199001010026";
pub(super) const THREE: &str = "00000019920229001X";

pub(super) fn number(text: &str) -> LicenceNumber {
    LicenceNumber::parse(DocumentKind::ResidentId, text, NumberRules { accept_test_numbers: true }).unwrap()
}

pub(super) fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn change(recorded_at: &str, kind: ChangeKind) -> NewChange {
    let recorded_at = moment(recorded_at);
    NewChange { effective: Effective::At(recorded_at), recorded_at, kind }
}

fn class(class: VehicleClass) -> ChangeKind {
    ChangeKind::ClassAdded { class }
}

/// A subject with its first issue and one class.
pub(super) fn licensed(text: &str) -> Submission {
    let first = "2015-03-02T01:30:00Z";
    NewSubject {
        document: DocumentKind::ResidentId,
        number: number(text),
        name: FullName::parse("测试小明").unwrap(),
        changes: vec![change(first, ChangeKind::Issued), change(first, class(VehicleClass::C1))],
    }
    .into_submission()
}

pub(super) fn more(text: &str, change: NewChange) -> Submission {
    Submission {
        document: DocumentKind::ResidentId,
        number: number(text),
        extent: Extent::Continuation,
        changes: vec![change],
    }
}

pub(super) fn read(store: &impl LicenceStore, text: &str) -> Result<Reading, LookUpError> {
    let pseudonym = store.pseudonyms().pseudonym(DocumentKind::ResidentId, &number(text));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.read(pseudonym))
}

fn apply_one(store: &impl LicenceStore, submission: Submission) -> Outcome {
    store.apply(&[submission]).unwrap()[0]
}

fn position(seq: u64) -> Position {
    Position { epoch: 1, partition: 0, seq }
}

pub(super) fn a_number_leads_to_its_history_at_the_feeds_head(store: &impl LicenceStore) {
    let outcomes = store.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
    assert_eq!(outcomes, [Outcome::Created(position(1)), Outcome::Created(position(2))]);
    let reading = read(store, ONE).unwrap();
    assert_eq!(reading.position, position(2), "the head, not the record's own position");
    let record = reading.record.unwrap();
    let changes = record.history.changes();
    assert_eq!(changes.len(), 5, "number, name, birth date, issue, class");
    assert!(changes.iter().all(|change| change.position == position(1)));
    let other = read(store, TWO).unwrap().record.unwrap();
    assert_ne!(other.subject, record.subject);
    assert_ne!(other.secret.expose(), record.secret.expose());
}

pub(super) fn a_number_nobody_has_is_told_with_the_head(store: &impl LicenceStore) {
    assert_eq!(read(store, ONE).unwrap().position, position(0));
    store.apply(&[licensed(ONE)]).unwrap();
    let reading = read(store, TWO).unwrap();
    assert!(reading.record.is_none());
    assert_eq!(reading.position, position(1));
}

pub(super) fn the_same_history_again_changes_nothing(store: &impl LicenceStore) {
    apply_one(store, licensed(ONE));
    assert_eq!(apply_one(store, licensed(ONE)), Outcome::Unchanged);
    let mut longer = licensed(ONE);
    longer.changes.push(change("2016-01-01T00:00:00Z", class(VehicleClass::E)));
    assert_eq!(apply_one(store, longer.clone()), Outcome::Appended(position(2)));
    assert_eq!(apply_one(store, longer), Outcome::Unchanged);
    assert_eq!(apply_one(store, licensed(ONE)), Outcome::Unchanged, "a start of what is on record");
    let record = read(store, ONE).unwrap().record.unwrap();
    assert_eq!(record.history.changes().len(), 6);
    assert_eq!(record.history.changes()[5].position, position(2));
}

pub(super) fn what_does_not_fit_is_refused_and_leaves_no_trace(store: &impl LicenceStore) {
    apply_one(store, licensed(ONE));
    let later = "2016-01-01T00:00:00Z";
    let mut conflicting = licensed(ONE);
    conflicting.changes[4].kind = class(VehicleClass::A1);
    let mut back = licensed(TWO);
    back.changes.push(change("2014-01-01T00:00:00Z", class(VehicleClass::E)));
    let mut unborn = licensed(TWO);
    unborn.changes.push(NewChange {
        effective: Effective::On(date(1989, 12, 31)),
        ..change(later, ChangeKind::PointsCleared)
    });
    let taken = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(ONE) };
    let mut thief = licensed(TWO);
    thief.changes.push(change(later, taken));
    let empty = Submission { changes: Vec::new(), ..licensed(TWO) };
    let lower_case = ChangeKind::StateSet { letter: b'a', original_end: None };
    let cases = [
        (conflicting, Rejection::ConflictingHistory),
        (back, Rejection::RecordedTimeRunsBack),
        (
            more(ONE, change("2014-01-01T00:00:00Z", ChangeKind::PointsCleared)),
            Rejection::RecordedTimeRunsBack,
        ),
        (unborn, Rejection::BeforeBirth),
        (thief, Rejection::NumberTaken),
        (empty, Rejection::Empty),
        (more(TWO, change(later, ChangeKind::PointsCleared)), Rejection::UnknownSubject),
        (more(ONE, change(later, lower_case)), Rejection::Unencodable),
    ];
    for (submission, rejection) in cases {
        assert_eq!(apply_one(store, submission), Outcome::Rejected(rejection));
    }
    assert!(read(store, TWO).unwrap().record.is_none());
    assert_eq!(read(store, ONE).unwrap().record.unwrap().history.changes().len(), 5);
    assert_eq!(store.feed_after(0, 10).unwrap().len(), 1);
}

pub(super) fn a_refused_submission_leaves_the_rest_of_its_batch(store: &impl LicenceStore) {
    let unknown = more(THREE, change("2016-01-01T00:00:00Z", ChangeKind::PointsCleared));
    let outcomes = store.apply(&[licensed(ONE), unknown, licensed(TWO)]).unwrap();
    assert_eq!(outcomes[1], Outcome::Rejected(Rejection::UnknownSubject));
    assert_eq!(outcomes[2], Outcome::Created(position(2)), "positions have no gap");
    assert!(read(store, TWO).unwrap().record.is_some());
}

pub(super) fn an_old_number_stays_an_alias(store: &impl LicenceStore) {
    apply_one(store, licensed(ONE));
    let renumbered = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(TWO) };
    let told = apply_one(store, more(ONE, change("2020-01-01T00:00:00Z", renumbered)));
    assert_eq!(told, Outcome::Appended(position(2)));
    let [old, new] = [ONE, TWO].map(|text| read(store, text).unwrap().record.unwrap());
    assert_eq!(old.subject, new.subject);
    assert_eq!(old.secret.expose(), new.secret.expose());
    let row = store.feed_after(1, 10).unwrap().remove(0);
    assert_eq!((row.subject, row.pseudonyms.len()), (old.subject, 2));
}

pub(super) fn a_single_change_is_taken_once(store: &impl LicenceStore) {
    apply_one(store, licensed(ONE));
    let points = change("2020-01-01T00:00:00Z", ChangeKind::PointsSet { points: 3 });
    assert_eq!(apply_one(store, more(ONE, points.clone())), Outcome::Appended(position(2)));
    assert_eq!(apply_one(store, more(ONE, points)), Outcome::Unchanged);
}

pub(super) fn the_feed_lists_changes_in_order_without_gaps(store: &impl LicenceStore) {
    store.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
    apply_one(store, licensed(THREE));
    let seqs = |rows: Vec<FeedRow>| rows.iter().map(|row| row.position.seq).collect::<Vec<_>>();
    assert_eq!(seqs(store.feed_after(0, 10).unwrap()), [1, 2, 3]);
    assert_eq!(seqs(store.feed_after(1, 1).unwrap()), [2]);
    assert_eq!(seqs(store.feed_after(3, 10).unwrap()), [0; 0]);
}

pub(super) fn a_new_epoch_moves_every_position(store: &impl LicenceStore) {
    apply_one(store, licensed(ONE));
    assert_eq!(store.epoch(), 1);
    assert_eq!(store.new_epoch().unwrap(), 2);
    assert_eq!(store.epoch(), 2);
    let moved = Position { epoch: 2, partition: 0, seq: 1 };
    assert_eq!(read(store, ONE).unwrap().position, moved);
    assert_eq!(apply_one(store, licensed(TWO)), Outcome::Created(Position { seq: 2, ..moved }));
    let record = read(store, TWO).unwrap().record.unwrap();
    assert_eq!(record.history.changes()[0].position.epoch, 2);
}

#[derive(Default)]
struct Heard(Mutex<Vec<(SubjectId, Vec<NumberPseudonym>, Position)>>);

impl ChangeObserver for Heard {
    fn changed(&self, subject: &SubjectId, pseudonyms: &[NumberPseudonym], position: Position) {
        self.0.lock().unwrap().push((*subject, pseudonyms.to_vec(), position));
    }
}

pub(super) fn observers_hear_before_the_writer_does(store: &impl LicenceStore) {
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    store.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
    // No waiting here: when `apply` has returned, it must have been told.
    let told = heard.0.lock().unwrap().clone();
    let pseudonym = |text| store.pseudonyms().pseudonym(DocumentKind::ResidentId, &number(text));
    assert_eq!(told.iter().map(|(_, _, position)| position.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(told[0].1, [pseudonym(ONE)]);
    assert_eq!(told[0].0, read(store, ONE).unwrap().record.unwrap().subject);
    store.apply(&[licensed(ONE)]).unwrap();
    assert_eq!(heard.0.lock().unwrap().len(), 2, "nothing changed, nothing told");
}

pub(super) fn a_reader_never_lags_behind_an_acknowledged_write(store: &impl LicenceStore) {
    apply_one(store, licensed(ONE));
    for points in 1..=50 {
        let told = change("2020-01-01T00:00:00Z", ChangeKind::PointsSet { points });
        apply_one(store, more(ONE, told));
        let reading = read(store, ONE).unwrap();
        assert_eq!(reading.position, position(u64::from(points) + 1));
        let last = reading.record.unwrap().history.changes().last().unwrap().kind.clone();
        assert_eq!(last, ChangeKind::PointsSet { points });
    }
}

/// Runs the whole suite, each behaviour on a fresh store.
macro_rules! licence_store_suite {
    ($fresh:expr; $($behaviour:ident)+) => {
        $(#[test] fn $behaviour() { super::$behaviour(&$fresh); })+
    };
}

mod embedded {
    use super::*;

    fn fresh() -> EmbeddedRegistry {
        let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
        EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
    }

    licence_store_suite! { fresh();
        a_number_leads_to_its_history_at_the_feeds_head
        a_number_nobody_has_is_told_with_the_head
        the_same_history_again_changes_nothing
        what_does_not_fit_is_refused_and_leaves_no_trace
        a_refused_submission_leaves_the_rest_of_its_batch
        an_old_number_stays_an_alias
        a_single_change_is_taken_once
        the_feed_lists_changes_in_order_without_gaps
        a_new_epoch_moves_every_position
        observers_hear_before_the_writer_does
        a_reader_never_lags_behind_an_acknowledged_write
    }
}
