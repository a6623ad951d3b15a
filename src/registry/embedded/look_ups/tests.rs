//! What the embedded index must do beyond the suite: stay in few runs, survive being cut off, and be rebuilt when it is damaged.

use redb::{ReadableDatabase as _, ReadableTableMetadata as _};

use super::catalogue::{Catalogue, FAN, Merge, Run};
use super::chunks::CHUNKS;
use super::row::{Row, Way, place_of};
use super::store::LOGS;
use super::upkeep::GONE;
use super::*;
use crate::evidence::ports::{LookUpIndex as _, SubjectHandle};
use crate::registry::RegistryError;
use crate::registry::look_ups_suite::{look_up, take_in};
use crate::registry::store::wait;

crate::registry::look_ups_suite::look_ups_suite! { EmbeddedLookUps::in_memory().unwrap() }

fn catalogue_of(index: &EmbeddedLookUps, origin: &str) -> Catalogue {
    let reading = index.shared.database.begin_read().unwrap();
    let logs = reading.open_table(LOGS).unwrap();
    let catalogue = logs.get(origin).unwrap().unwrap();
    Catalogue::decode(catalogue.value()).unwrap()
}

/// Counts chunks, and runs to be swept.
fn chunks_and_gone(index: &EmbeddedLookUps) -> (u64, u64) {
    let reading = index.shared.database.begin_read().unwrap();
    let (chunks, gone) = (reading.open_table(CHUNKS).unwrap(), reading.open_table(GONE).unwrap());
    (chunks.len().unwrap(), gone.len().unwrap())
}

fn feed(index: &EmbeddedLookUps, origin: &str, batches: impl IntoIterator<Item = u64>) -> u64 {
    let mut cursor = wait(index.cursor(origin)).unwrap();
    for size in batches {
        let batch = (cursor..cursor + size).map(|entry| look_up(entry, u8::try_from(entry % 200).unwrap()));
        cursor = take_in(index, origin, cursor, cursor + size, batch.collect());
    }
    cursor
}

fn found(index: &EmbeddedLookUps, subject: u8) -> usize {
    wait(index.by_subject(SubjectHandle([subject; 16]), None, usize::MAX)).unwrap().len()
}

#[test]
fn however_many_batches_come_the_runs_stay_few() {
    let index = EmbeddedLookUps::in_memory().unwrap();
    let cursor = feed(&index, "log", (0..1_200).map(|batch| 1 + batch % 5));
    let catalogue = catalogue_of(&index, "log");
    assert_eq!(catalogue.runs.iter().map(|run| run.count).sum::<u64>(), cursor);
    // Fifteen of each of three tiers, and what waits for a merge under way.
    assert!(catalogue.runs.len() <= 4 * FAN, "{} runs", catalogue.runs.len());
    let expected = (0..cursor).filter(|entry| entry % 200 == 7).count();
    assert_eq!(found(&index, 7), expected);
}

#[test]
fn a_large_merge_is_spread_over_batches_and_searches_miss_nothing_meanwhile() {
    let index = EmbeddedLookUps::in_memory().unwrap();
    let (mut cursor, mut seen_under_way) = (0, false);
    for batch in 0..40 {
        cursor = feed(&index, "log", [if batch < 17 { 5_000 } else { 1 }]);
        let under_way = catalogue_of(&index, "log").merges.iter().any(|merge| merge.after.is_some());
        seen_under_way |= under_way;
        assert_eq!(
            found(&index, 3),
            usize::try_from((cursor + 196) / 200).unwrap(),
            "after {cursor} entries"
        );
    }
    assert!(seen_under_way, "the merge was done in one go");
    feed(&index, "log", std::iter::repeat_n(0, 60));
    let catalogue = catalogue_of(&index, "log");
    assert!(catalogue.merges.is_empty(), "the merge never ends");
    assert!(catalogue.runs.iter().any(|run| run.count >= 16 * 5_000));
    let (chunks, gone) = chunks_and_gone(&index);
    assert_eq!(gone, 0, "what was merged is swept");
    // Full chunks but for a few: nothing was left behind, and little was cut short.
    assert!(chunks <= cursor * 3 / 250 + 200, "{chunks} chunks for {cursor} look-ups");
}

#[test]
fn what_was_forgotten_is_swept_and_takes_no_place() {
    let index = EmbeddedLookUps::in_memory().unwrap();
    feed(&index, "old", std::iter::repeat_n(700, 40));
    wait(index.forget("old")).unwrap();
    assert_eq!(found(&index, 3), 0);
    // A log that begins while the chunks of another are left does not get its number.
    feed(&index, "new", [3]);
    assert_eq!(found(&index, 1), 1);
    feed(&index, "new", std::iter::repeat_n(0, 40));
    assert_eq!(chunks_and_gone(&index), (3, 0));
}

/// Goal: a process killed at any moment leaves rows and cursor of one moment, and feeding goes on from there.
/// Method: the file is copied while the index is open, after commits most of which were not synced.
#[test]
fn an_index_that_is_cut_off_is_of_one_moment() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let index = EmbeddedLookUps::open(here.path()).unwrap();
    let fed = feed(&index, "log", (0..90).map(|batch| batch * 3));
    std::fs::copy(here.path().join(LOOK_UPS_FILE), there.path().join(LOOK_UPS_FILE)).unwrap();
    let copy = EmbeddedLookUps::open(there.path()).unwrap();
    let cursor = wait(copy.cursor("log")).unwrap();
    assert!(cursor > 0 && cursor <= fed, "{cursor} of {fed}");
    for subject in [0, 7, 199] {
        let expected = (0..cursor).filter(|entry| entry % 200 == u64::from(subject)).count();
        assert_eq!(found(&copy, subject), expected, "at {cursor} of {fed}");
    }
    while feed(&copy, "log", [100]) < fed {}
    assert!(found(&copy, 7) >= found(&index, 7));
}

#[test]
fn an_index_comes_back_as_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let index = EmbeddedLookUps::open(folder.path()).unwrap();
    let fed = feed(&index, "log", [3, 4, 5]);
    assert!(matches!(EmbeddedLookUps::open(folder.path()), Err(RegistryError::Locked(_))));
    drop(index);
    let index = EmbeddedLookUps::open(folder.path()).unwrap();
    assert_eq!((wait(index.cursor("log")).unwrap(), found(&index, 11)), (fed, 1));
}

#[test]
fn a_damaged_index_is_set_aside_and_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(LOOK_UPS_FILE), vec![7; 100_000]).unwrap();
    let index = EmbeddedLookUps::open(folder.path()).unwrap();
    assert_eq!(wait(index.cursor("log")).unwrap(), 0);
    feed(&index, "log", [3]);
    assert!(folder.path().join("look-ups.redb.damaged").exists());
}

#[test]
fn a_catalogue_comes_back_and_damage_is_noticed() {
    let row = Row { key: 5 << 100, place: place_of(look_up(9, 1).at, 9) };
    let merge = |after| Merge {
        into: Run { number: 7, count: 32 },
        tier: 1,
        from: vec![1, 2, 3],
        way: Way::Case,
        after,
    };
    let catalogue = Catalogue {
        log: 3,
        cursor: 1 << 40,
        next_run: 12,
        runs: vec![Run { number: 1, count: 20 }, Run { number: 11, count: 1 }],
        merges: vec![merge(None), merge(Some(row))],
    };
    let bytes = catalogue.encode();
    assert_eq!(Catalogue::decode(&bytes).unwrap(), catalogue);
    for length in 0..bytes.len() {
        assert!(
            matches!(Catalogue::decode(&bytes[..length]), Err(RegistryError::Damaged(_))),
            "{length} bytes"
        );
    }
    assert!(Catalogue::decode(&[bytes, vec![0]].concat()).is_err());
    assert_eq!(Row::from_bytes(&row.to_bytes()), row);
    assert_eq!(row.at_and_index(), Some((look_up(9, 1).at, 9)));
}
