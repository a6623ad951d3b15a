//! Looks at the parts once a second: tells the metrics, gRPC health, and the log when something turns.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::gateway::Parts;
use super::overload::Told;
use crate::admin::report::Condition;
use crate::audit::{ClosedReason, JournalHealth, JournalStats, JournalStep};
use crate::domain::partner::Standing;
use crate::gateway::Farewells;
use crate::identity::{CoreLoad, ReloadCounts};
use crate::telemetry::labels::{Expiring, JournalState, StandingLabel};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const SERVICE: &str = "drivegate.v1.VerificationService";

/// Watches the parts until it is told to stop.
pub(super) struct Monitor {
    parts: Arc<Parts>,
    loads: Vec<Arc<CoreLoad>>,
    health: HealthReporter,
    farewells: Arc<Farewells>,
    drain: CancellationToken,
    seen: Seen,
    overload_told: Told,
}

/// What was counted up to the last look; metrics are told the rest.
#[derive(Default)]
struct Seen {
    reloads: ReloadCounts,
    journal: JournalStats,
    /// Answers could not be put on record.
    journal_closed: bool,
    checkpoints: u64,
}

impl Monitor {
    /// Builds the monitor.
    pub(super) fn new(
        parts: Arc<Parts>,
        loads: Vec<Arc<CoreLoad>>,
        health: HealthReporter,
        farewells: Arc<Farewells>,
        drain: CancellationToken,
    ) -> Self {
        Self { parts, loads, health, farewells, drain, seen: Seen::default(), overload_told: Told::default() }
    }

    /// Looks every second.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut told = None;
        loop {
            self.measure();
            self.follow_reloads();
            self.follow_journal();
            self.follow_tree();
            let overload = &self.parts.overload;
            overload.tell(&self.parts.metrics, &self.loads, &mut self.overload_told);
            let report = self.parts.health(self.drain.is_cancelled());
            let serving = report.is_ready();
            if told != Some(serving) {
                let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
                self.health.set_service_status("", status).await;
                self.health.set_service_status(SERVICE, status).await;
            }
            // After health has turned: who is asked to go finds out why.
            self.follow_journal_state();
            let turned = told.is_some_and(|before| before != serving) || (told.is_none() && !serving);
            if turned && !self.drain.is_cancelled() {
                tell(serving, &report);
            }
            told = Some(serving);
            tokio::select! {
                () = stop.cancelled() => return,
                // Draining must be seen at once, and then not again and again.
                () = self.drain.cancelled(), if told == Some(true) && !self.drain.is_cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn measure(&self) {
        let Parts { identity, metrics, clock, .. } = self.parts.as_ref();
        let trust = identity.trust();
        metrics.expires_at(Expiring::ServerCertificate, Some(trust.server_certificate_expires_at()));
        metrics.expires_at(Expiring::RevocationList, Some(trust.revocation_lists_expire_at()));
        metrics.expires_at(Expiring::TrustRoot, Some(trust.client_authorities_expire_at()));
        metrics.cache_entries(self.parts.facts.held());
        let lag = self.parts.slots.feed_age();
        metrics.feed_lag(lag.map_or(Duration::ZERO, |age| age.known().unwrap_or(Duration::MAX)));
        let offset = self.parts.clock_offset.as_ref().and_then(|offset| offset.ahead());
        metrics.clock_offset(offset.map_or(Duration::ZERO, SignedDuration::unsigned_abs));
        metrics.journal_queue(self.parts.journal.waiting());
        let kept = self.parts.retries.held();
        metrics.retries_held(kept.twins_waiting, kept.bytes);
        metrics.partner_file_faults(identity.faults().len() as u64);
        let now = clock.now();
        let (mut active, mut suspended, mut not_in_force) = (0, 0, 0);
        for slot in identity.roster().contracts() {
            match self.parts.standing_of(&slot, now) {
                Standing::Active => active += 1,
                Standing::Suspended => suspended += 1,
                Standing::ContractNotInForce
                | Standing::NotListed
                | Standing::CertificateNotAccepted
                | Standing::ClaimsSuspended
                | Standing::NotKnown => not_in_force += 1,
            }
        }
        metrics.partners(StandingLabel::Active, active);
        metrics.partners(StandingLabel::Suspended, suspended);
        metrics.partners(StandingLabel::NotInForce, not_in_force);
    }

    /// Counts reloads, whoever asked for them, and lets go of what limits hold for partners that are gone.
    fn follow_reloads(&mut self) {
        let counts = self.parts.identity.reloads();
        let before = std::mem::replace(&mut self.seen.reloads, counts);
        if counts == before {
            return;
        }
        self.parts.metrics.reloaded(true, counts.done - before.done);
        self.parts.metrics.reloaded(false, counts.failed - before.failed);
        let contracts = self.parts.identity.roster().contracts();
        let listed: HashSet<_> = contracts.iter().map(|slot| &slot.contract.partner).collect();
        self.parts.limits.retain(|partner| listed.contains(partner));
        self.parts.claims.retain(|partner| listed.contains(partner));
        self.parts.retries.retain(|partner| listed.contains(partner));
        super::leases::know(&self.parts.limits, &self.parts.identity);
    }

    /// Counts what the journal had to leave out: it happens under the queue's lock, where no metric belongs.
    fn follow_journal(&mut self) {
        let stats = self.parts.journal.stats();
        let before = std::mem::replace(&mut self.seen.journal, stats);
        self.parts.metrics.journal_overflowed(stats.overflows - before.overflows);
        self.parts.metrics.journal_refusals_dropped(stats.refusals_dropped - before.refusals_dropped);
    }

    /// Tells how far the tree is behind the journal.
    fn follow_tree(&mut self) {
        let stats = self.parts.tree.stats();
        self.parts.metrics.tree(stats.signed, stats.behind, stats.waiting, stats.is_stopped);
        let before = std::mem::replace(&mut self.seen.checkpoints, stats.checkpoints);
        self.parts.metrics.tree_signed(stats.checkpoints - before);
        let Parts { journal, disk, metrics, clock, .. } = self.parts.as_ref();
        let written = journal.stats();
        // Each entry takes a hash beside its frame.
        if disk.look(clock.since_boot(), written.bytes + written.entries * 33) {
            let hours = disk.left().as_secs() / 3600;
            tracing::warn!(
                hours,
                "the disk of the evidence log will be full within a day: then no answer leaves"
            );
        }
        metrics.disk_left(disk.left());
    }

    /// Asks open connections to go when answers can no longer be put on record. A failure that the journal got over in a new
    /// segment is over before anybody looks.
    fn follow_journal_state(&mut self) {
        let state = journal_state(&self.parts.journal.health());
        self.parts.metrics.journal_state(state);
        let closed = state != JournalState::Open;
        let was_closed = std::mem::replace(&mut self.seen.journal_closed, closed);
        if closed && !was_closed && !self.drain.is_cancelled() {
            tracing::warn!(
                cause = state.word(),
                "answers cannot be put on record: connections are asked to go"
            );
            self.farewells.say();
        }
    }
}

fn journal_state(health: &JournalHealth) -> JournalState {
    match health {
        JournalHealth::Writing => JournalState::Open,
        JournalHealth::Closed(ClosedReason::ShutDown | ClosedReason::ThreadDied) => JournalState::Ended,
        JournalHealth::Closed(ClosedReason::Failed { step, error }) => match (step, error) {
            (_, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => {
                JournalState::DiskFull
            }
            (_, ErrorKind::ReadOnlyFilesystem) => JournalState::ReadOnly,
            (JournalStep::Read, _) => JournalState::Unreadable,
            _ => JournalState::Failing,
        },
    }
}

fn tell(serving: bool, report: &crate::admin::report::HealthReport) {
    if serving {
        tracing::info!("serving again");
        return;
    }
    for part in report.parts.iter().filter(|part| part.condition == Condition::Failing) {
        tracing::error!(part = part.part, reason = part.reason, "not serving");
    }
}
