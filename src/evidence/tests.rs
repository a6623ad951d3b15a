//! Who is given a receipt, who is not, and when the refusal leaves.
#![allow(clippy::disallowed_methods, reason = "when a refusal leaves is measured in real time")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::ports::{
    AccessLog, AccessToRecord, Accessed, Accessing, Answered, Entries, Found, IndexUnavailable, LogSource,
    LogUnavailable, Logs, LookUp, LookUpIndex, MadeReceipt, ReceiptImpossible, ReceiptParts,
    SignedCheckpoint, Stretch, SubjectHandle, SubjectSecrets,
};
use super::{Asked, NoReceipt, Receipt, ReceiptCaller, Receipts};
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::subject::{SubjectId, SubjectSecret};
use crate::domain::time::Clock;
use crate::verification::ports::{EntryAt, EvidenceUnavailable, Later};

const ORIGIN: &str = "gw-1-0123456789abcdef";
const PEER: &str = "gw-2-0123456789abcdef";
const FLOOR: Duration = Duration::from_millis(120);
const REQUEST: &str = "0192f0c1-7a1e";
/// Entries: `confirmed` and `unconfirmed` of `mine`, one of another, one that is no answer, one damaged.
const ENTRIES: [&str; 5] = ["mine c", "mine u", "theirs c", "refusal", "mine damaged"];

fn now<T: Send + 'static>(value: T) -> Later<'static, T> {
    Box::pin(std::future::ready(value))
}

/// Everything outside, as small as it can be.
#[derive(Default)]
struct World {
    accesses: Mutex<Vec<(String, u64, bool)>>,
    log_is_away: bool,
    index_is_away: bool,
    journal_is_closed: bool,
    is_erased: bool,
    /// The own log's checkpoint covers so many entries.
    signed: Option<u64>,
    /// How many of the own log's entries are in the index.
    indexed: u64,
    begun: Option<Instant>,
    /// When checkpoint and index have caught up, since the beginning.
    catches_up_after: Option<Duration>,
}

impl World {
    fn has_caught_up(&self) -> bool {
        let elapsed = self.begun.map(|begun| begun.elapsed());
        self.catches_up_after.is_none_or(|after| elapsed.is_some_and(|elapsed| elapsed >= after))
    }
}

struct Log(Arc<World>, &'static str);

impl LogSource for Log {
    fn origin(&self) -> &str {
        self.1
    }

    fn checkpoint(&self) -> Later<'_, Result<Option<SignedCheckpoint>, LogUnavailable>> {
        if self.0.log_is_away {
            return now(Err(LogUnavailable));
        }
        let size = if self.0.has_caught_up() { self.0.signed.unwrap_or(5) } else { 0 };
        now(Ok(Some(SignedCheckpoint { size, root: [0; 32], note: Arc::from(&b"note"[..]) })))
    }

    fn entry(&self, index: u64) -> Later<'_, Result<Option<Vec<u8>>, LogUnavailable>> {
        let entry = usize::try_from(index).ok().and_then(|index| ENTRIES.get(index));
        now(Ok(entry.map(|entry| entry.as_bytes().to_vec())))
    }

    fn stretch(&self, _: u64, _: u64) -> Later<'_, Result<Stretch, LogUnavailable>> {
        now(Err(LogUnavailable))
    }

    fn length(&self) -> Later<'_, Result<u64, LogUnavailable>> {
        now(Err(LogUnavailable))
    }

    fn inclusion(&self, _: u64, _: u64) -> Later<'_, Result<Vec<[u8; 32]>, LogUnavailable>> {
        now(Ok(vec![[1; 32]]))
    }
}

struct Fake(Arc<World>);

impl Logs for Fake {
    fn log(&self, origin: &str) -> Option<Arc<dyn LogSource>> {
        let name = [ORIGIN, PEER].into_iter().find(|name| *name == origin)?;
        Some(Arc::new(Log(Arc::clone(&self.0), name)))
    }

    fn all(&self) -> Vec<Arc<dyn LogSource>> {
        Vec::new()
    }

    fn growing(&self) -> Vec<Arc<dyn LogSource>> {
        Vec::new()
    }
}

impl LookUpIndex for Fake {
    fn cursor(&self, _: &str) -> Later<'_, Result<u64, IndexUnavailable>> {
        now(Ok(self.0.indexed))
    }

    fn take_in(&self, _: &str, _: u64, _: u64, _: Vec<LookUp>) -> Later<'_, Result<u64, IndexUnavailable>> {
        now(Err(IndexUnavailable))
    }

    fn forget(&self, _: &str) -> Later<'_, Result<(), IndexUnavailable>> {
        now(Err(IndexUnavailable))
    }

    fn by_subject(
        &self,
        _: SubjectHandle,
        _: Option<Found>,
        _: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        now(Err(IndexUnavailable))
    }

    fn by_request(&self, request: [u8; 16]) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        if self.0.index_is_away {
            return now(Err(IndexUnavailable));
        }
        let found = |index| Found { at: Timestamp::UNIX_EPOCH, place: place(ORIGIN, index) };
        let is_known = request == [1; 16] && self.0.has_caught_up();
        now(Ok(if is_known { vec![found(1), found(0)] } else { Vec::new() }))
    }

    fn by_case(
        &self,
        _: [u8; 16],
        _: Option<Found>,
        _: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        now(Err(IndexUnavailable))
    }
}

impl SubjectSecrets for Fake {
    fn secret(&self, subject: SubjectId) -> Later<'_, Result<Option<SubjectSecret>, IndexUnavailable>> {
        assert_eq!(subject.as_bytes(), &[5; 16], "the handle's");
        now(Ok((!self.0.is_erased).then(|| SubjectSecret::from_bytes([6; 32]))))
    }
}

impl Entries for Fake {
    fn request_digest(&self, partner: &PartnerId, request_id: &str) -> [u8; 16] {
        if partner.as_str() == "mine" && request_id == REQUEST { [1; 16] } else { [2; 16] }
    }

    fn answered(&self, entry: &[u8]) -> Option<Answered> {
        let (partner, rest) = std::str::from_utf8(entry).unwrap().split_once(' ')?;
        let confirmed = rest != "u";
        Some(Answered { partner: partner.parse().unwrap(), subject: SubjectHandle([5; 16]), confirmed })
    }

    fn at(&self, _: &[u8]) -> Option<Timestamp> {
        None
    }

    fn accessed(&self, _: &[u8]) -> Option<Accessed> {
        None
    }

    fn receipt(&self, parts: ReceiptParts<'_>) -> Result<MadeReceipt, ReceiptImpossible> {
        if parts.entry.ends_with(b"damaged") {
            return Err(ReceiptImpossible);
        }
        let text = String::from_utf8(parts.entry.to_vec()).unwrap();
        Ok(MadeReceipt { text, erased: parts.secret.is_none() })
    }
}

impl AccessLog for Fake {
    fn record_access(
        &self,
        access: &AccessToRecord<'_>,
    ) -> Later<'static, Result<EntryAt, EvidenceUnavailable>> {
        if self.0.journal_is_closed {
            return now(Err(EvidenceUnavailable));
        }
        assert_eq!(access.partner.unwrap().as_str(), "mine");
        let Accessing::Receipt { place, erased } = access.what else { panic!("another access") };
        self.0.accesses.lock().unwrap().push((place.origin.to_string(), place.index, erased));
        now(Ok(self::place(ORIGIN, 9)))
    }

    fn written(&self) -> (&str, u64) {
        (ORIGIN, 5)
    }
}

struct RealClock(Instant);

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn since_boot(&self) -> Duration {
        self.0.elapsed()
    }
}

fn place(origin: &str, index: u64) -> EntryAt {
    EntryAt { origin: origin.into(), index }
}

fn at(origin: &str, index: u64) -> Asked {
    Asked::Place(place(origin, index))
}

fn request(id: &str) -> Asked {
    Asked::Request(id.into())
}

/// Asks several times at once; returns what came of each and how long it took.
/// What was given, each after how long.
type Given = Vec<(Result<Receipt, NoReceipt>, Duration)>;

/// What was put on record about it: of which log, which entry, whether with openings.
type OnRecord = Vec<(String, u64, bool)>;

fn ask(world: World, questions: &[Asked], standing: impl Fn() -> Standing + Sync) -> (Given, OnRecord) {
    let world = Arc::new(World { begun: Some(Instant::now()), ..world });
    let fake = Arc::new(Fake(Arc::clone(&world)));
    let receipts = Receipts {
        logs: Arc::clone(&fake) as _,
        index: Arc::clone(&fake) as _,
        secrets: Arc::clone(&fake) as _,
        entries: Arc::clone(&fake) as _,
        accesses: Arc::clone(&fake) as _,
        clock: Arc::new(RealClock(Instant::now())),
        unconfirmed_floor: FLOOR,
    };
    let partner: PartnerId = "mine".parse().unwrap();
    let caller = ReceiptCaller { partner: &partner, standing: &standing };
    let one = async |asked| {
        let begun = Instant::now();
        (receipts.receipt(caller, asked).await, begun.elapsed())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let given = runtime.block_on(futures_util::future::join_all(questions.iter().map(one)));
    let accesses = world.accesses.lock().unwrap().clone();
    (given, accesses)
}

fn one(world: World, asked: Asked) -> (Result<Receipt, NoReceipt>, Duration) {
    ask(world, &[asked], || Standing::Active).0.remove(0)
}

#[test]
fn the_partner_that_asked_is_given_its_receipt_and_that_is_on_record() {
    let questions = [at(ORIGIN, 0), at(PEER, 1), request(REQUEST)];
    let (given, accesses) = ask(World::default(), &questions, || Standing::Active);
    let receipt = |text: &str, place| Receipt { text: text.into(), place, subject_erased: false };
    assert_eq!(given[0].0, Ok(receipt("mine c", place(ORIGIN, 0))));
    assert_eq!(given[1].0, Ok(receipt("mine u", place(PEER, 1))));
    assert_eq!(given[2].0, Ok(receipt("mine c", place(ORIGIN, 0))), "the newest of the request's two");
    assert!(given[0].1 < FLOOR && given[1].1 >= FLOOR, "the floor is for unconfirmed answers");
    let mut accesses = accesses;
    accesses.sort();
    let put = |origin: &str, index| (origin.to_owned(), index, false);
    assert_eq!(accesses, [put(ORIGIN, 0), put(ORIGIN, 0), put(PEER, 1)]);
}

#[test]
fn whatever_is_not_ones_own_is_refused_alike_and_at_the_same_time() {
    let questions = [
        at(ORIGIN, 2),
        at(ORIGIN, 3),
        at(ORIGIN, 5),
        at(ORIGIN, u64::MAX),
        at("nobody-0123456789abcdef", 0),
        at("", 0),
        request("another-request"),
    ];
    let world = World { indexed: 5, ..World::default() };
    let (given, accesses) = ask(world, &questions, || Standing::Active);
    for ((refused, took), asked) in given.iter().zip(&questions) {
        assert_eq!(*refused, Err(NoReceipt::NotFound), "{asked:?}");
        let expected = Duration::from_millis(1_100)..Duration::from_millis(1_400);
        assert!(expected.contains(took), "{asked:?} took {took:?}");
    }
    assert!(accesses.is_empty());
}

#[test]
fn a_receipt_waits_for_index_and_checkpoint() {
    for asked in [at(ORIGIN, 0), request(REQUEST)] {
        let world = World { catches_up_after: Some(Duration::from_millis(300)), ..World::default() };
        let (given, took) = one(world, asked);
        assert!(given.is_ok());
        assert!((Duration::from_millis(300)..Duration::from_millis(900)).contains(&took), "{took:?}");
    }
}

#[test]
fn what_does_not_come_in_time_is_our_trouble_if_the_entry_is_there() {
    let (given, took) = one(World { signed: Some(0), ..World::default() }, at(ORIGIN, 0));
    assert_eq!(given, Err(NoReceipt::NoLog));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let (given, _) = one(World { indexed: 4, ..World::default() }, request("another-request"));
    assert_eq!(given, Err(NoReceipt::NoIndex), "it may be in what is not indexed yet");
}

#[test]
fn trouble_is_told_by_whose_it_is_and_nothing_leaves_unrecorded() {
    let (given, _) = one(World { log_is_away: true, ..World::default() }, at(ORIGIN, 0));
    assert_eq!(given, Err(NoReceipt::NoLog));
    let (given, _) = one(World { index_is_away: true, ..World::default() }, request(REQUEST));
    assert_eq!(given, Err(NoReceipt::NoIndex));
    let (given, _) = one(World { journal_is_closed: true, ..World::default() }, at(ORIGIN, 0));
    assert_eq!(given, Err(NoReceipt::NoEvidence));
    let (given, _) = one(World::default(), at(ORIGIN, 4));
    assert_eq!(given, Err(NoReceipt::Damaged));
    let (given, accesses) = ask(World::default(), &[at(ORIGIN, 0)], || Standing::Suspended);
    assert_eq!(given[0].0, Err(NoReceipt::StandingLost(Standing::Suspended)));
    assert!(accesses.is_empty());
}

#[test]
fn an_erased_subject_leaves_a_receipt_that_says_so() {
    let (given, accesses) =
        ask(World { is_erased: true, ..World::default() }, &[at(ORIGIN, 0)], || Standing::Active);
    assert!(given[0].0.as_ref().is_ok_and(|receipt| receipt.subject_erased));
    assert_eq!(accesses, [(ORIGIN.to_owned(), 0, true)]);
}

/// What was known before a slow disk may have grown too old: no receipt leaves on it.
#[test]
fn a_standing_that_is_lost_during_the_record_keeps_the_receipt_back() {
    let reads = AtomicU32::new(0);
    let standing = || match reads.fetch_add(1, Ordering::Relaxed) {
        0 => Standing::Active,
        _ => Standing::NotKnown,
    };
    let (given, accesses) = ask(World::default(), &[at(ORIGIN, 0)], standing);
    assert_eq!(given[0].0, Err(NoReceipt::StandingLost(Standing::NotKnown)));
    assert_eq!(accesses.len(), 1, "on record by then");
}
