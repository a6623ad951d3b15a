//! A look-up from end to end: in process, then Redis, then the registry, each admitted by the same judgement.
//!
//! # What `observed_at` and `max_age` mean
//! A fact that is judged usable is known to be current as of the watermark; with the feed in this process that is *now*. So a
//! usable cached fact is answered with `observed_at` = now − the watermark's age, however long ago it was read, and a caller's `max_age`
//! is compared with the watermark's age. `max_age` = 0 demands the registry itself: a reading begun after the call, shared with nobody.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::access::{AsOf, RegistryAccess, Whose};
use super::flight::{Flights, Landing};
use super::freshness::Sight;
use super::in_process::{Held, InProcess};
use super::{CacheObserver, CacheOptions, RedisLevel, SlotTable, StaleCause};
use crate::admission::line::Place;
use crate::domain::subject::NumberPseudonym;
use crate::domain::time::Clock;
use crate::verification::ports::{Deadline, Fact, FactSource, Facts, LookUpError, Soon, Turn, Usability};

/// Facts in process and in Redis over a registry.
pub struct FactCache {
    levels: Arc<Levels>,
    flights: Arc<Flights<Loaded>>,
    bypass: Semaphore,
    readings_max: u32,
}

/// What loads need; they outlive the callers that started them.
struct Levels {
    registry: RegistryAccess,
    freshness: Arc<SlotTable>,
    in_process: InProcess,
    redis: Option<RedisLevel>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn CacheObserver>,
}

type Loaded = Result<Held, LookUpError>;

impl FactCache {
    /// Builds the levels. The registry must already tell `freshness` of its changes. `runtime` takes over loads whose callers left.
    pub fn new(
        registry: RegistryAccess,
        freshness: Arc<SlotTable>,
        redis: Option<RedisLevel>,
        options: CacheOptions,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn CacheObserver>,
        runtime: Handle,
    ) -> Arc<Self> {
        freshness.enter_epoch(registry.source.epoch());
        let in_process = InProcess::new(&options);
        Arc::new(Self {
            levels: Arc::new(Levels { registry, freshness, in_process, redis, clock, observer }),
            flights: Flights::new(options.abandoned_loads_max, options.load_time_max, runtime),
            bypass: Semaphore::new(options.bypass_places),
            readings_max: options.readings_max.max(1),
        })
    }

    /// Returns how many facts are held in process, those that say "no such number" included.
    pub fn held(&self) -> u64 {
        self.levels.in_process.len()
    }

    /// Says whether Redis is asked now; `None` when there is none.
    pub fn asks_redis(&self) -> Option<bool> {
        self.levels.redis.as_ref().map(RedisLevel::is_whole)
    }

    /// Returns the task that keeps a core's own connection to Redis; `None` when there is none. Spawn one on each core's own runtime.
    pub fn core_task(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        self.levels.redis.as_ref().map(RedisLevel::core_task)
    }

    #[cfg(test)]
    pub(super) fn redis(&self) -> Option<&RedisLevel> {
        self.levels.redis.as_ref()
    }

    async fn load_in_time(
        &self,
        pseudonym: NumberPseudonym,
        max_age: Option<Duration>,
        deadline: Deadline,
        whose: Whose,
    ) -> Result<Fact, LookUpError> {
        let levels = &self.levels;
        let now = levels.clock.since_boot();
        let mut remaining = deadline.since_boot.saturating_sub(now);
        if remaining.is_zero() {
            return Err(LookUpError::DeadlineExceeded);
        }
        if let Some(redis) = &levels.redis {
            // It may take half of what is left: the registry must still be able to answer in time.
            if let Some(fact) = levels.ask_redis(redis, pseudonym, max_age, (now, remaining / 2)).await {
                return Ok(fact);
            }
            remaining = deadline.since_boot.saturating_sub(levels.clock.since_boot());
        }
        tokio::time::timeout(remaining, self.load(pseudonym, max_age, &whose))
            .await
            .unwrap_or(Err(LookUpError::DeadlineExceeded))
            .inspect_err(|error| levels.observer.failed(error))
    }

    async fn load(
        &self,
        pseudonym: NumberPseudonym,
        max_age: Option<Duration>,
        whose: &Whose,
    ) -> Result<Fact, LookUpError> {
        for _ in 0..self.readings_max {
            let fact = match self.levels.freshness.sight() {
                None => self.bypass(pseudonym, whose).await?,
                Some(sight) if !accepts(max_age, sight) => {
                    self.read_for_this_caller(pseudonym, whose).await?
                }
                Some(_) => self.load_shared(pseudonym, whose).await?,
            };
            if let Some(fact) = fact {
                return Ok(fact);
            }
        }
        // A change overtook every reading. Rather none than an old one.
        Err(LookUpError::FreshnessUnavailable)
    }

    /// Loads together with whoever misses the same number now. `None`: a change overtook the reading.
    async fn load_shared(
        &self,
        pseudonym: NumberPseudonym,
        whose: &Whose,
    ) -> Result<Option<Fact>, LookUpError> {
        let levels = &self.levels;
        let now = levels.clock.since_boot();
        let load = |landing| Arc::clone(levels).fill(landing, pseudonym, whose.clone());
        let (joined, mut outcome) = self.flights.board(pseudonym, now, load).await;
        if joined {
            levels.observer.joined();
            if matches!(outcome, Err(LookUpError::Overloaded)) {
                // Whose load it was had to go. Those who had joined it load together again, in the turn of one of them.
                outcome = self.flights.board(pseudonym, now, load).await.1;
            }
        }
        Ok(levels.admit(pseudonym, outcome?, None, FactSource::Registry))
    }

    /// Reads the registry although the feed is stalled, through a bulkhead.
    async fn bypass(&self, pseudonym: NumberPseudonym, whose: &Whose) -> Result<Option<Fact>, LookUpError> {
        // The line first: whoever stands in it must not hold up those who go before.
        let place = self.levels.registry.place(whose).await?;
        let Ok(_place) = self.bypass.try_acquire() else {
            return Err(LookUpError::FreshnessUnavailable);
        };
        self.read_on(place, pseudonym).await
    }

    /// Reads the registry on a reading begun now. `None`: a change overtook it.
    async fn read_for_this_caller(
        &self,
        pseudonym: NumberPseudonym,
        whose: &Whose,
    ) -> Result<Option<Fact>, LookUpError> {
        let place = self.levels.registry.place(whose).await?;
        self.read_on(place, pseudonym).await
    }

    async fn read_on(&self, place: Place, pseudonym: NumberPseudonym) -> Result<Option<Fact>, LookUpError> {
        self.levels.bypassed();
        let began = self.levels.clock.since_boot();
        let observed_at = self.levels.clock.now();
        let held = self.levels.read_on(place, pseudonym, AsOf::Now).await?;
        // With a stalled feed no later change can be known of: the reading is as of its start, and says so.
        let usability = self.levels.judge(self.levels.freshness.sight(), pseudonym, &held);
        let usable = matches!(usability, Usability::Usable | Usability::FeedStalled);
        Ok(usable.then(|| fact(held, observed_at, began, FactSource::Registry)))
    }
}

/// Whether a caller accepts a fact known to be current as far as that.
fn accepts(max_age: Option<Duration>, sight: Sight) -> bool {
    max_age.is_none_or(|max_age| !max_age.is_zero() && sight.lag <= max_age)
}

fn fact(held: Held, observed_at: Timestamp, observed_since_boot: Duration, source: FactSource) -> Fact {
    Fact { record: held.record, position: held.position, observed_at, observed_since_boot, source }
}

impl Levels {
    /// Answers from this process, if it may.
    fn recall(&self, pseudonym: NumberPseudonym, max_age: Option<Duration>) -> Option<Fact> {
        self.freshness.enter_epoch(self.registry.source.epoch());
        let Some(held) = self.in_process.recall(pseudonym) else {
            self.observer.missed(FactSource::InProcess);
            return None;
        };
        let fact = self.admit(pseudonym, held, max_age, FactSource::InProcess)?;
        self.observer.hit(FactSource::InProcess, fact.record.is_none());
        Some(fact)
    }

    /// Makes a fact of what was held or loaded, if it is usable now and young enough for the caller.
    fn admit(
        &self,
        pseudonym: NumberPseudonym,
        held: Held,
        max_age: Option<Duration>,
        source: FactSource,
    ) -> Option<Fact> {
        // The wall clock first of all: a process that is stopped in between claims too little.
        let now = self.clock.now();
        let sight = self.freshness.sight();
        let cause = match sight {
            Some(sight) if !accepts(max_age, sight) => Some(StaleCause::TooOldForCaller),
            sight => StaleCause::of(self.judge(sight, pseudonym, &held)),
        };
        match (cause, sight) {
            (None, Some(Sight { known_until, lag })) => {
                let lag = jiff::SignedDuration::try_from(lag).unwrap_or(jiff::SignedDuration::MAX);
                let observed_at = now.checked_sub(lag).unwrap_or(Timestamp::MIN);
                Some(fact(held, observed_at, known_until, source))
            }
            (cause, _) => {
                self.observer.refused(source, cause.unwrap_or(StaleCause::FeedStalled));
                None
            }
        }
    }

    fn judge(&self, sight: Option<Sight>, pseudonym: NumberPseudonym, held: &Held) -> Usability {
        let subject = held.record.as_ref().map(|record| &record.subject);
        self.freshness.judge_in(sight, pseudonym, subject, held.position)
    }

    /// One shared load. It lands, and is off the list, when this ends or is dropped.
    fn fill(
        self: Arc<Self>,
        landing: Landing<Loaded>,
        pseudonym: NumberPseudonym,
        whose: Whose,
    ) -> BoxFuture<'static, Loaded> {
        Box::pin(async move {
            landing.waits(true);
            let place = self.registry.place(&whose).await?;
            landing.waits(false);
            self.read_on(place, pseudonym, AsOf::Known).await
        })
    }

    /// Answers with what Redis holds, if it may: `asked` at a time since boot, and granted so much. Not at all while the feed is
    /// stalled, or known less far than the caller accepts: those look-ups go past every cache.
    async fn ask_redis(
        &self,
        redis: &RedisLevel,
        pseudonym: NumberPseudonym,
        max_age: Option<Duration>,
        (asked, granted): (Duration, Duration),
    ) -> Option<Fact> {
        self.freshness.sight().filter(|sight| accepts(max_age, *sight))?;
        let budget = redis.budget(granted);
        let Some((record, position)) = redis.fetch(pseudonym, budget).await else {
            if budget.is_zero() {
                self.observer.bypassed(FactSource::Redis);
            } else {
                self.observer.missed(FactSource::Redis);
            }
            return None;
        };
        let held = Held { record: record.map(Arc::new), position };
        let fact = self.admit(pseudonym, held, max_age, FactSource::Redis)?;
        self.in_process.hold(pseudonym, fact.record.as_ref(), position);
        self.observer.hit(FactSource::Redis, fact.record.is_none());
        self.loaded(FactSource::Redis, fact.record.is_none(), asked);
        Some(fact)
    }

    /// Reads the registry on a place. Unless a change overtook the reading, fills both levels with it.
    async fn read_on(
        &self,
        place: Place,
        pseudonym: NumberPseudonym,
        as_of: AsOf,
    ) -> Result<Held, LookUpError> {
        let began = self.clock.since_boot();
        let reading = self.registry.read(place, pseudonym, as_of, self.observer.as_ref()).await?;
        self.freshness.read_at(reading.position);
        let held = Held { record: reading.record, position: reading.position };
        if self.judge(self.freshness.sight(), pseudonym, &held) == Usability::Usable {
            self.in_process.hold(pseudonym, held.record.as_ref(), held.position);
            if let Some(redis) = &self.redis {
                redis.offer(pseudonym, held.record.clone(), held.position);
            }
        }
        self.loaded(FactSource::Registry, held.record.is_none(), began);
        Ok(held)
    }

    fn loaded(&self, from: FactSource, is_unknown: bool, began: Duration) {
        let took = self.clock.since_boot().saturating_sub(began);
        self.observer.loaded(from, is_unknown, took);
    }

    fn bypassed(&self) {
        self.observer.bypassed(FactSource::InProcess);
        if self.redis.is_some() {
            self.observer.bypassed(FactSource::Redis);
        }
    }
}

impl Facts for FactCache {
    fn look_up(
        &self,
        pseudonym: NumberPseudonym,
        max_age: Option<Duration>,
        deadline: Deadline,
        turn: Turn<'_>,
    ) -> Soon<'_, Result<Fact, LookUpError>> {
        match self.levels.recall(pseudonym, max_age) {
            Some(fact) => Soon::Now(Ok(fact)),
            None => Soon::Later(Box::pin(self.load_in_time(pseudonym, max_age, deadline, turn.into()))),
        }
    }

    /// A reading that went past a stalled feed stays usable for the watermark's bound after its start.
    fn known_true_at(&self, pseudonym: NumberPseudonym, fact: &Fact) -> Option<Duration> {
        let Levels { freshness, registry, clock, .. } = &*self.levels;
        freshness.enter_epoch(registry.source.epoch());
        let sight = freshness.sight();
        let subject = fact.record.as_ref().map(|record| &record.subject);
        match freshness.judge_in(sight, pseudonym, subject, fact.position) {
            Usability::Usable => sight.map(|sight| sight.known_until),
            Usability::Outdated | Usability::OtherEpoch => None,
            Usability::FeedStalled => {
                let age = clock.since_boot().saturating_sub(fact.observed_since_boot);
                let usable = fact.source == FactSource::Registry && age <= freshness.watermark_age_max();
                usable.then_some(fact.observed_since_boot)
            }
        }
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
