//! The intake on a real store: what a commit, a reopening and an import must keep.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;

use super::*;
use crate::domain::licence::{AsOf, ChangeKind, DocumentKind, VehicleClass};
use crate::domain::time::Effective;
use crate::intake::ports::{ChangeId, Fate, FeedName, QuarantineReason, StatedChange};
use crate::registry::embedded::{RegistryOptions, STORE_FILE};
use crate::registry::generator::{Population, fixed_drivers};
use crate::registry::suite::{ONE, TWO, change, licensed, more, number, read};

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-22T00:00:00Z")
}

fn store() -> EmbeddedRegistry {
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
}

fn incoming(text: &str, sequence: u64, content: StatedChange) -> IncomingChange {
    IncomingChange {
        source: FeedName::parse("authority-demo/main").unwrap(),
        id: ChangeId::parse(&format!("{}-{sequence}", &text[14..])).unwrap(),
        sequence,
        document: DocumentKind::ResidentId,
        number: number(text),
        content: Some(content),
    }
}

fn stated(recorded_at: &str, kind: ChangeKind) -> StatedChange {
    let recorded_at = at(recorded_at);
    StatedChange { effective: Effective::At(recorded_at), recorded_at, kind }
}

fn revoked() -> ChangeKind {
    ChangeKind::StateSet { letter: b'F', original_end: None }
}

fn take(store: &EmbeddedRegistry, batch: Vec<IncomingChange>) -> Vec<Outcome> {
    store.shared.take_changes(batch, now()).unwrap().outcomes
}

fn is_disputed(store: &EmbeddedRegistry, text: &str) -> bool {
    let record = read(store, text).unwrap().record.unwrap();
    record.history.fold(AsOf::new(now(), now())).disputed
}

fn carries(store: &EmbeddedRegistry, text: &str, letter: u8) -> bool {
    let record = read(store, text).unwrap().record.unwrap();
    record.history.fold(AsOf::new(now(), now())).states.contains_letter(letter)
}

/// Goal: no honest history is called impossible, and streaming it gives the record an import would give. Method: every test
/// driver and a population, change by change, all shuffled, in batches.
#[test]
fn every_driver_of_the_catalogue_and_a_population_streams_to_the_record_it_imports_to() {
    let store = store();
    let drivers = fixed_drivers(AS_OF).chain(Population::new(11, AS_OF).take(400));
    let marks = |kind: &ChangeKind| matches!(kind, ChangeKind::DisputeOpened | ChangeKind::DisputeSettled);
    let submissions: Vec<_> = drivers
        .map(crate::registry::NewSubject::into_submission)
        .filter(|submission| !submission.changes.iter().any(|change| marks(&change.kind)))
        .map(|mut submission| {
            // An import may say the first number anywhere; on the stream a new holder begins with it, and is filed under it.
            let number_set = |kind: &ChangeKind| match kind {
                ChangeKind::NumberSet { document, number } => Some((*document, number.clone())),
                _ => None,
            };
            let found = submission.changes.iter().enumerate();
            let (first, (document, number)) =
                found.filter_map(|(index, change)| Some((index, number_set(&change.kind)?))).next().unwrap();
            submission.changes[..=first].rotate_right(1);
            (submission.document, submission.number) = (document, number);
            submission
        })
        .collect();
    let mut changes = Vec::new();
    for (subject, submission) in submissions.iter().enumerate() {
        for (index, change) in submission.changes.iter().enumerate() {
            changes.push(IncomingChange {
                source: FeedName::parse("authority-demo/main").unwrap(),
                id: ChangeId::parse(&format!("{subject}-{index}")).unwrap(),
                sequence: index as u64 + 1,
                document: submission.document,
                number: submission.number.clone(),
                content: Some(StatedChange {
                    effective: change.effective,
                    recorded_at: change.recorded_at,
                    kind: change.kind.clone(),
                }),
            });
        }
    }
    changes.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(5));
    let applied: u64 = changes
        .chunks(700)
        .map(|batch| store.shared.take_changes(batch.to_vec(), now()).unwrap().applied)
        .sum();
    let waiting = store.shared.quarantine(None, 10).unwrap();
    assert!(waiting.is_empty(), "{waiting:?}");
    assert_eq!(applied, changes.len() as u64);
    for submission in &submissions {
        let pseudonym = store.keys().pseudonym(submission.document, &submission.number);
        let reading = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(crate::verification::ports::RecordSource::read(&store, pseudonym));
        let record = reading.unwrap().record.unwrap();
        let said = record.history.changes().iter().filter(|change| !marks(&change.kind));
        assert!(said.clone().count() == submission.changes.len());
        assert!(submission.changes.iter().zip(said).all(|(told, stored)| told.says(stored)));
    }
}

#[test]
fn every_change_has_its_own_place_in_the_feed_and_duplicates_write_nothing() {
    let store = store();
    store.apply(&[licensed(ONE)]).unwrap();
    let batch = vec![
        incoming(ONE, 1, stated("2026-01-01T00:00:00Z", revoked())),
        incoming(ONE, 2, stated("2026-01-02T00:00:00Z", ChangeKind::StateLifted { letter: b'F' })),
    ];
    let told = take(&store, batch.clone());
    let seqs: Vec<_> = store.feed_after(0, 10).unwrap().iter().map(|row| row.position.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
    let place = |seq| crate::domain::subject::Position { epoch: 1, partition: 0, seq };
    assert_eq!(told, [Outcome::New(Fate::Applied(place(2))), Outcome::New(Fate::Applied(place(3)))]);
    let commits = store.shared.commits.load(std::sync::atomic::Ordering::Acquire);
    let again = take(&store, batch);
    assert_eq!(
        again,
        [Outcome::Duplicate(Fate::Applied(place(2))), Outcome::Duplicate(Fate::Applied(place(3)))]
    );
    assert_eq!(store.shared.commits.load(std::sync::atomic::Ordering::Acquire), commits, "nothing to sync");
}

#[test]
fn what_waits_survives_a_restart_and_its_time_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let open =
        || EmbeddedRegistry::open(folder.path(), Arc::clone(&keys), RegistryOptions::default()).unwrap();
    let late = incoming(ONE, 2, stated("2026-01-02T00:00:00Z", revoked()));
    {
        let store = open();
        store.apply(&[licensed(ONE)]).unwrap();
        assert_eq!(take(&store, vec![late.clone()]), [Outcome::New(Fate::Held)]);
        assert!(is_disputed(&store, ONE));
    }
    let file = std::fs::read(folder.path().join(STORE_FILE)).unwrap();
    for marked in [late.id.as_str().as_bytes(), b"authority-demo/main", ONE.as_bytes()] {
        assert!(!file.windows(marked.len()).any(|window| window == marked), "the file tells nothing");
    }
    let store = open();
    assert!(is_disputed(&store, ONE));
    assert_eq!(store.shared.waiting().unwrap().held, 1);
    store.shared.expire(now() + jiff::SignedDuration::from_secs(4)).unwrap();
    assert_eq!(store.shared.waiting().unwrap().quarantined, 0);
    store.shared.expire(now() + jiff::SignedDuration::from_secs(6)).unwrap();
    let counts = store.shared.waiting().unwrap();
    assert_eq!((counts.held, counts.quarantined, counts.held_until), (0, 1, None));
    let entry = &store.shared.quarantine(None, 10).unwrap()[0];
    assert_eq!(
        (entry.reason, entry.next, entry.subject_known),
        (Some(QuarantineReason::SequenceGap), 1, true)
    );
    assert_eq!(entry.kind.as_deref(), Some("state-set"));
    take(&store, vec![incoming(ONE, 1, stated("2026-01-01T00:00:00Z", ChangeKind::PointsCleared))]);
    assert!(carries(&store, ONE, b'F') && !is_disputed(&store, ONE));
    assert_eq!(store.shared.waiting().unwrap(), WaitingCounts::default());
}

/// A revocation that came before its subject was loaded must not leave a "valid" once it is.
#[test]
fn a_snapshot_loaded_after_its_revocation_is_in_dispute_until_that_is_taken_in() {
    let store = store();
    let told = take(&store, vec![incoming(ONE, 1, stated("2026-01-02T00:00:00Z", revoked()))]);
    assert_eq!(told, [Outcome::New(Fate::Quarantined(QuarantineReason::UnknownSubject))]);
    store.apply(&[licensed(ONE), licensed(TWO)]).unwrap();
    assert!(is_disputed(&store, ONE), "from the commit that loaded it");
    assert!(!is_disputed(&store, TWO));
    store.shared.expire(now()).unwrap();
    assert!(carries(&store, ONE, b'F') && !is_disputed(&store, ONE));
    assert_eq!(store.shared.waiting().unwrap(), WaitingCounts::default());
}

/// Whoever writes a record makes what waits for it due, once: a gap nobody fills must not be looked at for ever.
#[test]
fn what_an_import_made_due_is_due_once() {
    let store = store();
    store.apply(&[licensed(ONE)]).unwrap();
    take(&store, vec![incoming(ONE, 3, stated("2026-01-03T00:00:00Z", revoked()))]);
    let later = now() + jiff::SignedDuration::from_secs(6);
    store.shared.expire(later).unwrap();
    let due = || store.shared.waiting().unwrap().held_until;
    assert_eq!(due(), None);
    let points = change("2026-02-01T00:00:00Z", ChangeKind::PointsSet { points: 3 });
    assert!(matches!(store.apply(&[more(ONE, points)]).unwrap()[0], crate::registry::Outcome::Appended(_)));
    assert_eq!(due(), Some(Timestamp::UNIX_EPOCH));
    store.shared.expire(later).unwrap();
    let counts = store.shared.waiting().unwrap();
    assert_eq!((counts.held, counts.quarantined, counts.held_until), (0, 1, None));
    assert!(is_disputed(&store, ONE), "it still waits");
    let commits = || store.shared.commits.load(std::sync::atomic::Ordering::Acquire);
    let before = commits();
    store.shared.expire(later).unwrap();
    assert_eq!(commits(), before, "nothing is due, nothing is written");
}

#[test]
fn what_waits_under_a_new_number_is_taken_over_when_the_number_is_set() {
    let store = store();
    store.apply(&[licensed(ONE)]).unwrap();
    let early = incoming(TWO, 2, stated("2026-01-03T00:00:00Z", revoked()));
    assert_eq!(
        take(&store, vec![early]),
        [Outcome::New(Fate::Quarantined(QuarantineReason::UnknownSubject))]
    );
    let sets = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(TWO) };
    take(&store, vec![incoming(ONE, 1, stated("2026-01-02T00:00:00Z", sets))]);
    assert!(carries(&store, ONE, b'F') && carries(&store, TWO, b'F') && !is_disputed(&store, ONE));
}

#[test]
fn a_number_of_somebody_else_stays_theirs_even_within_a_batch() {
    let store = store();
    store.apply(&[licensed(ONE)]).unwrap();
    let third = "00000019920229001X";
    store.apply(&[licensed(TWO)]).unwrap();
    let sets = || ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(third) };
    let told = take(
        &store,
        vec![
            incoming(ONE, 1, stated("2026-01-02T00:00:00Z", sets())),
            incoming(TWO, 1, stated("2026-01-02T00:00:00Z", sets())),
        ],
    );
    assert!(matches!(told[0], Outcome::New(Fate::Applied(_))));
    assert_eq!(told[1], Outcome::New(Fate::Quarantined(QuarantineReason::NumberTaken)));
    assert!(is_disputed(&store, TWO) && !is_disputed(&store, ONE));
}

#[test]
fn the_operator_settles_what_waits() {
    let store = store();
    store.apply(&[licensed(ONE)]).unwrap();
    let class = ChangeKind::ClassAdded { class: VehicleClass::A1 };
    take(
        &store,
        vec![
            incoming(ONE, 1, stated("2026-01-01T00:00:00Z", revoked())),
            incoming(ONE, 2, stated("2026-01-02T00:00:00Z", class)),
            incoming(ONE, 3, stated("2026-01-03T00:00:00Z", ChangeKind::PointsCleared)),
        ],
    );
    let entries = store.shared.quarantine(None, 10).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(store.shared.quarantine(Some(entries[0].handle), 10).unwrap(), entries[1..]);
    assert_eq!(store.shared.quarantine(None, 1).unwrap(), entries[..1]);
    let replay = Verdict::Replay { recorded_now: false };
    let still = store.shared.judge(entries[0].handle, replay, now()).unwrap();
    assert_eq!(still, Err(VerdictFault::StillNot(QuarantineReason::LicenceEnded)));
    assert_eq!(store.shared.judge(entries[0].handle, Verdict::Discard, now()).unwrap(), Ok(1));
    assert!(!is_disputed(&store, ONE));
    let gone = store.shared.judge(entries[0].handle, Verdict::Discard, now()).unwrap();
    assert_eq!(gone, Err(VerdictFault::NotWaiting));
}

#[test]
fn a_batch_of_many_changes_of_one_subject_is_taken_in_whole() {
    let store = store();
    store.apply(&[licensed(ONE)]).unwrap();
    let batch: Vec<_> = (1..=300)
        .map(|seq| incoming(ONE, seq, stated("2026-01-01T00:00:00Z", ChangeKind::PointsSet { points: 3 })))
        .collect();
    let told = take(&store, batch);
    assert!(told.iter().all(|told| matches!(told, Outcome::New(Fate::Applied(_)))));
    assert_eq!(store.head().seq, 301);
}

/// Goal: how fast a feed becomes durable on this machine, for whoever runs it optimised: `DRIVEGATE_CHANGES=200000`. Method:
/// random subjects of a loaded population, 2,048 changes a commit, on disk; every change must have joined the record.
#[test]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn a_feed_over_a_population_becomes_durable_at_the_printed_rate() {
    let count: usize = std::env::var("DRIVEGATE_CHANGES").map_or(2_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let store = EmbeddedRegistry::open(folder.path(), keys, RegistryOptions::default()).unwrap();
    let drivers: Vec<_> = Population::new(3, AS_OF).take(count / 2).collect();
    for batch in drivers.chunks(4_000) {
        let batch: Vec<_> = batch.iter().cloned().map(crate::registry::NewSubject::into_submission).collect();
        store.apply(&batch).unwrap();
    }
    let mut changes: Vec<IncomingChange> = Vec::with_capacity(count);
    for sequence in 1..=2 {
        for (subject, driver) in drivers.iter().enumerate() {
            changes.push(IncomingChange {
                source: FeedName::parse("authority-demo/main").unwrap(),
                id: ChangeId::parse(&format!("{subject}-{sequence}")).unwrap(),
                sequence,
                document: driver.document,
                number: driver.number.clone(),
                content: Some(stated("2026-11-20T00:00:00Z", ChangeKind::PointsSet { points: 3 })),
            });
        }
    }
    let mut order = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let (first, second) = changes.split_at_mut(drivers.len());
    first.shuffle(&mut order);
    second.shuffle(&mut order);
    let began = std::time::Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    let mut applied = 0;
    for batch in changes.chunks(2_048) {
        let commit = std::time::Instant::now();
        applied += store.shared.take_changes(batch.to_vec(), now()).unwrap().applied;
        slowest = slowest.max(commit.elapsed());
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(applied, changes.len() as u64);
    println!(
        "{applied} changes in {seconds:.2} s, {:.0}/s, slowest commit {slowest:?}",
        applied as f64 / seconds
    );
}

/// A folder with a store in which a change of a known subject and one of a number nobody has wait, and one is known by its id.
fn with_waiting_changes(folder: &std::path::Path, keys: &Arc<RegistryKeys>) -> EmbeddedRegistry {
    let store = EmbeddedRegistry::open(folder, Arc::clone(keys), RegistryOptions::default()).unwrap();
    store.apply(&[licensed(ONE)]).unwrap();
    take(&store, vec![incoming(ONE, 1, stated("2026-01-01T00:00:00Z", ChangeKind::PointsCleared))]);
    take(&store, vec![incoming(ONE, 3, stated("2026-01-03T00:00:00Z", revoked()))]);
    take(&store, vec![incoming(TWO, 2, stated("2026-01-03T00:00:00Z", revoked()))]);
    assert_eq!(store.shared.quarantine(None, 10).unwrap().len(), 2);
    store
}

/// What came, waits, and is known is what it was; the missing change sets the waiting one free.
fn goes_on(store: &EmbeddedRegistry, before: &[QuarantineEntry]) {
    assert_eq!(store.shared.quarantine(None, 10).unwrap(), before);
    assert!(is_disputed(store, ONE));
    let again = incoming(ONE, 1, stated("2026-01-01T00:00:00Z", ChangeKind::PointsCleared));
    assert!(matches!(take(store, vec![again])[..], [Outcome::Duplicate(_)]));
    take(store, vec![incoming(ONE, 2, stated("2026-01-02T00:00:00Z", ChangeKind::PointsCleared))]);
    assert!(carries(store, ONE, b'F') && !is_disputed(store, ONE));
}

#[test]
fn what_waits_comes_back_from_a_backup() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let store = with_waiting_changes(here.path(), &keys);
    let before = store.shared.quarantine(None, 10).unwrap();
    let mut file = Vec::new();
    store.back_up(&mut file, &mut |_| {}).unwrap();
    crate::registry::embedded::restore(std::io::Cursor::new(&file), there.path(), &keys, now(), &mut |_| {})
        .unwrap();
    let restored =
        EmbeddedRegistry::open(there.path(), Arc::clone(&keys), RegistryOptions::default()).unwrap();
    goes_on(&restored, &before);
}

#[test]
fn what_waits_survives_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let before = with_waiting_changes(folder.path(), &keys).shared.quarantine(None, 10).unwrap();
    crate::registry::embedded::compact(folder.path(), Arc::clone(&keys), &mut |_| {}).unwrap();
    let compacted = EmbeddedRegistry::open(folder.path(), keys, RegistryOptions::default()).unwrap();
    goes_on(&compacted, &before);
}

#[test]
fn a_first_load_leaves_what_waits_to_the_ordinary_way() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
    let store = EmbeddedRegistry::open(folder.path(), keys, RegistryOptions::default()).unwrap();
    take(&store, vec![incoming(ONE, 2, stated("2026-01-03T00:00:00Z", revoked()))]);
    assert!(matches!(store.bulk_load().err(), Some(RegistryError::NotEmpty)));
    store.apply(&[licensed(ONE)]).unwrap();
    assert!(is_disputed(&store, ONE), "it waits for the first change of its feed");
}
