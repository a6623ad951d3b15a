//! What every store must do with the authority's changes, whatever it stands on. A store runs the suite with one line.

use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use tokio::runtime::Runtime;

use crate::domain::licence::{AsOf, ChangeKind, DocumentKind, Qualification, VehicleClass};
use crate::domain::time::Effective;
use crate::intake::ports::{
    ChangeId, ChangeStore, Fate, FeedName, Handle, IncomingChange, Later, Outcome, QuarantineEntry,
    QuarantineReason, StatedChange, StoreFault, Taken, Verdict, VerdictFault, WaitingCounts,
};
use crate::registry::generator::{Population, fixed_drivers};
use crate::registry::store::LicenceStore;
use crate::registry::suite::{ONE, TWO, apply, licensed, number, read, read_of};
use crate::registry::{EmbeddedRegistry, NewChange, NewSubject, RegistryKeys, RegistryOptions, Submission};

const AS_OF: jiff::civil::Date = jiff::civil::date(2026, 11, 1);

/// A store as a gateway has it: asked by partners, fed by the authority.
pub(super) trait Store: LicenceStore + ChangeStore {}
impl<S: LicenceStore + ChangeStore> Store for S {}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap());

/// Calls a store where the embedded one finds a runtime.
fn call<'s, T>(ask: impl FnOnce() -> Later<'s, Result<T, StoreFault>>) -> Result<T, StoreFault> {
    RUNTIME.block_on(async { ask().await })
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn now() -> Timestamp {
    at("2026-11-22T00:00:00Z")
}

pub(super) fn incoming(text: &str, sequence: u64, content: StatedChange) -> IncomingChange {
    IncomingChange {
        source: FeedName::parse("authority-demo/main").unwrap(),
        id: ChangeId::parse(&format!("{}-{sequence}", &text[14..])).unwrap(),
        sequence,
        document: DocumentKind::ResidentId,
        number: number(text),
        content: Some(content),
    }
}

pub(super) fn stated(recorded_at: &str, kind: ChangeKind) -> StatedChange {
    let recorded_at = at(recorded_at);
    StatedChange { effective: Effective::At(recorded_at), recorded_at, kind }
}

pub(super) fn revoked() -> ChangeKind {
    ChangeKind::StateSet { letter: b'F', original_end: None }
}

pub(super) fn points(sequence: u64) -> IncomingChange {
    incoming(ONE, sequence, stated("2026-01-01T00:00:00Z", ChangeKind::PointsSet { points: 3 }))
}

pub(super) fn try_take(store: &dyn Store, batch: Vec<IncomingChange>) -> Result<Taken, StoreFault> {
    call(|| store.take(batch, now()))
}

pub(super) fn take(store: &dyn Store, batch: Vec<IncomingChange>) -> Vec<Outcome> {
    try_take(store, batch).unwrap().outcomes
}

pub(super) fn waiting(store: &dyn Store) -> WaitingCounts {
    call(|| store.waiting()).unwrap()
}

pub(super) fn expire_after(store: &dyn Store, seconds: i64) -> WaitingCounts {
    call(|| store.expire(now() + SignedDuration::from_secs(seconds))).unwrap()
}

pub(super) fn quarantine(store: &dyn Store, after: Option<Handle>, count_max: usize) -> Vec<QuarantineEntry> {
    call(|| store.quarantine(after, count_max)).unwrap()
}

fn judge(store: &dyn Store, handle: Handle, verdict: Verdict) -> Result<u64, VerdictFault> {
    call(|| store.judge(handle, verdict, now())).unwrap()
}

fn held(store: &dyn Store, text: &str) -> Qualification {
    let record = read(store, text).unwrap().record.unwrap();
    record.history.fold(AsOf::new(now(), now()))
}

pub(super) fn is_disputed(store: &dyn Store, text: &str) -> bool {
    held(store, text).disputed
}

fn carries(store: &dyn Store, text: &str, letter: u8) -> bool {
    held(store, text).states.contains_letter(letter)
}

fn is_mark(kind: &ChangeKind) -> bool {
    matches!(kind, ChangeKind::DisputeOpened | ChangeKind::DisputeSettled)
}

/// Counts the changes of a record that somebody handed in.
pub(super) fn said(store: &dyn Store, text: &str) -> usize {
    let record = read(store, text).unwrap().record.unwrap();
    record.history.changes().iter().filter(|change| !is_mark(&change.kind)).count()
}

fn feed_rows(store: &dyn Store) -> u64 {
    crate::registry::store::wait(store.heads()).unwrap().changes()
}

pub(super) fn a_change_sent_again_writes_nothing(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    let lifted = stated("2026-01-02T00:00:00Z", ChangeKind::StateLifted { letter: b'F' });
    let batch = vec![incoming(ONE, 1, stated("2026-01-01T00:00:00Z", revoked())), incoming(ONE, 2, lifted)];
    let told = take(store, batch.clone());
    let places: Vec<_> = told
        .iter()
        .map(|told| match told {
            Outcome::New(Fate::Applied(position)) => *position,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(places[1].seq, places[0].seq + 1, "each has its own place");
    assert_eq!(read(store, ONE).unwrap().position, places[1]);
    let rows = feed_rows(store);
    let again = try_take(store, batch).unwrap();
    let known: Vec<_> = places.iter().map(|place| Outcome::Duplicate(Fate::Applied(*place))).collect();
    assert_eq!((again.outcomes, again.applied), (known, 0));
    assert_eq!(feed_rows(store), rows);
}

pub(super) fn a_gap_is_held_in_dispute_then_quarantined_and_settled_when_it_is_filled(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    let late = incoming(ONE, 2, stated("2026-01-02T00:00:00Z", revoked()));
    assert_eq!(take(store, vec![late.clone()]), [Outcome::New(Fate::Held)]);
    assert!(is_disputed(store, ONE), "from the commit that holds it");
    assert_eq!(feed_rows(store), 2, "the mark is told to whoever follows");
    let counts = waiting(store);
    assert_eq!((counts.held, counts.quarantined), (1, 0));
    assert!(counts.held_until.is_some_and(|until| until > now()));
    assert_eq!(expire_after(store, 4).quarantined, 0);
    assert_eq!(expire_after(store, 6), WaitingCounts { held: 0, quarantined: 1, held_until: None });
    let entry = &quarantine(store, None, 10)[0];
    assert_eq!((entry.reason, entry.next), (Some(QuarantineReason::SequenceGap), 1));
    assert_eq!((entry.kind.as_deref(), entry.subject_known), (Some("state-set"), true));
    let again = take(store, vec![late.clone()]);
    assert_eq!(again, [Outcome::Duplicate(Fate::Quarantined(QuarantineReason::SequenceGap))]);
    let missing = incoming(ONE, 1, stated("2026-01-01T00:00:00Z", ChangeKind::PointsCleared));
    take(store, vec![missing]);
    assert!(carries(store, ONE, b'F') && !is_disputed(store, ONE));
    assert_eq!(waiting(store), WaitingCounts::default());
    assert!(matches!(take(store, vec![late])[..], [Outcome::Duplicate(Fate::Applied(_))]));
}

/// A revocation that came before its subject was loaded must not leave a "valid" once it is.
pub(super) fn an_import_adopts_what_waited_for_its_numbers(store: &dyn Store) {
    let told = take(store, vec![incoming(ONE, 1, stated("2026-01-02T00:00:00Z", revoked()))]);
    assert_eq!(told, [Outcome::New(Fate::Quarantined(QuarantineReason::UnknownSubject))]);
    assert!(!quarantine(store, None, 1)[0].subject_known);
    apply(store, &[licensed(ONE), licensed(TWO)]);
    assert!(is_disputed(store, ONE), "from the commit that loaded it");
    assert!(!is_disputed(store, TWO));
    assert_eq!(expire_after(store, 0), WaitingCounts::default());
    assert!(carries(store, ONE, b'F') && !is_disputed(store, ONE));
}

pub(super) fn an_import_that_leaves_a_gap_leaves_the_dispute(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    take(store, vec![incoming(ONE, 2, stated("2026-01-02T00:00:00Z", revoked()))]);
    let points = ChangeKind::PointsSet { points: 3 };
    apply(
        store,
        &[crate::registry::suite::more(ONE, crate::registry::suite::change("2026-01-01T00:00:00Z", points))],
    );
    assert!(is_disputed(store, ONE));
    assert_eq!(expire_after(store, 1).held, 1);
    assert!(is_disputed(store, ONE));
}

pub(super) fn a_stream_creates_a_subject(store: &dyn Store) {
    let sets = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(ONE) };
    let early = incoming(ONE, 2, stated("2020-01-02T00:00:00Z", ChangeKind::Issued));
    let first = incoming(ONE, 1, stated("2020-01-01T00:00:00Z", sets));
    assert_eq!(take(store, vec![early]), [Outcome::New(Fate::Quarantined(QuarantineReason::UnknownSubject))]);
    assert!(read(store, ONE).unwrap().record.is_none());
    assert_eq!(try_take(store, vec![first]).unwrap().applied, 2, "the one that waited, too");
    assert_eq!((said(store, ONE), waiting(store)), (2, WaitingCounts::default()));
}

pub(super) fn a_new_number_adopts_what_waited_under_it(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    take(store, vec![incoming(TWO, 2, stated("2026-01-03T00:00:00Z", revoked()))]);
    let sets = ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(TWO) };
    take(store, vec![incoming(ONE, 1, stated("2026-01-02T00:00:00Z", sets))]);
    assert!(carries(store, ONE, b'F') && carries(store, TWO, b'F') && !is_disputed(store, ONE));
    assert_eq!(waiting(store), WaitingCounts::default());
}

pub(super) fn a_number_of_somebody_else_stays_theirs_within_a_batch(store: &dyn Store) {
    let third = "00000019920229001X";
    apply(store, &[licensed(ONE), licensed(TWO)]);
    let sets = || ChangeKind::NumberSet { document: DocumentKind::ResidentId, number: number(third) };
    let told = take(
        store,
        vec![
            incoming(ONE, 1, stated("2026-01-02T00:00:00Z", sets())),
            incoming(TWO, 1, stated("2026-01-02T00:00:00Z", sets())),
        ],
    );
    assert!(matches!(told[0], Outcome::New(Fate::Applied(_))));
    assert_eq!(told[1], Outcome::New(Fate::Quarantined(QuarantineReason::NumberTaken)));
    assert!(is_disputed(store, TWO) && !is_disputed(store, ONE));
}

pub(super) fn an_id_used_twice_is_a_mistake_and_not_a_second_change(store: &dyn Store) {
    apply(store, &[licensed(ONE), licensed(TWO)]);
    let first = incoming(ONE, 1, stated("2026-01-01T00:00:00Z", revoked()));
    let second = IncomingChange { number: number(TWO), ..first.clone() };
    assert!(matches!(take(store, vec![first])[..], [Outcome::New(Fate::Applied(_))]));
    let reused = Fate::Quarantined(QuarantineReason::ChangeIdReused);
    assert_eq!(take(store, vec![second.clone()]), [Outcome::New(reused)]);
    assert_eq!(take(store, vec![second]), [Outcome::Duplicate(reused)]);
    assert!(is_disputed(store, TWO) && !carries(store, TWO, b'F'));
}

pub(super) fn the_operator_discards_and_replays(store: &dyn Store) {
    apply(store, &[licensed(ONE)]);
    let class = ChangeKind::ClassAdded { class: VehicleClass::A1 };
    let cleared = incoming(ONE, 3, stated("2026-01-03T00:00:00Z", ChangeKind::PointsCleared));
    take(
        store,
        vec![
            incoming(ONE, 1, stated("2026-01-01T00:00:00Z", revoked())),
            incoming(ONE, 2, stated("2026-01-02T00:00:00Z", class)),
            cleared.clone(),
        ],
    );
    let entries = quarantine(store, None, 10);
    assert_eq!(entries.len(), 2);
    assert_eq!(quarantine(store, Some(entries[0].handle), 10), entries[1..]);
    assert_eq!(quarantine(store, None, 1), entries[..1]);
    let replay = Verdict::Replay { recorded_now: false };
    let rows = feed_rows(store);
    let still = judge(store, entries[0].handle, replay);
    assert_eq!(still, Err(VerdictFault::StillNot(QuarantineReason::LicenceEnded)));
    assert_eq!(feed_rows(store), rows, "nothing was written");
    let not_first = judge(store, entries[1].handle, Verdict::Discard);
    assert_eq!(not_first, Err(VerdictFault::NotFirst(entries[0].handle)));
    assert_eq!(judge(store, entries[0].handle, Verdict::Discard), Ok(1), "the one behind it joins");
    assert!(!is_disputed(store, ONE));
    assert!(matches!(take(store, vec![cleared])[..], [Outcome::Duplicate(Fate::Applied(_))]));
    let gone = judge(store, entries[0].handle, Verdict::Discard);
    assert_eq!(gone, Err(VerdictFault::NotWaiting));

    let back = incoming(ONE, 4, stated("2025-01-01T00:00:00Z", ChangeKind::PointsSet { points: 6 }));
    let told = take(store, vec![back]);
    assert_eq!(told, [Outcome::New(Fate::Quarantined(QuarantineReason::RecordedTimeBack))]);
    let handle = quarantine(store, None, 10)[0].handle;
    assert_eq!(judge(store, handle, Verdict::Replay { recorded_now: true }), Ok(1));
    assert_eq!(waiting(store), WaitingCounts::default());
}

/// Puts the number first, and files the changes under it: a feed introduces its subject before it says more.
fn introduced(mut submission: Submission) -> Submission {
    let number_set = |change: &NewChange| match &change.kind {
        ChangeKind::NumberSet { document, number } => Some((*document, number.clone())),
        _ => None,
    };
    let found = submission.changes.iter().enumerate();
    let (index, (document, number)) =
        found.filter_map(|(index, change)| Some((index, number_set(change)?))).next().unwrap();
    submission.changes[..=index].rotate_right(1);
    Submission { document, number, ..submission }
}

/// Goal: no honest history is called impossible, and streaming it gives the record an import would give. Method: every test
/// driver and a population, change by change, all shuffled, in batches.
pub(super) fn a_population_streams_to_the_records_it_imports_to(store: &dyn Store) {
    let drivers = fixed_drivers(AS_OF).chain(Population::new(11, AS_OF).take(150));
    let submissions: Vec<Submission> = drivers
        .map(NewSubject::into_submission)
        .filter(|submission| !submission.changes.iter().any(|change| is_mark(&change.kind)))
        .map(introduced)
        .collect();
    let mut changes = Vec::new();
    for (subject, submission) in submissions.iter().enumerate() {
        for (index, change) in submission.changes.iter().enumerate() {
            let content = StatedChange {
                effective: change.effective,
                recorded_at: change.recorded_at,
                kind: change.kind.clone(),
            };
            changes.push(IncomingChange {
                source: FeedName::parse("authority-demo/main").unwrap(),
                id: ChangeId::parse(&format!("{subject}-{index}")).unwrap(),
                sequence: index as u64 + 1,
                document: submission.document,
                number: submission.number.clone(),
                content: Some(content),
            });
        }
    }
    changes.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(5));
    let applied: u64 =
        changes.chunks(700).map(|batch| try_take(store, batch.to_vec()).unwrap().applied).sum();
    let left = quarantine(store, None, 10);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(applied, changes.len() as u64);
    for submission in &submissions {
        let record = read_of(store, submission).unwrap().record.unwrap();
        let said = record.history.changes().iter().filter(|change| !is_mark(&change.kind));
        assert_eq!(said.clone().count(), submission.changes.len());
        assert!(submission.changes.iter().zip(said).all(|(told, stored)| told.says(stored)));
    }
}

/// Runs the suite, each behaviour on a fresh store.
macro_rules! change_store_suite {
    ($fresh:expr) => {
        $crate::registry::postgres::intake::suite::change_store_suite! { $fresh;
            a_change_sent_again_writes_nothing
            a_gap_is_held_in_dispute_then_quarantined_and_settled_when_it_is_filled
            an_import_adopts_what_waited_for_its_numbers
            an_import_that_leaves_a_gap_leaves_the_dispute
            a_stream_creates_a_subject
            a_new_number_adopts_what_waited_under_it
            a_number_of_somebody_else_stays_theirs_within_a_batch
            an_id_used_twice_is_a_mistake_and_not_a_second_change
            the_operator_discards_and_replays
            a_population_streams_to_the_records_it_imports_to
        }
    };
    ($fresh:expr; $($behaviour:ident)+) => {
        $(#[test] fn $behaviour() { $crate::registry::postgres::intake::suite::$behaviour(&$fresh); })+
    };
}

pub(super) use change_store_suite;

mod embedded {
    use super::*;

    fn fresh() -> EmbeddedRegistry {
        let keys = Arc::new(RegistryKeys::ephemeral().unwrap());
        EmbeddedRegistry::in_memory(keys, RegistryOptions::default()).unwrap()
    }

    change_store_suite! { fresh() }
}
