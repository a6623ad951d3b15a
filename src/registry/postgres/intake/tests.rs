//! What PostgreSQL must do with the authority's changes beyond the suite: several gateways, a server that dies, old programs.

use std::sync::atomic::{AtomicBool, Ordering};

use super::suite::{
    change_store_suite, expire_after, incoming, is_disputed, now, points, quarantine, revoked, said, stated,
    take, try_take, waiting,
};
use super::*;
use crate::domain::licence::ChangeKind;
use crate::intake::ports::{Fate, QuarantineReason};
use crate::registry::RegistryKeys;
use crate::registry::postgres::PostgresOptions;
use crate::registry::postgres::testing::{self, Server};
use crate::registry::suite::{ONE, THREE, TWO, apply, licensed, number};

fn keys() -> Arc<RegistryKeys> {
    Arc::new(RegistryKeys::ephemeral().unwrap())
}

fn open(url: &str, partitions: u16, keys: &Arc<RegistryKeys>) -> PostgresRegistry {
    let options = PostgresOptions { partitions, readers: 1, ..PostgresOptions::new(url) };
    PostgresRegistry::open_alone(options, Arc::clone(keys)).unwrap()
}

fn fresh(partitions: u16) -> PostgresRegistry {
    open(&testing::shared().database(), partitions, &keys())
}

mod with_one_partition {
    super::change_store_suite! { super::fresh(1) }
}

mod with_sixteen_partitions {
    super::change_store_suite! { super::fresh(16) }
}

fn count(store: &PostgresRegistry, sql: &'static str) -> i64 {
    store.runtime.block_on(sqlx::query_scalar(sql).fetch_one(&store.shared.writers)).unwrap()
}

/// Goal: two gateways that take one subject's changes at once keep every rule. Method: each hands in all of them, in its own order
/// and in small batches; each change joins the record once, in order, and nothing is left waiting.
#[test]
fn two_gateways_on_one_subject_keep_its_sequence() {
    let (url, keys) = (testing::shared().database(), keys());
    let gateways = [open(&url, 4, &keys), open(&url, 4, &keys)];
    apply(&gateways[0], &[licensed(ONE)]);
    let before = said(&gateways[0], ONE);
    std::thread::scope(|scope| {
        for (turn, gateway) in gateways.iter().enumerate() {
            scope.spawn(move || {
                let mut order: Vec<u64> = (1..=40).collect();
                if turn == 1 {
                    order.reverse();
                }
                for part in order.chunks(3) {
                    take(gateway, part.iter().copied().map(points).collect());
                }
            });
        }
    });
    assert_eq!(said(&gateways[1], ONE) - before, 40, "each once");
    assert_eq!(waiting(&gateways[0]), WaitingCounts::default());
    assert!(!is_disputed(&gateways[0], ONE));
    for gateway in &gateways {
        let told = take(gateway, (1..=40).map(points).collect());
        assert!(told.iter().all(|told| matches!(told, Outcome::Duplicate(Fate::Applied(_)))));
    }
    assert_eq!(count(&gateways[0], "SELECT count(*) FROM intake_known"), 40);
}

/// Goal: an id belongs to one change even when two gateways take it for two subjects in two partitions at once. Method: many ids,
/// each handed in by both at the same moment; of each, one is on record and the other is in quarantine.
#[test]
fn two_gateways_never_both_take_one_id() {
    let (url, keys) = (testing::shared().database(), keys());
    let gateways = [open(&url, 64, &keys), open(&url, 64, &keys)];
    apply(&gateways[0], &[licensed(ONE), licensed(TWO)]);
    for round in 1..=20 {
        let told: Vec<Outcome> = std::thread::scope(|scope| {
            let handed_in: Vec<_> = [ONE, TWO]
                .into_iter()
                .zip(&gateways)
                .map(|(text, gateway)| {
                    let change = IncomingChange { number: number(text), ..points(round) };
                    scope.spawn(move || take(gateway, vec![change])[0])
                })
                .collect();
            handed_in.into_iter().map(|told| told.join().unwrap()).collect()
        });
        let reused = Outcome::New(Fate::Quarantined(QuarantineReason::ChangeIdReused));
        assert_eq!(told.iter().filter(|told| **told == reused).count(), 1, "{told:?}");
    }
}

/// Goal: what was acknowledged survives a power cut, and what was not is safe to send again. Method: batches go in while the
/// server is killed; after its start everything is handed in again; each change is on record once.
#[test]
fn a_server_killed_in_mid_batch_takes_each_change_once_when_they_are_sent_again() {
    let mut server = Server::start();
    let store = open(&server.database(), 4, &keys());
    apply(&store, &[licensed(ONE)]);
    let before = said(&store, ONE);
    let batches: Vec<Vec<IncomingChange>> =
        (1..=300).map(points).collect::<Vec<_>>().chunks(5).map(<[_]>::to_vec).collect();
    let is_killed = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let handing_in = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            for batch in &batches {
                match try_take(&store, batch.clone()) {
                    Ok(taken) => acknowledged.extend(taken.outcomes),
                    Err(_gone) => break,
                }
                if acknowledged.len() >= 20 {
                    is_killed.store(true, Ordering::Release);
                }
            }
            acknowledged
        });
        while !is_killed.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        server.kill();
        handing_in.join().unwrap()
    });
    assert!((20..300).contains(&acknowledged.len()), "{} before it was killed", acknowledged.len());
    server.start_again();
    let mut told = Vec::new();
    for batch in batches {
        let taken = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(25));
            try_take(&store, batch.clone()).ok()
        });
        told.extend(taken.unwrap().outcomes);
    }
    for (first, again) in acknowledged.iter().zip(&told) {
        let (Outcome::New(first) | Outcome::Duplicate(first)) = first else { panic!("{first:?}") };
        assert_eq!(*again, Outcome::Duplicate(*first), "where it stood before");
    }
    let on_record = |told: &Outcome| {
        matches!(told, Outcome::New(Fate::Applied(_)) | Outcome::Duplicate(Fate::Applied(_)))
    };
    assert!(told.iter().all(on_record));
    let reading = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(25));
        crate::registry::suite::read(&store, ONE).ok()
    });
    assert!(reading.is_some());
    assert_eq!(said(&store, ONE) - before, 300, "each once");
}

#[test]
fn an_observer_hears_of_every_change_before_it_is_acknowledged() {
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<crate::domain::subject::Position>>);
    impl crate::verification::ports::ChangeObserver for Heard {
        fn changed(
            &self,
            _subject: &SubjectId,
            _pseudonyms: &[NumberPseudonym],
            position: crate::domain::subject::Position,
        ) {
            self.0.lock().unwrap().push(position);
        }
    }
    use crate::registry::store::LicenceStore as _;
    let store = fresh(4);
    apply(&store, &[licensed(ONE)]);
    let heard = Arc::new(Heard::default());
    store.observe(heard.clone());
    let told = take(&store, vec![points(1), points(2)]);
    let heard = heard.0.lock().unwrap().clone();
    let places: Vec<_> = heard.into_iter().map(|place| Outcome::New(Fate::Applied(place))).collect();
    assert_eq!(told, places);
}

#[test]
fn what_waits_is_sealed_and_survives_a_restart() {
    let (url, keys) = (testing::shared().database(), keys());
    let late = incoming(ONE, 2, stated("2026-01-02T00:00:00Z", revoked()));
    {
        let store = open(&url, 2, &keys);
        apply(&store, &[licensed(ONE)]);
        take(&store, vec![late.clone(), incoming(TWO, 1, stated("2026-01-02T00:00:00Z", revoked()))]);
    }
    let store = open(&url, 2, &keys);
    let counts = waiting(&store);
    assert_eq!((counts.held, counts.quarantined), (1, 1));
    assert_eq!(expire_after(&store, 6).quarantined, 2);
    let dump = "SELECT string_agg(s::text, '') || (SELECT string_agg(k::text, '') FROM intake_known k) \
                FROM intake_state s";
    let dump: String =
        store.runtime.block_on(sqlx::query_scalar(dump).fetch_one(&store.shared.writers)).unwrap();
    for marked in [late.id.as_str().as_bytes(), b"authority-demo/main", ONE.as_bytes()] {
        let hex: String = marked.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!dump.contains(&hex), "the tables tell nothing");
    }
}

#[test]
fn a_state_moved_to_another_owner_is_not_believed() {
    let store = fresh(1);
    take(
        &store,
        vec![
            incoming(ONE, 1, stated("2026-01-02T00:00:00Z", revoked())),
            incoming(TWO, 1, stated("2026-01-02T00:00:00Z", revoked())),
        ],
    );
    let swap = "UPDATE intake_state AS one SET sealed = other.sealed FROM intake_state AS other \
                WHERE one.owner <> other.owner";
    store.runtime.block_on(sqlx::query(swap).execute(&store.shared.writers)).unwrap();
    let fault = try_take(&store, vec![points(2)]).unwrap_err();
    assert!(matches!(
        fault.0.downcast_ref::<RegistryError>(),
        Some(RegistryError::Damaged("a state of the intake"))
    ));
}

/// During a rolling upgrade the program before imports and knows nothing of what waits: the next look finds it.
#[test]
fn an_import_by_the_program_before_is_made_good_by_the_next_look() {
    let (url, keys) = (testing::shared().database(), keys());
    let store = open(&url, 2, &keys);
    take(&store, vec![incoming(ONE, 1, stated("2026-01-02T00:00:00Z", revoked()))]);
    let options = PostgresOptions { readers: 1, ..PostgresOptions::new(&url) };
    let before = PostgresRegistry::open_alone_at(options, Arc::clone(&keys), SCHEMA - 1).unwrap();
    apply(&before, &[licensed(ONE)]);
    assert_eq!(waiting(&store).quarantined, 1);
    assert_eq!(expire_after(&store, 0), WaitingCounts::default());
    assert_eq!(said(&store, ONE), 6);
}

#[test]
fn the_oldest_known_changes_are_forgotten_and_the_record_still_knows_them() {
    let store = fresh(2);
    apply(&store, &[licensed(ONE)]);
    for sequence in 1..=6 {
        let taking = ChangeStore::take(
            &store,
            vec![incoming(
                ONE,
                sequence,
                stated(
                    "2026-01-01T00:00:00Z",
                    ChangeKind::PointsSet { points: u8::try_from(sequence).unwrap() },
                ),
            )],
            now() + jiff::SignedDuration::from_secs(i64::try_from(sequence).unwrap()),
        );
        crate::registry::store::wait(taking).unwrap();
    }
    let forget = |keep| store.runtime.block_on(store.shared.forget_known(keep)).unwrap();
    assert_eq!((forget(100), forget(6), forget(2)), (0, 0, 4));
    assert_eq!(count(&store, "SELECT count(*) FROM intake_known"), 2);
    let rows = said(&store, ONE);
    let kind = ChangeKind::PointsSet { points: 1 };
    let again = take(&store, vec![incoming(ONE, 1, stated("2026-01-01T00:00:00Z", kind))]);
    assert!(matches!(again[..], [Outcome::Duplicate(Fate::Applied(_))]), "{again:?}");
    assert_eq!(said(&store, ONE), rows);
}

#[test]
fn a_long_list_of_what_waits_is_read_in_pages() {
    let store = fresh(16);
    let drivers: Vec<_> =
        crate::registry::generator::Population::new(5, jiff::civil::date(2025, 1, 1)).take(700).collect();
    let changes = drivers.iter().enumerate().map(|(index, driver)| IncomingChange {
        document: driver.document,
        number: driver.number.clone(),
        id: crate::intake::ports::ChangeId::parse(&format!("{index}")).unwrap(),
        ..incoming(THREE, 2, stated("2026-01-01T00:00:00Z", revoked()))
    });
    take(&store, changes.collect());
    let all = quarantine(&store, None, 1_000);
    assert_eq!(all.len(), 700);
    assert_eq!(quarantine(&store, Some(all[598].handle), 50), all[599..649]);
    assert_eq!(waiting(&store).quarantined, 700);
    assert_eq!(count(&store, "SELECT count(*) FROM intake_state WHERE kind = 1"), 700);
}

/// Goal: how fast a feed becomes durable on this machine, for whoever runs it optimised: `DRIVEGATE_CHANGES=100000`. Method:
/// random subjects of a loaded population, 512 changes a commit; every change must have joined the record.
#[test]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn a_feed_over_a_population_becomes_durable_at_the_printed_rate() {
    use rand::SeedableRng as _;
    use rand::seq::SliceRandom as _;
    let count: usize = std::env::var("DRIVEGATE_CHANGES").map_or(2_000, |count| count.parse().unwrap());
    let store = fresh(16);
    let population = crate::registry::generator::Population::new(3, jiff::civil::date(2026, 11, 1));
    let drivers: Vec<_> = population.take(count / 2).collect();
    for batch in drivers.chunks(4_000) {
        let batch: Vec<_> = batch.iter().cloned().map(crate::registry::NewSubject::into_submission).collect();
        apply(&store, &batch);
    }
    let mut order = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let mut changes: Vec<IncomingChange> = Vec::with_capacity(count);
    for sequence in 1..=2 {
        let said = stated("2026-11-20T00:00:00Z", ChangeKind::PointsSet { points: 3 });
        let mut round: Vec<_> = drivers
            .iter()
            .enumerate()
            .map(|(subject, driver)| IncomingChange {
                id: crate::intake::ports::ChangeId::parse(&format!("{subject}-{sequence}")).unwrap(),
                document: driver.document,
                number: driver.number.clone(),
                ..incoming(ONE, sequence, said.clone())
            })
            .collect();
        round.shuffle(&mut order);
        changes.extend(round);
    }
    let (mut applied, mut slowest) = (0, std::time::Duration::ZERO);
    let began = std::time::Instant::now();
    for batch in changes.chunks(512) {
        let commit = std::time::Instant::now();
        applied += try_take(&store, batch.to_vec()).unwrap().applied;
        slowest = slowest.max(commit.elapsed());
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(applied, changes.len() as u64);
    println!(
        "{applied} changes in {seconds:.2} s, {:.0}/s, slowest commit {slowest:?}",
        applied as f64 / seconds
    );
}
