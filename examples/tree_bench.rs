//! Measures the tree over the evidence log: how quickly it follows, signs, opens again and proves.
//!
//! `cargo run --profile dist --example tree_bench -- FOLDER [ENTRIES]` writes a log of ENTRIES (a million unless told, about 250
//! bytes of disk each) into FOLDER, which must not exist; then proofs from it, and from synthetic trees of 10⁷ and 10⁸ hashes
//! (sparse files: every hash is zero, which costs what any hash costs, and no disk).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring tool for developers"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivegate::app::SystemClock;
use drivegate::audit::{Journal, JournalOptions, LogTree, NoObserver, StoredLog, TreeOptions};
use drivegate::evidence::ports::SignedCheckpoint;

/// Bytes of an entry: those of an answer.
const ENTRY_BYTES: usize = 190;
const PROOFS: usize = 2_000;

fn main() {
    let mut words = std::env::args().skip(1);
    let folder = words.next().expect("name a folder that does not exist");
    let entries: u64 = words.next().map_or(1_000_000, |word| word.parse().expect("a number of entries"));
    fs::create_dir(&folder).expect("the folder must not exist");
    let folder = Path::new(&folder);
    let origin = grow(folder, entries);
    let (journal, took) = timed(|| open(folder));
    println!("journal opened again: {took:?}");
    let (tree, took) =
        timed(|| LogTree::open(&journal, TreeOptions::default(), Arc::new(SystemClock)).unwrap());
    let began = Instant::now();
    while tree.log().inclusion(0, entries).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("tree opened again: {took:?}, proofs after {:?} more", began.elapsed());
    prove("this log", tree.log(), entries);
    let verifier = tree.verifier().clone();
    drop((tree, journal));
    for size in [10_000_000, 100_000_000] {
        let other = folder.join(format!("synthetic-{size}"));
        let tree = other.join(&origin).join("tree");
        fs::create_dir_all(&tree).unwrap();
        for level in 0..4 {
            let file = fs::File::create(tree.join(format!("level-{level}"))).unwrap();
            file.set_len((size >> (8 * level)) * 32).unwrap();
        }
        let checkpoint = SignedCheckpoint { size, root: [0; 32], note: Arc::from(&b""[..]) };
        let log = StoredLog::as_of(&other, &origin, verifier.clone(), checkpoint).unwrap();
        prove(&format!("{size} synthetic hashes"), &log, size);
    }
}

fn open(folder: &Path) -> Arc<Journal> {
    let options = JournalOptions::new(folder, "bench");
    Journal::open(options, Arc::new(SystemClock), Arc::new(NoObserver)).unwrap()
}

/// Writes the log, with the tree beside it.
fn grow(folder: &Path, entries: u64) -> String {
    let journal = open(folder);
    let tree = LogTree::open(&journal, TreeOptions::default(), Arc::new(SystemClock)).unwrap();
    let began = Instant::now();
    let mut entry = [7; ENTRY_BYTES];
    for index in 0..entries {
        entry[..8].copy_from_slice(&index.to_be_bytes());
        while journal.append(&entry).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    journal.close();
    println!("{entries} entries durable: {:?}", began.elapsed());
    tree.close();
    println!("signed to the end: {:?}, {} checkpoints", began.elapsed(), tree.stats().checkpoints);
    assert_eq!(tree.stats().signed, entries);
    journal.origin().to_string()
}

fn prove(what: &str, log: &StoredLog, size: u64) {
    let mut took: Vec<_> =
        (0..PROOFS).map(|_| timed(|| log.inclusion(rand::random_range(0..size), size).unwrap()).1).collect();
    took.sort_unstable();
    let (half, most) = (took[PROOFS / 2], took[PROOFS * 99 / 100]);
    println!("{what}: inclusion p50 {half:?}, p99 {most:?}");
    let mut took: Vec<_> = (0..PROOFS)
        .map(|_| timed(|| log.consistency(rand::random_range(1..size), size).unwrap()).1)
        .collect();
    took.sort_unstable();
    println!("{what}: consistency p50 {:?}, p99 {:?}", took[PROOFS / 2], took[PROOFS * 99 / 100]);
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}
