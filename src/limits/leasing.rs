//! The side of the limits that leasing sees: what to ask Redis for, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use super::lease::{Ask, Lease, News, Reply};
use super::local::LocalLimits;
use crate::domain::partner::{Allowance, PartnerId};

/// The longest time between two looks for partners that appeared meanwhile.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(250);

/// A call to Redis for one partner.
pub(super) struct Call {
    pub(super) partner: PartnerId,
    pub(super) ask: Ask,
    allowance: Allowance,
    lease: Arc<Lease>,
}

/// How a replica's leases stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) leased: u64,
    pub(super) divided: u64,
    pub(super) unleased: u64,
}

impl LocalLimits {
    /// Leases for partners before they first call, under what their contracts now say.
    pub fn know<'a>(&self, partners: impl IntoIterator<Item = (&'a PartnerId, &'a Allowance)>) {
        if self.is_shared() {
            partners.into_iter().for_each(|(partner, allowance)| drop(self.meter(partner, allowance)));
        }
    }

    /// Writes the calls that are due.
    pub(super) fn calls_due(&self) -> Vec<Call> {
        let now = self.now();
        self.calls(false, |lease| lease.due_at() <= now)
    }

    /// Writes a last call for every partner.
    pub(super) fn calls_to_leave(&self) -> Vec<Call> {
        self.calls(true, |_| true)
    }

    fn calls(&self, is_leaving: bool, is_due: impl Fn(&Lease) -> bool) -> Vec<Call> {
        let mut calls = Vec::new();
        self.each_lease(|partner, allowance, lease| {
            if is_due(lease) {
                let windows = self.ledger(partner).tallies(allowance);
                let ask = lease.ask(allowance, windows, is_leaving, self.now());
                let lease = Arc::clone(lease);
                calls.push(Call { partner: partner.clone(), ask, allowance: *allowance, lease });
            }
        });
        calls
    }

    /// Returns when the next call is due, from now.
    pub(super) fn next_call_in(&self) -> Duration {
        let now = self.now();
        let mut next = now + LOOK_PAUSE_MAX;
        self.each_lease(|_, _, lease| next = next.min(lease.due_at()));
        next.saturating_sub(now)
    }

    /// Takes in what came of a call. `None`: no reply, or none that says anything.
    pub(super) fn heard(&self, call: &Call, reply: Option<Reply>) {
        let now = self.now();
        // A partner struck off meanwhile stays forgotten.
        let Some(ledger) = self.known_ledger(&call.partner) else { return };
        if let Some(Reply::Held { now_us }) = reply {
            ledger.follow_clock(now_us, now);
        }
        match call.lease.heard(&call.ask, reply, now) {
            News::Leased(granted) => ledger.grant(&call.allowance, &granted, now),
            News::BeginsAlone => ledger.begin_alone(),
            News::Nothing => {}
        }
    }

    /// Makes up this replica's part of the rates of partners for whom Redis is away.
    pub(super) fn make_up_rates(&self) {
        let now = self.now();
        self.each_lease(|_, allowance, lease| lease.make_up(allowance, now));
    }

    /// Says whether it is known of every partner how this replica begins: leased, or with its share.
    pub(super) fn have_begun(&self) -> bool {
        let mut have_begun = true;
        self.each_lease(|_, _, lease| have_begun &= lease.has_begun());
        have_begun
    }

    /// Counts partners whose limits are leased and those for whom this replica keeps to its share, and what was refused for want of a lease
    /// since the last count.
    pub(super) fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        self.each_lease(|_, _, lease| {
            let count = if lease.is_leased() { &mut survey.leased } else { &mut survey.divided };
            *count += 1;
            survey.unleased += lease.take_unleased();
        });
        survey
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LimitOptions;
    use crate::limits::testing::{FakeClock, allowance, partner};

    #[test]
    fn a_reply_for_a_partner_struck_off_does_not_bring_its_ledger_back() {
        let options = LimitOptions { replicas_max: 3.try_into().ok(), ..LimitOptions::default() };
        let limits = LocalLimits::new(FakeClock::new(), options);
        limits.know([(&partner(), &allowance())]);
        let calls = limits.calls_due();
        assert_eq!(calls.len(), 1);
        assert!(limits.known_ledger(&partner()).is_some());
        limits.retain(|_| false);
        limits.heard(&calls[0], Some(Reply::Held { now_us: 0 }));
        assert!(limits.known_ledger(&partner()).is_none());
    }
}
