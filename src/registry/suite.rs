//! What every licence store must do, whatever it stands on. A store runs the suite with one line.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jiff::civil::date;

use super::embedded::FeedRow;
use super::export::export;
use super::import::read_end;
use super::store::{LicenceStore, wait};
use super::submission::{Extent, NewChange, NewSubject, Outcome, Rejection, Submission};
use super::{EmbeddedRegistry, RegistryKeys, RegistryOptions};
use crate::domain::licence::{ChangeKind, DocumentKind, FullName, LicenceNumber, NumberRules, VehicleClass};
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::domain::time::Effective;
use crate::verification::ports::{ChangeObserver, LookUpError, Pseudonyms as _, Reading};

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

pub(super) fn read(store: &dyn LicenceStore, text: &str) -> Result<Reading, LookUpError> {
    wait(store.read(pseudonym(store, text)))
}

/// Reads whom a submission is about.
pub(super) fn read_of(store: &dyn LicenceStore, submission: &Submission) -> Result<Reading, LookUpError> {
    wait(store.read(store.keys().pseudonym(submission.document, &submission.number)))
}

/// Counts the numbers submissions name: some people had two.
pub(super) fn numbers_in(submissions: &[Submission]) -> u64 {
    let is_number = |change: &&NewChange| matches!(change.kind, ChangeKind::NumberSet { .. });
    let count = |submission: &Submission| submission.changes.iter().filter(is_number).count() as u64;
    submissions.iter().map(count).sum()
}

fn pseudonym(store: &dyn LicenceStore, text: &str) -> NumberPseudonym {
    store.keys().pseudonym(DocumentKind::ResidentId, &number(text))
}

pub(super) fn apply(store: &dyn LicenceStore, batch: &[Submission]) -> Vec<Outcome> {
    wait(store.apply(batch)).unwrap()
}

fn feed_after(store: &dyn LicenceStore, after: Position, count_max: usize) -> Vec<FeedRow> {
    wait(store.feed_after(after, count_max)).unwrap()
}

fn apply_one(store: &dyn LicenceStore, submission: Submission) -> Outcome {
    apply(store, &[submission])[0]
}

fn position(seq: u64) -> Position {
    Position { epoch: 1, partition: 0, seq }
}

pub(super) fn a_number_leads_to_its_history_at_the_feeds_head(store: &dyn LicenceStore) {
    let outcomes = apply(store, &[licensed(ONE), licensed(TWO)]);
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

pub(super) fn a_number_nobody_has_is_told_with_the_head(store: &dyn LicenceStore) {
    assert_eq!(read(store, ONE).unwrap().position, position(0));
    apply(store, &[licensed(ONE)]);
    let reading = read(store, TWO).unwrap();
    assert!(reading.record.is_none());
    assert_eq!(reading.position, position(1));
}

pub(super) fn the_same_history_again_changes_nothing(store: &dyn LicenceStore) {
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

pub(super) fn what_does_not_fit_is_refused_and_leaves_no_trace(store: &dyn LicenceStore) {
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
    assert_eq!(feed_after(store, position(0), 10).len(), 1);
}

pub(super) fn a_refused_submission_leaves_the_rest_of_its_batch(store: &dyn LicenceStore) {
    let unknown = more(THREE, change("2016-01-01T00:00:00Z", ChangeKind::PointsCleared));
    let outcomes = apply(store, &[licensed(ONE), unknown, licensed(TWO)]);
    assert_eq!(outcomes[1], Outcome::Rejected(Rejection::UnknownSubject));
    assert_eq!(outcomes[2], Outcome::Created(position(2)), "positions have no gap");
    assert!(read(store, TWO).unwrap().record.is_some());
}

pub(super) fn an_old_number_stays_an_alias(store: &dyn LicenceStore) {
    apply_one(store, licensed(ONE));
    let renumbered = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(TWO) };
    let told = apply_one(store, more(ONE, change("2020-01-01T00:00:00Z", renumbered)));
    assert_eq!(told, Outcome::Appended(position(2)));
    let [old, new] = [ONE, TWO].map(|text| read(store, text).unwrap().record.unwrap());
    assert_eq!(old.subject, new.subject);
    assert_eq!(old.secret.expose(), new.secret.expose());
    let row = feed_after(store, position(1), 10).remove(0);
    assert_eq!((row.subject, row.pseudonyms.len()), (old.subject, 2));
}

pub(super) fn a_single_change_is_taken_once(store: &dyn LicenceStore) {
    apply_one(store, licensed(ONE));
    let points = change("2020-01-01T00:00:00Z", ChangeKind::PointsSet { points: 3 });
    assert_eq!(apply_one(store, more(ONE, points.clone())), Outcome::Appended(position(2)));
    assert_eq!(apply_one(store, more(ONE, points)), Outcome::Unchanged);
}

pub(super) fn the_feed_lists_changes_in_order_without_gaps(store: &dyn LicenceStore) {
    apply(store, &[licensed(ONE), licensed(TWO)]);
    apply_one(store, licensed(THREE));
    let seqs = |rows: Vec<FeedRow>| rows.iter().map(|row| row.position.seq).collect::<Vec<_>>();
    assert_eq!(seqs(feed_after(store, position(0), 10)), [1, 2, 3]);
    assert_eq!(seqs(feed_after(store, position(1), 1)), [2]);
    assert_eq!(seqs(feed_after(store, position(3), 10)), [0; 0]);
}

pub(super) fn a_new_epoch_moves_every_position(store: &dyn LicenceStore) {
    apply_one(store, licensed(ONE));
    assert_eq!(store.epoch(), 1);
    let epoch = wait(store.new_epoch(Timestamp::UNIX_EPOCH)).unwrap();
    assert!(epoch > 1);
    assert_eq!(store.epoch(), epoch);
    let moved = Position { epoch, partition: 0, seq: 1 };
    assert_eq!(read(store, ONE).unwrap().position, moved);
    assert_eq!(apply_one(store, licensed(TWO)), Outcome::Created(Position { seq: 2, ..moved }));
    let record = read(store, TWO).unwrap().record.unwrap();
    assert_eq!(record.history.changes()[0].position.epoch, epoch);
}

#[derive(Default)]
struct Heard(Mutex<Vec<(SubjectId, Vec<NumberPseudonym>, Position)>>);

impl ChangeObserver for Heard {
    fn changed(&self, subject: &SubjectId, pseudonyms: &[NumberPseudonym], position: Position) {
        self.0.lock().unwrap().push((*subject, pseudonyms.to_vec(), position));
    }
}

pub(super) fn observers_hear_before_the_writer_does(store: &dyn LicenceStore) {
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    apply(store, &[licensed(ONE), licensed(TWO)]);
    // No waiting here: when `apply` has returned, it must have been told.
    let told = heard.0.lock().unwrap().clone();
    assert_eq!(told.iter().map(|(_, _, position)| position.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(told[0].1, [pseudonym(store, ONE)]);
    assert_eq!(told[0].0, read(store, ONE).unwrap().record.unwrap().subject);
    apply(store, &[licensed(ONE)]);
    assert_eq!(heard.0.lock().unwrap().len(), 2, "nothing changed, nothing told");
}

pub(super) fn a_reader_never_lags_behind_an_acknowledged_write(store: &dyn LicenceStore) {
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

pub(super) fn every_change_is_counted_and_found_in_its_partitions_feed(store: &dyn LicenceStore) {
    let before = wait(store.heads()).unwrap();
    assert_eq!((before.epoch, before.changes()), (1, 0));
    let mut subjects = population(60);
    let outcomes = apply(store, &subjects);
    subjects.truncate(20);
    for subject in &mut subjects {
        let points = change("2025-06-01T00:00:00Z", ChangeKind::PointsSet { points: 3 });
        (subject.extent, subject.changes) = (Extent::Continuation, vec![points]);
    }
    let more = apply(store, &subjects);
    let mut told: Vec<Position> = Vec::new();
    for outcome in outcomes.iter().chain(&more) {
        match outcome {
            Outcome::Created(position) | Outcome::Appended(position) => told.push(*position),
            other => panic!("{other:?}"),
        }
    }
    let after = wait(store.heads()).unwrap();
    assert_eq!(after.changes(), 80);
    assert_eq!(store.heads_known(), after, "whoever wrote knows");
    let mut listed = Vec::new();
    for from in before.positions() {
        let rows = feed_after(store, from, 1_000);
        let seqs: Vec<_> = rows.iter().map(|row| row.position.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "in order, without gaps");
        listed.extend(rows.iter().map(|row| row.position));
    }
    told.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, told);
}

pub(super) fn a_number_that_comes_into_being_is_told_where_its_absence_was_read(store: &dyn LicenceStore) {
    let told_after = |absence: Position, text| {
        let rows = feed_after(store, absence, 100);
        rows.iter().any(|row| row.pseudonyms.contains(&pseudonym(store, text)))
    };
    let absent = |text| {
        let reading = read(store, text).unwrap();
        assert!(reading.record.is_none());
        reading.position
    };
    let [one, two, three] = [ONE, TWO, THREE].map(absent);
    apply(store, &[licensed(ONE)]);
    assert!(told_after(one, ONE));
    for (text, absence, at) in [(TWO, two, "2020-01-01T00:00:00Z"), (THREE, three, "2021-01-01T00:00:00Z")] {
        let renumbered = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(text) };
        apply_one(store, more(ONE, change(at, renumbered)));
        assert!(told_after(absence, text));
        let reading = read(store, text).unwrap();
        // A later change of the subject is told where any of its numbers is read.
        let points = change(at, ChangeKind::PointsSet { points: 1 });
        apply_one(store, more(ONE, points));
        assert!(told_after(reading.position, text));
        assert!(told_after(reading.position, ONE));
    }
    let subjects = [ONE, TWO, THREE].map(|text| read(store, text).unwrap().record.unwrap().subject);
    assert!(subjects.iter().all(|subject| *subject == subjects[0]));
}

pub(super) fn writers_at_once_lose_nothing_and_take_nothing_twice(store: &dyn LicenceStore) {
    let subjects = population(40);
    std::thread::scope(|scope| {
        for turn in 0..4_usize {
            let mut subjects = subjects.clone();
            scope.spawn(move || {
                subjects.rotate_left(turn * 10);
                for batch in subjects.chunks(7) {
                    apply(store, batch);
                }
            });
        }
    });
    assert_eq!(wait(store.heads()).unwrap().changes(), 40);
    let stats = wait(store.stats()).unwrap();
    assert_eq!((stats.subjects, stats.numbers, stats.unreadable), (40, 40, 0));
    assert_eq!(stats.head_seq, 40);
}

pub(super) fn a_number_twice_in_one_import_is_a_duplicate(store: &dyn LicenceStore) {
    apply(store, &[licensed(ONE)]);
    let began = wait(store.heads()).unwrap();
    let import = |batch: &[Submission]| wait(store.apply_since(batch, Some(&began))).unwrap();
    assert!(matches!(import(&[licensed(TWO)])[0], Outcome::Created(_)));
    assert_eq!(import(&[licensed(TWO)]), [Outcome::Rejected(Rejection::DuplicateNumber)]);
    assert_eq!(import(&[licensed(ONE)]), [Outcome::Unchanged], "it was there before");
}

/// Every licence as a line, in order of the lines: stores go through them each in an order of its own.
fn exported(store: &dyn LicenceStore) -> Vec<String> {
    let mut text = Vec::new();
    let end = export(store, &mut text, &mut |_| {}).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_eq!(read_end(lines.pop().unwrap().as_bytes()), Some(end));
    assert_eq!(
        (lines.remove(0).contains("begin"), lines.len() as u64, end.left_out),
        (true, end.subjects, 0)
    );
    lines.sort_unstable();
    lines
}

pub(super) fn an_export_says_what_the_embedded_store_says(store: &dyn LicenceStore) {
    let embedded = embedded::fresh();
    let mut batch = population(150);
    batch.extend([licensed(ONE), licensed(THREE)]);
    let renumbered = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(TWO) };
    let renumbered = more(ONE, change("2020-01-01T00:00:00Z", renumbered));
    let stores: [&dyn LicenceStore; 2] = [store, &embedded];
    let [here, there] = stores.map(|store| {
        assert!(exported(store).is_empty());
        apply(store, &batch);
        apply(store, std::slice::from_ref(&renumbered));
        exported(store)
    });
    assert_eq!(here.len(), batch.len());
    assert_eq!(here, there);
}

pub(super) fn an_export_is_of_one_moment(store: &dyn LicenceStore) {
    let before = population(30);
    apply(store, &before);
    let mut seen = 0;
    let later_at = moment("2025-06-01T00:00:00Z");
    let walked = store.walk(&mut |record| {
        if seen == 0 {
            let points = change("2025-06-01T00:00:00Z", ChangeKind::PointsSet { points: 3 });
            let (document, number) = (before[0].document, before[0].number.clone());
            let later = Submission { document, number, extent: Extent::Continuation, changes: vec![points] };
            assert!(matches!(apply(store, &[licensed(ONE)])[0], Outcome::Created(_)));
            assert!(matches!(apply(store, &[later])[0], Outcome::Appended(_)));
        }
        seen += 1;
        let history = record.unwrap().history;
        assert!(history.changes().iter().all(|change| change.recorded_at != later_at));
        ControlFlow::Continue(())
    });
    walked.unwrap();
    assert_eq!(seen, before.len());
    let mut some = 0;
    let walked = store.walk(&mut |_| {
        some += 1;
        if some == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    walked.unwrap();
    assert_eq!(some, 7, "it ends when enough was seen");
    assert!(matches!(apply(store, &[licensed(TWO)])[0], Outcome::Created(_)), "and holds nobody up");
}

fn population(count: usize) -> Vec<Submission> {
    let drivers = super::generator::Population::new(7, date(2025, 1, 1)).take(count);
    drivers.map(NewSubject::into_submission).collect()
}

/// Runs behaviours of the suite, each on a fresh store.
macro_rules! licence_store_suite {
    ($fresh:expr; $($behaviour:ident)+) => {
        $(#[test] fn $behaviour() { $crate::registry::suite::$behaviour(&$fresh); })+
    };
}

/// The behaviours that name positions: on a store with one partition.
macro_rules! exact_suite {
    ($fresh:expr) => {
        $crate::registry::suite::licence_store_suite! { $fresh;
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
    };
}

/// The behaviours that hold for any number of partitions.
macro_rules! partition_suite {
    ($fresh:expr) => {
        $crate::registry::suite::licence_store_suite! { $fresh;
            every_change_is_counted_and_found_in_its_partitions_feed
            a_number_that_comes_into_being_is_told_where_its_absence_was_read
            writers_at_once_lose_nothing_and_take_nothing_twice
            a_number_twice_in_one_import_is_a_duplicate
            an_export_says_what_the_embedded_store_says
            an_export_is_of_one_moment
        }
    };
}

pub(super) use {exact_suite, licence_store_suite, partition_suite};

mod embedded {
    use super::*;

    pub(super) fn fresh() -> EmbeddedRegistry {
        let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
        EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
    }

    exact_suite! { fresh() }
    partition_suite! { fresh() }
}
