//! What only a store on disk can show: reopening, locks, keys, what a crash leaves, what the file tells.

use std::sync::Arc;

use redb::ReadableDatabase as _;

use super::store::STORE_FILE;
use super::tables::{META, META_FORMAT, RECORDS};
use super::*;
use crate::domain::licence::ChangeKind;
use crate::registry::RegistryKeys;
use crate::registry::codec;
use crate::registry::generator::{Population, fixed_drivers};
use crate::registry::submission::{NewSubject, Outcome, Submission};
use crate::registry::suite::{ONE, THREE, TWO, change, licensed, more, numbers_in, read};
use crate::verification::ports::LookUpError;

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

struct Folder {
    folder: tempfile::TempDir,
    keys: Arc<RegistryKeys>,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), keys: Arc::new(RegistryKeys::ephemeral().unwrap()) }
    }

    fn open(&self) -> Result<EmbeddedRegistry, RegistryError> {
        self.open_with(RegistryOptions::default())
    }

    fn open_with(&self, options: RegistryOptions) -> Result<EmbeddedRegistry, RegistryError> {
        EmbeddedRegistry::open(self.folder.path(), Arc::clone(&self.keys), options)
    }
}

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let folder = Folder::new();
    let (secret, head) = {
        let store = folder.open().unwrap();
        store.apply(&[licensed(ONE)]).unwrap();
        store.new_epoch(jiff::Timestamp::UNIX_EPOCH).unwrap();
        (*read(&store, ONE).unwrap().record.unwrap().secret.expose(), store.head())
    };
    let store = folder.open().unwrap();
    assert_eq!(store.head(), head);
    assert_eq!(read(&store, ONE).unwrap().record.unwrap().secret.expose(), &secret);
    assert_eq!(store.apply(&[licensed(ONE)]).unwrap(), [Outcome::Unchanged]);
}

#[test]
fn a_batch_that_was_never_committed_leaves_nothing() {
    let folder = Folder::new();
    {
        let store = folder.open().unwrap();
        store.apply(&[licensed(ONE)]).unwrap();
        // As far as a writer gets before it is killed: written, not committed.
        let transaction = store.shared.database.begin_write().unwrap();
        writer::write_batch(&transaction, &store.shared, &[licensed(TWO)], None).unwrap();
        drop(transaction);
    }
    let store = folder.open().unwrap();
    assert_eq!(store.head().seq, 1);
    assert!(read(&store, TWO).unwrap().record.is_none());
    assert_eq!(store.feed_after(0, 10).unwrap().len(), 1);
}

#[test]
fn a_second_opening_is_told_that_the_file_is_in_use() {
    let folder = Folder::new();
    let _store = folder.open().unwrap();
    assert!(matches!(folder.open(), Err(RegistryError::Locked(_))));
}

#[test]
fn other_keys_are_refused_at_start() {
    let mut folder = Folder::new();
    drop(folder.open().unwrap());
    folder.keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    assert!(matches!(folder.open(), Err(RegistryError::WrongKeys)));
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_says_which() {
    let folder = Folder::new();
    {
        let store = folder.open().unwrap();
        let transaction = store.shared.database.begin_write().unwrap();
        let newer = 7_u32.to_be_bytes();
        transaction.open_table(META).unwrap().insert(META_FORMAT, newer.as_slice()).unwrap();
        transaction.commit().unwrap();
    }
    assert!(matches!(folder.open(), Err(RegistryError::NewerFormat { found: 7, known: 3 })));
}

#[test]
fn a_file_that_is_no_registry_is_refused() {
    let folder = Folder::new();
    std::fs::write(folder.folder.path().join(STORE_FILE), b"number,name\n").unwrap();
    assert!(matches!(folder.open(), Err(RegistryError::Store { action: "open", .. })));
}

#[test]
fn a_damaged_record_is_unreadable_and_the_others_are_not() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    store.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
    let subject = read(&store, ONE).unwrap().record.unwrap().subject;
    let transaction = store.shared.database.begin_write().unwrap();
    {
        let mut records = transaction.open_table(RECORDS).unwrap();
        let mut sealed = records.get_mut(subject.as_bytes()).unwrap().unwrap().value().to_vec();
        sealed[20] ^= 1;
        records.insert(subject.as_bytes(), sealed.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    store.shared.commits.fetch_add(1, std::sync::atomic::Ordering::Release);
    assert_eq!(read(&store, ONE).unwrap_err(), LookUpError::RecordUnreadable);
    assert!(read(&store, TWO).unwrap().record.is_some());
    assert_eq!(store.stats().unwrap().unreadable, 1);
}

#[test]
fn the_file_tells_neither_number_nor_name() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    store.apply(&[licensed(ONE), licensed(TWO), licensed(THREE)]).unwrap();
    drop(store);
    let file = std::fs::read(folder.folder.path().join(STORE_FILE)).unwrap();
    let digits: u64 = ONE[..17].parse().unwrap();
    for marked in [ONE.as_bytes(), TWO.as_bytes(), "测试".as_bytes(), &digits.to_be_bytes()] {
        assert!(!file.windows(marked.len()).any(|window| window == marked));
    }
}

#[test]
fn the_feed_keeps_as_many_rows_as_it_is_told_to() {
    let folder = Folder::new();
    let store = folder.open_with(RegistryOptions { feed_rows: 2, ..RegistryOptions::default() }).unwrap();
    for text in [ONE, TWO, THREE] {
        store.apply(&[licensed(text)]).unwrap();
    }
    let seqs: Vec<_> = store.feed_after(0, 10).unwrap().iter().map(|row| row.position.seq).collect();
    assert_eq!(seqs, [2, 3]);
}

#[test]
fn a_full_queue_answers_that_the_registry_is_unavailable() {
    let folder = Folder::new();
    let store = folder.open_with(RegistryOptions { queue_length: 0, ..RegistryOptions::default() }).unwrap();
    assert_eq!(read(&store, ONE).unwrap_err(), LookUpError::RegistryUnavailable);
}

#[test]
fn look_ups_from_many_threads_are_all_answered() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    store.apply(&[licensed(ONE)]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert!(read(&store, ONE).unwrap().record.is_some());
                }
            });
        }
        for _ in 0..20 {
            store.apply(&[licensed(TWO)]).unwrap();
        }
    });
}

#[test]
fn a_large_store_is_sampled_and_says_so() {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let store = EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap();
    let batch: Vec<Submission> =
        Population::new(1, AS_OF).take(3_000).map(NewSubject::into_submission).collect();
    store.apply(&batch).unwrap();
    let (whole, sampled) = (store.stats().unwrap(), store.stats_of(1_000).unwrap());
    assert!(!whole.is_sampled() && sampled.is_sampled());
    assert_eq!((sampled.subjects, sampled.numbers, sampled.sampled), (3_000, numbers_in(&batch), 1_000));
    let near = |one: u64, other: u64| one.abs_diff(other) * 10 < other;
    assert!(near(sampled.changes, whole.changes), "{} of {}", sampled.changes, whole.changes);
    assert!(near(sampled.sealed_bytes, whole.sealed_bytes));
    assert!(near(sampled.classes["C1"], whole.classes["C1"]));
}

#[test]
fn a_store_of_format_1_is_read_and_becomes_one_of_format_3() {
    let folder = Folder::new();
    let subject = {
        let store = folder.open().unwrap();
        store.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
        let record = read(&store, ONE).unwrap().record.unwrap();
        let place = record.subject.as_bytes();
        let sealed = folder.keys.sealing.seal_as_before(&codec::encode_version_1(&record), place);
        let transaction = store.shared.database.begin_write().unwrap();
        transaction.open_table(RECORDS).unwrap().insert(place, sealed.as_slice()).unwrap();
        let older = 1_u32.to_be_bytes();
        transaction.open_table(META).unwrap().insert(META_FORMAT, older.as_slice()).unwrap();
        transaction.commit().unwrap();
        record.subject
    };
    let store = folder.open().unwrap();
    let reading = store.shared.database.begin_read().unwrap();
    let format: [u8; 4] = tables::fixed(&reading.open_table(META).unwrap(), META_FORMAT).unwrap();
    assert_eq!(u32::from_be_bytes(format), 3);
    let record = read(&store, ONE).unwrap().record.unwrap();
    assert_eq!((record.subject, record.history.changes().len()), (subject, 5));
    assert_eq!(store.apply(&[licensed(ONE)]).unwrap(), [Outcome::Unchanged]);
    let later = change("2016-01-01T00:00:00Z", ChangeKind::PointsCleared);
    assert!(matches!(store.apply(&[more(ONE, later)]).unwrap()[0], Outcome::Appended(_)));
    assert!(store.verify(&mut |_| {}).unwrap().is_sound());
}

#[test]
fn a_population_and_the_test_drivers_fit_in_few_bytes() {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let store = EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap();
    let drivers = fixed_drivers(AS_OF).chain(Population::new(1, AS_OF).take(3_000));
    let batch: Vec<Submission> = drivers.map(NewSubject::into_submission).collect();
    let outcomes = store.apply(&batch).unwrap();
    let created = |outcome: &Outcome| matches!(outcome, Outcome::Created(_));
    assert!(outcomes.iter().all(created), "{:?}", outcomes.iter().find(|outcome| !created(outcome)));
    let stats = store.stats().unwrap();
    assert_eq!((stats.subjects, stats.unreadable), (batch.len() as u64, 0));
    assert!(stats.changes_mean() >= 6.0, "{}", stats.changes_mean());
    println!("{:.1} changes, {:.1} bytes sealed", stats.changes_mean(), stats.sealed_bytes_mean());
    assert!(stats.sealed_bytes_mean() <= 240.0, "{}", stats.sealed_bytes_mean());
    assert!(stats.classes["C1"] > stats.classes["A1"] && stats.letters.contains_key(&'H'));
}
