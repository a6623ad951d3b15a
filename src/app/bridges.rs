//! What the rooms say through their own small observers, told to the metrics; and the registry's codec, lent to the cache.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{FeedFault, FeedObserver, JournalObserver, JournalStep};
use crate::cache::{BreakerState, CacheObserver, CodecFault, RecordCodec, RedisFault, StaleCause};
use crate::domain::licence::Record;
use crate::domain::subject::SubjectId;
use crate::identity::{HandshakeObserver, HandshakeOutcome, error_chain};
use crate::limits::{LeaseObserver, LeaseOutcome};
use crate::registry::codec;
use crate::retries::{RetryObserver, TakeUp};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{
    self, CacheLevel, CacheResult, HandshakeLabel, LeaseLabel, LimitLabel, RegistryRead, RetryLabel,
};
use crate::verification::ports::{FactSource, LookUpError};

/// Tells every observer's news to the metrics.
pub(super) struct MetricsBridge(pub(super) Arc<Metrics>);

impl CacheObserver for MetricsBridge {
    fn hit(&self, level: FactSource, _negative: bool) {
        if let Some(level) = cache_level(level) {
            self.0.cache(level, CacheResult::Hit);
        }
    }

    fn missed(&self, level: FactSource) {
        if let Some(level) = cache_level(level) {
            self.0.cache(level, CacheResult::Miss);
        }
    }

    fn refused(&self, level: FactSource, _cause: StaleCause) {
        if let Some(level) = cache_level(level) {
            self.0.cache(level, CacheResult::Stale);
        }
    }

    fn loaded(&self, from: FactSource, negative: bool, took: Duration) {
        if from == FactSource::Registry {
            let result = if negative { RegistryRead::Absent } else { RegistryRead::Found };
            self.0.registry_read(result, Some(took));
        }
    }

    fn failed(&self, error: &LookUpError) {
        let result = match error {
            // It was not read at all: the line counts those.
            LookUpError::Overloaded => return,
            LookUpError::DeadlineExceeded => RegistryRead::TimedOut,
            LookUpError::RegistryUnavailable
            | LookUpError::RecordUnreadable
            | LookUpError::FreshnessUnavailable => RegistryRead::Failed,
        };
        if *error == LookUpError::RecordUnreadable {
            tracing::error!("a record of the registry cannot be read: damage, or another sealing key");
        }
        self.0.registry_read(result, None);
    }

    fn retried(&self, is_tried_again: bool) {
        self.0.registry_retried(is_tried_again);
    }

    fn bypassed(&self, level: FactSource) {
        if let Some(level) = cache_level(level) {
            self.0.cache(level, CacheResult::Bypassed);
        }
    }

    fn redis_failed(&self, cause: RedisFault) {
        self.redis_fault(cause);
    }

    fn redis_not_written(&self, cause: RedisFault) {
        self.redis_fault(cause);
    }

    fn breaker(&self, state: BreakerState) {
        let state = match state {
            BreakerState::Closed => labels::BreakerState::Closed,
            BreakerState::HalfOpen => labels::BreakerState::HalfOpen,
            BreakerState::Open => labels::BreakerState::Open,
        };
        tracing::info!(state = state.word(), "the breaker before Redis changed its state");
        self.0.redis_breaker(state);
    }
}

impl MetricsBridge {
    fn redis_fault(&self, cause: RedisFault) {
        if let Some(fault) = redis_fault(cause) {
            self.0.redis_fault(fault);
        }
    }
}

impl RetryObserver for MetricsBridge {
    fn taken_up(&self, as_what: TakeUp) {
        self.0.retry(match as_what {
            TakeUp::First => RetryLabel::First,
            TakeUp::Answered => RetryLabel::Replayed,
            TakeUp::Recorded => RetryLabel::Renewed,
            TakeUp::Spent => RetryLabel::Spent,
            TakeUp::OtherContent => RetryLabel::OtherContent,
            TakeUp::Late => RetryLabel::Late,
        });
    }

    fn twin_waits(&self) {
        self.0.retry_twin();
    }

    fn others_not_asked(&self) {
        self.0.retry_unshared();
    }

    fn unreadable(&self) {
        tracing::error!("a kept answer cannot be opened: it is answered anew");
        self.0.retry_unreadable();
    }
}

impl LeaseObserver for MetricsBridge {
    fn leased(&self, outcome: LeaseOutcome, calls: u64) {
        let outcome = match outcome {
            LeaseOutcome::Leased => LeaseLabel::Leased,
            LeaseOutcome::Held => LeaseLabel::Held,
            LeaseOutcome::Failed => LeaseLabel::Failed,
        };
        self.0.limit_leases(outcome, calls);
    }

    fn partners(&self, leased: u64, divided: u64) {
        self.0.limit_partners(leased, divided);
    }

    fn unleased(&self, requests: u64) {
        self.0.limit_unleased(requests);
    }
}

impl FeedObserver for MetricsBridge {
    fn fed(&self, look_ups: u64, behind: u64) {
        self.0.indexed(look_ups, behind);
    }

    fn failed(&self, fault: &FeedFault) {
        self.0.index_failed();
        tracing::error!(
            causes = error_chain(fault),
            "look-ups cannot be taken into the index; it is tried again"
        );
    }
}

fn cache_level(source: FactSource) -> Option<CacheLevel> {
    match source {
        FactSource::InProcess => Some(CacheLevel::InProcess),
        FactSource::Redis => Some(CacheLevel::Redis),
        FactSource::Registry => None,
    }
}

impl JournalObserver for MetricsBridge {
    fn synced(&self, entries: u64, bytes: u64, elapsed: Duration) {
        self.0.journal_synced(entries, bytes, elapsed);
    }

    fn failed(&self, _step: JournalStep, _error: io::ErrorKind) {
        // The journal says each cause aloud once; here it is counted every time.
        self.0.journal_failed();
    }
}

impl HandshakeObserver for MetricsBridge {
    fn handshake(&self, outcome: HandshakeOutcome, elapsed: Duration) {
        let label = match outcome {
            HandshakeOutcome::Accepted => HandshakeLabel::Accepted,
            HandshakeOutcome::TimedOut => HandshakeLabel::TimedOut,
            HandshakeOutcome::NoCertificate => HandshakeLabel::NoCertificate,
            HandshakeOutcome::UnknownAuthority => HandshakeLabel::NotTrusted,
            HandshakeOutcome::Revoked => HandshakeLabel::Revoked,
            HandshakeOutcome::OutsideValidity | HandshakeOutcome::RevocationListExpired => {
                HandshakeLabel::Expired
            }
            HandshakeOutcome::ConnectionsFull
            | HandshakeOutcome::AddressFull
            | HandshakeOutcome::PartnerFull
            | HandshakeOutcome::QueueFull
            | HandshakeOutcome::OutOfDescriptors => HandshakeLabel::Shed,
            HandshakeOutcome::Disconnected
            | HandshakeOutcome::RevocationUnknown
            | HandshakeOutcome::BadCertificate
            | HandshakeOutcome::ProxyHeader
            | HandshakeOutcome::Protocol => HandshakeLabel::Protocol,
        };
        if outcome != HandshakeOutcome::Accepted {
            tracing::debug!(outcome = outcome.word(), "handshake refused");
        }
        if outcome == HandshakeOutcome::PartnerFull {
            self.0.limit_refused(LimitLabel::Connections);
        }
        self.0.handshake(label, elapsed);
    }
}

/// The registry's own encoding, with the subject in front: a cached value stands alone.
pub(super) struct RecordBytes;

impl RecordCodec for RecordBytes {
    fn encode(&self, record: &Record) -> Vec<u8> {
        let mut bytes = record.subject.as_bytes().to_vec();
        // A record the format has no room for is not in the registry either; the empty value decodes to nothing.
        match codec::encode(record, &mut bytes) {
            Ok(()) => bytes,
            Err(_unencodable) => Vec::new(),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Record, CodecFault> {
        let (subject, record) = bytes.split_first_chunk::<16>().ok_or(CodecFault)?;
        codec::decode(SubjectId::from_bytes(*subject), record).map_err(|_undecodable| CodecFault)
    }
}

/// A Redis that was not asked did not fail: the look-up counts as bypassed, and the breaker says why.
fn redis_fault(fault: RedisFault) -> Option<labels::RedisFault> {
    match fault {
        RedisFault::NotAsked => None,
        RedisFault::Timeout => Some(labels::RedisFault::TimedOut),
        RedisFault::Busy | RedisFault::Disconnected => Some(labels::RedisFault::Connection),
        RedisFault::ReadOnly | RedisFault::Full | RedisFault::Refused => Some(labels::RedisFault::Refused),
        RedisFault::Unsealable | RedisFault::Undecodable | RedisFault::Unwritable => {
            Some(labels::RedisFault::Unusable)
        }
    }
}
