use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use tlog_tiles::tlog::{Hash, check_record, node_hash, record_hash};

use super::appender::Appender;
use super::tiles::{TILE_WIDTH, TileFiles, is_consistent};
use super::*;
use crate::app::SystemClock;
use crate::audit::journal::{Journal, JournalOptions, NoObserver, OpenError, Place};
use crate::audit::note::{LogVerifier, NoteFault, last_checkpoint};
use crate::domain::time::Clock;

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// RFC 6962 §2.1, word for word.
fn naive_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => crate::hashing::sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at((leaves.len().div_ceil(2)).next_power_of_two());
            node_hash(Hash(naive_root(left)), Hash(naive_root(right))).0
        }
    }
}

/// RFC 6962 §2.1.1, word for word.
fn naive_path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let half = leaves.len().div_ceil(2).next_power_of_two();
    let (left, right) = leaves.split_at(half);
    if index < half {
        let mut path = naive_path(index, left);
        path.push(naive_root(right));
        path
    } else {
        let mut path = naive_path(index - half, right);
        path.push(naive_root(left));
        path
    }
}

/// RFC 6962 §2.1.2, word for word.
fn naive_consistency(old: usize, leaves: &[[u8; 32]], is_known: bool) -> Vec<[u8; 32]> {
    if old == leaves.len() {
        return if is_known { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let half = leaves.len().div_ceil(2).next_power_of_two();
    let (left, right) = leaves.split_at(half);
    if old <= half {
        let mut proof = naive_consistency(old, left, is_known);
        proof.push(naive_root(right));
        proof
    } else {
        let mut proof = naive_consistency(old - half, right, false);
        proof.push(naive_root(left));
        proof
    }
}

fn leaf(number: u64) -> [u8; 32] {
    record_hash(&number.to_be_bytes()).0
}

const SOMEWHERE: Place = Place { segment: 0, offset: 0 };

/// Grows a tree to `size`, in uneven steps, with the files opened again in between.
fn grown(folder: &Path, size: u64, step: u64) {
    let mut at = 0;
    while at < size {
        let mut files = Appender::resume(folder, at).unwrap().expect("the files reach so far");
        for number in at..(at + step).min(size) {
            files.push(leaf(number), SOMEWHERE).unwrap();
        }
        files.flush().unwrap();
        at = files.size();
    }
}

#[test]
fn roots_and_proofs_are_those_of_the_standard_for_every_size() {
    let folder = tempfile::tempdir().unwrap();
    let leaves: Vec<_> = (0..600).map(leaf).collect();
    grown(folder.path(), 600, 37);
    let tiles = TileFiles::new(folder.path());
    for size in 1..=600 {
        let upto = &leaves[..size];
        assert_eq!(tiles.root(size as u64).unwrap(), naive_root(upto), "root of {size}");
        for index in [size / 3, size - 1] {
            let proof = tiles.inclusion(index as u64, size as u64).unwrap();
            assert_eq!(proof, naive_path(index, upto), "entry {index} of {size}");
        }
        for old in [size / 2, size - 1] {
            if old > 0 {
                let proof = tiles.consistency(old as u64, size as u64).unwrap();
                assert_eq!(proof, naive_consistency(old, upto, true), "{old} in {size}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However a tree grew, whatever lies behind its size: it is the standard's, and every proof verifies.
    #[test]
    fn trees_grown_in_any_steps_are_the_standards(
        sizes in proptest::collection::vec(1_u64..400, 1..5),
        cut in 0_u64..300,
        picks in proptest::collection::vec((any::<u64>(), any::<u64>()), 8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut size = 0;
        for more in sizes {
            // Entries that were hashed, and never signed: the next process cuts them.
            let mut files = Appender::resume(folder.path(), size).unwrap().unwrap();
            for number in 0..cut {
                files.push(leaf(number + 1_000_000), SOMEWHERE).unwrap();
            }
            files.flush().unwrap();
            let mut files = Appender::resume(folder.path(), size).unwrap().unwrap();
            for number in size..size + more {
                files.push(leaf(number), SOMEWHERE).unwrap();
            }
            files.flush().unwrap();
            size += more;
        }
        let leaves: Vec<_> = (0..size).map(leaf).collect();
        let tiles = TileFiles::new(folder.path());
        let root = tiles.root(size).unwrap();
        prop_assert_eq!(root, naive_root(&leaves));
        for (one, two) in picks {
            let of = one % size + 1;
            let of_root = tiles.root(of).unwrap();
            let index = two % of;
            let proof: Vec<Hash> = tiles.inclusion(index, of).unwrap().into_iter().map(Hash).collect();
            prop_assert!(check_record(&proof, of, Hash(of_root), index, Hash(leaf(index))).is_ok());
            prop_assert!(check_record(&proof, of, Hash(of_root), index, Hash(leaf(index + 1))).is_err());
            let proof = tiles.consistency(of, size).unwrap();
            prop_assert!(is_consistent(&proof, (of, of_root), (size, root)));
            prop_assert!(!is_consistent(&proof, (of, leaf(7)), (size, root)));
        }
    }
}

#[test]
fn files_that_are_too_short_are_not_gone_on_with() {
    for level in ["level-0", "level-1"] {
        let folder = tempfile::tempdir().unwrap();
        grown(folder.path(), 700, 700);
        let file = fs::OpenOptions::new().write(true).open(folder.path().join(level)).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert!(Appender::resume(folder.path(), 700).unwrap().is_none(), "{level}");
        assert!(Appender::resume(folder.path(), 0).unwrap().is_some());
    }
}

pub(super) fn journal_options(folder: &Path) -> JournalOptions {
    JournalOptions { segment_bytes: 20_000, step_bytes: 4096, ..JournalOptions::new(folder, "gw-1") }
}

fn open_journal(folder: &Path) -> Arc<Journal> {
    Journal::open(journal_options(folder), clock(), Arc::new(NoObserver)).unwrap()
}

pub(super) fn quick() -> TreeOptions {
    TreeOptions { checkpoint_every: Duration::from_millis(5), look_every: Duration::from_millis(1) }
}

pub(super) fn open_tree(journal: &Arc<Journal>) -> LogTree {
    LogTree::open(journal, quick(), clock()).unwrap()
}

pub(super) fn payload(number: u64) -> Vec<u8> {
    format!("entry {number} {}", "x".repeat(90)).into_bytes()
}

pub(super) fn append(journal: &Journal, numbers: std::ops::Range<u64>) {
    let mut from = numbers.start;
    while from < numbers.end {
        let end = numbers.end.min(from + 100);
        for number in from..end {
            let _durable = journal.append(&payload(number)).unwrap();
        }
        eventually("the entries are durable", || journal.durable() == end);
        from = end;
    }
}

pub(super) fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("never happened: {what}");
}

/// A log of so many entries, closed.
pub(super) fn log_of(count: u64) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let journal = open_journal(folder.path());
    let tree = open_tree(&journal);
    append(&journal, 0..count);
    journal.close();
    tree.close();
    assert_eq!(tree.stats().signed, count);
    let of_origin = folder.path().join(&**journal.origin());
    (folder, of_origin)
}

pub(super) fn entry_leaf(number: u64) -> [u8; 32] {
    record_hash(&payload(number)).0
}

fn naive_log_root(count: u64) -> [u8; 32] {
    naive_root(&(0..count).map(entry_leaf).collect::<Vec<_>>())
}

pub(super) fn origin_of(of_origin: &Path) -> String {
    of_origin.file_name().unwrap().to_str().unwrap().to_owned()
}

pub(super) fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

#[test]
fn what_is_durable_is_signed_and_can_be_read_and_proved_while_the_log_grows() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open_journal(folder.path());
    let tree = open_tree(&journal);
    let log = Arc::clone(tree.log());
    assert_eq!(log.checkpoint(), None);
    assert!(matches!(log.inclusion(0, 1), Err(StoredLogError::NotYet)));
    for count in [1, 2, 300, 813] {
        append(&journal, journal.durable()..count);
        eventually("signed", || tree.stats().signed == count);
        let checkpoint = log.checkpoint().unwrap();
        assert_eq!(checkpoint.root, naive_log_root(count));
        assert_eq!(tree.verifier().checkpoint(&checkpoint.note).unwrap(), *checkpoint);
        for index in [0, count / 2, count - 1] {
            assert_eq!(log.entry(index).unwrap(), Some(payload(index)));
            let proof: Vec<Hash> = log.inclusion(index, count).unwrap().into_iter().map(Hash).collect();
            check_record(&proof, count, Hash(checkpoint.root), index, Hash(entry_leaf(index))).unwrap();
        }
        assert_eq!(log.entry(count).unwrap(), None);
    }
    assert!(log.entry_files().segments().len() > 3, "segments were rotated");
    assert_eq!(tree.health(), TreeHealth::Following);
    let bundle = log.bundle(3, 45).unwrap().unwrap();
    let length = usize::from(u16::from_be_bytes([bundle[0], bundle[1]]));
    assert_eq!(bundle[2..2 + length], payload(768));
    assert_eq!(log.bundle(3, 46).unwrap(), None, "behind the checkpoint");
    assert_eq!(log.tile(0, 3, 45).unwrap().unwrap().len(), 45 * 32);
    assert_eq!(
        log.tile(1, 0, 3).unwrap().unwrap()[..32],
        naive_root(&(0..256).map(entry_leaf).collect::<Vec<_>>())
    );
    for (level, number, width) in
        [(0, 3, 46), (1, 0, 4), (2, 0, 1), (0, u64::MAX, 1), (255, 0, 1), (0, 0, 0), (0, 0, 257)]
    {
        assert_eq!(log.tile(level, number, width).unwrap(), None);
    }
}

#[test]
fn a_stopped_log_is_signed_to_its_end_and_served_from_its_files() {
    let (folder, of_origin) = log_of(1000);
    let log = StoredLog::open(folder.path(), &origin_of(&of_origin)).unwrap();
    assert_eq!(log.checkpoint().unwrap().root, naive_log_root(1000));
    assert_eq!(log.entries(250, 600, 512).unwrap().len(), 350);
    assert_eq!(log.entry(999).unwrap(), Some(payload(999)));
    assert!(is_consistent(
        &log.consistency(10, 1000).unwrap(),
        (10, naive_log_root(10)),
        (1000, naive_log_root(1000))
    ));
    let mode = |name| fs::metadata(of_origin.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("signer"), 0o600);
    let line = fs::read_to_string(of_origin.join("verifier")).unwrap();
    assert_eq!(LogVerifier::parse(&line).unwrap().name(), origin_of(&of_origin));
}

#[test]
fn a_tree_goes_on_where_it_was_signed() {
    let (folder, of_origin) = log_of(700);
    let key = fs::read(of_origin.join("signer")).unwrap();
    let journal = open_journal(folder.path());
    let tree = open_tree(&journal);
    append(&journal, 700..900);
    eventually("signed", || tree.stats().signed == 900);
    assert_eq!(tree.log().checkpoint().unwrap().root, naive_log_root(900));
    assert_eq!(fs::read(of_origin.join("signer")).unwrap(), key);
    assert_eq!(tree.stats().behind, 0);
}

#[test]
fn damaged_files_are_made_again_from_the_entries() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 6] = [
        ("a flipped hash at the edge", |tree| flip(&tree.join("level-0"), 699 * 32)),
        ("a flipped hash above", |tree| flip(&tree.join("level-1"), 3)),
        ("a short level", |tree| {
            fs::OpenOptions::new().write(true).open(tree.join("level-0")).unwrap().set_len(64).unwrap();
        }),
        ("a missing level", |tree| fs::remove_file(tree.join("level-1")).unwrap()),
        ("missing places", |tree| fs::remove_file(tree.join("offsets")).unwrap()),
        ("wrong places", |tree| fs::write(tree.join("offsets"), [0xa5; 48]).unwrap()),
    ];
    for (what, damage) in damages {
        let (folder, of_origin) = log_of(700);
        damage(&of_origin.join("tree"));
        let journal = open_journal(folder.path());
        let tree = open_tree(&journal);
        append(&journal, 700..710);
        eventually(what, || tree.stats().signed == 710);
        let log = tree.log();
        assert_eq!(log.checkpoint().unwrap().root, naive_log_root(710), "{what}");
        assert_eq!(log.entry(300).unwrap(), Some(payload(300)), "{what}");
        let proof = log.inclusion(5, 710).unwrap();
        assert_eq!(proof, naive_path(5, &(0..710).map(entry_leaf).collect::<Vec<_>>()), "{what}");
    }
}

/// Entries were exchanged with valid checksums: nothing of the journal notices. The tree does when it is made again.
#[test]
fn a_root_that_does_not_continue_the_checkpoint_is_never_signed() {
    let (folder, of_origin) = log_of(300);
    let origin = origin_of(&of_origin);
    let before = last_checkpoint(&of_origin, &origin).unwrap().unwrap();
    // The same key and checkpoint over other entries.
    let (other, of_other) = log_of(300);
    for name in ["signer", "verifier", "tree/checkpoint"] {
        fs::copy(of_origin.join(name), of_other.join(name)).unwrap();
    }
    // The checkpoint is of another origin: the journal refuses it.
    let fault = last_checkpoint(&of_other, &origin_of(&of_other));
    assert!(matches!(fault, Err(NoteFault::Key)));
    assert_eq!(before.size, 300);
    drop((folder, other));

    let (folder, of_origin) = log_of(300);
    let first = fs::read_dir(&of_origin).unwrap().map(|file| file.unwrap().path());
    let first = first.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).min().unwrap();
    rewrite_entry(&first, b"entry 1 ", b"entry 9 ", 1);
    fs::remove_file(of_origin.join("tree/level-0")).unwrap();
    let note = fs::read(of_origin.join("tree/checkpoint")).unwrap();
    let journal = open_journal(folder.path());
    let tree = open_tree(&journal);
    append(&journal, 300..310);
    eventually("stopped", || matches!(tree.health(), TreeHealth::Stopped(_)));
    assert!(tree.stats().is_stopped);
    tree.close();
    assert_eq!(fs::read(of_origin.join("tree/checkpoint")).unwrap(), note, "nothing more was signed");
}

/// Exchanges words in an entry and makes its frame valid again.
pub(super) fn rewrite_entry(segment: &Path, from: &[u8], to: &[u8], index: u64) {
    let mut bytes = fs::read(segment).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    let length = u32::from_be_bytes(bytes[at - 8..at - 4].try_into().unwrap()) as usize;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes[at..at + length]);
    sum.update(&index.to_be_bytes());
    bytes[at - 4..at].copy_from_slice(&sum.finalize().to_be_bytes());
    fs::write(segment, bytes).unwrap();
}

#[test]
fn a_torn_tail_is_never_cut_below_the_checkpoint() {
    let (folder, of_origin) = log_of(300);
    let last = fs::read_dir(&of_origin).unwrap().map(|file| file.unwrap().path());
    let last = last.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).max().unwrap();
    let whole = fs::read(&last).unwrap();
    flip(&last, whole.len() as u64 - 5);
    let damaged = fs::read(&last).unwrap();
    let refused = Journal::open(journal_options(folder.path()), clock(), Arc::new(NoObserver));
    match refused.map(drop) {
        Err(OpenError::BelowCheckpoint { entries: 299, signed: 300 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&last).unwrap(), damaged, "nothing was changed");
    fs::write(&last, &whole[..whole.len() - 1]).unwrap();
    let refused = Journal::open(journal_options(folder.path()), clock(), Arc::new(NoObserver));
    assert!(matches!(refused, Err(OpenError::BelowCheckpoint { .. })));
    // What no checkpoint covers may be torn.
    fs::write(&last, [&whole[..], b"\0\0\0\x20torn"].concat()).unwrap();
    assert_eq!(open_journal(folder.path()).durable(), 300);
    fs::remove_file(&last).unwrap();
    let refused = Journal::open(journal_options(folder.path()), clock(), Arc::new(NoObserver));
    assert!(matches!(refused, Err(OpenError::BelowCheckpoint { .. })));
}

#[test]
fn a_damaged_checkpoint_or_key_is_refused() {
    let (folder, of_origin) = log_of(20);
    let open = || Journal::open(journal_options(folder.path()), clock(), Arc::new(NoObserver)).map(drop);
    let checkpoint = of_origin.join("tree/checkpoint");
    let note = fs::read(&checkpoint).unwrap();
    for at in 0..note.len() as u64 {
        flip(&checkpoint, at);
        assert!(matches!(open(), Err(OpenError::Checkpoint(_))), "byte {at}");
        flip(&checkpoint, at);
    }
    assert!(open().is_ok());
    let signer = of_origin.join("signer");
    let journal = open_journal(folder.path());
    fs::set_permissions(&signer, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(LogTree::open(&journal, quick(), clock()), Err(TreeError::Note(NoteFault::Readable))));
    fs::remove_file(&signer).unwrap();
    assert!(matches!(LogTree::open(&journal, quick(), clock()), Err(TreeError::Note(NoteFault::NoSigner))));
}

#[test]
fn a_tree_is_kept_by_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open_journal(folder.path());
    let _tree = open_tree(&journal);
    assert!(matches!(LogTree::open(&journal, quick(), clock()), Err(TreeError::Locked)));
}

#[test]
fn bundles_begin_at_known_places() {
    let (folder, of_origin) = log_of(1000);
    let log = StoredLog::open(folder.path(), &origin_of(&of_origin)).unwrap();
    for bundle in 0..4 {
        let place = log.tiles().place(bundle).unwrap();
        let mut walk = log.entry_files().walk(bundle * TILE_WIDTH, 1000, Some((bundle * TILE_WIDTH, place)));
        let (found, entry) = walk.next_entry().unwrap().unwrap();
        assert_eq!((found, entry.index), (place, bundle * TILE_WIDTH));
    }
}

/// Goal: what is old enough goes, nothing else, and everything later still verifies. Method: a log of real entries, a minute
/// apart.
#[test]
fn a_pruned_log_proves_and_shows_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let begin = Timestamp::from_second(1_500_000_000).unwrap();
    let at = |number: u64| begin + jiff::SignedDuration::from_mins(i64::try_from(number).unwrap());
    let entry = |number: u64| {
        let mut bytes = Vec::new();
        let refusals = crate::audit::entry::RefusalEntry {
            at: at(number),
            partner: "rental-demo".parse().unwrap(),
            purpose: None,
            reason: format!("REASON_{}", "X".repeat(30)),
            count: 1,
        };
        refusals.encode(&mut bytes).unwrap();
        bytes
    };
    let journal = open_journal(folder.path());
    let tree = open_tree(&journal);
    for number in 0..6000 {
        let _durable = journal.append(&entry(number)).unwrap();
        if number % 100 == 99 {
            eventually("durable", || journal.durable() == number + 1);
        }
    }
    journal.close();
    tree.close();
    let origin = journal.origin().to_string();
    let whole = StoredLog::open(folder.path(), &origin).unwrap();
    let (root, proof) = (whole.root(6000).unwrap(), whole.inclusion(10, 6000).unwrap());

    // Younger than a day before the date: stays.
    let none = Prunable::find(folder.path(), &origin, at(60)).unwrap();
    assert_eq!((none.segments(), none.minimum_index), (0, 0));
    let before = at(4000);
    let found = Prunable::find(folder.path(), &origin, before).unwrap();
    let minimum = found.minimum_index;
    assert!(found.segments() > 1 && (1000..4000).contains(&minimum), "{minimum}");
    found.remove().unwrap();
    assert_eq!(Prunable::find(folder.path(), &origin, before).unwrap().segments(), 0);
    let all = Prunable::find(folder.path(), &origin, Timestamp::MAX).unwrap();
    assert!(all.minimum_index < 6000, "the last segment stays");

    let log = StoredLog::open(folder.path(), &origin).unwrap();
    assert_eq!(log.minimum_index(), minimum);
    assert_eq!(log.entry(minimum - 1).unwrap(), None);
    assert_eq!(log.entry(minimum).unwrap(), Some(entry(minimum)));
    assert_eq!((log.root(6000).unwrap(), log.inclusion(10, 6000).unwrap()), (root, proof));
    assert_eq!(log.bundle(minimum / 256, 256).unwrap(), None, "not all of it is there");
    assert!(log.bundle(minimum / 256 + 1, 256).unwrap().is_some());
    assert_eq!(whole.bundle(0, 256).ok().flatten(), None, "one that was open notices");
    // The next process goes on with it.
    let journal = open_journal(folder.path());
    let tree = open_tree(&journal);
    let _durable = journal.append(&entry(6000)).unwrap();
    eventually("signed", || tree.stats().signed == 6001);
    assert_eq!(tree.health(), TreeHealth::Following);
}
