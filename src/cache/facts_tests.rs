use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::admission::RetryBudget;
use crate::admission::line::{Entering, Line, NoLine, Overloaded, TakenPlace};
use crate::cache::testing::{CLAIM, Notes, RealClock, ScriptedSource, at, number, subject, within};
use crate::cache::{FeedWatermark, FreshnessOptions, Watermark};
use crate::domain::subject::Position;
use crate::verification::ports::{ChangeObserver as _, Class, FeedFollower as _};

const SECOND: Duration = Duration::from_secs(1);

struct House {
    source: Arc<ScriptedSource>,
    freshness: Arc<SlotTable>,
    notes: Arc<Notes>,
    facts: Arc<FactCache>,
}

impl House {
    fn new() -> Self {
        Self::with(Watermark::InProcess, CacheOptions::default())
    }

    fn with(watermark: Watermark, options: CacheOptions) -> Self {
        Self::behind(watermark, options, Arc::new(NoLine), Arc::default())
    }

    fn behind(
        watermark: Watermark,
        options: CacheOptions,
        line: Arc<dyn Line>,
        retries: Arc<RetryBudget>,
    ) -> Self {
        let source = ScriptedSource::new();
        let access = RegistryAccess { source: Arc::clone(&source) as _, line, retries };
        let is_tailed = matches!(watermark, Watermark::Tailed(_));
        let freshness = SlotTable::new(FreshnessOptions::default(), watermark, Arc::new(RealClock));
        if is_tailed {
            freshness.follows_from(&[at(1, 0)]);
        }
        let notes = Arc::new(Notes::default());
        let facts = FactCache::new(
            access,
            Arc::clone(&freshness),
            None,
            options,
            Arc::new(RealClock),
            Arc::clone(&notes) as Arc<dyn CacheObserver>,
            Handle::current(),
        );
        Self { source, freshness, notes, facts }
    }

    /// Commits a change and tells of it, as the registry does before it acknowledges.
    fn change(&self, n: u64, changes: usize) -> Position {
        let position = self.source.put(n, changes);
        self.freshness.changed(&subject(n), &[number(n)], position);
        position
    }

    async fn ask(&self, n: u64) -> Result<Fact, LookUpError> {
        self.facts.look_up(number(n), None, within(SECOND), CLAIM).wait().await
    }
}

fn changes_of(fact: &Fact) -> usize {
    fact.record.as_ref().map_or(0, |record| record.history.changes().len())
}

#[tokio::test]
async fn the_second_answer_is_there_at_once_and_knows_itself_current_now() {
    let house = House::new();
    house.change(1, 3);
    let cold = house.ask(1).await.unwrap();
    assert_eq!((changes_of(&cold), cold.source), (3, FactSource::Registry));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let asked_at = RealClock.now();
    let Soon::Now(Ok(warm)) = house.facts.look_up(number(1), None, within(SECOND), CLAIM) else {
        panic!("a warm answer needs no waiting");
    };
    assert_eq!((changes_of(&warm), warm.source, warm.position), (3, FactSource::InProcess, cold.position));
    assert!(warm.observed_at >= asked_at);
    assert!(house.facts.known_true_at(number(1), &warm).is_some());
    assert_eq!(house.source.read_count(), 1);
}

#[tokio::test]
async fn a_number_nobody_has_is_remembered_until_somebody_gets_it() {
    let house = House::new();
    assert!(house.ask(1).await.unwrap().record.is_none());
    assert!(matches!(house.facts.look_up(number(1), None, within(SECOND), CLAIM), Soon::Now(Ok(_))));
    assert_eq!(*house.notes.hits.lock().unwrap(), [(FactSource::InProcess, true)]);
    house.change(1, 2);
    assert_eq!(changes_of(&house.ask(1).await.unwrap()), 2, "a new licence is visible at once");
}

#[tokio::test]
async fn an_acknowledged_change_is_honoured_by_the_next_question() {
    let house = House::new();
    house.change(1, 1);
    for changes in 2..50 {
        let before = house.ask(1).await.unwrap();
        house.change(1, changes);
        assert!(house.facts.known_true_at(number(1), &before).is_none(), "also for answers under way");
        assert_eq!(changes_of(&house.ask(1).await.unwrap()), changes);
    }
    house.change(2, 1);
    let reads = house.source.read_count();
    house.ask(1).await.unwrap();
    assert_eq!(house.source.read_count(), reads, "a foreign change costs nothing");
}

#[tokio::test]
async fn a_change_between_reading_and_filling_is_never_lost() {
    let house = Arc::new(House::new());
    house.change(1, 1);
    let overtaken = Arc::new(AtomicBool::new(false));
    house.source.overtake_with({
        let (house, overtaken) = (Arc::downgrade(&house), Arc::clone(&overtaken));
        move || {
            if !overtaken.swap(true, Ordering::SeqCst) {
                house.upgrade().unwrap().change(1, 2);
            }
        }
    });
    let fact = house.ask(1).await.unwrap();
    assert_eq!((changes_of(&fact), house.source.read_count()), (2, 2), "the overtaken reading was not used");
    assert_eq!(*house.notes.refused.lock().unwrap(), [(FactSource::Registry, StaleCause::Outdated)]);
    assert_eq!(changes_of(&house.ask(1).await.unwrap()), 2);
}

#[tokio::test]
async fn readings_that_are_overtaken_again_and_again_end_without_an_answer() {
    let house = Arc::new(House::new());
    house.change(1, 1);
    let again = Arc::downgrade(&house);
    house.source.overtake_with(move || {
        again.upgrade().unwrap().change(1, 2);
    });
    assert_eq!(house.ask(1).await.unwrap_err(), LookUpError::FreshnessUnavailable);
    assert_eq!(house.source.read_count(), 4);
}

#[tokio::test]
async fn who_joins_a_load_does_not_get_what_was_read_before_the_change_it_knows_of() {
    let house = House::new();
    house.change(1, 1);
    house.source.shut();
    let mut first = Box::pin(house.ask(1));
    assert!(futures_util::poll!(&mut first).is_pending());
    house.change(1, 2);
    let mut second = Box::pin(house.ask(1));
    assert!(futures_util::poll!(&mut second).is_pending());
    assert_eq!(house.source.read_count(), 1, "joined");
    house.source.open();
    let (first, second) = tokio::join!(first, second);
    assert_eq!((changes_of(&first.unwrap()), changes_of(&second.unwrap())), (2, 2));
}

#[tokio::test]
async fn a_thousand_misses_at_once_are_one_reading() {
    let house = House::new();
    house.change(1, 1);
    house.source.shut();
    let mut asking: Vec<_> = (0..1_000).map(|_| Box::pin(house.ask(1))).collect();
    for ask in &mut asking {
        assert!(futures_util::poll!(ask).is_pending());
    }
    house.source.open();
    for ask in asking {
        assert_eq!(changes_of(&ask.await.unwrap()), 1);
    }
    assert_eq!(house.source.read_count(), 1);
    assert_eq!(house.notes.joined.load(Ordering::SeqCst), 999);
}

#[tokio::test]
async fn a_caller_that_leaves_takes_nobody_with_it_and_its_load_still_fills_the_cache() {
    let house = House::new();
    house.change(1, 1);
    house.source.shut();
    let mut first = Box::pin(house.ask(1));
    let mut second = Box::pin(house.ask(1));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    house.source.open();
    assert_eq!(changes_of(&second.await.unwrap()), 1);

    house.change(2, 1);
    house.source.shut();
    let in_a_hurry = house.facts.look_up(number(2), None, within(Duration::from_millis(10)), CLAIM);
    assert_eq!(in_a_hurry.wait().await.unwrap_err(), LookUpError::DeadlineExceeded);
    house.source.open();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(matches!(house.facts.look_up(number(2), None, within(SECOND), CLAIM), Soon::Now(Ok(_))));
    assert_eq!(house.source.read_count(), 2);
}

#[tokio::test]
async fn callers_on_different_cores_share_a_load_though_the_first_core_is_gone() {
    let house = Arc::new(House::new());
    house.change(1, 1);
    house.source.shut();
    let first = std::thread::spawn({
        let house = Arc::clone(&house);
        move || {
            let core = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            core.block_on(async {
                let mut ask = Box::pin(house.ask(1));
                assert!(futures_util::poll!(&mut ask).is_pending());
                drop(ask);
            });
        }
    });
    first.join().unwrap();
    let mut second = Box::pin(house.ask(1));
    assert!(futures_util::poll!(&mut second).is_pending());
    house.source.open();
    assert_eq!(changes_of(&second.await.unwrap()), 1);
    assert_eq!(house.source.read_count(), 1);
}

#[tokio::test]
async fn a_deadline_holds_for_every_caller_by_itself() {
    let house = House::new();
    house.source.shut();
    let expired = house.facts.look_up(number(1), None, within(Duration::ZERO), CLAIM);
    assert_eq!(expired.wait().await.unwrap_err(), LookUpError::DeadlineExceeded);
    assert_eq!(house.source.read_count(), 0, "nothing is begun for nobody");
    let (short, long) = (
        house.facts.look_up(number(1), None, within(Duration::from_millis(10)), CLAIM),
        house.facts.look_up(number(1), None, within(SECOND), CLAIM),
    );
    let open_later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.source.open();
    };
    let (short, long, ()) = tokio::join!(short.wait(), long.wait(), open_later);
    assert_eq!(short.unwrap_err(), LookUpError::DeadlineExceeded);
    assert!(long.is_ok());
}

#[tokio::test]
async fn a_registry_that_fails_is_said_so_and_asked_again() {
    let house = House::new();
    house.change(1, 1);
    for fault in [LookUpError::RegistryUnavailable, LookUpError::RecordUnreadable] {
        house.source.fail_with(Some(fault.clone()));
        assert_eq!(house.ask(1).await.unwrap_err(), fault);
    }
    house.source.fail_with(None);
    assert_eq!(changes_of(&house.ask(1).await.unwrap()), 1);
}

#[tokio::test]
async fn a_restored_registry_is_read_anew_though_its_sequence_went_back() {
    let house = House::new();
    house.change(1, 3);
    let before = house.ask(1).await.unwrap();
    house.source.restore(2, 0);
    assert!(house.facts.known_true_at(number(1), &before).is_none());
    let after = house.ask(1).await.unwrap();
    assert_eq!((after.source, after.position), (FactSource::Registry, at(2, 0)));
    assert_eq!(house.ask(1).await.unwrap().source, FactSource::InProcess);
    house.change(1, 4);
    assert_eq!(changes_of(&house.ask(1).await.unwrap()), 4);
}

#[tokio::test]
async fn a_caller_may_demand_the_registry_itself() {
    let house = House::new();
    house.change(1, 1);
    house.ask(1).await.unwrap();
    let began = RealClock.now();
    let demanded =
        house.facts.look_up(number(1), Some(Duration::ZERO), within(SECOND), CLAIM).wait().await.unwrap();
    assert_eq!((demanded.source, house.source.read_count()), (FactSource::Registry, 2));
    assert!(demanded.observed_at >= began);
    let any_age = house.facts.look_up(number(1), Some(Duration::from_nanos(1)), within(SECOND), CLAIM);
    assert!(matches!(any_age, Soon::Now(Ok(_))), "the feed is in this process: held facts are current now");

    house.source.shut();
    let mut shared = Box::pin(house.ask(9));
    assert!(futures_util::poll!(&mut shared).is_pending());
    let mut own =
        Box::pin(house.facts.look_up(number(9), Some(Duration::ZERO), within(SECOND), CLAIM).wait());
    assert!(futures_util::poll!(&mut own).is_pending());
    assert_eq!(house.source.read_count(), 4, "no sharing of a reading begun earlier");
}

#[tokio::test]
async fn a_stalled_feed_sends_look_ups_past_the_caches_through_a_bulkhead() {
    let feed = Arc::new(FeedWatermark::default());
    let options = CacheOptions { bypass_places: 1, ..CacheOptions::default() };
    let house = House::with(Watermark::Tailed(Arc::clone(&feed)), options);
    feed.publish(RealClock.since_boot());
    house.change(1, 1);
    house.ask(1).await.unwrap();
    assert_eq!(house.ask(1).await.unwrap().source, FactSource::InProcess);

    let stalled = House::with(Watermark::Tailed(Arc::default()), options);
    stalled.change(1, 1);
    let fact = stalled.ask(1).await.unwrap();
    assert_eq!(fact.source, FactSource::Registry);
    assert_eq!(
        stalled.facts.known_true_at(number(1), &fact),
        Some(fact.observed_since_boot),
        "its own start"
    );
    let cached = Fact { source: FactSource::Redis, ..fact.clone() };
    assert_eq!(stalled.facts.known_true_at(number(1), &cached), None);
    let began = fact.observed_since_boot - Duration::from_secs(3);
    let old = Fact { observed_since_boot: began, ..fact.clone() };
    assert_eq!(stalled.facts.known_true_at(number(1), &old), None, "whatever the wall clock says");

    stalled.source.shut();
    let mut taken = Box::pin(stalled.ask(1));
    assert!(futures_util::poll!(&mut taken).is_pending());
    assert_eq!(stalled.ask(1).await.unwrap_err(), LookUpError::FreshnessUnavailable);
    stalled.source.open();
    assert!(taken.await.is_ok());
    assert_eq!(stalled.source.read_count(), 2, "nothing was answered from a cache");
}

#[tokio::test]
async fn a_lagging_watermark_is_owned_up_to_and_measured_against_max_age() {
    let feed = Arc::new(FeedWatermark::default());
    let house = House::with(Watermark::Tailed(Arc::clone(&feed)), CacheOptions::default());
    let published = RealClock.since_boot() - Duration::from_millis(500);
    feed.publish(published);
    house.change(1, 1);
    house.ask(1).await.unwrap();
    let now = RealClock.now();
    let lagging = house.ask(1).await.unwrap();
    assert_eq!(lagging.source, FactSource::InProcess);
    assert!(lagging.observed_at <= now - jiff::SignedDuration::from_millis(499));
    let known_true_at = house.facts.known_true_at(number(1), &lagging).unwrap();
    assert!(known_true_at <= published, "not when it was judged, but when the feed was known");
    let strict = house
        .facts
        .look_up(number(1), Some(Duration::from_millis(100)), within(SECOND), CLAIM)
        .wait()
        .await
        .unwrap();
    assert_eq!(strict.source, FactSource::Registry);
    assert!(strict.observed_at >= now);
    let lenient = house.facts.look_up(number(1), Some(SECOND), within(SECOND), CLAIM);
    assert!(matches!(lenient, Soon::Now(Ok(_))));
}

/// A line in which nobody gets anywhere until it is opened, and which notes who came.
#[derive(Default)]
struct ShutLine {
    is_open: Arc<AtomicBool>,
    came: std::sync::Mutex<Vec<Class>>,
    refuses: AtomicBool,
}

impl Line for ShutLine {
    fn enter(&self, turn: Turn<'_>) -> Entering {
        self.came.lock().unwrap().push(turn.class);
        if self.refuses.load(Ordering::SeqCst) && turn.class == Class::Claim {
            return Entering::Refused(Overloaded);
        }
        let is_open = Arc::clone(&self.is_open);
        Entering::Waits(Box::pin(std::future::poll_fn(move |context| {
            if is_open.load(Ordering::SeqCst) {
                return std::task::Poll::Ready(Ok(Place::new(Nobodys)));
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })))
    }
}

struct Nobodys;

impl TakenPlace for Nobodys {
    fn answered(&mut self) {}
}

fn behind(line: &Arc<ShutLine>) -> House {
    House::behind(Watermark::InProcess, CacheOptions::default(), Arc::clone(line) as _, Arc::default())
}

#[tokio::test]
async fn the_registry_is_read_only_on_a_place_and_what_is_held_needs_none() {
    let line = Arc::new(ShutLine::default());
    let house = behind(&line);
    house.change(1, 1);
    let mut waits = Box::pin(house.ask(1));
    assert!(futures_util::poll!(&mut waits).is_pending());
    assert_eq!(house.source.read_count(), 0);
    line.is_open.store(true, Ordering::SeqCst);
    assert_eq!(changes_of(&waits.await.unwrap()), 1);
    line.is_open.store(false, Ordering::SeqCst);
    assert!(matches!(house.facts.look_up(number(1), None, within(SECOND), CLAIM), Soon::Now(Ok(_))));
    assert_eq!(line.came.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_load_that_stands_in_line_ends_with_its_last_caller() {
    let line = Arc::new(ShutLine::default());
    let house = behind(&line);
    house.change(1, 1);
    let mut waits = Box::pin(house.ask(1));
    assert!(futures_util::poll!(&mut waits).is_pending());
    drop(waits);
    line.is_open.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(house.source.read_count(), 0, "nobody reads for nobody");
    assert_eq!(changes_of(&house.ask(1).await.unwrap()), 1);
}

#[tokio::test]
async fn who_joined_a_load_that_was_refused_has_a_turn_of_its_own() {
    let line = Arc::new(ShutLine::default());
    let house = behind(&line);
    house.change(1, 1);
    line.refuses.store(true, Ordering::SeqCst);
    assert_eq!(house.ask(1).await.unwrap_err(), LookUpError::Overloaded);
    let shown = Turn { class: Class::Presentation, partner: None };
    line.is_open.store(true, Ordering::SeqCst);
    let fact = house.facts.look_up(number(1), None, within(SECOND), shown).wait().await.unwrap();
    assert_eq!(changes_of(&fact), 1);
}

#[tokio::test]
async fn a_reading_that_failed_is_tried_once_more_within_the_budget() {
    let house = House::new();
    house.change(1, 1);
    house.source.fail_with(Some(LookUpError::RegistryUnavailable));
    for failed in 0..100 {
        assert_eq!(house.ask(1).await.unwrap_err(), LookUpError::RegistryUnavailable, "{failed}");
    }
    let (reads, retries) = (house.source.read_count(), house.notes.retried.load(Ordering::SeqCst));
    assert_eq!((reads, retries), (100 + 59, 59), "50 that were saved, and a tenth of what was asked");
    house.source.fail_with(Some(LookUpError::RecordUnreadable));
    assert_eq!(house.ask(1).await.unwrap_err(), LookUpError::RecordUnreadable);
    assert_eq!(house.source.read_count(), reads + 1, "what is damaged stays so");
}

/// Goal: under a writer and many readers on real threads, no reader that starts after an acknowledgement sees less.
/// Method: the writer publishes how many changes it has acknowledged; each reader notes that before it asks.
#[test]
fn no_reader_ever_sees_less_than_what_was_acknowledged_before_it_asked() {
    use std::sync::atomic::AtomicUsize;

    let background =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let house = background.block_on(async { Arc::new(House::new()) });
    let acknowledged: Arc<[AtomicUsize; 4]> = Arc::new(std::array::from_fn(|_| AtomicUsize::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (house, acknowledged, done) =
                (Arc::clone(&house), Arc::clone(&acknowledged), Arc::clone(&done));
            std::thread::spawn(move || {
                let core = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                core.block_on(async {
                    let mut answers = 0_usize;
                    while !done.load(Ordering::Acquire) {
                        let n = answers % 4;
                        let at_least = acknowledged[n].load(Ordering::Acquire);
                        match house.ask(n as u64).await {
                            Ok(fact) => assert!(changes_of(&fact) >= at_least),
                            Err(error) => assert_eq!(error, LookUpError::FreshnessUnavailable),
                        }
                        answers += 1;
                    }
                    answers
                })
            })
        })
        .collect();
    for changes in 1..400 {
        for (n, acknowledged) in acknowledged.iter().enumerate() {
            house.change(n as u64, changes);
            acknowledged.store(changes, Ordering::Release);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    done.store(true, Ordering::Release);
    let answers: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    assert!(answers > 400, "{answers}");
    assert!(house.notes.hits.lock().unwrap().len() > 100, "the cache was in use");
}
