//! Why a gateway was not started.

use crate::admin::SocketError;
use crate::audit;
use crate::cache::RedisStartError;
use crate::config::rules::RulesFault;
use crate::identity::IdentityError;
use crate::redis_link::RedisAddressFault;
use crate::registry::{KeyFault, RegistryError};
use crate::retries;
use crate::telemetry::MetricsError;
use crate::telemetry::traces::TraceError;

/// A part that could not be started. The source names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Certificates, contracts or standing records.
    #[error("cannot read who may call")]
    Identity(#[from] IdentityError),
    /// The registry's keys.
    #[error("cannot use the registry's keys")]
    Keys(#[from] KeyFault),
    /// The registry.
    #[error("cannot open the registry")]
    Registry(#[from] RegistryError),
    /// The evidence log.
    #[error("cannot open the evidence log: without it no answer may leave")]
    Evidence(#[from] audit::OpenError),
    /// The tree over the evidence log, its keys or its checkpoint.
    #[error("cannot keep the tree of the evidence log")]
    Tree(#[from] audit::TreeError),
    /// The logs beside the one in force.
    #[error("cannot read the other logs of the evidence folder")]
    Logs(#[from] audit::ReadError),
    /// A peer of the evidence log, as configured.
    #[error("cannot use `evidence.{key}`: {entry}")]
    Peer {
        /// Which list.
        key: &'static str,
        /// Its URL or key.
        entry: String,
        /// Why.
        source: audit::PeerFault,
    },
    /// Redis, as configured.
    #[error("cannot use Redis as configured")]
    Redis(#[from] RedisAddressFault),
    /// The facts' level in Redis.
    #[error("cannot use Redis as configured")]
    RedisLevel(#[from] RedisStartError),
    /// A key for what is kept in memory.
    #[error("cannot keep answers for retries")]
    Retries(#[from] retries::NoKey),
    /// A file of ours.
    #[error("cannot {what}")]
    File {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An address.
    #[error("cannot listen on {address}: is another gateway running, or is the port taken?")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// A rule of the configuration.
    #[error("cannot use the configured rules")]
    Rules(#[from] RulesFault),
    /// The operator's socket.
    #[error("cannot open the operator's socket")]
    Socket(#[from] SocketError),
    /// Metrics.
    #[error("cannot set up the metrics")]
    Metrics(#[from] MetricsError),
    /// Traces.
    #[error("cannot set up the traces")]
    Traces(#[from] TraceError),
    /// Randomness, threads, runtimes.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}
