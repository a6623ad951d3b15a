//! Every metric: name, unit, what a healthy value is, labels, buckets. Labels come from closed sets; there is no label
//! for a partner, because partner × method × code would grow without bound.

use super::labels::{
    BreakerState, CacheLevel, CacheResult, ChangeLabel, ClaimsLabel, ClassLabel, Expiring, HandshakeLabel,
    JournalState, KeptLabel, LeaseLabel, LimitLabel, LineCause, Method, OutcomeLabel, PURPOSE_WORDS,
    PlacesLabel, RedisFault, RegistryRead, RetriedLabel, RetryLabel, StandingLabel, WaitingLabel,
};

/// A label and its values.
pub(super) type Label = (&'static str, &'static [&'static str]);

/// One metric.
pub(super) struct Definition {
    /// What kind.
    pub(super) kind: Kind,
    /// Its OpenTelemetry name; Prometheus sees underscores and the unit.
    pub(super) name: &'static str,
    /// Its UCUM unit.
    pub(super) unit: &'static str,
    /// What it says, and what is healthy.
    pub(super) help: &'static str,
    /// Its labels.
    pub(super) labels: &'static [Label],
}

/// Kinds of metric.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down by one.
    Level,
    /// Is set.
    Gauge,
    /// Durations in buckets of [`BUCKETS_NS`].
    Histogram,
}

impl Definition {
    /// Returns how many label combinations there are.
    pub(super) fn series_count(&self) -> usize {
        self.labels.iter().map(|(_, values)| values.len()).product()
    }
}

/// Upper bounds of all latency buckets, in nanoseconds: a warm answer takes tens of microseconds plus one sync, a cold
/// one hundreds, and 2 s is the request's deadline.
pub(super) const BUCKETS_NS: [u64; 16] = [
    25_000,
    50_000,
    100_000,
    200_000,
    400_000,
    800_000,
    1_600_000,
    3_200_000,
    6_400_000,
    12_800_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    2_000_000_000,
];

/// The reasons of `error.proto`, without prefix; anything else counts as `OTHER`.
pub(super) const REASONS: &[&str] = &[
    "OTHER",
    "PARTNER_NOT_KNOWN",
    "PARTNER_SUSPENDED",
    "CONTRACT_NOT_IN_FORCE",
    "CERTIFICATE_NOT_ACCEPTED",
    "PURPOSE_NOT_PERMITTED",
    "FIELD_NOT_PERMITTED",
    "CONSENT_BASIS_NOT_ACCEPTED",
    "QUESTION_NOT_IN_CONTRACT",
    "SUBJECT_UNDER_AGE",
    "QUESTION_VARIATION_EXCEEDED",
    "SUBJECT_BUDGET_EXCEEDED",
    "CLAIMS_SUSPENDED",
    "METHOD_NOT_PERMITTED",
    "REQUEST_MALFORMED",
    "REQUEST_TOO_LARGE",
    "IDEMPOTENCY_CONFLICT",
    "REQUEST_ID_SPENT",
    "COMPRESSION_NOT_ACCEPTED",
    "METHOD_NOT_KNOWN",
    "ENTRY_NOT_FOUND",
    "RATE_EXCEEDED",
    "QUOTA_EXCEEDED",
    "IN_FLIGHT_EXCEEDED",
    "OVERLOADED",
    "DEADLINE_EXCEEDED",
    "REGISTRY_UNAVAILABLE",
    "EVIDENCE_UNAVAILABLE",
    "FRESHNESS_UNAVAILABLE",
    "DRAINING",
    "INTERNAL",
    "SHARE_CODE_ATTEMPTS_EXCEEDED",
    "PRESENTATION_MALFORMED",
    "PRESENTATION_NOT_GENUINE",
    "PRESENTATION_NOT_FOR_YOU",
    "PRESENTATION_PURPOSE_MISMATCH",
    "PRESENTATION_EXPIRED",
    "PRESENTATION_ALREADY_USED",
    "PRESENTATION_REVOKED",
    "SHARE_CODE_MISTYPED",
    "SHARE_CODE_NOT_ACCEPTED",
    "CONSENT_WITHDRAWN",
    "PRESENTATION_REQUIRED",
    "REQUEST_ID_SPENT",
    "SCANNER_NOT_ACCEPTED",
    "HOLDER_NOT_KNOWN",
    "E_LICENCE_NOT_ISSUED",
    "E_LICENCE_SUPERSEDED",
    "E_LICENCE_WITHDRAWN",
    "E_LICENCE_VOID",
    "E_LICENCE_HIDDEN",
    "PRESENTATION_NOT_KNOWN",
    "CONSENT_NOT_KNOWN",
    "PAGE_TOKEN_NOT_KNOWN",
];

/// Declares the metrics and an id for each.
macro_rules! metrics {
    ($( $id:ident: $kind:ident $name:literal [$unit:literal] $help:literal { $($label:literal: $values:expr),* } )+) => {
        /// Names a metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Id { $($id),+ }

        /// Every metric, in order of its id.
        pub(super) const DEFINITIONS: &[Definition] = &[$(Definition {
            kind: Kind::$kind,
            name: $name,
            unit: $unit,
            help: $help,
            labels: &[$(($label, $values)),*],
        }),+];
    };
}

metrics! {
    Requests: Counter "drivegate.requests" ["{request}"]
        "Requests ended. Healthy: `failed` always zero, `unavailable` near zero."
        { "method": Method::WORDS, "purpose": PURPOSE_WORDS, "outcome": OutcomeLabel::WORDS }
    RequestDuration: Histogram "drivegate.request.duration" ["s"]
        "Time from the arrival of a request to its answer, refusals included. Healthy: p99 below 10 ms."
        { "method": Method::WORDS, "purpose": PURPOSE_WORDS }
    RequestsInFlight: Level "drivegate.requests.in_flight" ["{request}"]
        "Requests being served. Healthy: far below the configured maximum."
        {}
    Refusals: Counter "drivegate.refusals" ["{request}"]
        "Refusals and errors by reason of the contract. Healthy: INTERNAL always zero, EVIDENCE_UNAVAILABLE zero."
        { "reason": REASONS }
    LimitRefusals: Counter "drivegate.limit.refusals" ["{request}"]
        "Refusals by the limit that was reached. Healthy: `overload` zero; the others are a partner's own doing."
        { "limit": LimitLabel::WORDS }
    ClaimsUnconfirmed: Counter "drivegate.claims.unconfirmed" ["{claim}"]
        "Claims answered as unconfirmed: no such number, another name or protected. Healthy: a few in a hundred claims."
        {}
    ClaimsAlarmed: Gauge "drivegate.claims.alarmed" ["{partner}"]
        "Partners whose claims are slowed or suspended because too many were unconfirmed. Healthy: zero; `suspended` waits for a person."
        { "state": ClaimsLabel::WORDS }
    ClaimsUnshared: Counter "drivegate.claims.unshared" ["{exchange}"]
        "Times the replicas could not tell each other about claims. Healthy: zero, or PostgreSQL's primary is away."
        {}
    LimitLeases: Counter "drivegate.limit.leases" ["{call}"]
        "Calls to Redis for slices of partners' limits, where several replicas share them. Healthy: `held` and `failed` zero once started."
        { "outcome": LeaseLabel::WORDS }
    LimitPartners: Gauge "drivegate.limit.partners" ["{partner}"]
        "Partners by how their limits are kept, where several replicas share them. Healthy: `divided` zero; otherwise Redis is away or was emptied."
        { "kept": KeptLabel::WORDS }
    LimitUnleased: Counter "drivegate.limit.unleased" ["{request}"]
        "Requests refused because this replica's slice was used up, though the deployment had something left. Healthy: near zero."
        {}
    Retries: Counter "drivegate.retries" ["{request}"]
        "Requests with a request id, by what they were taken up as. Healthy: mostly `first`; `other-content` and `late` near zero."
        { "result": RetryLabel::WORDS }
    RetriesUnshared: Counter "drivegate.retries.unshared" ["{request}"]
        "Requests with a request id that were answered without what other replicas know. Healthy: zero, or Redis is away."
        {}
    RetriesUnreadable: Counter "drivegate.retries.unreadable" ["{answer}"]
        "Kept answers that could not be opened. Should always be zero."
        {}
    RetriesTwins: Counter "drivegate.retries.twins" ["{request}"]
        "Requests that began to wait for a twin under way. Healthy: few; many tell of a client that does not wait."
        {}
    RetriesWaiting: Gauge "drivegate.retries.waiting" ["{request}"]
        "Requests waiting for a twin now. Healthy: near zero."
        {}
    RetriesHeld: Gauge "drivegate.retries.held" ["By"]
        "Bytes of kept answers and known ids. Healthy: below the bound `retries.memory_mib`."
        {}
    Connections: Level "drivegate.connections" ["{connection}"]
        "Connections of partners open. Healthy: steady, far below the configured maximum."
        {}
    Handshakes: Counter "drivegate.handshakes" ["{handshake}"]
        "TLS handshakes by outcome. Healthy: mostly `accepted`; `shed` and `timed-out` near zero."
        { "outcome": HandshakeLabel::WORDS }
    HandshakeDuration: Histogram "drivegate.handshake.duration" ["s"]
        "Time a handshake took, failed ones included. Healthy: p99 below 100 ms."
        {}
    CacheLookUps: Counter "drivegate.cache.look_ups" ["{look-up}"]
        "Look-ups by level and result. Healthy: mostly `hit`; `bypassed` only while Redis or the feed is away."
        { "level": CacheLevel::WORDS, "result": CacheResult::WORDS }
    CacheEntries: Gauge "drivegate.cache.entries" ["{fact}"]
        "Facts held in process. Healthy: steady once warm."
        {}
    RedisFaults: Counter "drivegate.redis.faults" ["{fault}"]
        "Calls to Redis that failed. Healthy: zero; `unusable-value` should always be zero."
        { "fault": RedisFault::WORDS }
    RedisBreaker: Gauge "drivegate.redis.breaker" ["{state}"]
        "1 for the state the breaker is in. Healthy: `closed`."
        { "state": BreakerState::WORDS }
    RegistryReads: Counter "drivegate.registry.reads" ["{read}"]
        "Readings of the registry. Healthy: `failed` and `timed-out` zero."
        { "result": RegistryRead::WORDS }
    RegistryReadDuration: Histogram "drivegate.registry.read.duration" ["s"]
        "Time a reading of the registry took, waiting for a reader included. Healthy: p99 below 5 ms."
        {}
    RegistryRetries: Counter "drivegate.registry.retries" ["{read}"]
        "Readings that failed, by whether they were tried again: a tenth of all may be. Healthy: zero."
        { "result": RetriedLabel::WORDS }
    LinePlaces: Gauge "drivegate.line.places" ["{read}"]
        "Readings of the registry that may be under way, as learned from its answers, and that are. Healthy: `taken` below `limit`."
        { "state": PlacesLabel::WORDS }
    LineWaiting: Gauge "drivegate.line.waiting" ["{read}"]
        "Readings that wait for a place at the registry. Healthy: zero but in bursts."
        { "class": ClassLabel::WORDS }
    LineRefused: Counter "drivegate.line.refused" ["{read}"]
        "Readings refused because they waited too long, or too many did. Healthy: zero; `presentation` should always be zero."
        { "class": ClassLabel::WORDS, "cause": LineCause::WORDS }
    CorePlaces: Gauge "drivegate.cores.calls" ["{call}"]
        "Calls the cores may have open before they leave sockets unread, and have. Healthy: `limit` at cores × `bounds.in_flight_max`; lower: a core is behind its work."
        { "state": PlacesLabel::WORDS }
    CoresPaused: Counter "drivegate.cores.paused" ["{socket}"]
        "Times a socket was left unread because its core was behind its work. Healthy: zero."
        {}
    FeedLag: Gauge "drivegate.registry.feed.lag" ["ms"]
        "Time since the start of the last poll that brought every change; 0 with an embedded registry. Healthy: below 500."
        {}
    ClockOffset: Gauge "drivegate.clock.offset" ["ms"]
        "How far this machine's clock is from the registry server's, either way; 0 with an embedded registry. Healthy: below 1000."
        {}
    JournalEntries: Counter "drivegate.journal.entries" ["{entry}"]
        "Entries made durable. Healthy: grows with answers."
        {}
    JournalBytes: Counter "drivegate.journal.size" ["By"]
        "Bytes made durable. Healthy: at most 350 an entry."
        {}
    JournalSyncs: Histogram "drivegate.journal.sync.duration" ["s"]
        "Time a sync of the journal took. Healthy: p99 below 10 ms; every answer waits for one."
        {}
    JournalFailures: Counter "drivegate.journal.failures" ["{failure}"]
        "Writes or syncs that failed; each seals a segment. Should always be zero."
        {}
    JournalState: Gauge "drivegate.journal.state" ["{state}"]
        "1 for the state the journal is in; in any but `open` no answer leaves. Healthy: `open`."
        { "state": JournalState::WORDS }
    JournalQueue: Gauge "drivegate.journal.queue" ["{entry}"]
        "Entries gathered for the next sync. Healthy: below a few hundred."
        {}
    JournalOverflows: Counter "drivegate.journal.overflows" ["{entry}"]
        "Entries refused because too many bytes waited for a sync. Should be zero."
        {}
    JournalRefusalsDropped: Counter "drivegate.journal.refusals_dropped" ["{refusal}"]
        "Refusals not put on record because too many different ones waited. Should be zero."
        {}
    IndexLookUps: Counter "drivegate.index.look_ups" ["{look-up}"]
        "Look-ups taken into the index that finds them by driver, request and case. Healthy: grows with answers."
        {}
    IndexBehind: Gauge "drivegate.index.behind" ["{entry}"]
        "Durable entries of this replica's log that the index has not read. Healthy: a second's answers; it grows under overload only."
        {}
    IndexFailures: Counter "drivegate.index.failures" ["{failure}"]
        "Batches of look-ups that the index could not take in; they are tried again. Should be zero."
        {}
    DiskLeft: Gauge "drivegate.journal.disk_left" ["s"]
        "Time until the log's disk is full at the pace of the last hour, at most ten years. Healthy: weeks; below a day is an alarm."
        {}
    TreeSize: Gauge "drivegate.tree.size" ["{entry}"]
        "Entries the newest signed checkpoint covers. Healthy: as many as the journal holds."
        {}
    TreeBehind: Gauge "drivegate.tree.behind" ["{entry}"]
        "Durable entries no checkpoint covers yet. Healthy: what half a second brings."
        {}
    TreeWaiting: Gauge "drivegate.tree.waiting" ["ms"]
        "How long entries have been waiting for a checkpoint; 0 when none is. Healthy: below 1000."
        {}
    TreeCheckpoints: Counter "drivegate.tree.checkpoints" ["{checkpoint}"]
        "Checkpoints signed. Healthy: grows while answers are given."
        {}
    TreeStopped: Gauge "drivegate.tree.stopped" ["{log}"]
        "1 when the log's files do not continue what was signed, and nothing more is signed. Should always be zero."
        {}
    IntakeChanges: Counter "drivegate.intake.changes" ["{change}"]
        "Changes of the authority by what became of them. Healthy: mostly `applied`; `quarantined` and `rejected` zero."
        { "outcome": ChangeLabel::WORDS }
    IntakeWaiting: Gauge "drivegate.intake.waiting" ["{change}"]
        "Changes that wait; their subjects' answers are in dispute. Healthy: `quarantined` zero, `held` near zero."
        { "state": WaitingLabel::WORDS }
    IntakeBatches: Histogram "drivegate.intake.batch.duration" ["s"]
        "Time a batch of changes took until it was durable. Healthy: p99 below 50 ms."
        {}
    IntakeLag: Gauge "drivegate.intake.lag" ["s"]
        "Time from the authority recording the latest change taken in to its being durable. Healthy: seconds, while it feeds live."
        {}
    IntakeFailures: Counter "drivegate.intake.failures" ["{failure}"]
        "Batches of changes that could not be made durable; the authority sends them again. Should always be zero."
        {}
    Expiry: Gauge "drivegate.expiry" ["s"]
        "Unix time at which the next of a kind expires; 0 when none is loaded. Healthy: more than 14 days ahead."
        { "what": Expiring::WORDS }
    PartnerFileFaults: Gauge "drivegate.partner_files.faults" ["{fault}"]
        "Faults in partner files; the last good contracts are in force. Should be zero."
        {}
    Partners: Gauge "drivegate.partners" ["{partner}"]
        "Partners by standing. Healthy: as many as were contracted."
        { "standing": StandingLabel::WORDS }
    Reloads: Counter "drivegate.reloads" ["{reload}"]
        "Reloads of contracts, trust, revocation lists and certificate, `failed` while any of them has a fault. Healthy: `failed` zero."
        { "outcome": &["done", "failed"] }
    LogsSuppressed: Counter "drivegate.logs.suppressed" ["{line}"]
        "Log lines left out by the rate bound. Healthy: zero but in a flood of refusals."
        {}
    SpansDropped: Counter "drivegate.spans.dropped" ["{span}"]
        "Sampled spans that could not be exported. Healthy: zero."
        {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_says_what_is_healthy_and_is_named_once() {
        let mut names: Vec<_> = DEFINITIONS.iter().map(|definition| definition.name).collect();
        for definition in DEFINITIONS {
            let says = definition.help.contains("Healthy") || definition.help.contains("hould");
            assert!(says, "{} does not say what is healthy", definition.name);
            // Every method by every purpose and outcome: most of them stay at zero and are not shown.
            assert!(definition.series_count() <= 1_100, "{} has too many series", definition.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DEFINITIONS.len());
    }

    #[test]
    fn every_reason_of_the_contract_is_counted_by_name() {
        let contract = include_str!("../../proto/drivegate/v1/error.proto");
        let reasons = contract
            .lines()
            .filter_map(|line| line.trim().strip_prefix("ERROR_REASON_"))
            .filter_map(|line| line.split(' ').next())
            .filter(|reason| *reason != "UNSPECIFIED");
        for reason in reasons {
            assert!(REASONS.contains(&reason), "{reason} is not counted by name");
        }
    }
}
