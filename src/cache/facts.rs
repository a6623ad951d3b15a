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
use super::flight::{Flights, Landing, Schedule};
use super::in_process::{Held, InProcess};
use super::{CacheObserver, CacheOptions, RedisLevel, SlotTable, StaleCause};
use crate::admission::line::Place;
use crate::domain::subject::NumberPseudonym;
use crate::domain::time::Clock;
use crate::verification::ports::{
    Deadline, Fact, FactSource, Facts, Freshness as _, LookUpError, Soon, Turn, Usability,
};

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

type Loaded = Result<(Held, FactSource), LookUpError>;

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
        let remaining = deadline.since_boot.saturating_sub(self.levels.clock.since_boot());
        if remaining.is_zero() {
            return Err(LookUpError::DeadlineExceeded);
        }
        tokio::time::timeout(remaining, self.load(pseudonym, max_age, deadline, &whose))
            .await
            .unwrap_or(Err(LookUpError::DeadlineExceeded))
            .inspect_err(|error| self.levels.observer.failed(error))
    }

    async fn load(
        &self,
        pseudonym: NumberPseudonym,
        max_age: Option<Duration>,
        deadline: Deadline,
        whose: &Whose,
    ) -> Result<Fact, LookUpError> {
        for _ in 0..self.readings_max {
            let fact = match self.levels.freshness.lag() {
                None => self.bypass(pseudonym, whose).await?,
                Some(lag) if !accepts(max_age, lag) => self.read_for_this_caller(pseudonym, whose).await?,
                Some(_) => self.load_shared(pseudonym, deadline, whose).await?,
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
        deadline: Deadline,
        whose: &Whose,
    ) -> Result<Option<Fact>, LookUpError> {
        let levels = &self.levels;
        let now = levels.clock.since_boot();
        let remaining = deadline.since_boot.saturating_sub(now);
        // Redis may take half of what is left: the registry must still be able to answer in time.
        let detour = levels.redis.as_ref().map_or(Duration::ZERO, |redis| redis.budget(remaining / 2));
        let schedule = Schedule { now, detour, detour_accepted_until: now + remaining / 2 };
        let load = |landing| Arc::clone(levels).fill(landing, pseudonym, detour, whose.clone());
        let (joined, mut outcome) = self.flights.board(pseudonym, schedule, load).await;
        if joined {
            levels.observer.joined();
            if matches!(outcome, Some(Err(LookUpError::Overloaded))) {
                // Whose load it was had to go. Those who had joined it load together again, in the turn of one of them.
                outcome = self.flights.board(pseudonym, schedule, load).await.1;
            }
        }
        let (held, source) = match outcome {
            Some(outcome) => outcome?,
            None => (levels.read(pseudonym, whose).await?, FactSource::Registry),
        };
        Ok(levels.admit(pseudonym, held, source))
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
        let usable =
            matches!(self.levels.judge(pseudonym, &held), Usability::Usable | Usability::FeedStalled);
        Ok(usable.then(|| fact(held, observed_at, began, FactSource::Registry)))
    }
}

/// Whether a caller accepts a fact known to be current `lag` ago.
fn accepts(max_age: Option<Duration>, lag: Duration) -> bool {
    max_age.is_none_or(|max_age| !max_age.is_zero() && lag <= max_age)
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
        if self.freshness.lag().is_some_and(|lag| !accepts(max_age, lag)) {
            self.observer.refused(FactSource::InProcess, StaleCause::TooOldForCaller);
            return None;
        }
        let fact = self.admit(pseudonym, held, FactSource::InProcess)?;
        self.observer.hit(FactSource::InProcess, fact.record.is_none());
        Some(fact)
    }

    /// Makes a fact of what was held or loaded, if it is usable now.
    fn admit(&self, pseudonym: NumberPseudonym, held: Held, source: FactSource) -> Option<Fact> {
        // Taken before the judgement, so that what is claimed is never younger than what was judged; and the wall clock first of all: a
        // process that is stopped in between claims too little.
        let now = self.clock.now();
        let known_until = self.freshness.known_until();
        let usability = self.judge(pseudonym, &held);
        match (StaleCause::of(usability), known_until) {
            (None, Some((known_until, lag))) => {
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

    fn judge(&self, pseudonym: NumberPseudonym, held: &Held) -> Usability {
        self.freshness.judge(pseudonym, held.record.as_ref().map(|record| &record.subject), held.position)
    }

    /// One shared load: Redis within its budget, else the registry. It lands, and is off the list, when this ends or is dropped.
    fn fill(
        self: Arc<Self>,
        landing: Landing<Loaded>,
        pseudonym: NumberPseudonym,
        detour: Duration,
        whose: Whose,
    ) -> BoxFuture<'static, Loaded> {
        Box::pin(async move {
            if let Some(held) = self.ask_redis(pseudonym, detour).await {
                return Ok((held, FactSource::Redis));
            }
            landing.waits(true);
            let place = self.registry.place(&whose).await?;
            landing.waits(false);
            Ok((self.read_on(place, pseudonym, AsOf::Known).await?, FactSource::Registry))
        })
    }

    async fn ask_redis(&self, pseudonym: NumberPseudonym, budget: Duration) -> Option<Held> {
        let began = self.clock.since_boot();
        let Some((record, position)) = self.redis.as_ref()?.fetch(pseudonym, budget).await else {
            if budget.is_zero() {
                self.observer.bypassed(FactSource::Redis);
            } else {
                self.observer.missed(FactSource::Redis);
            }
            return None;
        };
        let held = Held { record: record.map(Arc::new), position };
        if let Some(cause) = StaleCause::of(self.judge(pseudonym, &held)) {
            self.observer.refused(FactSource::Redis, cause);
            return None;
        }
        self.in_process.hold(pseudonym, &held);
        self.observer.hit(FactSource::Redis, held.record.is_none());
        self.loaded(FactSource::Redis, &held, began);
        Some(held)
    }

    /// Reads the registry, which may take as much of the feed for granted as is known here.
    async fn read(&self, pseudonym: NumberPseudonym, whose: &Whose) -> Result<Held, LookUpError> {
        let place = self.registry.place(whose).await?;
        self.read_on(place, pseudonym, AsOf::Known).await
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
        if self.judge(pseudonym, &held) == Usability::Usable {
            self.in_process.hold(pseudonym, &held);
            if let Some(redis) = &self.redis {
                redis.offer(pseudonym, held.record.clone(), held.position);
            }
        }
        self.loaded(FactSource::Registry, &held, began);
        Ok(held)
    }

    fn loaded(&self, from: FactSource, held: &Held, began: Duration) {
        let took = self.clock.since_boot().saturating_sub(began);
        self.observer.loaded(from, held.record.is_none(), took);
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
        // Taken before the judgement: a process that is stopped in between must not count from where it goes on.
        let known_until = freshness.known_until().map(|(known_until, _)| known_until);
        let subject = fact.record.as_ref().map(|record| &record.subject);
        match freshness.judge(pseudonym, subject, fact.position) {
            Usability::Usable => known_until,
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
