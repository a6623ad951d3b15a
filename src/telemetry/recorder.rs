//! What the rest of the process says to the metrics: one plain method an event.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::cells::Cells;
use super::exposition::Exposition;
use super::labels::{
    BreakerState, CacheLevel, CacheResult, ChangeLabel, ClaimsLabel, ClassLabel, Expiring, HandshakeLabel,
    JournalState, KeptLabel, LeaseLabel, LimitLabel, LineCause, Method, OutcomeLabel, PURPOSE_WORDS,
    PlacesLabel, RedisFault, RegistryRead, RetriedLabel, RetryLabel, StandingLabel, WaitingLabel,
};
use super::metrics::{Id, REASONS};
use crate::domain::question::Purpose;

/// The process's metrics. A warm `Verify` makes about six calls here; each is a relaxed addition or two on a row of the
/// calling thread's own. Measured on a busy two-core machine: 22 to 26 ns an event, 45 to 77 ns a duration, 115 to
/// 210 ns for all of a warm `Verify`.
pub struct Metrics {
    cells: Arc<Cells>,
    exposition: Exposition,
}

/// The metrics could not be set up or rendered. A programming fault: definitions are fixed.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The OpenTelemetry exporter refused its settings.
    #[error("cannot set up the metrics exporter")]
    Exporter(#[source] opentelemetry_sdk::error::OTelSdkError),
    /// Prometheus' registry or encoder refused a definition.
    #[error("cannot register or render the metrics")]
    Prometheus(#[from] prometheus::Error),
}

impl Metrics {
    /// Sets the metrics up; `environment` (production, sandbox) stands in `target_info`.
    ///
    /// # Errors
    /// [`MetricsError`] when the definitions contradict each other.
    pub fn new(environment: &'static str) -> Result<Arc<Self>, MetricsError> {
        let cells = Arc::new(Cells::new());
        let exposition = Exposition::new(&cells, environment)?;
        Ok(Arc::new(Self { cells, exposition }))
    }

    /// Renders everything in Prometheus' text format.
    ///
    /// # Errors
    /// [`MetricsError`] when a definition cannot be rendered.
    pub fn text(&self) -> Result<String, MetricsError> {
        self.exposition.text()
    }

    /// A request came in. Every one of these is followed by one [`Self::request_left`], also when it is cancelled.
    pub fn request_entered(&self) {
        self.cells.add(Id::RequestsInFlight, 0, 1);
    }

    /// A request left, whatever became of it.
    pub fn request_left(&self) {
        self.cells.add(Id::RequestsInFlight, 0, -1);
    }

    /// A request ended.
    pub fn request(
        &self,
        method: Method,
        purpose: Option<Purpose>,
        outcome: OutcomeLabel,
        elapsed: Duration,
    ) {
        let purpose = purpose.map_or(0, |purpose| usize::from(purpose.code()));
        let series = method as usize * PURPOSE_WORDS.len() + purpose;
        self.cells.add(Id::Requests, series * OutcomeLabel::WORDS.len() + outcome as usize, 1);
        self.cells.observe(Id::RequestDuration, series, elapsed);
    }

    /// A refusal or error left with this reason of `error.proto`, without prefix.
    pub fn refusal(&self, reason: &str) {
        let series = REASONS.iter().position(|known| *known == reason).unwrap_or(0);
        self.cells.add(Id::Refusals, series, 1);
    }

    /// A limit was reached.
    pub fn limit_refused(&self, limit: LimitLabel) {
        self.cells.add(Id::LimitRefusals, limit as usize, 1);
    }

    /// A request with a request id was taken up as this.
    pub fn retry(&self, result: RetryLabel) {
        self.cells.add(Id::Retries, result as usize, 1);
    }

    /// A request with a request id was answered without what other replicas know.
    pub fn retry_unshared(&self) {
        self.cells.add(Id::RetriesUnshared, 0, 1);
    }

    /// A kept answer could not be opened.
    pub fn retry_unreadable(&self) {
        self.cells.add(Id::RetriesUnreadable, 0, 1);
    }

    /// A request begins to wait for its twin.
    pub fn retry_twin(&self) {
        self.cells.add(Id::RetriesTwins, 0, 1);
    }

    /// So many requests wait for a twin, and so many bytes are remembered.
    pub fn retries_held(&self, waiting: usize, bytes: usize) {
        self.cells.set(Id::RetriesWaiting, 0, saturating(waiting as u64));
        self.cells.set(Id::RetriesHeld, 0, saturating(bytes as u64));
    }

    /// A connection of a partner opened.
    pub fn connection_opened(&self) {
        self.cells.add(Id::Connections, 0, 1);
    }

    /// A connection of a partner closed.
    pub fn connection_closed(&self) {
        self.cells.add(Id::Connections, 0, -1);
    }

    /// A handshake ended.
    pub fn handshake(&self, outcome: HandshakeLabel, took: Duration) {
        self.cells.add(Id::Handshakes, outcome as usize, 1);
        self.cells.observe(Id::HandshakeDuration, 0, took);
    }

    /// A level of the cache was asked.
    pub fn cache(&self, level: CacheLevel, result: CacheResult) {
        let series = level as usize * CacheResult::WORDS.len() + result as usize;
        self.cells.add(Id::CacheLookUps, series, 1);
    }

    /// So many facts are held in process.
    pub fn cache_entries(&self, count: u64) {
        self.cells.set(Id::CacheEntries, 0, saturating(count));
    }

    /// The knowledge of the registry's feed is so old.
    pub fn feed_lag(&self, age: Duration) {
        self.cells.set(Id::FeedLag, 0, saturating(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
    }

    /// This machine's clock is so far from the one all replicas share.
    pub fn clock_offset(&self, offset: Duration) {
        let millis = u64::try_from(offset.as_millis()).unwrap_or(u64::MAX);
        self.cells.set(Id::ClockOffset, 0, saturating(millis));
    }

    /// A call to Redis failed.
    pub fn redis_fault(&self, fault: RedisFault) {
        self.cells.add(Id::RedisFaults, fault as usize, 1);
    }

    /// Calls for slices of limits ended so.
    pub fn limit_leases(&self, outcome: LeaseLabel, calls: u64) {
        self.cells.add(Id::LimitLeases, outcome as usize, saturating(calls));
    }

    /// For so many partners limits are leased, for so many this replica keeps to its share.
    pub fn limit_partners(&self, leased: u64, divided: u64) {
        self.cells.set(Id::LimitPartners, KeptLabel::Leased as usize, saturating(leased));
        self.cells.set(Id::LimitPartners, KeptLabel::Divided as usize, saturating(divided));
    }

    /// So many requests were refused for want of a slice.
    pub fn limit_unleased(&self, requests: u64) {
        self.cells.add(Id::LimitUnleased, 0, saturating(requests));
    }

    /// The breaker before Redis changed its state.
    pub fn redis_breaker(&self, state: BreakerState) {
        for other in 0..BreakerState::WORDS.len() {
            self.cells.set(Id::RedisBreaker, other, i64::from(other == state as usize));
        }
    }

    /// The registry was read, or could not be: how long a failure took says nothing about reading.
    pub fn registry_read(&self, result: RegistryRead, took: Option<Duration>) {
        self.cells.add(Id::RegistryReads, result as usize, 1);
        if let Some(took) = took {
            self.cells.observe(Id::RegistryReadDuration, 0, took);
        }
    }

    /// A reading of the registry failed.
    pub fn registry_retried(&self, is_tried_again: bool) {
        let result = if is_tried_again { RetriedLabel::TriedAgain } else { RetriedLabel::BudgetSpent };
        self.cells.add(Id::RegistryRetries, result as usize, 1);
    }

    /// So many readings of the registry may be under way, and are.
    pub fn line_places(&self, limit: usize, taken: usize) {
        self.cells.set(Id::LinePlaces, PlacesLabel::Limit as usize, saturating(limit as u64));
        self.cells.set(Id::LinePlaces, PlacesLabel::Taken as usize, saturating(taken as u64));
    }

    /// So many of a class wait for the registry.
    pub fn line_waiting(&self, class: ClassLabel, count: usize) {
        self.cells.set(Id::LineWaiting, class as usize, saturating(count as u64));
    }

    /// So many of a class were not let to the registry.
    pub fn line_refused(&self, class: ClassLabel, cause: LineCause, count: u64) {
        let series = class as usize * LineCause::WORDS.len() + cause as usize;
        self.cells.add(Id::LineRefused, series, saturating(count));
    }

    /// So many calls may be open on the cores, and are.
    pub fn core_calls(&self, limit: usize, open: usize) {
        self.cells.set(Id::CorePlaces, PlacesLabel::Limit as usize, saturating(limit as u64));
        self.cells.set(Id::CorePlaces, PlacesLabel::Taken as usize, saturating(open as u64));
    }

    /// Sockets were left unread so often.
    pub fn cores_paused(&self, count: u64) {
        self.cells.add(Id::CoresPaused, 0, saturating(count));
    }

    /// A sync made entries durable.
    pub fn journal_synced(&self, entry_count: u64, bytes: u64, took: Duration) {
        self.cells.add(Id::JournalEntries, 0, saturating(entry_count));
        self.cells.add(Id::JournalBytes, 0, saturating(bytes));
        self.cells.observe(Id::JournalSyncs, 0, took);
    }

    /// A write or sync of the journal failed.
    pub fn journal_failed(&self) {
        self.cells.add(Id::JournalFailures, 0, 1);
    }

    /// The journal is in this state.
    pub fn journal_state(&self, state: JournalState) {
        for other in 0..JournalState::WORDS.len() {
            self.cells.set(Id::JournalState, other, i64::from(other == state as usize));
        }
    }

    /// So many entries are gathered for the next sync.
    pub fn journal_queue(&self, entry_count: u64) {
        self.cells.set(Id::JournalQueue, 0, saturating(entry_count));
    }

    /// Look-ups were taken into the index; so many entries are still to be read.
    pub fn indexed(&self, look_up_count: u64, behind: u64) {
        self.cells.add(Id::IndexLookUps, 0, saturating(look_up_count));
        self.cells.set(Id::IndexBehind, 0, saturating(behind));
    }

    /// A batch of look-ups could not be taken into the index.
    pub fn index_failed(&self) {
        self.cells.add(Id::IndexFailures, 0, 1);
    }

    /// Entries were refused because too many bytes waited.
    pub fn journal_overflowed(&self, count: u64) {
        self.cells.add(Id::JournalOverflows, 0, saturating(count));
    }

    /// Refusals were not put on record because too many different ones waited.
    pub fn journal_refusals_dropped(&self, count: u64) {
        self.cells.add(Id::JournalRefusalsDropped, 0, saturating(count));
    }

    /// The log's disk lasts so long.
    pub fn disk_left(&self, left: Duration) {
        self.cells.set(Id::DiskLeft, 0, saturating(left.as_secs()));
    }

    /// The tree over the journal is so far.
    pub fn tree(&self, size: u64, behind: u64, waiting: Duration, is_stopped: bool) {
        self.cells.set(Id::TreeSize, 0, saturating(size));
        self.cells.set(Id::TreeBehind, 0, saturating(behind));
        let waiting_ms = u64::try_from(waiting.as_millis()).unwrap_or(u64::MAX);
        self.cells.set(Id::TreeWaiting, 0, saturating(waiting_ms));
        self.cells.set(Id::TreeStopped, 0, i64::from(is_stopped));
    }

    /// Checkpoints were signed.
    pub fn tree_signed(&self, count: u64) {
        self.cells.add(Id::TreeCheckpoints, 0, saturating(count));
    }

    /// So many changes of the authority came to this.
    pub fn changes(&self, outcome: ChangeLabel, count: u64) {
        self.cells.add(Id::IntakeChanges, outcome as usize, saturating(count));
    }

    /// A batch of changes became durable; the latest of it was recorded so long ago.
    pub fn intake_batch(&self, took: Duration, lag: Option<Duration>) {
        self.cells.observe(Id::IntakeBatches, 0, took);
        if let Some(lag) = lag {
            self.cells.set(Id::IntakeLag, 0, saturating(lag.as_secs()));
        }
    }

    /// So many changes of the authority wait.
    pub fn intake_waiting(&self, state: WaitingLabel, count: u64) {
        self.cells.set(Id::IntakeWaiting, state as usize, saturating(count));
    }

    /// A batch of changes could not be made durable.
    pub fn intake_failed(&self) {
        self.cells.add(Id::IntakeFailures, 0, 1);
    }

    /// The next of a kind expires then; `None`: none is loaded.
    pub fn expires_at(&self, what: Expiring, at: Option<Timestamp>) {
        self.cells.set(Id::Expiry, what as usize, at.map_or(0, Timestamp::as_second));
    }

    /// Partner files have so many faults.
    pub fn partner_file_faults(&self, count: u64) {
        self.cells.set(Id::PartnerFileFaults, 0, saturating(count));
    }

    /// So many partners stand so.
    pub fn partners(&self, standing: StandingLabel, count: u64) {
        self.cells.set(Id::Partners, standing as usize, saturating(count));
    }

    /// So many claims were answered as unconfirmed.
    pub fn claims_unconfirmed(&self, count: u64) {
        self.cells.add(Id::ClaimsUnconfirmed, 0, saturating(count));
    }

    /// So many partners' claims are slowed or suspended.
    pub fn claims_alarmed(&self, state: ClaimsLabel, count: u64) {
        self.cells.set(Id::ClaimsAlarmed, state as usize, saturating(count));
    }

    /// The replicas could not tell each other about claims.
    pub fn claims_unshared(&self) {
        self.cells.add(Id::ClaimsUnshared, 0, 1);
    }

    /// Contracts, trust, revocation lists and the certificate were read again so often.
    pub fn reloaded(&self, is_done: bool, count: u64) {
        self.cells.add(Id::Reloads, usize::from(!is_done), saturating(count));
    }

    /// Log lines were left out by the rate bound.
    pub fn logs_suppressed(&self, count: u64) {
        self.cells.add(Id::LogsSuppressed, 0, saturating(count));
    }

    /// Sampled spans could not be exported.
    pub fn spans_dropped(&self, count: u64) {
        self.cells.add(Id::SpansDropped, 0, saturating(count));
    }
}

fn saturating(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_method_purpose_and_outcome() {
        let metrics = Metrics::new("sandbox").unwrap();
        for _ in 0..3 {
            metrics.request(
                Method::Verify,
                Some(Purpose::Rental),
                OutcomeLabel::NotQualified,
                Duration::from_micros(150),
            );
        }
        metrics.request(Method::GetLimits, None, OutcomeLabel::Answered, Duration::from_micros(20));
        let text = metrics.text().unwrap();
        let line = r#"drivegate_requests_total{method="Verify",outcome="not-qualified",purpose="rental"} 3"#;
        assert!(text.contains(line), "{text}");
        let line = r#"drivegate_requests_total{method="GetLimits",outcome="answered",purpose="none"} 1"#;
        assert!(text.contains(line), "{text}");
        let line =
            r#"drivegate_request_duration_seconds_bucket{method="Verify",purpose="rental",le="0.0002"} 3"#;
        assert!(text.contains(line), "{text}");
        let line =
            r#"drivegate_request_duration_seconds_bucket{method="Verify",purpose="rental",le="0.0001"} 0"#;
        assert!(text.contains(line), "{text}");
        let line = r#"drivegate_request_duration_seconds_count{method="Verify",purpose="rental"} 3"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn single_series_are_shown_before_anything_happened() {
        let text = Metrics::new("sandbox").unwrap().text().unwrap();
        for line in [
            "drivegate_requests_in_flight 0",
            "drivegate_journal_failures_total 0",
            "drivegate_journal_size_bytes_total 0",
            r#"drivegate_limit_refusals_total{limit="rate"} 0"#,
            r#"drivegate_expiry_seconds{what="revocation-list"} 0"#,
            "drivegate_journal_sync_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn every_metric_has_help_and_type() {
        let metrics = Metrics::new("sandbox").unwrap();
        metrics.request(Method::Other, None, OutcomeLabel::Failed, Duration::ZERO);
        metrics.cache(CacheLevel::Redis, CacheResult::Stale);
        metrics.line_refused(ClassLabel::Claim, LineCause::Late, 1);
        let text = metrics.text().unwrap();
        let help = text.lines().filter(|line| line.starts_with("# HELP drivegate_")).count();
        assert_eq!(help, super::super::metrics::DEFINITIONS.len());
    }

    #[test]
    fn the_process_is_described() {
        let text = Metrics::new("sandbox").unwrap().text().unwrap();
        let line = text.lines().find(|line| line.starts_with("target_info{")).unwrap();
        assert!(line.contains(r#"deployment_environment_name="sandbox""#));
        assert!(line.contains(concat!("service_version=\"", env!("CARGO_PKG_VERSION"), "\"")));
    }

    #[test]
    fn the_breaker_is_in_one_state() {
        let metrics = Metrics::new("sandbox").unwrap();
        metrics.redis_breaker(BreakerState::Open);
        metrics.redis_breaker(BreakerState::HalfOpen);
        let text = metrics.text().unwrap();
        for (state, value) in [("closed", 0), ("half-open", 1), ("open", 0)] {
            let line = format!("drivegate_redis_breaker{{state=\"{state}\"}} {value}");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn an_unknown_reason_makes_no_new_series() {
        let metrics = Metrics::new("sandbox").unwrap();
        metrics.refusal("RATE_EXCEEDED");
        metrics.refusal("Robert'); DROP TABLE");
        let text = metrics.text().unwrap();
        assert!(text.contains(r#"drivegate_refusals_total{reason="RATE_EXCEEDED"} 1"#));
        assert!(text.contains(r#"drivegate_refusals_total{reason="OTHER"} 1"#));
        assert!(!text.contains("Robert"));
    }
}
