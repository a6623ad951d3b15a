//! The journal as a whole: durable before anyone is told, right after every failure.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::faulty::{FaultyStorage, Plan};
use super::frame::FRAME_HEAD_BYTES;
use super::*;
use crate::admission::{RefusalLog as _, RefusalNote};
use crate::audit::check::{FindingKind, FsckOptions, FsckReport, check};
use crate::audit::entry::{Entry, RefusalEntry};
use crate::domain::partner::PartnerId;
use crate::domain::time::Clock;
use crate::verification::ports::{EntryAt, EvidenceUnavailable};

/// A clock the test moves.
#[derive(Default)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.0.load(Ordering::SeqCst)).unwrap();
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<(JournalStep, ErrorKind)>>);

impl JournalObserver for Heard {
    fn synced(&self, _: u64, _: u64, _: Duration) {}
    fn failed(&self, step: JournalStep, error: ErrorKind) {
        self.0.lock().unwrap().push((step, error));
    }
}

fn options(folder: &Path) -> JournalOptions {
    JournalOptions {
        segment_bytes: 4096,
        step_bytes: 1024,
        reopen_every: Duration::from_millis(5),
        ..JournalOptions::new(folder, "gw-1")
    }
}

fn open(folder: &TempDir) -> Arc<Journal> {
    Journal::open(options(folder.path()), Arc::new(TestClock::default()), Arc::new(NoObserver)).unwrap()
}

fn open_faulty(folder: &TempDir, plan: &Arc<Plan>) -> Arc<Journal> {
    let (clock, plan) = (Arc::new(TestClock::default()), Arc::clone(plan));
    let storage = |path: &Path| -> Box<dyn storage::Storage> { Box::new(FaultyStorage::new(path, plan)) };
    Journal::open_with(options(folder.path()), clock, Arc::new(NoObserver), storage).unwrap()
}

fn payload(number: u64) -> Vec<u8> {
    format!("entry {number} {}", "x".repeat(100)).into_bytes()
}

fn append(journal: &Journal, payload: &[u8]) -> Result<EntryAt, EvidenceUnavailable> {
    futures_executor_block_on(journal.append(payload)?)
}

/// A minimal executor: parks this thread until woken.
fn futures_executor_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(10)),
        }
    }
}

fn read_all(folder: &Path) -> Vec<StoredEntry> {
    JournalReader::open(folder).unwrap().collect::<Result<_, _>>().unwrap()
}

fn segments(folder: &TempDir) -> Vec<std::path::PathBuf> {
    let origin = JournalReader::open(folder.path()).unwrap().origin().to_owned();
    let names = std::fs::read_dir(folder.path().join(origin)).unwrap();
    let mut paths: Vec<_> = names.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

#[test]
fn an_answered_entry_is_on_disk_before_the_journal_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    for number in 0..100 {
        let at = append(&journal, &payload(number)).unwrap();
        assert_eq!((at.index, &at.origin), (number, journal.origin()));
        // The reader sees the file as it is now; nothing was closed or flushed for it.
        let stored = read_all(folder.path());
        assert_eq!(stored.last(), Some(&StoredEntry { index: number, bytes: payload(number) }));
    }
    assert!(segments(&folder).len() > 2, "segments were rotated");
    assert_eq!(journal.stats().entries, 100);
}

#[test]
fn nobody_is_told_before_the_sync_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan::default());
    let journal = open_faulty(&folder, &plan);
    plan.hold_syncs(true);
    let mut durable = Box::pin(journal.append(b"held back").unwrap());
    let mut context = Context::from_waker(Waker::noop());
    eventually("the entry is written", || read_all(folder.path()).len() == 1);
    std::thread::sleep(Duration::from_millis(30));
    assert!(durable.as_mut().poll(&mut context).is_pending(), "written is not durable");
    plan.hold_syncs(false);
    assert_eq!(futures_executor_block_on(durable).unwrap().index, 0);
}

#[test]
fn what_gathers_during_a_sync_shares_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan::default());
    let journal = open_faulty(&folder, &plan);
    plan.hold_syncs(true);
    let first = journal.append(b"first").unwrap();
    eventually("the first is being synced", || read_all(folder.path()).len() == 1);
    let crowd: Vec<_> = (0..50).map(|number| journal.append(&payload(number)).unwrap()).collect();
    plan.hold_syncs(false);
    futures_executor_block_on(first).unwrap();
    for (index, durable) in (1..).zip(crowd) {
        assert_eq!(futures_executor_block_on(durable).unwrap().index, index);
    }
    assert_eq!((journal.stats().entries, journal.stats().syncs), (51, 2));
}

#[test]
fn concurrent_callers_get_indices_without_gap_or_double() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let indices: Vec<u64> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8u64)
            .map(|caller| {
                let journal = &journal;
                scope.spawn(move || {
                    (0..200)
                        .map(|number| {
                            let bytes = payload(caller * 1000 + number);
                            (append(journal, &bytes).unwrap().index, bytes)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let told: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        let stored = read_all(folder.path());
        for (index, bytes) in &told {
            assert_eq!(stored[usize::try_from(*index).unwrap()].bytes, *bytes);
        }
        told.into_iter().map(|(index, _)| index).collect()
    });
    assert_eq!(indices.iter().copied().collect::<HashSet<_>>(), (0..1600).collect());
}

#[test]
fn waiters_of_attached_cores_are_woken_on_their_core() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let told: u64 = std::thread::scope(|scope| {
        let cores: Vec<_> = (0..2)
            .map(|_| {
                let journal = &journal;
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let tasks = tokio::task::LocalSet::new();
                    tasks.spawn_local(journal.core_task());
                    let clients: Vec<_> = (0..64)
                        .map(|client| {
                            let journal = Arc::clone(journal);
                            tasks.spawn_local(async move {
                                for number in 0..20 {
                                    journal.append(&payload(client * 100 + number)).unwrap().await.unwrap();
                                }
                                20
                            })
                        })
                        .collect();
                    tasks.block_on(&runtime, async {
                        let mut told = 0;
                        for client in clients {
                            told += client.await.unwrap();
                        }
                        told
                    })
                })
            })
            .collect();
        cores.into_iter().map(|core| core.join().unwrap()).sum()
    });
    assert_eq!(told, 2 * 64 * 20);
    let stats = journal.stats();
    assert!(stats.syncs < stats.entries / 4, "a crowd shares syncs: {stats:?}");
}

#[test]
fn a_core_that_leaves_hangs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan::default());
    let journal = open_faulty(&folder, &plan);
    plan.hold_syncs(true);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let core = tokio::spawn(journal.core_task());
        tokio::task::yield_now().await;
        let waiting = tokio::spawn(journal.append(b"waits").unwrap());
        tokio::task::yield_now().await;
        core.abort();
        assert!(core.await.unwrap_err().is_cancelled());
        plan.hold_syncs(false);
        assert_eq!(waiting.await.unwrap().unwrap().index, 0);
    });
}

#[test]
fn a_caller_that_leaves_leaves_its_entry() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    drop(journal.append(b"nobody waits").unwrap());
    assert_eq!(append(&journal, b"somebody waits").unwrap().index, 1);
    assert_eq!(read_all(folder.path()).len(), 2);
}

#[test]
fn closing_drains_and_then_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let waiting: Vec<_> = (0..30).map(|number| journal.append(&payload(number)).unwrap()).collect();
    journal.close();
    for durable in waiting {
        assert!(futures_executor_block_on(durable).is_ok());
    }
    assert_eq!(journal.append(b"late").err(), Some(EvidenceUnavailable));
    assert_eq!(journal.health(), JournalHealth::Closed(ClosedReason::ShutDown));
    assert_eq!(read_all(folder.path()).len(), 30);
    let reopened = open(&folder);
    assert_eq!(append(&reopened, b"next").unwrap().index, 30);
}

#[test]
fn too_many_waiting_bytes_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan::default());
    let journal = open_faulty(&folder, &plan);
    plan.hold_syncs(true);
    let entry = vec![7; 4000];
    let mut waiting = Vec::new();
    let refused = loop {
        match journal.append(&entry) {
            Ok(durable) => waiting.push(durable),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, EvidenceUnavailable);
    assert!(waiting.len() >= (8 << 20) / (4000 + FRAME_HEAD_BYTES));
    assert_eq!(journal.stats().overflows, 1);
    plan.hold_syncs(false);
    for durable in waiting {
        assert!(futures_executor_block_on(durable).is_ok());
    }
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_of_the_last_frame() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    for number in 0..4 {
        append(&journal, &payload(number)).unwrap();
    }
    append(&journal, b"the last entry, torn").unwrap();
    drop(journal);
    let path = segments(&folder).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let last_frame = FRAME_HEAD_BYTES + b"the last entry, torn".len();
    for torn in 1..=last_frame {
        // Cut off, or never arrived and still zero, or garbage.
        let end = whole.len() - torn;
        let mut zeroed = whole.clone();
        zeroed[end..].fill(0);
        let mut garbage = whole.clone();
        garbage[end..].iter_mut().for_each(|byte| *byte ^= 0xA5);
        for tail in [&whole[..end], &zeroed, &garbage] {
            std::fs::write(&path, tail).unwrap();
            assert_eq!(read_all(folder.path()).len(), 4, "{torn} bytes torn");
            let reopened = open(&folder);
            assert_eq!(append(&reopened, b"again").unwrap().index, 4, "{torn} bytes torn");
            drop(reopened);
            let stored = read_all(folder.path());
            assert_eq!((stored.len(), &stored[3].bytes), (5, &payload(3)));
            assert_eq!(
                std::fs::read(&path).unwrap()[..whole.len() - last_frame],
                whole[..whole.len() - last_frame]
            );
        }
    }
}

#[test]
fn after_any_single_failure_the_waiting_are_refused_and_writing_goes_on() {
    use JournalStep::{Create, Rename, Sync, SyncFolder, Truncate, Write};
    for (step, error) in [
        (Write, ErrorKind::StorageFull),
        (Write, ErrorKind::Other),
        (Sync, ErrorKind::Other),
        (Create, ErrorKind::ReadOnlyFilesystem),
        (Rename, ErrorKind::Other),
        (SyncFolder, ErrorKind::Other),
        (Truncate, ErrorKind::Other),
    ] {
        for times in 1..=3 {
            let folder = tempfile::tempdir().unwrap();
            let plan = Arc::new(Plan::default());
            let journal = open_faulty(&folder, &plan);
            let mut told = Vec::new();
            let mut refused = 0;
            for number in 0..60 {
                if number == 10 {
                    plan.fail_next(step, times, error);
                }
                let bytes = payload(number);
                match append(&journal, &bytes) {
                    Ok(at) => told.push((at.index, bytes)),
                    Err(EvidenceUnavailable) => {
                        refused += 1;
                        eventually("it goes on", || journal.health() == JournalHealth::Writing);
                    }
                }
            }
            let stored = read_all(folder.path());
            assert!(refused >= 1, "{step} x{times}");
            assert!(journal.stats().failures >= 1);
            assert_eq!(stored.len(), told.len(), "{step} x{times}");
            for (at, (index, bytes)) in stored.iter().zip(&told) {
                assert_eq!((at.index, &at.bytes), (*index, bytes), "{step} x{times}");
            }
            drop(journal);
            assert_eq!(read_all(folder.path()), stored);
            assert_eq!(append(&open(&folder), b"after").unwrap().index, told.len() as u64);
        }
    }
}

#[test]
fn a_full_disk_closes_the_journal_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan::default());
    let journal = open_faulty(&folder, &plan);
    append(&journal, b"before").unwrap();
    plan.fail_next(JournalStep::Write, usize::MAX, ErrorKind::StorageFull);
    assert_eq!(append(&journal, b"no room"), Err(EvidenceUnavailable));
    let closed = ClosedReason::Failed { step: JournalStep::Write, error: ErrorKind::StorageFull };
    eventually("it is closed", || journal.health() == JournalHealth::Closed(closed));
    assert_eq!(journal.append(b"at once").err(), Some(EvidenceUnavailable));
    plan.heal();
    eventually("it is open again", || journal.health() == JournalHealth::Writing);
    assert_eq!(append(&journal, b"after").unwrap().index, 1);
    assert_eq!(read_all(folder.path()).len(), 2);
}

#[test]
fn a_closed_journal_can_be_closed() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan::default());
    let journal = open_faulty(&folder, &plan);
    plan.die_at(0);
    assert_eq!(append(&journal, b"lost"), Err(EvidenceUnavailable));
    journal.close();
    assert_eq!(journal.health(), JournalHealth::Closed(ClosedReason::ShutDown));
}

#[test]
fn short_writes_are_completed() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan::default());
    plan.write_short(7);
    let journal = open_faulty(&folder, &plan);
    for number in 0..50 {
        append(&journal, &payload(number)).unwrap();
    }
    assert_eq!(read_all(folder.path()).len(), 50);
}

#[test]
fn whenever_the_machine_dies_every_answer_given_is_in_the_log() {
    let (folder, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
    let journal = open_faulty(&folder, &plan);
    let opening = plan.steps().len();
    (0..40).for_each(|number| drop(append(&journal, &payload(number)).unwrap()));
    drop(journal);
    let steps = plan.steps().len();
    assert!(steps > 80, "{steps}");
    for death in opening..steps {
        let (folder, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
        let journal = open_faulty(&folder, &plan);
        plan.die_at(death);
        let told: Vec<_> = (0..40)
            .map_while(|number| append(&journal, &payload(number)).ok().map(|at| (at.index, payload(number))))
            .collect();
        drop(journal);
        let reopened = open(&folder);
        let next = append(&reopened, b"after").unwrap().index;
        let stored = read_all(folder.path());
        // An entry without answer may be there; an answer without entry never.
        assert!(next - told.len() as u64 <= 1, "death at {death}");
        for (index, bytes) in told {
            assert_eq!(stored[usize::try_from(index).unwrap()].bytes, bytes, "death at {death}");
        }
        let indices: Vec<_> = stored.iter().map(|entry| entry.index).collect();
        assert_eq!(indices, (0..=next).collect::<Vec<_>>(), "death at {death}");
    }
}

#[test]
fn a_damaged_entry_before_the_last_segment_is_found_and_a_damaged_header_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    (0..60).for_each(|number| drop(append(&journal, &payload(number)).unwrap()));
    drop(journal);
    let paths = segments(&folder);
    let mut first = std::fs::read(&paths[0]).unwrap();
    let good = first.clone();
    first[200] ^= 1;
    std::fs::write(&paths[0], &first).unwrap();
    let outcome: Result<Vec<_>, _> = JournalReader::open(folder.path()).unwrap().collect();
    assert!(matches!(outcome, Err(ReadError::Gap(0))));
    std::fs::write(&paths[0], good).unwrap();

    let last = paths.last().unwrap();
    let mut header = std::fs::read(last).unwrap();
    header[20] ^= 1;
    std::fs::write(last, &header).unwrap();
    let opened = Journal::open(options(folder.path()), Arc::new(TestClock::default()), Arc::new(NoObserver));
    assert!(matches!(opened, Err(OpenError::Segment(_))));
    assert_eq!(std::fs::read(last).unwrap(), header, "nothing was changed");
}

#[test]
fn refusals_are_counted_per_second_and_written_without_an_answer_to_carry_them() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::default());
    let time: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    let journal = Journal::open(options(folder.path()), time, Arc::new(NoObserver)).unwrap();
    let partner: PartnerId = "rental-demo".parse().unwrap();
    let refusal = RefusalNote { partner: &partner, reason: "RATE_EXCEEDED", purpose: None };
    for _ in 0..1000 {
        journal.note(refusal);
    }
    clock.0.store(1, Ordering::SeqCst);
    eventually("it is written", || read_all(folder.path()).len() == 1);
    journal.note(refusal);
    journal.close();
    let counts: Vec<_> = read_all(folder.path())
        .iter()
        .map(|stored| match stored.entry().unwrap() {
            Entry::Refusals(refusals) => (refusals.at.as_second() - 1_800_000_000, refusals.count),
            Entry::Answer(_) | Entry::Access(_) => panic!("no answer was given"),
        })
        .collect();
    assert_eq!(counts, [(0, 1000), (1, 1)]);
}

#[test]
fn failures_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, heard) = (Arc::new(Plan::default()), Arc::new(Heard::default()));
    let faulty = Arc::clone(&plan);
    let storage = |path: &Path| -> Box<dyn storage::Storage> { Box::new(FaultyStorage::new(path, faulty)) };
    let observer: Arc<dyn JournalObserver> = Arc::<Heard>::clone(&heard);
    let journal =
        Journal::open_with(options(folder.path()), Arc::new(TestClock::default()), observer, storage)
            .unwrap();
    plan.fail_next(JournalStep::Sync, 1, ErrorKind::Other);
    assert_eq!(append(&journal, b"lost"), Err(EvidenceUnavailable));
    eventually("it goes on", || journal.health() == JournalHealth::Writing);
    assert_eq!(*heard.0.lock().unwrap(), [(JournalStep::Sync, ErrorKind::Other)]);
}

/// An entry as the journal's callers write them, for checks that read what it says.
fn entry(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let refusals = RefusalEntry {
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        partner: "rental-demo".parse().unwrap(),
        reason: "RATE_EXCEEDED".to_owned(),
        purpose: None,
        count: u32::try_from(number).unwrap(),
    };
    refusals.encode(&mut bytes).unwrap();
    bytes
}

fn fsck(folder: &Path) -> FsckReport {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    check(folder, None, FsckOptions { now, heads: Vec::new(), may_grow: false }, |_| {}).unwrap()
}

/// Small segments: every step of beginning one comes often.
fn open_small(folder: &Path, plan: &Arc<Plan>) -> Arc<Journal> {
    let faulty = Arc::clone(plan);
    let storage = |path: &Path| -> Box<dyn storage::Storage> { Box::new(FaultyStorage::new(path, faulty)) };
    let options = JournalOptions {
        segment_bytes: 256,
        step_bytes: 64,
        reopen_every: Duration::from_millis(1),
        ..JournalOptions::new(folder, "gw-1")
    };
    Journal::open_with(options, Arc::new(TestClock::default()), Arc::new(NoObserver), storage).unwrap()
}

/// Goal: whatever step fails, however, and however often, no answer is lost and the log is whole. Method: a run without
/// faults counts the steps; then each of them fails, once for every kind of failure and for as many times as it takes to fail
/// the first attempts to go on, too. `fsck` judges the folder while the log is open, after it was closed, and after a restart.
#[test]
fn every_step_fails_in_every_way_and_the_log_is_whole() {
    use ErrorKind::{Interrupted, Other, ReadOnlyFilesystem, StorageFull};
    const ENTRIES: u64 = 12;
    let (folder, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
    let journal = open_small(folder.path(), &plan);
    let opening = plan.steps().len();
    (0..ENTRIES).for_each(|number| drop(append(&journal, &entry(number)).unwrap()));
    drop(journal);
    let seen = plan.steps();
    for step in [
        JournalStep::Create,
        JournalStep::Write,
        JournalStep::Sync,
        JournalStep::Rename,
        JournalStep::SyncFolder,
        JournalStep::Truncate,
    ] {
        assert!(seen[opening..].contains(&step), "{step} does not happen in this run");
    }
    for (failing, step) in seen.iter().enumerate().skip(opening) {
        // Once; for as often as the first attempts to go on fail, too; and in ways that are told apart on their way.
        for (error, times) in
            [(Other, 1), (Other, 6), (StorageFull, 2), (ReadOnlyFilesystem, 3), (Interrupted, 1)]
        {
            let case = format!("{step} {failing} x{times}, {error}");
            judge_one_failure(failing, times, error, ENTRIES, &case);
        }
    }
}

fn judge_one_failure(failing: usize, times: usize, error: ErrorKind, entries: u64, case: &str) {
    let (folder, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
    let journal = open_small(folder.path(), &plan);
    plan.fail_from(failing, times, error);
    let mut told = Vec::new();
    for number in 0..entries {
        match append(&journal, &entry(number)) {
            Ok(at) => told.push((at.index, entry(number))),
            Err(EvidenceUnavailable) => {
                eventually("it goes on", || journal.health() == JournalHealth::Writing);
            }
        }
    }
    // At rest, but not closed: zeros stand behind the entries.
    let open = fsck(folder.path());
    assert_eq!((open.findings.as_slice(), open.size), (&[][..], told.len() as u64), "{case}");
    drop(journal);
    let stored = read_all(folder.path());
    let indexed: Vec<_> = stored.into_iter().map(|stored| (stored.index, stored.bytes)).collect();
    assert_eq!(indexed, told, "{case}: what was told, and nothing else");
    assert_eq!(fsck(folder.path()).findings, [], "{case}");
    plan.heal();
    let reopened = open_small(folder.path(), &plan);
    assert_eq!(append(&reopened, &entry(0)).unwrap().index, told.len() as u64, "{case}");
    drop(reopened);
    assert_eq!(fsck(folder.path()).findings, [], "{case}");
}

#[test]
fn a_batch_that_was_written_in_part_or_whole_but_never_synced_is_void() {
    let (folder, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
    let journal = open_small(folder.path(), &plan);
    append(&journal, &entry(0)).unwrap();
    // Written whole, not synced; and the cut fails, too, so that its bytes stay where they are.
    plan.fail_next(JournalStep::Sync, 1, ErrorKind::Other);
    plan.fail_next(JournalStep::Truncate, 1, ErrorKind::Other);
    assert_eq!(append(&journal, &entry(1)), Err(EvidenceUnavailable));
    eventually("it goes on", || journal.health() == JournalHealth::Writing);
    assert_eq!(append(&journal, &entry(2)).unwrap().index, 1);
    drop(journal);
    let report = fsck(folder.path());
    assert_eq!((report.findings.as_slice(), report.size), (&[][..], 2));
    assert!(report.void_bytes > 0, "the failed batch is still there, and void: {report:?}");
    assert_eq!(read_all(folder.path())[1].bytes, entry(2));
}

#[test]
fn a_disk_that_lost_what_it_acknowledged_is_given_nothing_more_until_it_is_back() {
    let (folder, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
    let journal = open_small(folder.path(), &plan);
    let told = append(&journal, &entry(0)).unwrap();
    plan.forget(10);
    plan.fail_next(JournalStep::Sync, 1, ErrorKind::Other);
    assert_eq!(append(&journal, &entry(1)), Err(EvidenceUnavailable));
    let closed = ClosedReason::Failed { step: JournalStep::Read, error: ErrorKind::InvalidData };
    eventually("it is closed", || journal.health() == JournalHealth::Closed(closed));
    let tries = journal.stats().failures;
    eventually("it looks again and again", || journal.stats().failures > tries + 3);
    assert_eq!(journal.append(&entry(2)).err(), Some(EvidenceUnavailable));
    plan.forget(0);
    eventually("the disk has it again", || journal.health() == JournalHealth::Writing);
    assert_eq!(append(&journal, &entry(3)).unwrap().index, told.index + 1);
    drop(journal);
    assert_eq!(fsck(folder.path()).findings, []);
}

#[test]
fn a_torn_end_is_found_and_cut_at_the_next_start() {
    let (folder, plan) = (tempfile::tempdir().unwrap(), Arc::new(Plan::default()));
    let journal = open_small(folder.path(), &plan);
    append(&journal, &entry(0)).unwrap();
    drop(journal);
    let last = segments(&folder).pop().unwrap();
    let mut torn = std::fs::read(&last).unwrap();
    torn.extend_from_slice(&[0, 0, 0, 40, 1, 2, 3]);
    std::fs::write(&last, torn).unwrap();
    let report = fsck(folder.path());
    assert_eq!((report.first_bad_index(), report.findings[0].kind), (Some(1), FindingKind::Damaged));
    drop(open_small(folder.path(), &plan));
    assert_eq!(fsck(folder.path()).findings, []);
}

/// A file system of its own, so small that it is soon full. Unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(kib: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self(folder);
        disk.say("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "drivegate-test"]);
        disk
    }

    fn grow(&self, kib: u32) {
        self.say("mount", &["-o", &format!("remount,size={kib}k")]);
    }

    fn say(&self, program: &str, words: &[&str]) {
        let done = std::process::Command::new(program).args(words).arg(self.0.path()).output().unwrap();
        assert!(
            done.status.success(),
            "this test fills a tmpfs of its own and must be allowed to mount one (root, CAP_SYS_ADMIN): {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

/// Goal: a disk that is really full. Method: a log on a small tmpfs is written until there is no room; then room is made.
#[test]
fn a_disk_that_is_really_full_loses_no_answer_and_the_log_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount(160);
    let folder = disk.0.path().join("log");
    let options = JournalOptions {
        segment_bytes: 24 << 10,
        step_bytes: 8 << 10,
        reopen_every: Duration::from_millis(5),
        ..JournalOptions::new(&folder, "gw-1")
    };
    let journal = Journal::open(options, Arc::new(TestClock::default()), Arc::new(NoObserver)).unwrap();
    let is_full = || {
        let health = journal.health();
        matches!(health, JournalHealth::Closed(ClosedReason::Failed { error: ErrorKind::StorageFull, .. }))
    };
    let mut told = 0;
    // What a failed segment gives back may be room enough for another: it is over when the log stays closed.
    loop {
        match append(&journal, &entry(told)) {
            Ok(at) => assert_eq!(at.index, told),
            Err(EvidenceUnavailable) if is_full() => {
                std::thread::sleep(Duration::from_millis(50));
                if is_full() {
                    break;
                }
                continue;
            }
            Err(EvidenceUnavailable) => continue,
        }
        told += 1;
        assert!(told < 100_000, "the disk does not get full");
    }
    assert!(told > 100, "{told}");
    assert_eq!(journal.append(b"at once").err(), Some(EvidenceUnavailable));
    assert_eq!((fsck(&folder).findings.as_slice(), fsck(&folder).size), (&[][..], told));
    disk.grow(512);
    eventually("it goes on by itself", || journal.health() == JournalHealth::Writing);
    assert_eq!(append(&journal, &entry(0)).unwrap().index, told);
    drop(journal);
    assert_eq!((fsck(&folder).findings.as_slice(), fsck(&folder).size), (&[][..], told + 1));
}
