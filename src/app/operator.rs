//! The operator's ports, over the parts of a running gateway.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backup::back_up;
use super::export;
use super::gateway::Parts;
use crate::admin::ports::{
    ExportBody, Health, HoldBackLifted, HoldBackSet, HolderSaid, ImportBody, Later, Operator, OperatorError,
    Settlement, Status,
};
use crate::admin::report::{
    Condition, HealthReport, HoldBackLine, ImportCounts, ImportEncoding, ImportFormat, ImportProgress,
    KeyLine, PartnerLine, QuarantineLine, ReloadReport, SettledReport, StandingOrder, StatusReport,
};
use crate::audit::{JournalHealth, TreeHealth};
use crate::cache::FeedAge;
use crate::config::GatewayConfig;
use crate::domain::licence::NumberRules;
use crate::domain::partner::{PartnerId, Standing};
use crate::domain::policy::POLICY_VERSION;
use crate::domain::standing::{KeyPin, RecordedState, StandingChange, StandingOf};
use crate::domain::time::{Clock, civil_day};
use crate::identity::PartnerSlot;
use crate::registry::{EmbeddedRegistry, import};

/// Clocks this far apart are an alarm: a sixth of what QR codes bear.
const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(5);

/// Who changed a standing over the socket; the socket admits the gateway's own user and root alone.
const BY_SOCKET: &str = "operator's socket";

impl Parts {
    /// Says how each part is.
    pub(super) fn health(&self, draining: bool) -> HealthReport {
        let mut report = HealthReport::default();
        report = match self.journal.health() {
            JournalHealth::Writing => report.healthy("evidence"),
            JournalHealth::Closed(reason) => {
                report.unhealthy("evidence", Condition::Failing, reason.to_string())
            }
        };
        report = match self.tree.health() {
            TreeHealth::Following => report.healthy("tree"),
            TreeHealth::Building { done, of } => report.unhealthy(
                "tree",
                Condition::Degraded,
                format!("made again from the log: {done} of {of} entries; receipts wait until it is done"),
            ),
            TreeHealth::Failing(why) | TreeHealth::Stopped(why) => {
                report.unhealthy("tree", Condition::Degraded, why)
            }
        };
        if self.disk.is_alarmed() {
            let hours = self.disk.left().as_secs() / 3600;
            let what =
                format!("the log's disk will be full in {hours} h: make room, or `drivegate log prune`");
            report = report.unhealthy("disk", Condition::Degraded, what);
        }
        let faults = self.identity.faults();
        report = if faults.is_empty() {
            report.healthy("identity")
        } else {
            report.unhealthy("identity", Condition::Degraded, faults.join("; "))
        };
        report = self.probe.report(report);
        report = match self.slots.feed_age() {
            None => report,
            Some(FeedAge::Young(_)) => report.healthy("feed"),
            Some(FeedAge::Stalled(_)) => report.unhealthy(
                "feed",
                Condition::Degraded,
                "changes do not arrive: cached facts are not used until they do",
            ),
        };
        report = match self.identity.roster().shared() {
            None => report,
            Some(shared) if shared.is_current() => report.healthy("standing"),
            Some(_) => report.unhealthy(
                "standing",
                Condition::Degraded,
                "who may call now cannot be read from the shared record: no answer leaves until it can",
            ),
        };
        let ahead = self.clock_offset.as_ref().and_then(|offset| offset.ahead());
        report = match ahead.map(|ahead| (ahead.unsigned_abs(), ahead.is_positive())) {
            None => report,
            Some((off, _)) if off < CLOCK_OFFSET_MAX => report.healthy("clock"),
            Some((off, is_ahead)) => {
                let way = if is_ahead { "ahead of" } else { "behind" };
                let what =
                    format!("{} s {way} the registry server's: look at what sets the clocks", off.as_secs());
                report.unhealthy("clock", Condition::Degraded, what)
            }
        };
        report = match self.facts.asks_redis() {
            None => report,
            Some(true) => report.healthy("redis"),
            Some(false) => {
                report.unhealthy("redis", Condition::Degraded, "not asked: it cannot be reached or read")
            }
        };
        if draining {
            report = report.unhealthy("listener", Condition::Failing, "draining before a stop");
        }
        report
    }
}

/// What a replica says of itself and never changes.
pub(super) struct ReplicaFacts {
    environment: &'static str,
    replica: String,
    listen: SocketAddr,
    started_at: Timestamp,
}

impl ReplicaFacts {
    /// Collects them.
    pub(super) fn of(config: &GatewayConfig, listen: SocketAddr, clock: &dyn Clock) -> Self {
        Self {
            environment: config.environment.word(),
            replica: config.evidence.name.clone(),
            listen,
            started_at: clock.now(),
        }
    }
}

/// Does what the operator says.
pub(super) struct GatewayOperator {
    parts: Arc<Parts>,
    replica: ReplicaFacts,
    importing: Arc<AtomicBool>,
    exporting: Arc<AtomicBool>,
    drain: CancellationToken,
}

impl GatewayOperator {
    /// Returns the registry whose file this process keeps.
    fn kept_here(&self) -> Result<Arc<EmbeddedRegistry>, OperatorError> {
        let what = "the registry stands on PostgreSQL: PostgreSQL's own tools copy it";
        self.parts.embedded.clone().ok_or(OperatorError::NotUsable { what: what.to_owned() })
    }

    /// Builds the operator's side.
    pub(super) fn new(parts: Arc<Parts>, replica: ReplicaFacts, drain: CancellationToken) -> Self {
        Self { parts, replica, importing: Arc::default(), exporting: Arc::default(), drain }
    }

    fn line(&self, slot: &PartnerSlot) -> PartnerLine {
        let contract = &slot.contract;
        let standing = match self.parts.standing_of(slot, self.parts.clock.now()) {
            Standing::Active => "active",
            Standing::Suspended => "suspended",
            Standing::ContractNotInForce
            | Standing::NotListed
            | Standing::CertificateNotAccepted
            | Standing::ClaimsSuspended
            | Standing::NotKnown => "contract-not-in-force",
        };
        let suspensions = self.parts.suspensions(slot);
        PartnerLine {
            id: contract.partner.to_string(),
            display_name: contract.display_name.clone(),
            kind: contract.kind,
            standing: standing.to_owned(),
            suspended_because: suspensions.iter().find_map(|suspension| suspension.reason.clone()),
            suspensions,
            claim_suspensions: self.parts.claim_suspensions(&contract.partner),
            purposes: contract.purposes.iter().map(|terms| terms.purpose).collect(),
            ends_at: contract.ends_at.to_string(),
        }
    }

    /// Names the partners whose claims wait, because many were unconfirmed.
    fn slowed(&self) -> Vec<String> {
        let alarmed = self.parts.claims.alarmed().into_iter();
        alarmed.filter(|one| !one.is_tripped).map(|one| one.partner.to_string()).collect()
    }

    /// Names the partners whose claims are suspended.
    fn claims_suspended(&self) -> Vec<String> {
        let roster = self.parts.identity.roster();
        let slots = roster.contracts();
        let partners = slots.iter().map(|slot| &slot.contract.partner);
        partners.filter(|partner| roster.are_claims_suspended(partner)).map(ToString::to_string).collect()
    }

    async fn change(
        &self,
        of: StandingOf,
        state: RecordedState,
        order: StandingOrder,
    ) -> Result<(), OperatorError> {
        let StandingOrder { reason, by, here_only } = order;
        let by = by.unwrap_or_else(|| BY_SOCKET.to_owned());
        let change = StandingChange { of, state, reason, by, at: self.parts.clock.now() };
        self.parts.change_standing(change, here_only).await
    }

    fn slot(&self, partner: &PartnerId) -> Result<Arc<PartnerSlot>, OperatorError> {
        let slots = self.parts.identity.roster().contracts();
        slots.into_iter().find(|slot| slot.contract.partner == *partner).ok_or(OperatorError::PartnerNotKnown)
    }
}

impl Health for GatewayOperator {
    fn health(&self) -> HealthReport {
        self.parts.health(self.drain.is_cancelled())
    }
}

impl Status for GatewayOperator {
    fn status(&self) -> StatusReport {
        let now = self.parts.clock.now();
        let uptime = now.duration_since(self.replica.started_at).as_secs();
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            environment: self.replica.environment.to_owned(),
            test_numbers_accepted: self.parts.accepts_test_numbers,
            replica: self.replica.replica.clone(),
            started_at: self.replica.started_at.to_string(),
            uptime_seconds: uptime.unsigned_abs(),
            listen: self.replica.listen.to_string(),
            partners: self.parts.identity.roster().contracts().len() as u64,
            registry_epoch: self.parts.registry.heads_known().epoch,
            log_origin: self.parts.journal.origin().to_string(),
            log_entries: self.parts.journal.stats().entries,
            policy_version: POLICY_VERSION.to_owned(),
            more: BTreeMap::from([
                ("registry_head".to_owned(), self.parts.registry.heads_known().changes().into()),
                ("claims_slowed".to_owned(), self.slowed().into()),
                ("claims_suspended".to_owned(), self.claims_suspended().into()),
            ]),
        }
    }

    fn metrics_text(&self) -> String {
        self.parts.metrics.text().unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be rendered");
            String::new()
        })
    }
}

impl Operator for GatewayOperator {
    fn change_partner(
        &self,
        partner: PartnerId,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<PartnerLine, OperatorError>> {
        Box::pin(async move {
            let slot = self.slot(&partner)?;
            self.change(StandingOf::Partner(partner), state, order).await?;
            Ok(self.line(&slot))
        })
    }

    fn change_claims(
        &self,
        partner: PartnerId,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<PartnerLine, OperatorError>> {
        Box::pin(async move {
            let slot = self.slot(&partner)?;
            self.change(StandingOf::Claims(partner), state, order).await?;
            Ok(self.line(&slot))
        })
    }

    fn change_key(
        &self,
        key: KeyPin,
        state: RecordedState,
        order: StandingOrder,
    ) -> Later<'_, Result<KeyLine, OperatorError>> {
        Box::pin(async move {
            self.change(StandingOf::Key(key), state, order).await?;
            Ok(self.parts.key_line(key))
        })
    }

    fn keys(&self) -> Later<'_, Result<Vec<KeyLine>, OperatorError>> {
        Box::pin(std::future::ready(Ok(self.parts.key_lines())))
    }

    fn partners(&self) -> Later<'_, Result<Vec<PartnerLine>, OperatorError>> {
        let lines = self.parts.identity.roster().contracts().iter().map(|slot| self.line(slot)).collect();
        Box::pin(std::future::ready(Ok(lines)))
    }

    fn reload(&self) -> Later<'_, Result<ReloadReport, OperatorError>> {
        Box::pin(async move {
            let identity = Arc::clone(&self.parts.identity);
            let reloaded = tokio::task::spawn_blocking(move || identity.reload_now()).await;
            reloaded.map_err(|_panic| OperatorError::Failed { what: "reloading failed".to_owned() })?;
            let faults = self.parts.identity.faults();
            let partners = self.parts.identity.roster().contracts().len() as u64;
            Ok(ReloadReport { partners, faults })
        })
    }

    fn quarantine(&self, after: Option<String>) -> Later<'_, Result<Vec<QuarantineLine>, OperatorError>> {
        Box::pin(super::intake::list_quarantine(&self.parts.intake, after))
    }

    fn settle(
        &self,
        handle: String,
        settlement: Settlement,
    ) -> Later<'_, Result<SettledReport, OperatorError>> {
        Box::pin(super::intake::settle(&self.parts.intake, handle, settlement))
    }

    fn set_hold_back(
        &self,
        holder: HolderSaid,
        wanted: HoldBackSet,
    ) -> Later<'_, Result<HoldBackLine, OperatorError>> {
        Box::pin(super::hold_backs::set(&self.parts, holder, wanted))
    }

    fn hold_backs(&self, holder: HolderSaid) -> Later<'_, Result<Vec<HoldBackLine>, OperatorError>> {
        Box::pin(super::hold_backs::list(&self.parts, holder))
    }

    fn lift_hold_back(
        &self,
        holder: HolderSaid,
        wanted: HoldBackLifted,
    ) -> Later<'_, Result<HoldBackLine, OperatorError>> {
        Box::pin(super::hold_backs::lift(&self.parts, holder, wanted))
    }

    fn import(
        &self,
        format: ImportFormat,
        encoding: ImportEncoding,
        body: ImportBody,
        progress: mpsc::Sender<ImportProgress>,
    ) -> Later<'_, Result<ImportCounts, OperatorError>> {
        Box::pin(async move {
            let Some(turn) = Turn::take(&self.importing) else {
                return Err(OperatorError::Busy { what: "import" });
            };
            let parts = Arc::clone(&self.parts);
            let import = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                run_import(&parts, (format, encoding), body, &progress)
            });
            import.await.map_err(|_panic| OperatorError::Failed { what: "the import failed".to_owned() })?
        })
    }

    fn back_up(
        &self,
        chunks: mpsc::Sender<Result<Bytes, OperatorError>>,
    ) -> Later<'_, Result<(), OperatorError>> {
        Box::pin(async move {
            let registry = self.kept_here()?;
            let backup = tokio::task::spawn_blocking(move || back_up(&registry, chunks));
            backup.await.map_err(|_panic| OperatorError::Failed { what: "the backup failed".to_owned() })?
        })
    }

    fn export(&self) -> Later<'_, Result<ExportBody, OperatorError>> {
        let turn = Turn::take(&self.exporting).ok_or(OperatorError::Busy { what: "export" });
        let begun = turn.map(|turn| export::start(Arc::clone(&self.parts.registry), turn));
        Box::pin(std::future::ready(begun))
    }
}

/// Only one at a time: two imports would only wait for each other's transactions, two exports hold twice the pages.
pub(super) struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(taken: &Arc<AtomicBool>) -> Option<Self> {
        (!taken.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(taken)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn run_import(
    parts: &Parts,
    (format, encoding): (ImportFormat, ImportEncoding),
    body: impl Read,
    progress: &mpsc::Sender<ImportProgress>,
) -> Result<ImportCounts, OperatorError> {
    let format = match format {
        ImportFormat::Ndjson => import::ImportFormat::Ndjson,
        ImportFormat::Csv => import::ImportFormat::Csv,
    };
    let rules = NumberRules { accept_test_numbers: parts.accepts_test_numbers };
    let encoding = match encoding {
        ImportEncoding::Utf8 => import::Encoding::Utf8,
        ImportEncoding::Gb18030 => import::Encoding::Gb18030,
    };
    let options = import::ImportOptions::new(format, rules, civil_day(parts.clock.now())).encoded(encoding);
    let mut tell = |step| {
        let step = match step {
            import::ImportProgress::Advanced(report) => ImportProgress::Advanced(counts(report)),
            import::ImportProgress::Rejected { line, reason } => {
                ImportProgress::Rejected { line, reason: reason.to_string() }
            }
            import::ImportProgress::LoadedAtOnce => return,
        };
        // The operator left: what was read so far still goes in, and a re-run finishes it.
        let _left = progress.blocking_send(step);
    };
    let report = import::Importer::new(parts.registry.as_ref(), options)
        .import(body, &mut tell)
        .map_err(|error| OperatorError::Failed { what: error.to_string() })?;
    Ok(counts(report))
}

fn counts(report: import::ImportReport) -> ImportCounts {
    ImportCounts {
        lines: report.lines,
        imported: report.created + report.appended,
        unchanged: report.unchanged,
        rejected: report.rejected,
    }
}
