//! What is durable gets into the index: soon, once, and whatever happens to the index meanwhile.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::admission::{RefusalLog as _, RefusalNote};
use crate::audit::entry::{AnswerEntry, AuthorisedBy, CaseDigest, LeafSet, RequestDigest, SubjectPseudonym};
use crate::audit::journal::{JournalOptions, NoObserver};
use crate::domain::claim::GroundKind;
use crate::domain::decision::Decision;
use crate::domain::question::Purpose;
use crate::domain::subject::Position;
use crate::domain::time::Clock;
use crate::evidence::ports::{Found, SubjectHandle};
use crate::verification::ports::{Later, QuestionDigest};

/// Entries are to be found within a second; the tests wait longer only when something is wrong.
const WITHIN: Duration = Duration::from_secs(20);

struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}

/// An index in memory that can be away, and somebody else's too.
#[derive(Default)]
struct FakeIndex {
    cursor: AtomicU64,
    look_ups: Mutex<BTreeMap<u64, LookUp>>,
    /// So many calls of `take_in` fail.
    away: AtomicU32,
    forgotten: AtomicU32,
}

impl FakeIndex {
    fn indices(&self) -> Vec<u64> {
        self.look_ups.lock().unwrap().keys().copied().collect()
    }
}

impl LookUpIndex for FakeIndex {
    fn cursor(&self, _origin: &str) -> Later<'_, Result<u64, IndexUnavailable>> {
        Box::pin(async { Ok(self.cursor.load(Ordering::SeqCst)) })
    }

    fn take_in(
        &self,
        _origin: &str,
        from: u64,
        to: u64,
        look_ups: Vec<LookUp>,
    ) -> Later<'_, Result<u64, IndexUnavailable>> {
        Box::pin(async move {
            if self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |away| away.checked_sub(1)).is_ok()
            {
                return Err(IndexUnavailable);
            }
            assert!(
                to - from <= BATCH_ENTRIES_MAX && look_ups.iter().all(|one| (from..to).contains(&one.index))
            );
            let mut known = self.look_ups.lock().unwrap();
            match self.cursor.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst) {
                Err(cursor) => Ok(cursor),
                Ok(_) => {
                    for look_up in look_ups {
                        assert!(known.insert(look_up.index, look_up).is_none(), "taken in twice");
                    }
                    Ok(to)
                }
            }
        })
    }

    fn forget(&self, _origin: &str) -> Later<'_, Result<(), IndexUnavailable>> {
        Box::pin(async {
            self.forgotten.fetch_add(1, Ordering::SeqCst);
            self.look_ups.lock().unwrap().clear();
            self.cursor.store(0, Ordering::SeqCst);
            Ok(())
        })
    }

    fn by_subject(
        &self,
        _subject: SubjectHandle,
        _before: Option<Found>,
        _limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        Box::pin(async { Err(IndexUnavailable) })
    }

    fn by_request(&self, _request: [u8; 16]) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        Box::pin(async { Err(IndexUnavailable) })
    }

    fn by_case(
        &self,
        _case: [u8; 16],
        _before: Option<Found>,
        _limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        Box::pin(async { Err(IndexUnavailable) })
    }
}

#[derive(Default)]
struct Heard {
    fed: AtomicU64,
    behind: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl FeedObserver for Heard {
    fn fed(&self, look_ups: u64, behind: u64) {
        self.fed.fetch_add(look_ups, Ordering::SeqCst);
        self.behind.store(behind, Ordering::SeqCst);
    }

    fn failed(&self, fault: &FeedFault) {
        self.faults.lock().unwrap().push(fault.to_string());
    }
}

/// A journal with small segments, so that the feed crosses many.
fn journal(folder: &Path) -> Arc<Journal> {
    let options =
        JournalOptions { segment_bytes: 4_096, step_bytes: 1_024, ..JournalOptions::new(folder, "gw-1") };
    Journal::open(options, Arc::new(TestClock), Arc::new(NoObserver)).unwrap()
}

fn answer(journal: &Journal, subject: u8) -> Vec<u8> {
    let (nonce, partner) = ([subject; 16], "rental-demo".parse().unwrap());
    let entry = AnswerEntry {
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        partner: Cow::Owned(partner),
        purpose: Purpose::Rental,
        ground: Some(GroundKind::Contract),
        subject_is_party: true,
        authorised_by: AuthorisedBy::Asserted,
        decision: Decision::Qualified,
        charged: true,
        consent_withdrawn: false,
        position: Position { epoch: 1, partition: 0, seq: 1 },
        known_at: Timestamp::from_second(1_800_000_000).unwrap(),
        nonce,
        subject: SubjectPseudonym([1; 16]),
        question: QuestionDigest([2; 16]),
        leaves: LeafSet::from_bits(0).unwrap(),
        root: [3; 32],
        handle: journal.secret().hide_handle(&nonce, SubjectHandle([subject; 16])),
        case: CaseDigest([subject ^ 1; 16]),
        request: Some(RequestDigest([subject ^ 2; 16])),
        policy_version: Cow::Borrowed("2026-11-01"),
        case_category: Cow::Borrowed("checkout"),
        criteria: Cow::Owned(Vec::new()),
    };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    bytes
}

async fn append(journal: &Journal, count: u8) {
    let waiting: Vec<_> =
        (0..count).map(|subject| journal.append(&answer(journal, subject)).unwrap()).collect();
    for durable in waiting {
        durable.await.unwrap();
    }
}

struct Running {
    index: Arc<FakeIndex>,
    heard: Arc<Heard>,
    stop: CancellationToken,
    feed: tokio::task::JoinHandle<()>,
}

fn run(journal: &Arc<Journal>, index: FakeIndex) -> Running {
    let (index, heard, stop) = (Arc::new(index), Arc::<Heard>::default(), CancellationToken::new());
    let feed = IndexFeed::new(Arc::clone(journal), Arc::clone(&index) as _, Arc::clone(&heard) as _);
    let feed = tokio::spawn(feed.run(stop.clone()));
    Running { index, heard, stop, feed }
}

impl Running {
    async fn waits_for(&self, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WITHIN, waiting).await.expect("it came true in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_is_found_and_refusals_are_not_look_ups() {
    let folder = TempDir::new().unwrap();
    let journal = journal(folder.path());
    let running = run(&journal, FakeIndex::default());
    append(&journal, 40).await;
    running.waits_for(|running| running.index.indices().len() == 40).await;
    let look_up = running.index.look_ups.lock().unwrap()[&17].clone();
    assert_eq!(look_up.subject, SubjectHandle([17; 16]));
    assert_eq!((look_up.case, look_up.request), ([17 ^ 1; 16], Some([17 ^ 2; 16])));
    let partner = "rental-demo".parse().unwrap();
    journal.note(RefusalNote { partner: &partner, purpose: None, reason: "RATE_EXCEEDED" });
    append(&journal, 5).await;
    running.waits_for(|running| running.index.indices().len() == 45).await;
    journal.close();
    running.stop.cancel();
    running.feed.await.unwrap();
    assert_eq!(running.index.cursor.load(Ordering::SeqCst), journal.durable());
    assert_eq!(
        (running.heard.fed.load(Ordering::SeqCst), running.heard.behind.load(Ordering::SeqCst)),
        (45, 0)
    );
    assert!(running.heard.faults.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_away_gets_everything_when_it_is_back() {
    let folder = TempDir::new().unwrap();
    let journal = journal(folder.path());
    let running = run(&journal, FakeIndex { away: AtomicU32::new(2), ..FakeIndex::default() });
    append(&journal, 30).await;
    running.waits_for(|running| running.index.indices().len() == 30).await;
    assert_eq!(*running.heard.faults.lock().unwrap(), ["index unavailable", "index unavailable"]);
    running.stop.cancel();
    running.feed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_goes_on_where_the_index_is_whoever_brought_it_there() {
    let folder = TempDir::new().unwrap();
    let journal = journal(folder.path());
    append(&journal, 30).await;
    let running = run(&journal, FakeIndex { cursor: AtomicU64::new(12), ..FakeIndex::default() });
    running.waits_for(|running| running.index.cursor.load(Ordering::SeqCst) == 30).await;
    assert_eq!(running.index.indices(), (12..30).collect::<Vec<_>>());
    // The operator rebuilds the index: everything goes in again.
    running.index.forget("").await.unwrap();
    running.waits_for(|running| running.index.indices().len() == 30).await;
    running.stop.cancel();
    running.feed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_a_log_that_was_rolled_back_is_fed_anew() {
    let folder = TempDir::new().unwrap();
    let journal = journal(folder.path());
    append(&journal, 10).await;
    let running = run(&journal, FakeIndex { cursor: AtomicU64::new(99), ..FakeIndex::default() });
    running.waits_for(|running| running.index.indices().len() == 10).await;
    assert_eq!(running.index.forgotten.load(Ordering::SeqCst), 1);
    assert_eq!(running.heard.faults.lock().unwrap().len(), 1);
    running.stop.cancel();
    running.feed.await.unwrap();
}

/// Goal: what was durable when the gateway stopped is in the index without waiting for the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_told_to_stop_takes_in_the_rest() {
    let folder = TempDir::new().unwrap();
    let journal = journal(folder.path());
    append(&journal, 25).await;
    journal.close();
    let (index, stop) = (Arc::new(FakeIndex::default()), CancellationToken::new());
    stop.cancel();
    let feed = IndexFeed::new(Arc::clone(&journal), Arc::clone(&index) as _, Arc::<Heard>::default());
    feed.run(stop).await;
    assert_eq!(index.indices(), (0..25).collect::<Vec<_>>());
}
