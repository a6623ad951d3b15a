//! The limits of this process, behind the ports of admission and verification.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::guesses::Guesses;
use super::lease::Lease;
use super::meter::PartnerMeter;
use super::partners::{PerPartner, locked};
use super::quotas::Ledger;
use crate::admission::{InFlight, LimitExceeded, LimitLevel, LimitMode, Meters};
use crate::domain::partner::{Allowance, PartnerId};
use crate::domain::time::Clock;
use crate::verification::ports::{
    GuessBudget, GuessesExceeded, QuotaRefusal, QuotaReservation, Quotas, RequestKey,
};

/// Bounds of what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOptions {
    /// Charged request ids remembered per partner: 100,000, which is 166 answers a second over ten minutes and at most
    /// 5 MB. Beyond it a retry may be charged twice.
    pub request_ids_max: usize,
    /// How many replicas may serve the deployment at once, when rates and quotas are leased (`LimitLeases`): each begins with its
    /// share. `None`: this process alone keeps them.
    pub replicas_max: Option<NonZeroU32>,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self { request_ids_max: 100_000, replicas_max: None }
    }
}

/// Rates, places, quotas and guessed share codes, kept in this process. Keyed by authenticated partner only.
///
/// Counts live in memory: a restart opens the windows anew.
pub struct LocalLimits {
    clock: Arc<dyn Clock>,
    options: LimitOptions,
    meters: PerPartner<PartnerMeter>,
    ledgers: PerPartner<Ledger>,
    guesses: PerPartner<Mutex<Guesses>>,
    leases: PerPartner<Lease>,
    /// Rung when a slice runs out.
    bell: Arc<Notify>,
}

impl LocalLimits {
    /// Makes limits without any partner; each appears with its first request.
    pub fn new(clock: Arc<dyn Clock>, options: LimitOptions) -> Self {
        Self {
            clock,
            options,
            meters: PerPartner::new(),
            ledgers: PerPartner::new(),
            guesses: PerPartner::new(),
            leases: PerPartner::new(),
            bell: Arc::default(),
        }
    }

    /// Forgets partners `keep` does not want: called after contracts were reloaded.
    pub fn retain(&self, keep: impl Fn(&PartnerId) -> bool) {
        self.meters.retain(&keep);
        self.ledgers.retain(&keep);
        self.guesses.retain(&keep);
        self.leases.retain(&keep);
    }

    /// Says whether several replicas share the limits.
    pub(super) fn is_shared(&self) -> bool {
        self.options.replicas_max.is_some()
    }

    /// Goes through the leases of all partners, each under its allowance.
    pub(super) fn each_lease(&self, mut work: impl FnMut(&PartnerId, &Allowance, &Arc<Lease>)) {
        for (partner, meter) in self.meters.all().iter() {
            if let Some(lease) = meter.lease() {
                work(partner, meter.allowance(), lease);
            }
        }
    }

    /// Completes when a slice runs out.
    pub(super) async fn wanted(&self) {
        self.bell.notified().await;
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.since_boot()
    }

    /// Returns the partner's meter, brought in line with its allowance first.
    pub(super) fn meter(&self, partner: &PartnerId, allowance: &Allowance) -> Arc<PartnerMeter> {
        match self.meters.find(partner) {
            Some(meter) if *meter.allowance() == *allowance => meter,
            _ => self.brought_in_line(partner, allowance),
        }
    }

    fn brought_in_line(&self, partner: &PartnerId, allowance: &Allowance) -> Arc<PartnerMeter> {
        self.meters.replace(partner, |present| match present {
            Some(meter) if *meter.allowance() == *allowance => Arc::clone(meter),
            Some(meter) => Arc::new(meter.changed(*allowance, &self.clock)),
            None => {
                let lease = self.lease(partner);
                Arc::new(PartnerMeter::new(*allowance, &self.clock, lease))
            }
        })
    }

    pub(super) fn ledger(&self, partner: &PartnerId) -> Arc<Ledger> {
        self.ledgers
            .find_or(partner, || Ledger::new(self.options.request_ids_max, &self.clock, self.lease(partner)))
    }

    /// Returns the partner's ledger, unless it was struck off or has none yet.
    pub(super) fn known_ledger(&self, partner: &PartnerId) -> Option<Arc<Ledger>> {
        self.ledgers.find(partner)
    }

    fn lease(&self, partner: &PartnerId) -> Option<Arc<Lease>> {
        let replicas_max = self.options.replicas_max?;
        Some(self.leases.find_or(partner, || Lease::new(replicas_max, &self.bell, self.now())))
    }
}

impl Meters for LocalLimits {
    fn spend(&self, partner: &PartnerId, allowance: &Allowance) -> Result<InFlight, LimitExceeded> {
        let spent = self.meters.with(partner, |meter| {
            meter.filter(|meter| *meter.allowance() == *allowance).map(|meter| meter.spend())
        });
        spent.unwrap_or_else(|| self.brought_in_line(partner, allowance).spend())
    }

    fn look(&self, partner: &PartnerId, allowance: &Allowance) -> Result<InFlight, LimitExceeded> {
        self.meter(partner, allowance).look()
    }

    fn connect(&self, partner: &PartnerId, allowance: &Allowance) -> Result<InFlight, LimitExceeded> {
        self.meter(partner, allowance).connect()
    }

    fn levels(&self, partner: &PartnerId, allowance: &Allowance) -> Vec<LimitLevel> {
        let meter = self.meter(partner, allowance);
        meter.levels().into_iter().chain(self.ledger(partner).levels(allowance)).collect()
    }

    fn mode(&self, partner: &PartnerId, allowance: &Allowance) -> LimitMode {
        match self.meter(partner, allowance).lease() {
            None => LimitMode::Local,
            Some(lease) if lease.is_leased() => LimitMode::Leased,
            Some(_) => LimitMode::Divided,
        }
    }
}

impl Quotas for LocalLimits {
    fn reserve(
        &self,
        partner: &PartnerId,
        allowance: &Allowance,
        request: Option<RequestKey<'_>>,
    ) -> Result<Box<dyn QuotaReservation>, QuotaRefusal> {
        let reserved = self.ledger(partner).reserve(allowance, request)?;
        Ok(Box::new(reserved))
    }
}

impl GuessBudget for LocalLimits {
    fn may_try(&self, partner: &PartnerId) -> Result<(), GuessesExceeded> {
        let now = self.clock.since_boot();
        self.guesses.with(partner, |guesses| guesses.map_or(Ok(()), |guesses| locked(guesses).may_try(now)))
    }

    fn missed(&self, partner: &PartnerId) {
        let guesses = self.guesses.find_or(partner, Mutex::default);
        locked(&guesses).missed(self.clock.since_boot());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::LimitWindow;
    use crate::limits::testing::{FakeClock, allowance, partner};

    fn limits() -> (LocalLimits, Arc<FakeClock>) {
        let clock = FakeClock::new();
        (LocalLimits::new(clock.clone(), LimitOptions::default()), clock)
    }

    fn remaining(limits: &LocalLimits, allowance: &Allowance, window: LimitWindow) -> u64 {
        let levels = limits.levels(&partner(), allowance);
        levels.into_iter().find(|level| level.window == window).unwrap().remaining
    }

    #[test]
    fn the_rate_is_not_given_back_and_the_place_is() {
        let (limits, _) = limits();
        drop(limits.spend(&partner(), &allowance()).unwrap());
        assert_eq!(remaining(&limits, &allowance(), LimitWindow::Rate), 19);
        assert_eq!(remaining(&limits, &allowance(), LimitWindow::InFlight), 4);
    }

    #[test]
    fn a_spent_rate_names_the_contract_s_figure_and_when_to_come_back() {
        let (limits, _) = limits();
        for _ in 0..20 {
            limits.spend(&partner(), &allowance()).unwrap();
        }
        let refused = limits.spend(&partner(), &allowance()).err();
        let expected =
            LimitExceeded { window: LimitWindow::Rate, limit: 10, retry_after: Duration::from_millis(100) };
        assert_eq!(refused, Some(expected));
    }

    #[test]
    fn requests_in_flight_are_capped_across_connections() {
        let (limits, _) = limits();
        let mut held: Vec<_> = (0..4).map(|_| limits.spend(&partner(), &allowance()).unwrap()).collect();
        let refused = limits.spend(&partner(), &allowance()).err().unwrap();
        assert_eq!((refused.window, refused.limit), (LimitWindow::InFlight, 4));
        held.pop();
        assert!(limits.spend(&partner(), &allowance()).is_ok());
    }

    #[test]
    fn connections_are_capped() {
        let (limits, _) = limits();
        let first = limits.connect(&partner(), &allowance()).unwrap();
        let _second = limits.connect(&partner(), &allowance()).unwrap();
        let refused = limits.connect(&partner(), &allowance()).err().unwrap();
        assert_eq!((refused.window, refused.limit), (LimitWindow::Connections, 2));
        drop(first);
        assert!(limits.connect(&partner(), &allowance()).is_ok());
    }

    #[test]
    fn one_partner_s_flood_leaves_another_s_meters_alone() {
        let (limits, _) = limits();
        while limits.spend(&partner(), &allowance()).is_ok() {}
        let other: PartnerId = "rental-demo".parse().unwrap();
        for _ in 0..20 {
            limits.spend(&other, &allowance()).unwrap();
        }
    }

    #[test]
    fn a_reload_with_the_same_allowance_changes_nothing() {
        let (limits, _) = limits();
        let before = limits.meter(&partner(), &allowance());
        let after = limits.meter(&partner(), &allowance());
        assert!(Arc::ptr_eq(&before, &after));
    }

    #[test]
    fn a_changed_allowance_keeps_what_was_spent_and_who_is_in_flight() {
        let (limits, _) = limits();
        let _held: Vec<_> = (0..4).map(|_| limits.spend(&partner(), &allowance()).unwrap()).collect();
        let _connected = limits.connect(&partner(), &allowance()).unwrap();
        let charged = limits.reserve(&partner(), &allowance(), None).unwrap();
        assert!(charged.charge());
        let wider = Allowance { in_flight_max: 6, burst: 40, ..allowance() };
        assert_eq!(remaining(&limits, &wider, LimitWindow::Rate), 36);
        assert_eq!(remaining(&limits, &wider, LimitWindow::InFlight), 2);
        assert_eq!(remaining(&limits, &wider, LimitWindow::Connections), 1);
        assert_eq!(remaining(&limits, &wider, LimitWindow::QuotaDay), 9_999);
    }

    #[test]
    fn a_partner_whose_contract_left_is_forgotten_and_its_places_come_back() {
        let (limits, _) = limits();
        let held = limits.spend(&partner(), &allowance()).unwrap();
        limits.retain(|_| false);
        assert!(limits.meters.find(&partner()).is_none());
        drop(held);
        assert_eq!(remaining(&limits, &allowance(), LimitWindow::InFlight), 4);
    }

    #[test]
    fn wrong_share_codes_are_counted_for_this_partner_only_and_forgotten_after_an_hour() {
        let (limits, clock) = limits();
        for _ in 0..20 {
            assert_eq!(limits.may_try(&partner()), Ok(()));
            limits.missed(&partner());
        }
        let exceeded = GuessesExceeded { retry_after: Duration::from_hours(1) };
        assert_eq!(limits.may_try(&partner()), Err(exceeded));
        assert_eq!(limits.may_try(&"rental-demo".parse().unwrap()), Ok(()));
        clock.advance(Duration::from_hours(1));
        assert_eq!(limits.may_try(&partner()), Ok(()));
    }

    #[test]
    fn racing_requests_are_admitted_at_most_burst_times() {
        let (limits, _) = limits();
        let allowance = Allowance { in_flight_max: 1_000, ..allowance() };
        let admitted = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    for _ in 0..100 {
                        let is_admitted = limits.spend(&partner(), &allowance).is_ok();
                        admitted.fetch_add(u32::from(is_admitted), std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 20);
    }
}
