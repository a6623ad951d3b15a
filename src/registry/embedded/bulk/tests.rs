//! A first load: all of it or nothing, in order or not, and nothing left behind.

use std::path::Path;
use std::sync::Arc;

use super::spill::SpillFolder;
use crate::domain::licence::{ChangeKind, DocumentKind};
use crate::domain::subject::Position;
use crate::registry::RegistryKeys;
use crate::registry::embedded::{BulkReport, EmbeddedRegistry, RegistryError, RegistryOptions};
use crate::registry::generator::Population;
use crate::registry::submission::{NewSubject, Outcome, Rejection, Submission};
use crate::registry::suite::{ONE, THREE, TWO, change, licensed, more, number, numbers_in, read, read_of};

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

fn store(folder: &Path) -> EmbeddedRegistry {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    EmbeddedRegistry::open(folder, keys, RegistryOptions::default()).unwrap()
}

fn load(store: &EmbeddedRegistry, submissions: &[Submission]) -> BulkReport {
    let load = store.bulk_load().unwrap();
    let mut worker = load.worker();
    for (ordinal, submission) in submissions.iter().enumerate() {
        worker.take(ordinal as u64, submission).unwrap().unwrap();
    }
    worker.finish().unwrap();
    load.finish(&mut |_| {}).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_population_is_there_whole_after_a_load_by_two_workers() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let drivers: Vec<_> = Population::new(3, AS_OF).take(4_000).map(NewSubject::into_submission).collect();
    let load = store.bulk_load().unwrap();
    std::thread::scope(|scope| {
        for (half, drivers) in drivers.chunks(2_000).enumerate() {
            let mut worker = load.worker();
            scope.spawn(move || {
                for (index, driver) in drivers.iter().enumerate() {
                    worker.take((half * 2_000 + index) as u64, driver).unwrap().unwrap();
                }
                worker.finish().unwrap();
            });
        }
    });
    let mut seen = Vec::new();
    let report = load.finish(&mut |progress| seen.push(progress)).unwrap();
    assert_eq!(report, BulkReport { loaded: 4_000, ..BulkReport::default() });
    assert!(seen.iter().any(|progress| progress.done == 4_000 && progress.total == 4_000));
    assert_eq!(names(folder.path()), ["book.log", "book.redb", "registry.redb"], "nothing is left behind");
    for driver in &drivers {
        let reading = read_of(&store, driver).unwrap();
        let record = reading.record.unwrap();
        assert!(driver.changes.iter().zip(record.history.changes()).all(|(new, stored)| new.says(stored)));
        assert_eq!(driver.changes.len(), record.history.changes().len());
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.subjects, stats.numbers, stats.unreadable), (4_000, numbers_in(&drivers), 0));
}

#[test]
fn a_load_begins_an_epoch_and_takes_no_place_in_the_feed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    load(&store, &[licensed(ONE), licensed(TWO)]);
    let began = Position { epoch: 2, partition: 0, seq: 0 };
    assert_eq!(store.head(), began);
    assert_eq!(store.feed_after(0, 10).unwrap(), []);
    let reading = read(&store, ONE).unwrap();
    assert_eq!(reading.position, began);
    assert!(reading.record.unwrap().history.changes().iter().all(|change| change.position == began));
    let told = store.apply(&[licensed(ONE), licensed(THREE)]).unwrap();
    assert_eq!(told, [Outcome::Unchanged, Outcome::Created(Position { seq: 1, ..began })]);
    assert_eq!(store.feed_after(0, 10).unwrap().len(), 1);
}

#[test]
fn of_two_with_the_same_number_the_earlier_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    // The second had ONE's number before its own: both of its numbers must go.
    let mut twin = licensed(TWO);
    let taken = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(ONE) };
    twin.changes.push(change("2016-01-01T00:00:00Z", taken));
    let report = load(&store, &[licensed(ONE), twin, licensed(THREE), licensed(THREE)]);
    assert_eq!(report, BulkReport { loaded: 2, duplicates: vec![3], numbers_taken: vec![1] });
    assert!(read(&store, TWO).unwrap().record.is_none());
    let stats = store.stats().unwrap();
    assert_eq!((stats.subjects, stats.numbers), (2, 2));
    let told = store.apply(&[licensed(TWO)]).unwrap();
    assert!(matches!(told[0], Outcome::Created(_)), "its number is free");
}

#[test]
fn what_does_not_fit_is_refused_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let load = store.bulk_load().unwrap();
    let mut worker = load.worker();
    let mut back = licensed(TWO);
    back.changes.push(change("2014-01-01T00:00:00Z", ChangeKind::PointsCleared));
    let single = more(ONE, change("2016-01-01T00:00:00Z", ChangeKind::PointsCleared));
    let empty = Submission { changes: Vec::new(), ..licensed(TWO) };
    for (submission, rejection) in [
        (back, Rejection::RecordedTimeRunsBack),
        (single, Rejection::UnknownSubject),
        (empty, Rejection::Empty),
    ] {
        assert_eq!(worker.take(0, &submission).unwrap(), Err(rejection));
    }
    worker.finish().unwrap();
    assert_eq!(load.finish(&mut |_| {}).unwrap().loaded, 0);
}

#[test]
fn a_load_that_is_given_up_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let load = store.bulk_load().unwrap();
    let mut worker = load.worker();
    worker.take(0, &licensed(ONE)).unwrap().unwrap();
    worker.finish().unwrap();
    assert_eq!(names(folder.path()), ["book.log", "book.redb", "registry.loading", "registry.redb"]);
    drop(load);
    assert_eq!(names(folder.path()), ["book.log", "book.redb", "registry.redb"]);
    assert_eq!(store.head(), Position { epoch: 1, partition: 0, seq: 0 });
    assert!(read(&store, ONE).unwrap().record.is_none());
}

#[test]
fn a_worker_that_did_not_finish_fails_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let load = store.bulk_load().unwrap();
    load.worker().take(0, &licensed(ONE)).unwrap().unwrap();
    let failed = load.finish(&mut |_| {}).unwrap_err();
    assert!(matches!(failed, RegistryError::Damaged("a worker of the load did not finish")), "{failed:?}");
    assert_eq!(store.stats().unwrap().subjects, 0);
}

#[test]
fn what_a_killed_load_left_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("registry.loading");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("records-000"), b"sealed").unwrap();
    drop(store(folder.path()));
    assert_eq!(names(folder.path()), ["book.log", "book.redb", "registry.redb"]);
}

#[test]
fn a_registry_that_holds_subjects_takes_no_first_load() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.apply(&[licensed(ONE)]).unwrap();
    assert!(matches!(store.bulk_load().err(), Some(RegistryError::NotEmpty)));
    let in_memory =
        EmbeddedRegistry::in_memory(Arc::new(RegistryKeys::ephemeral().unwrap()), RegistryOptions::default());
    assert!(matches!(in_memory.unwrap().bulk_load().err(), Some(RegistryError::InMemory)));
}

#[test]
fn what_is_spilled_is_private_and_sealed() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let load = store.bulk_load().unwrap();
    let mut worker = load.worker();
    worker.take(0, &licensed(ONE)).unwrap().unwrap();
    worker.finish().unwrap();
    let spilled = folder.path().join("registry.loading");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&spilled), 0o700);
    let mut bytes = Vec::new();
    for name in names(&spilled) {
        assert_eq!(mode(&spilled.join(&name)), 0o600);
        bytes.extend(std::fs::read(spilled.join(name)).unwrap());
    }
    assert!(bytes.len() > 100);
    let digits: u64 = ONE[..17].parse().unwrap();
    for marked in [ONE.as_bytes(), "测试".as_bytes(), &digits.to_be_bytes()] {
        assert!(!bytes.windows(marked.len()).any(|window| window == marked));
    }
    SpillFolder::remove_from(folder.path()).unwrap();
}
