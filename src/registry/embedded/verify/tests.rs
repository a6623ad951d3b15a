//! Everything that can be wrong is found, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::WriteTransaction;

use super::{EmbeddedRegistry, FEED, Finding, NUMBERS, RECORDS, VerifyReport};
use crate::domain::licence::{ChangeKind, History, Record};
use crate::domain::subject::{Position, SubjectId};
use crate::registry::embedded::RegistryOptions;
use crate::registry::generator::Population;
use crate::registry::suite::{ONE, THREE, TWO, change, licensed, more, read};
use crate::registry::{NewSubject, RegistryKeys, Submission, codec};

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

fn store() -> EmbeddedRegistry {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let store = EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap();
    store.apply(&[licensed(ONE), licensed(TWO), licensed(THREE)]).unwrap();
    store
}

fn verify(store: &EmbeddedRegistry) -> VerifyReport {
    store.verify(&mut |_| {}).unwrap()
}

fn subject(store: &EmbeddedRegistry, number: &str) -> SubjectId {
    read(store, number).unwrap().record.unwrap().subject
}

/// Damages a sound store and says what is found.
fn found(damage: impl FnOnce(&EmbeddedRegistry, &WriteTransaction)) -> BTreeMap<Finding, u64> {
    let store = store();
    assert!(verify(&store).is_sound());
    let transaction = store.shared.database.begin_write().unwrap();
    damage(&store, &transaction);
    transaction.commit().unwrap();
    verify(&store).findings
}

fn put(store: &EmbeddedRegistry, transaction: &WriteTransaction, record: &Record) {
    let mut plain = Vec::new();
    codec::encode(record, &mut plain).unwrap();
    let sealed = store.keys().sealing.seal(&plain, record.subject.as_bytes()).unwrap();
    transaction.open_table(RECORDS).unwrap().insert(record.subject.as_bytes(), sealed.as_slice()).unwrap();
}

#[test]
fn a_sound_store_is_sound_and_counted() {
    let store = store();
    let drivers: Vec<Submission> =
        Population::new(2, AS_OF).take(9_000).map(NewSubject::into_submission).collect();
    store.apply(&drivers).unwrap();
    store.apply(&[more(ONE, change("2016-01-01T00:00:00Z", ChangeKind::PointsCleared))]).unwrap();
    let mut seen = 0;
    let report = store.verify(&mut |progress| seen = seen.max(progress.done)).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let numbers = drivers.iter().flat_map(|driver| &driver.changes);
    let numbers = numbers.filter(|change| matches!(change.kind, ChangeKind::NumberSet { .. })).count() as u64;
    assert_eq!((report.subjects, report.numbers, report.feed_rows), (9_003, numbers + 3, 9_004));
    let changes: usize = drivers.iter().map(|driver| driver.changes.len()).sum();
    assert_eq!(report.changes, changes as u64 + 16);
    assert_eq!(seen, 9_004);
}

#[test]
fn a_damaged_and_a_moved_record_are_found() {
    let findings = found(|store, transaction| {
        let (one, two) = (subject(store, ONE), subject(store, TWO));
        let mut records = transaction.open_table(RECORDS).unwrap();
        let mut sealed = records.remove(one.as_bytes()).unwrap().unwrap().value().to_vec();
        // Moved to another's place, it cannot be opened either.
        records.insert(two.as_bytes(), sealed.as_slice()).unwrap();
        sealed[30] ^= 1;
        records.insert(one.as_bytes(), sealed.as_slice()).unwrap();
    });
    // What cannot be opened says no number: whose they were is not known, that they lead somewhere is.
    assert_eq!(findings, BTreeMap::from([(Finding::RecordUnopenable, 2)]));
}

#[test]
fn something_sealed_that_is_no_record_is_found() {
    let findings = found(|store, transaction| {
        let one = subject(store, ONE);
        let sealed = store.keys().sealing.seal(b"nothing", one.as_bytes()).unwrap();
        transaction.open_table(RECORDS).unwrap().insert(one.as_bytes(), sealed.as_slice()).unwrap();
    });
    assert_eq!(findings, BTreeMap::from([(Finding::RecordUndecodable, 1)]));
}

#[test]
fn changes_out_of_order_or_beyond_the_head_are_found() {
    let findings = found(|store, transaction| {
        let record = read(store, ONE).unwrap().record.unwrap();
        let mut changes = record.history.changes().to_vec();
        changes[0].recorded_at = "2020-01-01T00:00:00Z".parse().unwrap();
        changes[1].position = Position { seq: 4, ..changes[1].position };
        put(store, transaction, &Record { history: History::from_changes(changes), ..(*record).clone() });
    });
    let expected = [(Finding::RecordedTimeRunsBack, 1), (Finding::ChangeBeyondHead, 1)];
    assert_eq!(findings, BTreeMap::from(expected));
}

#[test]
fn an_index_that_disagrees_is_found() {
    let number = |store: &EmbeddedRegistry, text| {
        let record = read(store, text).unwrap().record.unwrap();
        super::newcomer::pseudonyms(store.keys(), None, record.history.changes())[0]
    };
    let missing = found(|store, transaction| {
        transaction.open_table(NUMBERS).unwrap().remove(number(store, ONE).as_bytes()).unwrap();
    });
    assert_eq!(missing, BTreeMap::from([(Finding::NumberNotFound, 1)]));
    let swapped = found(|store, transaction| {
        let two = subject(store, TWO);
        let mut numbers = transaction.open_table(NUMBERS).unwrap();
        numbers.insert(number(store, ONE).as_bytes(), two.as_bytes()).unwrap();
    });
    assert_eq!(swapped, BTreeMap::from([(Finding::NumberNotFound, 1)]));
    let stray = found(|_, transaction| {
        transaction.open_table(NUMBERS).unwrap().insert(&[7; 16], &[9; 16]).unwrap();
    });
    assert_eq!(stray, BTreeMap::from([(Finding::NumberLeadsNowhere, 1)]));
}

#[test]
fn a_feed_with_a_gap_or_a_broken_row_is_found() {
    let gap = found(|_, transaction| {
        transaction.open_table(FEED).unwrap().remove(2).unwrap();
    });
    assert_eq!(gap, BTreeMap::from([(Finding::FeedGap, 1)]));
    let short = found(|_, transaction| {
        transaction.open_table(FEED).unwrap().remove(3).unwrap();
    });
    assert_eq!(short, BTreeMap::from([(Finding::FeedGap, 1)]));
    let broken = found(|_, transaction| {
        transaction.open_table(FEED).unwrap().insert(2, [1, 2, 3].as_slice()).unwrap();
    });
    assert_eq!(broken, BTreeMap::from([(Finding::FeedRowUnreadable, 1)]));
}
