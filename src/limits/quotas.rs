//! The quota meter of one partner: answers reserved, given back, and charged once per request id.
//!
//! It lives in memory: a restarted process starts its windows anew, unless they are leased.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::lease::{Granted, Lease, Tally};
use super::partners::locked;
use super::request_ids::{Familiar, Key, RequestIds};
use super::windows::{Counted, Windows};
use crate::admission::LimitLevel;
use crate::domain::partner::Allowance;
use crate::domain::time::Clock;
use crate::verification::ports::{QuotaRefusal, QuotaReservation, RequestKey};

/// How far Redis' clock may be from this machine's: one that is further off is not believed.
const CLOCK_OFF_MAX: SignedDuration = SignedDuration::from_secs(5);

/// One partner's answers.
pub(super) struct Ledger {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    lease: Option<Arc<Lease>>,
}

struct State {
    /// Redis' clock when this process' own stood at zero, in microseconds of Unix time; all replicas turn their windows by it. `None`: not
    /// heard yet, or not believed.
    redis_epoch_us: Option<i64>,
    windows: Windows,
    request_ids: RequestIds,
}

impl Ledger {
    pub(super) fn new(request_ids_max: usize, clock: &Arc<dyn Clock>, lease: Option<Arc<Lease>>) -> Self {
        let replicas_max = lease.as_ref().map(|lease| lease.replicas_max());
        let state = State {
            redis_epoch_us: None,
            windows: Windows::at(clock.now(), replicas_max),
            request_ids: RequestIds::new(request_ids_max),
        };
        Self { state: Mutex::new(state), clock: Arc::clone(clock), lease }
    }

    /// Reserves one answer, or shares what a request with the same id has reserved or charged.
    pub(super) fn reserve(
        self: &Arc<Self>,
        allowance: &Allowance,
        request: Option<RequestKey<'_>>,
    ) -> Result<Reservation, QuotaRefusal> {
        let (reserved, is_low) = {
            let mut state = locked(&self.state);
            let reserved = state.reserve(allowance, request, self);
            if let (Some(lease), Err(QuotaRefusal::Exceeded(_))) = (&self.lease, &reserved)
                && state.windows.has_some_left_elsewhere(allowance)
            {
                lease.refused_unleased();
            }
            (reserved, self.lease.is_some() && state.windows.is_low(allowance))
        };
        if let Some(lease) = self.lease.as_ref().filter(|_| is_low) {
            lease.want_answers();
        }
        Ok(Reservation { ledger: Arc::clone(self), hold: reserved? })
    }

    /// Says what this replica is entitled to and has given of every window; what is more than its part is let go of first.
    pub(super) fn tallies(&self, allowance: &Allowance) -> [Tally; 3] {
        let mut state = locked(&self.state);
        let now = state.now(&*self.clock);
        state.windows.tallies(allowance, now)
    }

    /// Says when each window opened and the most this replica may give in it without another word.
    #[cfg(test)]
    pub(super) fn caps(&self, allowance: &Allowance) -> [(i64, u64); 3] {
        let mut state = locked(&self.state);
        let now = state.now(&*self.clock);
        state.windows.caps(allowance, now)
    }

    /// Takes in what Redis leased.
    pub(super) fn grant(&self, allowance: &Allowance, granted: &Granted, since_boot: Duration) {
        self.follow_clock(granted.now_us, since_boot);
        let mut state = locked(&self.state);
        let now = state.now(&*self.clock);
        state.windows.grant(allowance, &granted.windows, now);
    }

    /// Begins with this replica's share: Redis has not answered.
    pub(super) fn begin_alone(&self) {
        locked(&self.state).windows.begin_alone();
    }

    /// Turns windows by Redis' clock, which showed `redis_now_us` now; or by this machine's, if the two are far apart: a server that is an
    /// hour ahead must not open every window anew.
    pub(super) fn follow_clock(&self, redis_now_us: i64, since_boot: Duration) {
        let since_boot_us = i64::try_from(since_boot.as_micros()).unwrap_or(i64::MAX);
        let own_now = self.clock.now();
        let is_believed = Timestamp::from_microsecond(redis_now_us)
            .is_ok_and(|told| told.duration_since(own_now).abs() <= CLOCK_OFF_MAX);
        let epoch_us = if is_believed { redis_now_us.checked_sub(since_boot_us) } else { None };
        locked(&self.state).redis_epoch_us = epoch_us;
    }

    fn is_leased(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_leased())
    }

    /// Says what is left of every window.
    pub(super) fn levels(&self, allowance: &Allowance) -> [LimitLevel; 3] {
        let mut state = locked(&self.state);
        let now = state.now(&*self.clock);
        state.windows.levels(allowance, now, self.is_leased())
    }
}

impl State {
    /// Returns the time windows turn by: Redis' own, once it was heard and believed.
    fn now(&self, clock: &dyn Clock) -> Timestamp {
        let on_redis = self.redis_epoch_us.and_then(|epoch_us| {
            let since_boot_us = i64::try_from(clock.since_boot().as_micros()).ok()?;
            Timestamp::from_microsecond(epoch_us.checked_add(since_boot_us)?).ok()
        });
        on_redis.unwrap_or_else(|| clock.now())
    }

    fn reserve(
        &mut self,
        allowance: &Allowance,
        request: Option<RequestKey<'_>>,
        ledger: &Ledger,
    ) -> Result<Hold, QuotaRefusal> {
        let clock = &*ledger.clock;
        let now = self.now(clock);
        let Some(request) = request else {
            let counted = self.windows.take(allowance, now, ledger.is_leased());
            return counted.map(Hold::Anonymous).map_err(QuotaRefusal::Exceeded);
        };
        match self.request_ids.join(request, clock.since_boot()) {
            Familiar::OtherContent => Err(QuotaRefusal::OtherContent),
            Familiar::Charged => Ok(Hold::Nothing),
            Familiar::New if request.answered_before => Ok(Hold::Nothing),
            Familiar::Joined(key) => Ok(Hold::Named(key)),
            Familiar::New => {
                let counted =
                    self.windows.take(allowance, now, ledger.is_leased()).map_err(QuotaRefusal::Exceeded)?;
                Ok(Hold::Named(self.request_ids.reserve(request, counted)))
            }
        }
    }

    fn give_back(&mut self, hold: Hold) {
        let counted = match hold {
            Hold::Nothing => None,
            Hold::Anonymous(counted) => Some(counted),
            Hold::Named(key) => self.request_ids.release(key),
        };
        if let Some(counted) = counted {
            self.windows.give_back(counted);
        }
    }
}

/// What a reservation holds.
#[derive(Clone, Copy)]
enum Hold {
    /// Nothing: charged before, or settled.
    Nothing,
    /// One answer without a request id.
    Anonymous(Counted),
    /// A share in the one answer of a request id.
    Named(Key),
}

/// A reserved answer; dropping it gives it back.
pub(super) struct Reservation {
    ledger: Arc<Ledger>,
    hold: Hold,
}

impl QuotaReservation for Reservation {
    fn counts(&self) -> bool {
        !matches!(self.hold, Hold::Nothing)
    }

    fn charge(mut self: Box<Self>) -> bool {
        match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Nothing => false,
            Hold::Anonymous(_) => true,
            Hold::Named(key) => {
                locked(&self.ledger.state).request_ids.charge(key, self.ledger.clock.since_boot())
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let hold = std::mem::replace(&mut self.hold, Hold::Nothing);
        if !matches!(hold, Hold::Nothing) {
            locked(&self.ledger.state).give_back(hold);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::admission::LimitWindow;
    use crate::limits::testing::{FakeClock, allowance};
    use crate::verification::ports::QuestionDigest;

    fn ledger(request_ids_max: usize) -> (Arc<Ledger>, Arc<FakeClock>) {
        let fake = FakeClock::new();
        let clock: Arc<dyn Clock> = fake.clone();
        (Arc::new(Ledger::new(request_ids_max, &clock, None)), fake)
    }

    fn quota(per_minute: u64) -> Allowance {
        Allowance { quota_per_minute: per_minute, ..allowance() }
    }

    fn key(id: &str) -> Option<RequestKey<'_>> {
        Some(RequestKey { id, content: QuestionDigest([7; 16]), answered_before: false })
    }

    #[test]
    fn an_id_used_with_other_content_is_refused_under_way_and_charged() {
        let (ledger, _) = ledger(10);
        let other = Some(RequestKey { id: "r-1", content: QuestionDigest([8; 16]), answered_before: false });
        let first = ledger.reserve(&quota(5), key("r-1")).unwrap();
        assert_eq!(ledger.reserve(&quota(5), other).err(), Some(QuotaRefusal::OtherContent));
        assert!(Box::new(first).charge());
        assert_eq!(ledger.reserve(&quota(5), other).err(), Some(QuotaRefusal::OtherContent));
        assert!(!Box::new(ledger.reserve(&quota(5), key("r-1")).unwrap()).charge());
    }

    fn taken(ledger: &Ledger) -> u64 {
        1_000_000 - ledger.levels(&quota(1_000_000))[0].remaining
    }

    #[test]
    fn a_dropped_reservation_is_given_back() {
        let (ledger, _) = ledger(10);
        let reserved = ledger.reserve(&quota(1), None).unwrap();
        let Some(QuotaRefusal::Exceeded(refused)) = ledger.reserve(&quota(1), None).err() else {
            panic!("the quota is spent");
        };
        assert_eq!(refused.window, LimitWindow::QuotaMinute);
        assert_eq!(refused.limit, 1);
        drop(reserved);
        let again = Box::new(ledger.reserve(&quota(1), None).unwrap());
        assert!(again.charge());
        assert!(ledger.reserve(&quota(1), None).is_err());
    }

    #[test]
    fn the_same_request_id_is_charged_once() {
        let (ledger, clock) = ledger(10);
        assert!(Box::new(ledger.reserve(&quota(9), key("r-1")).unwrap()).charge());
        clock.advance(Duration::from_secs(59 * 10));
        assert!(!Box::new(ledger.reserve(&quota(9), key("r-1")).unwrap()).charge());
        clock.advance(Duration::from_secs(10));
        assert!(Box::new(ledger.reserve(&quota(9), key("r-1")).unwrap()).charge());
    }

    #[test]
    fn a_charged_request_id_is_admitted_on_a_spent_quota() {
        let (ledger, _) = ledger(10);
        assert!(Box::new(ledger.reserve(&quota(1), key("r-1")).unwrap()).charge());
        assert!(ledger.reserve(&quota(1), key("r-1")).is_ok());
        assert!(ledger.reserve(&quota(1), key("r-2")).is_err());
    }

    #[test]
    fn what_others_remember_as_answered_costs_nothing_and_needs_no_quota() {
        let (ledger, _) = ledger(10);
        let before = key("r-1").map(|key| RequestKey { answered_before: true, ..key });
        for _ in 0..2 {
            let reserved = ledger.reserve(&quota(0), before).unwrap();
            assert!(!reserved.counts());
            assert!(!Box::new(reserved).charge());
        }
        assert_eq!(taken(&ledger), 0);
    }

    #[test]
    fn twins_share_one_reservation_until_the_last_lets_go() {
        let (ledger, _) = ledger(10);
        let first = ledger.reserve(&quota(1), key("r-1")).unwrap();
        let twin = ledger.reserve(&quota(1), key("r-1")).unwrap();
        assert_eq!(taken(&ledger), 1);
        drop(first);
        assert_eq!(taken(&ledger), 1);
        assert!(Box::new(twin).charge());
        assert_eq!(taken(&ledger), 1);
    }

    #[test]
    fn of_two_twins_one_is_charged() {
        let (ledger, _) = ledger(10);
        let first = ledger.reserve(&quota(5), key("r-1")).unwrap();
        let twin = ledger.reserve(&quota(5), key("r-1")).unwrap();
        assert!(Box::new(first).charge());
        assert!(!Box::new(twin).charge());
        assert_eq!(taken(&ledger), 1);
    }

    #[test]
    fn twins_that_all_fail_give_the_answer_back_once() {
        let (ledger, _) = ledger(10);
        let other = ledger.reserve(&quota(5), None).unwrap();
        let twins: Vec<_> = (0..4).map(|_| ledger.reserve(&quota(5), key("r-1")).unwrap()).collect();
        assert_eq!(taken(&ledger), 2);
        drop(twins);
        assert_eq!(taken(&ledger), 1);
        drop(other);
        assert_eq!(taken(&ledger), 0);
    }

    #[test]
    fn at_the_bound_the_oldest_id_is_forgotten_and_nobody_refused() {
        let (ledger, _) = ledger(2);
        for id in ["r-1", "r-2", "r-3"] {
            assert!(Box::new(ledger.reserve(&quota(9), key(id)).unwrap()).charge());
        }
        assert!(!Box::new(ledger.reserve(&quota(9), key("r-3")).unwrap()).charge());
        assert!(Box::new(ledger.reserve(&quota(9), key("r-1")).unwrap()).charge());
    }

    #[test]
    fn a_late_twin_of_a_forgotten_id_does_not_disturb_its_next_life() {
        let (ledger, clock) = ledger(10);
        let first = ledger.reserve(&quota(9), key("r-1")).unwrap();
        let late = ledger.reserve(&quota(9), key("r-1")).unwrap();
        assert!(Box::new(first).charge());
        clock.advance(Duration::from_secs(601));
        let next_life = ledger.reserve(&quota(9), key("r-1")).unwrap();
        drop(late);
        assert_eq!(taken(&ledger), 1);
        assert!(Box::new(next_life).charge());
    }

    #[test]
    fn racing_twins_take_one_answer() {
        let (ledger, _) = ledger(10_000);
        let charged = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for id in 0..500 {
                        let id = id.to_string();
                        let reserved = ledger.reserve(&quota(1_000), key(&id)).unwrap();
                        let first = Box::new(reserved).charge();
                        charged.fetch_add(u64::from(first), std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(charged.into_inner(), 500);
        assert_eq!(taken(&ledger), 500);
    }

    proptest! {
        /// Whatever is reserved, dropped, charged and awaited: no window ever charges more than its limit.
        #[test]
        fn charged_answers_never_exceed_the_window(
            limit in 1_u64..6,
            steps in prop::collection::vec((0_u8..4, 0_u8..6, 0_u64..20), 1..200),
        ) {
            let (ledger, clock) = ledger(100);
            let mut held: Vec<Reservation> = Vec::new();
            let mut second = 0_u64;
            let mut charged_in_minute = std::collections::HashMap::<u64, u64>::new();
            for (action, id, wait) in steps {
                match action {
                    0 | 1 => {
                        let id = (id > 0).then(|| id.to_string());
                        held.extend(ledger.reserve(&quota(limit), id.as_deref().and_then(key)));
                    }
                    2 if !held.is_empty() => drop(held.remove(usize::from(id) % held.len())),
                    // Charged at once, within the window it was reserved in.
                    _ => {
                        if let Ok(reserved) = ledger.reserve(&quota(limit), None) {
                            prop_assert!(Box::new(reserved).charge());
                            *charged_in_minute.entry(second / 60).or_default() += 1;
                        }
                        second += wait;
                        clock.advance(Duration::from_secs(wait));
                    }
                }
                prop_assert!(taken(&ledger) <= limit);
            }
            prop_assert!(charged_in_minute.values().all(|charged| *charged <= limit));
            drop(held);
            let now = charged_in_minute.get(&(second / 60)).copied().unwrap_or(0);
            prop_assert_eq!(taken(&ledger), now);
        }
    }
}
