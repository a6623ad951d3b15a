//! The drill: back up, lose everything, restore with the keys; and every way in which it must not work.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{BackupError, restore};
use crate::domain::subject::Position;
use crate::registry::embedded::{EmbeddedRegistry, RegistryError, RegistryOptions};
use crate::registry::generator::Population;
use crate::registry::keys::{KEY_FILE, KeyFault, RegistryKeys};
use crate::registry::submission::{NewSubject, Submission};
use crate::registry::suite::{ONE, THREE, TWO, licensed, read, read_of};

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

/// The suite reads by resident numbers.
fn is_resident(driver: &NewSubject) -> bool {
    driver.document == crate::domain::licence::DocumentKind::ResidentId
}
/// 1970-01-01T00:00:01Z: a clock that never wins against the backup's epoch.
const EARLY: Timestamp = Timestamp::constant(1, 0);

fn keys() -> Arc<RegistryKeys> {
    Arc::new(RegistryKeys::ephemeral().unwrap())
}

fn store(folder: &Path, keys: &Arc<RegistryKeys>) -> EmbeddedRegistry {
    EmbeddedRegistry::open(folder, Arc::clone(keys), RegistryOptions::default()).unwrap()
}

fn backup(store: &EmbeddedRegistry) -> Vec<u8> {
    let mut file = Vec::new();
    let report = store.back_up(&mut file, &mut |_| {}).unwrap();
    assert_eq!(report.bytes, file.len() as u64);
    file
}

fn bring_back(file: &[u8], folder: &Path, keys: &RegistryKeys) -> Result<u32, BackupError> {
    restore(Cursor::new(file), folder, keys, EARLY, &mut |_| {}).map(|report| report.epoch)
}

fn names(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn everything_comes_back_in_a_new_epoch() {
    let (here, there, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), keys());
    let drivers: Vec<Submission> =
        Population::new(5, AS_OF).filter(is_resident).take(3_000).map(NewSubject::into_submission).collect();
    let first = store(here.path(), &keys);
    first.apply(&drivers).unwrap();
    first.new_epoch(EARLY).unwrap();
    first.apply(&[licensed(ONE)]).unwrap();
    let file = backup(&first);
    // What comes after the backup is not in it.
    first.apply(&[licensed(TWO)]).unwrap();
    let report = restore(Cursor::new(&file), there.path(), &keys, EARLY, &mut |_| {}).unwrap();
    assert_eq!((report.subjects, report.epoch, report.head_seq), (3_001, 3, 3_001));
    let second = store(there.path(), &keys);
    assert_eq!(second.head(), Position { epoch: 3, partition: 0, seq: 3_001 });
    assert!(second.verify(&mut |_| {}).unwrap().is_sound());
    assert_eq!(second.feed_after(0, 5_000).unwrap(), first.feed_after(0, 3_001).unwrap());
    for driver in drivers.iter().chain([&licensed(ONE)]) {
        let [one, other] = [&first, &second].map(|store| read_of(store, driver).unwrap());
        let (one, other) = (one.record.unwrap(), other.record.unwrap());
        assert_eq!((one.subject, &one.history), (other.subject, &other.history));
        assert_eq!(one.secret.expose(), other.secret.expose());
    }
    assert!(read(&second, TWO).unwrap().record.is_none());
    second.apply(&[licensed(THREE)]).unwrap();
    assert_eq!(second.head().seq, 3_002);
}

#[test]
fn a_backup_is_made_while_changes_go_in_and_is_of_one_moment() {
    let (here, there, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), keys());
    let first = store(here.path(), &keys);
    first.apply(&[licensed(ONE)]).unwrap();
    let mut file = Vec::new();
    let mut meanwhile = false;
    let report = first.back_up(&mut file, &mut |_| {
        if !meanwhile {
            first.apply(&[licensed(TWO), licensed(THREE)]).unwrap();
            meanwhile = true;
        }
    });
    assert_eq!((report.unwrap().subjects, first.head().seq, meanwhile), (1, 3, true));
    bring_back(&file, there.path(), &keys).unwrap();
    let second = store(there.path(), &keys);
    assert_eq!(second.head().seq, 1);
    assert!(second.verify(&mut |_| {}).unwrap().is_sound());
}

#[test]
fn two_restores_of_one_backup_share_no_epoch() {
    let (here, keys) = (tempfile::tempdir().unwrap(), keys());
    let file = backup(&store(here.path(), &keys));
    let epoch_at = |text: &str| {
        let there = tempfile::tempdir().unwrap();
        let now = text.parse().unwrap();
        restore(Cursor::new(&file), there.path(), &keys, now, &mut |_| {}).unwrap().epoch
    };
    assert!(epoch_at("2026-11-01T00:00:00Z") < epoch_at("2026-11-01T00:00:01Z"));
}

#[test]
fn losing_the_keys_is_losing_the_registry() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key_file = here.path().join(KEY_FILE);
    let store_file = here.path().join("registry.redb");
    let loaded = Arc::new(RegistryKeys::load_or_create(&key_file, &store_file).unwrap());
    let first = store(here.path(), &loaded);
    first.apply(&[licensed(ONE)]).unwrap();
    let file = backup(&first);
    drop(first);
    std::fs::remove_file(&key_file).unwrap();
    // Neither the store nor the backup can be read again, and nobody is given new keys to try with.
    let missing = RegistryKeys::load_or_create(&key_file, &store_file);
    assert!(matches!(missing, Err(KeyFault::Missing(_))));
    assert!(matches!(bring_back(&file, there.path(), &keys()), Err(BackupError::WrongKeys)));
    assert_eq!(names(there.path()), 0, "a refused restore leaves nothing");
    let digits: u64 = ONE[..17].parse().unwrap();
    for marked in [ONE.as_bytes(), "测试".as_bytes(), &digits.to_be_bytes()] {
        assert!(!file.windows(marked.len()).any(|window| window == marked), "the backup tells nobody");
    }
}

#[test]
fn a_registry_is_never_overwritten() {
    let (here, there, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), keys());
    let file = backup(&store(here.path(), &keys));
    std::fs::write(there.path().join("registry.redb"), b"something").unwrap();
    assert!(matches!(bring_back(&file, there.path(), &keys), Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read(there.path().join("registry.redb")).unwrap(), b"something");
}

#[test]
fn other_files_and_newer_ones_are_told_apart() {
    let (there, keys) = (tempfile::tempdir().unwrap(), keys());
    for (file, newer) in [
        (b"number,name\n".as_slice(), false),
        (b"", false),
        (b"drivegate-registry-backup 2\nwhatever comes then", true),
    ] {
        match bring_back(file, there.path(), &keys) {
            Err(BackupError::NewerFormat) => assert!(newer),
            Err(BackupError::NoBackup) => assert!(!newer),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_backup_put_together_by_a_stranger_is_refused() {
    let (here, there, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), keys());
    let first = store(here.path(), &keys);
    first.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
    let mut file = backup(&first);
    // The two owners of the index swapped, and the block's checksum made right again.
    let begin = file.windows(5).position(|head| head == [2, 0, 0, 0, 64]).unwrap();
    let rows = begin + 5;
    let (one, other) = (file[rows + 16..rows + 32].to_vec(), file[rows + 48..rows + 64].to_vec());
    file[rows + 16..rows + 32].copy_from_slice(&other);
    file[rows + 48..rows + 64].copy_from_slice(&one);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[begin..rows + 64]);
    file[rows + 64..rows + 68].copy_from_slice(&hasher.finalize().to_be_bytes());
    assert!(matches!(bring_back(&file, there.path(), &keys), Err(BackupError::NotGenuine)));
    assert_eq!(names(there.path()), 0);
}

#[test]
fn a_disk_that_is_full_fails_the_backup() {
    struct Full(usize);

    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let (here, keys) = (tempfile::tempdir().unwrap(), keys());
    let failed = store(here.path(), &keys).back_up(&mut Full(100), &mut |_| {});
    assert!(matches!(failed, Err(BackupError::Write(_))));
}

#[test]
fn a_backup_in_the_format_of_a_newer_store_says_so() {
    let (here, there, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), keys());
    let mut file = backup(&store(here.path(), &keys));
    let begin = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let length = u32::from_be_bytes(file[begin + 1..begin + 5].try_into().unwrap());
    let end = begin + 5 + length as usize;
    let format = file.windows(6).position(|window| window == b"format").unwrap() + 6 + 4;
    file[format..format + 4].copy_from_slice(&9_u32.to_be_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[begin..end]);
    file[end..end + 4].copy_from_slice(&hasher.finalize().to_be_bytes());
    let refused = bring_back(&file, there.path(), &keys);
    let Err(BackupError::Registry(RegistryError::NewerFormat { found: 9, known: 3 })) = refused else {
        panic!("{refused:?}");
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_backup_cut_off_or_changed_anywhere_restores_nothing(at: prop::sample::Index, flip in 1_u8..) {
        let (here, there, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), keys());
        let first = store(here.path(), &keys);
        first.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
        let file = backup(&first);
        let at = at.index(file.len());
        prop_assert!(bring_back(&file[..at], there.path(), &keys).is_err());
        let mut changed = file.clone();
        changed[at] ^= flip;
        prop_assert!(bring_back(&changed, there.path(), &keys).is_err());
        changed = file;
        changed.push(flip);
        prop_assert!(bring_back(&changed, there.path(), &keys).is_err());
        prop_assert_eq!(names(there.path()), 0);
    }
}
