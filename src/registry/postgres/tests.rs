//! What PostgreSQL must do beyond the suite: hold writers apart, follow the feed, survive restarts, promotion and old keys.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::testing::{self, Server};
use super::*;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::domain::time::Clock;
use crate::registry::embedded::RegistryError;
use crate::registry::store::{LicenceStore, wait};
use crate::registry::suite::{ONE, THREE, TWO, apply, licensed, number, read};
use crate::registry::{FeedHeads, Outcome, RegistryKeys};
use crate::verification::ports::{
    ChangeObserver, FeedFollower, LookUpError, Pseudonyms as _, RecordSource as _,
};

pub(super) fn keys() -> Arc<RegistryKeys> {
    Arc::new(RegistryKeys::ephemeral().unwrap())
}

fn options(url: &str, partitions: u16) -> PostgresOptions {
    PostgresOptions { partitions, readers: 2, ..PostgresOptions::new(url) }
}

pub(super) fn open(url: &str, partitions: u16, keys: &Arc<RegistryKeys>) -> PostgresRegistry {
    PostgresRegistry::open_alone(options(url, partitions), Arc::clone(keys)).unwrap()
}

fn fresh(partitions: u16) -> PostgresRegistry {
    open(&testing::shared().database(), partitions, &keys())
}

mod with_one_partition {
    crate::registry::suite::exact_suite! { super::fresh(1) }
    crate::registry::suite::partition_suite! { super::fresh(1) }
}

mod with_sixteen_partitions {
    crate::registry::suite::partition_suite! { super::fresh(16) }
}

mod with_uncut_tables {
    fn uncut() -> super::PostgresRegistry {
        let url = super::testing::shared().database();
        let options = super::PostgresOptions { tables: super::Tables::One, ..super::options(&url, 64) };
        super::PostgresRegistry::open_alone(options, super::keys()).unwrap()
    }

    crate::registry::suite::partition_suite! { uncut() }
}

pub(super) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> jiff::Timestamp {
        let now = clock_gettime(ClockId::Realtime);
        jiff::Timestamp::new(now.tv_sec, i32::try_from(now.tv_nsec).unwrap()).unwrap()
    }

    fn since_boot(&self) -> Duration {
        let boot = clock_gettime(ClockId::Boottime);
        Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).unwrap())
    }
}

/// Notes what it is told.
#[derive(Default)]
struct Follower {
    changes: Mutex<Vec<(Position, Vec<NumberPseudonym>)>>,
    beginnings: Mutex<Vec<Vec<Position>>>,
    caught_up_ns: AtomicU64,
}

impl ChangeObserver for Follower {
    fn changed(&self, _subject: &SubjectId, pseudonyms: &[NumberPseudonym], position: Position) {
        self.changes.lock().unwrap().push((position, pseudonyms.to_vec()));
    }
}

impl FeedFollower for Follower {
    fn follows_from(&self, positions: &[Position]) {
        self.beginnings.lock().unwrap().push(positions.to_vec());
    }

    fn caught_up(&self, poll_began: Duration) {
        self.caught_up_ns.store(u64::try_from(poll_began.as_nanos()).unwrap(), Ordering::Release);
    }
}

impl Follower {
    fn of(store: &PostgresRegistry) -> Arc<Self> {
        let follower = Arc::new(Self::default());
        let options = TailOptions { poll_every: Duration::from_millis(50), ..TailOptions::default() };
        store.tail(follower.clone(), options, Arc::new(RealClock));
        follower.waits_for_a_poll();
        follower
    }

    fn caught_up(&self) -> Duration {
        Duration::from_nanos(self.caught_up_ns.load(Ordering::Acquire))
    }

    /// Waits until a poll that began after this call has told everything.
    #[track_caller]
    fn waits_for_a_poll(&self) {
        let now = RealClock.since_boot();
        eventually(|| self.caught_up() > now);
    }

    fn told(&self) -> Vec<Position> {
        self.changes.lock().unwrap().iter().map(|(position, _)| *position).collect()
    }
}

#[track_caller]
pub(super) fn eventually(holds: impl Fn() -> bool) {
    let until = RealClock.since_boot() + Duration::from_secs(20);
    while !holds() {
        assert!(RealClock.since_boot() < until, "it did not come true in 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn seqs(positions: &[Position]) -> Vec<u64> {
    positions.iter().map(|position| position.seq).collect()
}

/// Goal: a writer that takes its time delays the feed and never hides a change.
/// Method: one writer takes the next sequence and holds its transaction open; another one starts behind it. Nothing of either is
/// told until the first commits, although polls go on; then both are told, in the order of their sequences.
#[test]
fn a_writer_that_holds_a_head_open_delays_the_feed_and_hides_nothing() {
    let store = fresh(1);
    apply(&store, &[licensed(ONE)]);
    let follower = Follower::of(&store);
    let subject = read(&store, ONE).unwrap().record.unwrap().subject;
    let held = store.runtime.block_on(async {
        let mut held = store.shared.writers.begin().await.unwrap();
        for (statement, seq) in [
            ("SELECT seq FROM feed_head WHERE partition = 0 FOR UPDATE", None),
            (
                "INSERT INTO feed (partition, epoch, seq, subject, pseudonyms) VALUES (0, 1, 2, $1, $1)",
                Some(2),
            ),
            ("UPDATE feed_head SET seq = seq + 1 WHERE partition = 0", None),
        ] {
            let query = sqlx::query(statement);
            let query = if seq.is_some() { query.bind(subject.as_bytes().to_vec()) } else { query };
            query.execute(&mut *held).await.unwrap();
        }
        held
    });
    std::thread::scope(|scope| {
        let behind = scope.spawn(|| apply(&store, &[licensed(TWO)])[0]);
        for _ in 0..4 {
            follower.waits_for_a_poll();
        }
        assert!(!behind.is_finished(), "it waits for the first writer");
        assert!(follower.told().is_empty(), "nothing of either is committed");
        assert_eq!(read(&store, TWO).unwrap().position.seq, 1, "nor read");
        store.runtime.block_on(held.commit()).unwrap();
        let expected = Position { epoch: 1, partition: 0, seq: 3 };
        assert_eq!(behind.join().unwrap(), Outcome::Created(expected));
    });
    follower.waits_for_a_poll();
    assert_eq!(seqs(&follower.told()), [2, 3]);
}

#[test]
fn every_replica_hears_of_a_change_before_it_calls_itself_caught_up() {
    let (url, keys) = (testing::shared().database(), keys());
    let [writer, reader] = [open(&url, 4, &keys), open(&url, 4, &keys)];
    let follower = Follower::of(&reader);
    let drivers = crate::registry::generator::Population::new(3, jiff::civil::date(2025, 1, 1)).take(60);
    for driver in drivers {
        let outcomes = apply(&writer, &[driver.into_submission()]);
        let Outcome::Created(position) = outcomes[0] else { panic!("{outcomes:?}") };
        let acknowledged = RealClock.since_boot();
        eventually(|| {
            let caught_up = follower.caught_up();
            // In this order, as a reader of facts does: watermark first.
            let told = follower.told().contains(&position);
            assert!(told || caught_up < acknowledged, "caught up without having told {position:?}");
            told
        });
    }
    let told: BTreeSet<_> = follower.told().into_iter().collect();
    assert_eq!(told.len(), 60);
    assert_eq!(reader.heads_known(), wait(writer.heads()).unwrap());
}

#[test]
fn a_new_epoch_is_followed_from_its_heads() {
    let (url, keys) = (testing::shared().database(), keys());
    let [writer, reader] = [open(&url, 2, &keys), open(&url, 2, &keys)];
    apply(&writer, &[licensed(ONE), licensed(TWO)]);
    let follower = Follower::of(&reader);
    let epoch = wait(writer.new_epoch(jiff::Timestamp::UNIX_EPOCH)).unwrap();
    eventually(|| reader.epoch() == epoch);
    let beginnings = follower.beginnings.lock().unwrap().clone();
    assert_eq!(beginnings.last().unwrap(), &wait(writer.heads()).unwrap().positions());
    apply(&writer, &[licensed(THREE)]);
    follower.waits_for_a_poll();
    let told = follower.told();
    assert_eq!((told.len(), told[0].epoch), (1, epoch));
}

#[test]
fn tailing_starts_as_far_back_as_it_is_told_to() {
    let store = fresh(1);
    apply(&store, &[licensed(ONE)]);
    apply(&store, &[licensed(TWO)]);
    let follower = Arc::new(Follower::default());
    let options = TailOptions { back: Duration::from_secs(3_600), ..TailOptions::default() };
    store.tail(follower.clone(), options, Arc::new(RealClock));
    follower.waits_for_a_poll();
    assert_eq!(seqs(&follower.beginnings.lock().unwrap()[0]), [0]);
    assert_eq!(seqs(&follower.told()), [1, 2]);
}

#[test]
fn what_is_older_than_the_retention_is_forgotten_and_said_to_be() {
    let store = fresh(1);
    apply(&store, &[licensed(ONE), licensed(TWO)]);
    let start = Position { epoch: 1, partition: 0, seq: 0 };
    assert_eq!(store.runtime.block_on(feed::forget(&store.shared, Duration::from_secs(60))).unwrap(), 0);
    assert_eq!(store.runtime.block_on(feed::forget(&store.shared, Duration::ZERO)).unwrap(), 2);
    let forgotten = wait(store.feed_after(start, 10)).unwrap_err();
    assert!(matches!(forgotten, RegistryError::Forgotten { partition: 0, seq: 0 }), "{forgotten}");
    apply(&store, &[licensed(THREE)]);
    assert!(matches!(wait(store.feed_after(start, 10)), Err(RegistryError::Forgotten { .. })));
    let kept = wait(store.feed_after(Position { seq: 2, ..start }, 10)).unwrap();
    assert_eq!(kept.len(), 1);
}

#[test]
fn a_replica_that_lost_sight_of_the_feed_begins_anew() {
    let (url, keys) = (testing::shared().database(), keys());
    let [writer, reader] = [open(&url, 1, &keys), open(&url, 1, &keys)];
    let follower = Follower::of(&reader);
    // Written and forgotten between two polls, as after a long sleep.
    let forgetting = async {
        let mut all = writer.shared.writers.begin().await.unwrap();
        for statement in [
            "UPDATE feed_head SET seq = 7 WHERE partition = 0",
            "INSERT INTO feed (partition, epoch, seq, subject, pseudonyms) VALUES (0, 1, 7, \
             '\\x00000000000000000000000000000000', '\\x')",
        ] {
            sqlx::query(statement).execute(&mut *all).await.unwrap();
        }
        all.commit().await.unwrap();
    };
    writer.runtime.block_on(forgetting);
    follower.waits_for_a_poll();
    follower.waits_for_a_poll();
    let beginnings = follower.beginnings.lock().unwrap().clone();
    assert_eq!(seqs(beginnings.last().unwrap()), [7], "what was read before cannot be judged any more");
}

#[test]
fn a_server_that_stops_makes_look_ups_unavailable_and_a_start_makes_them_work_again() {
    let mut server = Server::start();
    let store = open(&server.database(), 1, &keys());
    let follower = Follower::of(&store);
    apply(&store, &[licensed(ONE)]);
    assert!(read(&store, ONE).unwrap().record.is_some());

    server.stop();
    for _ in 0..5 {
        assert_eq!(read(&store, ONE).unwrap_err(), LookUpError::RegistryUnavailable);
    }
    assert!(matches!(wait(store.apply(&[licensed(TWO)])), Err(RegistryError::Store { .. })));
    let stalled_since = follower.caught_up();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(follower.caught_up(), stalled_since, "nobody claims to know what he cannot");

    server.start_again();
    eventually(|| read(&store, ONE).is_ok_and(|reading| reading.record.is_some()));
    eventually(|| wait(store.apply(&[licensed(TWO)])).is_ok());
    follower.waits_for_a_poll();
    assert_eq!(store.epoch(), 1, "the same server in the same branch of its history");

    server.kill();
    assert!(read(&store, ONE).is_err());
    server.start_again();
    eventually(|| read(&store, TWO).is_ok_and(|reading| reading.record.is_some()));
    follower.waits_for_a_poll();
}

#[test]
fn a_server_that_says_nothing_costs_no_more_than_the_time_allowed() {
    let server = Server::start();
    let options = PostgresOptions {
        read_time_max: Duration::from_millis(300),
        connect_time_max: Duration::from_millis(300),
        lock_time_max: Duration::from_millis(200),
        write_time_max: Duration::from_millis(300),
        ..options(&server.database(), 1)
    };
    let store = PostgresRegistry::open_alone(options, keys()).unwrap();
    apply(&store, &[licensed(ONE)]);
    assert!(read(&store, ONE).is_ok());
    server.freeze(true);
    let began = RealClock.since_boot();
    assert_eq!(read(&store, ONE).unwrap_err(), LookUpError::RegistryUnavailable);
    for _ in 0..3 {
        assert!(wait(store.apply(&[licensed(TWO)])).is_err());
    }
    let waited = RealClock.since_boot() - began;
    server.freeze(false);
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    eventually(|| read(&store, ONE).is_ok());
    eventually(|| wait(store.apply(&[licensed(TWO)])).is_ok());
}

#[test]
fn too_many_waiting_look_ups_are_refused() {
    let options = PostgresOptions { reads_waiting_max: 0, ..options(&testing::shared().database(), 1) };
    let store = PostgresRegistry::open_alone(options, keys()).unwrap();
    assert_eq!(read(&store, ONE).unwrap_err(), LookUpError::RegistryUnavailable);
}

/// Goal: a standby's reading counts only if it is not behind what this process knows.
/// Method: a real streaming standby. While it keeps up it answers, even with the primary gone; while its replay is paused the
/// primary answers; a reading that must be as of now never comes from it.
#[test]
fn a_standby_is_read_while_it_keeps_up_and_the_primary_while_it_does_not() {
    let mut primary = Server::start();
    let (url, keys) = (primary.database(), keys());
    let database = url.rsplit('/').next().unwrap().to_owned();
    apply(&open(&url, 1, &keys), &[licensed(ONE)]);
    let standby = primary.standby(&[]);
    let options = PostgresOptions { standby_url: Some(standby.url(&database)), ..options(&url, 1) };
    let store = PostgresRegistry::open_alone(options, Arc::clone(&keys)).unwrap();
    let position = |text| read(&store, text).unwrap().position.seq;
    assert_eq!(position(ONE), 1);

    standby.sql(&database, "SELECT pg_wal_replay_pause()");
    eventually(|| standby.sql(&database, "SELECT pg_get_wal_replay_pause_state()") == "paused");
    apply(&store, &[licensed(TWO)]);
    assert!(read(&store, TWO).unwrap().record.is_some(), "the standby has never heard of it");
    assert_eq!(position(ONE), 2, "nor does it answer for others while it is behind");
    let seen = standby.sql(&database, "SELECT seq FROM feed_head");
    assert_eq!(seen, "1", "the primary answered");

    standby.sql(&database, "SELECT pg_wal_replay_resume()");
    eventually(|| standby.sql(&database, "SELECT seq FROM feed_head") == "2");
    primary.stop();
    assert!(read(&store, TWO).unwrap().record.is_some(), "it has caught up, and answers alone");
    let pseudonym = keys.pseudonym(crate::domain::licence::DocumentKind::ResidentId, &number(TWO));
    assert_eq!(wait(store.read_latest(pseudonym)).unwrap_err(), LookUpError::RegistryUnavailable);
}

/// Goal: a promoted standby that lacks what the old primary acknowledged begins a new epoch before anything else is changed.
/// Method: the standby stops following, the primary takes one more change and dies, the standby is promoted in its place. The
/// lost change's sequence must never be given to another change of the same epoch.
#[test]
fn a_promoted_standby_begins_a_new_epoch_before_it_takes_a_change() {
    let mut primary = Server::start();
    let (url, keys) = (primary.database(), keys());
    let store = open(&url, 1, &keys);
    let follower = Follower::of(&store);
    apply(&store, &[licensed(ONE)]);
    let mut standby = primary.standby(&[]);
    standby.stop();
    apply(&store, &[licensed(TWO)]);
    follower.waits_for_a_poll();
    assert_eq!(store.heads_known(), FeedHeads { epoch: 1, seqs: vec![2] });

    primary.kill();
    standby.take_place_of(&primary);
    assert!(
        PostgresRegistry::open_alone(options(&url, 1), Arc::clone(&keys)).is_err(),
        "a standby is no primary, whatever the URL says"
    );
    standby.promote();
    let mut taken = None;
    eventually(|| wait(store.apply(&[licensed(THREE)])).is_ok());
    for outcome in apply(&store, &[licensed(TWO)]) {
        taken = Some(outcome);
    }
    let epoch = wait(store.heads()).unwrap().epoch;
    assert!(epoch > 1_700_000_000, "{epoch} may have been in force on a branch this server knows nothing of");
    let expected = Position { epoch, partition: 0, seq: 3 };
    assert_eq!(taken, Some(Outcome::Created(expected)), "the change that was lost can be handed in again");
    eventually(|| store.epoch() == epoch);
    // Reconnecting to the promoted server may take the follower more than one poll. If it comes only after both changes, it begins
    // there: what was read before the epoch counts no more, so there is nothing to tell.
    let begins_there = || follower.beginnings.lock().unwrap().last().is_some_and(|last| *last == [expected]);
    eventually(|| follower.told().last() == Some(&expected) || begins_there());
    assert_eq!(open(&url, 1, &keys).epoch(), epoch, "and no further one");
}

#[test]
fn a_folder_copied_back_is_noticed_by_whoever_knew_more() {
    let store = fresh(1);
    apply(&store, &[licensed(ONE), licensed(TWO)]);
    let follower = Follower::of(&store);
    let back = "UPDATE feed_head SET seq = 1 WHERE partition = 0";
    store.runtime.block_on(sqlx::query(back).execute(&store.shared.writers)).unwrap();
    eventually(|| store.epoch() > 1);
    let begun = store.epoch();
    eventually(|| begins_at(&follower, Position { epoch: begun, partition: 0, seq: 1 }));

    // From before that epoch began: its number must not come again.
    let back = "UPDATE feed_head SET epoch = 1, seq = 5 WHERE partition = 0";
    store.runtime.block_on(sqlx::query(back).execute(&store.shared.writers)).unwrap();
    eventually(|| store.epoch() > begun);
    eventually(|| begins_at(&follower, Position { epoch: store.epoch(), partition: 0, seq: 5 }));
}

fn begins_at(follower: &Follower, position: Position) -> bool {
    follower.beginnings.lock().unwrap().last().is_some_and(|last| *last == [position])
}

#[test]
fn other_keys_and_newer_schemas_are_refused() {
    let (url, keys) = (testing::shared().database(), keys());
    assert!(!PostgresRegistry::exists(&options(&url, 1)).unwrap());
    assert_eq!(PostgresRegistry::inspect(&options(&url, 1), &keys).unwrap(), None);
    let store = open(&url, 8, &keys);
    assert_eq!(PostgresRegistry::inspect(&options(&url, 1), &keys).unwrap(), Some(8), "as it was made");
    let others = Arc::new(RegistryKeys::ephemeral().unwrap());
    let opened = PostgresRegistry::open_alone(options(&url, 8), Arc::clone(&others));
    assert!(matches!(opened, Err(RegistryError::WrongKeys)));
    assert!(matches!(PostgresRegistry::inspect(&options(&url, 8), &others), Err(RegistryError::WrongKeys)));

    let newer = "UPDATE registry SET program_oldest = 99";
    store.runtime.block_on(sqlx::query(newer).execute(&store.shared.writers)).unwrap();
    let opened = PostgresRegistry::open_alone(options(&url, 8), Arc::clone(&keys));
    let known = u32::try_from(SCHEMA_VERSION).unwrap();
    assert!(matches!(opened, Err(RegistryError::NewerFormat { found: 99, known: said }) if said == known));
}

#[test]
fn an_ordinary_role_is_enough() {
    let server = testing::shared();
    server.sql("postgres", "CREATE ROLE ordinary LOGIN; CREATE DATABASE ordinary OWNER ordinary");
    let url = server.url("ordinary").replace("drivegate@", "ordinary@");
    let store = open(&url, 2, &keys());
    let follower = Follower::of(&store);
    apply(&store, &[licensed(ONE)]);
    follower.waits_for_a_poll();
    assert_eq!(follower.told().len(), 1);
    assert!(wait(store.new_epoch(jiff::Timestamp::UNIX_EPOCH)).unwrap() > 1);
}

#[test]
fn a_temporary_schema_leaves_nothing_behind() {
    let url = testing::shared().database();
    // Made, looked into and dropped inside a runtime, as the demo does.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let schema = TemporarySchema::create(&url).unwrap();
        assert!(!PostgresRegistry::exists(&options(&schema.url(), 2)).unwrap());
    });
    let schema = TemporarySchema::create(&url).unwrap();
    let store = open(&schema.url(), 2, &keys());
    apply(&store, &[licensed(ONE)]);
    assert!(read(&store, ONE).unwrap().record.is_some());
    drop(store);
    drop(schema);
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'drivegate%'";
    assert_eq!(testing::shared().sql(url.rsplit('/').next().unwrap(), left), "0");
}

#[test]
fn replicas_that_start_together_make_one_registry() {
    let (url, keys) = (testing::shared().database(), keys());
    let ids: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..4).map(|_| scope.spawn(|| open(&url, 4, &keys).id())).collect();
        started.into_iter().map(|opened| opened.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}

/// Goal: during a rolling upgrade the program before works on the schema after.
/// Method: a program of each earlier schema is at work while this one migrates under it, goes on, and starts again.
#[test]
fn the_program_before_works_on_the_schema_after() {
    for before in 1..SCHEMA_VERSION {
        let (url, keys) = (testing::shared().database(), keys());
        let open_before =
            || PostgresRegistry::open_alone_at(options(&url, 2), Arc::clone(&keys), before).unwrap();
        let old = open_before();
        apply(&old, &[licensed(ONE)]);
        let new = open(&url, 2, &keys);
        apply(&old, &[licensed(TWO)]);
        apply(&new, &[licensed(THREE)]);
        for store in [&old, &new, &open_before()] {
            for text in [ONE, TWO, THREE] {
                assert!(read(store, text).unwrap().record.is_some());
            }
            assert_eq!(wait(store.stats()).unwrap().head_seq, 3);
        }
    }
}

#[test]
fn the_tables_tell_neither_number_nor_name() {
    let store = fresh(2);
    apply(&store, &[licensed(ONE), licensed(TWO)]);
    let dump = "SELECT string_agg(n::text, '') || (SELECT string_agg(r::text, '') FROM record r) || \
                (SELECT string_agg(f::text, '') FROM feed f) FROM number n";
    let dump: String =
        store.runtime.block_on(sqlx::query_scalar(dump).fetch_one(&store.shared.writers)).unwrap();
    let digits: u64 = ONE[..17].parse().unwrap();
    for marked in [ONE.as_bytes(), "测试".as_bytes(), &digits.to_be_bytes()] {
        let hex: String = marked.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!dump.contains(&hex));
    }
}

#[test]
fn a_damaged_or_misplaced_record_is_unreadable_and_the_others_are_not() {
    let store = fresh(1);
    apply(&store, &[licensed(ONE), licensed(TWO), licensed(THREE)]);
    let [one, two] = [ONE, TWO].map(|text| read(&store, text).unwrap().record.unwrap().subject);
    let swapped =
        "UPDATE record SET sealed = (SELECT sealed FROM record WHERE subject = $2) WHERE subject = $1";
    let swap = sqlx::query(swapped).bind(one.as_bytes().to_vec()).bind(two.as_bytes().to_vec());
    store.runtime.block_on(swap.execute(&store.shared.writers)).unwrap();
    assert_eq!(read(&store, ONE).unwrap_err(), LookUpError::RecordUnreadable);
    assert!(read(&store, TWO).unwrap().record.is_some());
    assert_eq!(wait(store.stats()).unwrap().unreadable, 1);
}

/// The rules of redemption, grounds and standing hold whatever a program does.
#[test]
fn constraints_keep_the_rules_of_presentations() {
    let store = fresh(1);
    let code = |statement: &'static str| {
        let ran = store.runtime.block_on(sqlx::query(statement).execute(&store.shared.writers));
        ran.err().and_then(|error| connection::code_of(&error))
    };
    let (unique, check) = (Some("23505".to_owned()), Some("23514".to_owned()));
    let redeem = "INSERT INTO redemption (token, use_number, partner, request_id, request_digest, redeemed_at) \
                  VALUES ('\\x01010101010101010101010101010101', 1, 'rental', 'r1', \
                  '\\x01010101010101010101010101010101', now())";
    assert_eq!(code(redeem), None);
    assert_eq!(code(redeem), unique, "one use means one use");
    let revoke = "INSERT INTO redemption (token, use_number, revoked, redeemed_at) \
                  VALUES ('\\x01010101010101010101010101010101', 1, true, now())";
    assert_eq!(code(revoke), unique, "revocation competes for the same row");
    let nobody = "INSERT INTO redemption (token, use_number, redeemed_at) \
                  VALUES ('\\x02010101010101010101010101010101', 1, now())";
    assert_eq!(code(nobody), check, "a use belongs to a partner or to a revocation");
    let endless = "INSERT INTO ground (id, partition, subject, partner, purpose, kind, notice_version, terms, \
                   obtained_at, expires_at) VALUES ('\\x01010101010101010101010101010101', 0, \
                   '\\x01010101010101010101010101010101', 'rental', 3, 1, '1', '\\x', now(), now())";
    assert_eq!(code(endless), check, "a ground ends after it began");
    let standing = "INSERT INTO standing VALUES ('rental', 1, 'suspended', 'debts', 'operator', now())";
    assert_eq!(code(standing), None);
    assert_eq!(
        code(standing),
        unique,
        "two that change a standing at once: one of them did not see the other"
    );
}
