//! The shared standing record on a real PostgreSQL: its order, its races, its beginnings, and what it says when the server is away.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::Executor as _;

use super::super::testing::{self, Server};
use super::super::tests::{RealClock, eventually, keys, open};
use super::super::{PostgresOptions, PostgresRegistry, TailOptions};
use super::*;
use crate::domain::standing::StandingOf;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::domain::time::Clock as _;
use crate::registry::store::wait;
use crate::verification::ports::{ChangeObserver, FeedFollower};

/// Notes what it is told, and in which order the watermarks came.
#[derive(Default)]
struct Follower {
    beginnings: Mutex<Vec<Vec<StandingWord>>>,
    told: Mutex<Vec<StandingWord>>,
    current_ns: AtomicU64,
    caught_up_ns: AtomicU64,
}

impl StandingFollower for Follower {
    fn begins_with(&self, words: Vec<StandingWord>) {
        self.beginnings.lock().unwrap().push(words);
    }

    fn told(&self, words: Vec<StandingWord>) {
        self.told.lock().unwrap().extend(words);
    }

    fn current_as_of(&self, poll_began: Duration) {
        self.current_ns.store(u64::try_from(poll_began.as_nanos()).unwrap(), Ordering::Release);
    }
}

impl ChangeObserver for Follower {
    fn changed(&self, _: &SubjectId, _: &[NumberPseudonym], _: Position) {}
}

impl FeedFollower for Follower {
    fn follows_from(&self, _: &[Position]) {}

    fn caught_up(&self, poll_began: Duration) {
        let standing = self.current_ns.load(Ordering::Acquire);
        let feed = u64::try_from(poll_began.as_nanos()).unwrap();
        assert!(standing >= feed, "a current feed with an older standing");
        self.caught_up_ns.store(feed, Ordering::Release);
    }
}

impl Follower {
    fn of(store: &PostgresRegistry) -> Arc<Self> {
        let follower = Arc::new(Self::default());
        let options = TailOptions { poll_every: Duration::from_millis(50), ..TailOptions::default() };
        store.follow_standing(follower.clone());
        store.tail(follower.clone(), options, Arc::new(RealClock));
        follower.waits_for_a_poll();
        follower
    }

    fn current(&self) -> Duration {
        Duration::from_nanos(self.current_ns.load(Ordering::Acquire))
    }

    /// Waits until a poll that began after this call has told everything.
    #[track_caller]
    fn waits_for_a_poll(&self) {
        let now = RealClock.since_boot();
        eventually(|| self.current() > now && self.caught_up_ns.load(Ordering::Acquire) > 0);
    }

    fn seqs(&self) -> Vec<u64> {
        self.told.lock().unwrap().iter().map(|word| word.seq).collect()
    }

    fn last_beginning(&self) -> Vec<(u64, String, RecordedState)> {
        let beginnings = self.beginnings.lock().unwrap();
        let words = beginnings.last().unwrap().iter();
        let mut words: Vec<_> =
            words.map(|word| (word.seq, word.change.of.to_string(), word.change.state)).collect();
        words.sort();
        words
    }
}

fn change(of: &str, state: RecordedState) -> StandingChange {
    let of: StandingOf = of.parse().unwrap();
    let at = "2026-11-22T00:00:00.000001Z".parse().unwrap();
    StandingChange { of, state, reason: "账单 overdue".to_owned(), by: "op".to_owned(), at }
}

fn put(store: &PostgresRegistry, of: &str, state: RecordedState) -> StandingWord {
    wait(store.put(change(of, state))).unwrap()
}

use RecordedState::{Active, Suspended};

#[test]
fn every_replica_hears_of_a_change_before_it_calls_its_knowledge_current() {
    let (url, keys) = (testing::shared().database(), keys());
    let [writer, reader] = [open(&url, 2, &keys), open(&url, 2, &keys)];
    let [here, there] = [Follower::of(&writer), Follower::of(&reader)];
    let denied = format!("key-{}", "5e".repeat(32));
    for (index, of) in ["rental", &denied, "rental", "insurer", &denied].into_iter().enumerate() {
        let state = if index % 2 == 0 { Suspended } else { Active };
        let word = put(&writer, of, state);
        let acknowledged = RealClock.since_boot();
        assert_eq!(word, StandingWord { seq: index as u64 + 1, change: change(of, state) });
        assert!(here.told.lock().unwrap().contains(&word), "told here before it is acknowledged");
        eventually(|| {
            // In this order, as whoever judges does: the age first.
            let current = there.current();
            let is_told = there.told.lock().unwrap().contains(&word);
            assert!(is_told || current < acknowledged, "current without having told {word:?}");
            is_told
        });
    }
    assert_eq!(there.seqs(), [1, 2, 3, 4, 5], "each once, in order");
    let listed = PostgresRegistry::standing_words(&PostgresOptions::new(&*url)).unwrap();
    let mut listed: Vec<u64> = listed.iter().map(|word| word.seq).collect();
    listed.sort_unstable();
    assert_eq!(listed, [3, 4, 5], "the latest about each");
}

/// Goal: a writer that takes its time delays the others and hides nothing.
/// Method: one transaction takes the next sequence and stays open while others put theirs; nothing of any is told until it commits.
#[test]
fn writers_wait_for_each_other_and_none_is_passed_over() {
    let (url, keys) = (testing::shared().database(), keys());
    let [store, other] = [open(&url, 1, &keys), open(&url, 1, &keys)];
    let follower = Follower::of(&other);
    let held = store.runtime.block_on(async {
        let mut held = store.shared.writers.begin().await.unwrap();
        let seq: i64 = sqlx::query_scalar(ADVANCE).fetch_one(&mut *held).await.unwrap();
        let append =
            sqlx::query(APPEND).bind(seq).bind("slow").bind("suspended").bind("r").bind("op").bind(1_i64);
        append.execute(&mut *held).await.unwrap();
        held
    });
    std::thread::scope(|scope| {
        let behind: Vec<_> = (0..4).map(|_| scope.spawn(|| put(&store, "rental", Suspended).seq)).collect();
        for _ in 0..3 {
            follower.waits_for_a_poll();
        }
        assert!(behind.iter().all(|writer| !writer.is_finished()), "they wait for the first");
        assert!(follower.seqs().is_empty(), "nothing of any is committed");
        store.runtime.block_on(held.commit()).unwrap();
        let mut seqs: Vec<u64> = behind.into_iter().map(|writer| writer.join().unwrap()).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [2, 3, 4, 5], "without gaps");
    });
    follower.waits_for_a_poll();
    assert_eq!(follower.seqs(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_replica_that_starts_later_begins_with_the_latest_word_about_each() {
    let (url, keys) = (testing::shared().database(), keys());
    let writer = open(&url, 1, &keys);
    for state in [Suspended, Active, Suspended] {
        put(&writer, "rental", state);
    }
    put(&writer, "insurer", Active);
    let follower = Follower::of(&open(&url, 1, &keys));
    let expected = [(3, "rental".to_owned(), Suspended), (4, "insurer".to_owned(), Active)];
    assert_eq!(follower.last_beginning(), expected);
    assert!(follower.seqs().is_empty(), "nothing is told twice");
}

/// What a later program wrote: about somebody unknown it says nothing here, and an unknown state lets nobody in.
#[test]
fn what_only_a_later_program_understands_lets_nobody_in() {
    let store = open(&testing::shared().database(), 1, &keys());
    let later = "ALTER TABLE standing_change DROP CONSTRAINT standing_change_state_check; \
        INSERT INTO standing_change VALUES (1, 'region:Beijing', 'suspended', 'r', 'op', 1); \
        INSERT INTO standing_change VALUES (2, 'rental', 'on-probation', 'r', 'op', 1); \
        UPDATE standing_head SET seq = 2";
    store.runtime.block_on(store.shared.writers.execute(later)).unwrap();
    let follower = Follower::of(&store);
    assert_eq!(follower.last_beginning(), [(2, "rental".to_owned(), Suspended)]);
    assert_eq!(put(&store, "rental", Active).seq, 3);
}

#[test]
fn without_the_server_nothing_is_put_or_called_current_and_afterwards_all_is_read_anew() {
    let mut server = Server::start();
    let url = server.database();
    let options = PostgresOptions {
        readers: 1,
        partitions: 1,
        connect_time_max: Duration::from_millis(500),
        ..PostgresOptions::new(&*url)
    };
    let store = PostgresRegistry::open_alone(options.clone(), keys()).unwrap();
    let follower = Follower::of(&store);
    put(&store, "rental", Suspended);
    server.stop();
    let away = wait(store.put(change("rental", Active))).unwrap_err();
    assert!(std::error::Error::source(&away).is_some(), "{away}");
    assert!(PostgresRegistry::standing_words(&options).is_err());
    let stalled_since = follower.current();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(follower.current(), stalled_since, "nobody claims to know what he cannot");

    server.start_again();
    follower.waits_for_a_poll();
    assert_eq!(follower.last_beginning(), [(1, "rental".to_owned(), Suspended)]);
    eventually(|| wait(store.put(change("rental", Active))).is_ok());
}

/// Goal: what a restore took away is noticed, though sequences have grown past what was told since.
/// Method: behind the store's back the changes are cut off and others take their sequences, in a new epoch.
#[test]
fn a_new_epoch_reads_everything_anew() {
    let store = open(&testing::shared().database(), 1, &keys());
    let follower = Follower::of(&store);
    put(&store, "rental", Suspended);
    put(&store, "insurer", Suspended);
    let restored = "DELETE FROM standing_change WHERE seq = 2; \
        INSERT INTO standing_change VALUES (2, 'recruiter', 'suspended', 'r', 'op', 1)";
    store.runtime.block_on(store.shared.writers.execute(restored)).unwrap();
    let beginnings = follower.beginnings.lock().unwrap().len();
    use crate::registry::store::LicenceStore as _;
    assert!(wait(store.new_epoch(Timestamp::UNIX_EPOCH)).unwrap() > 1);
    eventually(|| follower.beginnings.lock().unwrap().len() > beginnings);
    let expected = [(1, "rental".to_owned(), Suspended), (2, "recruiter".to_owned(), Suspended)];
    assert_eq!(follower.last_beginning(), expected);
}

#[test]
fn a_database_without_the_table_has_no_words() {
    let url = testing::shared().database();
    assert_eq!(PostgresRegistry::standing_words(&PostgresOptions::new(&*url)).unwrap(), []);
}
