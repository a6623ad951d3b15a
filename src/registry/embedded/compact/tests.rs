//! A compacted store says the same in fewer bytes.

use std::path::Path;
use std::sync::Arc;

use super::{BESIDE, CompactReport, compact};
use crate::domain::licence::ChangeKind;
use crate::registry::embedded::{EmbeddedRegistry, RegistryError, RegistryOptions};
use crate::registry::generator::Population;
use crate::registry::suite::{change, more, read_of};
use crate::registry::{NewSubject, RegistryKeys, Submission};

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

/// The suite reads by resident numbers.
fn is_resident(driver: &NewSubject) -> bool {
    driver.document == crate::domain::licence::DocumentKind::ResidentId
}

fn open(folder: &Path, keys: &Arc<RegistryKeys>) -> EmbeddedRegistry {
    EmbeddedRegistry::open(folder, Arc::clone(keys), RegistryOptions::default()).unwrap()
}

fn compacted(folder: &Path, keys: &Arc<RegistryKeys>) -> Result<CompactReport, RegistryError> {
    compact(folder, Arc::clone(keys), &mut |_| {})
}

#[test]
fn everything_is_as_it_was_in_fewer_bytes() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let drivers: Vec<Submission> =
        Population::new(4, AS_OF).filter(is_resident).take(4_000).map(NewSubject::into_submission).collect();
    let (head, feed) = {
        let store = open(folder.path(), &keys);
        for some in drivers.chunks(500) {
            store.apply(some).unwrap();
        }
        let points = change("2026-12-01T00:00:00Z", ChangeKind::PointsSet { points: 3 });
        let number = drivers[17].number.expose();
        store.apply(&[more(number, points)]).unwrap();
        (store.head(), store.feed_after(0, 5_000).unwrap())
    };
    // What a compaction that was killed left behind is in nobody's way.
    std::fs::write(folder.path().join(BESIDE), b"half").unwrap();
    let report = compacted(folder.path(), &keys).unwrap();
    assert!(report.bytes_after < report.bytes_before, "{report:?}");
    assert!(!folder.path().join(BESIDE).exists());
    let store = open(folder.path(), &keys);
    assert_eq!((store.head(), store.feed_after(0, 5_000).unwrap()), (head, feed));
    assert!(store.verify(&mut |_| {}).unwrap().is_sound());
    for (index, driver) in drivers.iter().enumerate() {
        let record = read_of(&store, driver).unwrap().record.unwrap();
        assert_eq!(record.history.changes().len(), driver.changes.len() + usize::from(index == 17));
    }
}

#[test]
fn a_store_somebody_has_open_is_left_alone() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Arc::new(RegistryKeys::ephemeral().unwrap()));
    let _store = open(folder.path(), &keys);
    assert!(matches!(compacted(folder.path(), &keys), Err(RegistryError::Locked(_))));
}
