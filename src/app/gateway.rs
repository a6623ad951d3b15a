//! Wires the rooms together, starts them in order, and stops them in the opposite one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::bridges::{CacheMetrics, CallMetrics, HandshakeMetrics, JournalMetrics, RecordBytes};
use super::clock::SystemClock;
use super::error::StartError;
use super::operator::{Condition, GatewayOperator};
use crate::admin;
use crate::audit::{Journal, JournalOptions};
use crate::cache::{CacheOptions, FactCache, FreshnessOptions, RedisLevel, RedisOptions, RedisSecrets, SlotTable, Watermark};
use crate::config::GatewayConfig;
use crate::config::gateway::Environment;
use crate::domain::licence::NumberRules;
use crate::domain::time::Clock;
use crate::gateway::{self, Gateway, ServeOptions};
use crate::identity::{Acceptor, AcceptorOptions, CoreIncoming, Roster, StandingBook, Trust, Watch};
use crate::limits::{LimitOptions, LocalLimits};
use crate::registry::{EmbeddedRegistry, RegistryKeys, RegistryOptions};
use crate::telemetry::{Metrics, Tracer};
use crate::verification::Verification;

