//! `config.toml`: plain structs, a default with its reason beside every key, unknown keys refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::limits::LimitsConfig;
use super::postgres::PostgresConfig;
use super::presentations::PresentationsConfig;
use super::redis::RedisConfig;
use super::rules::{RulesFault, RulesTable};
use crate::domain::closed_set::closed_set;
use crate::domain::rules::Rules;

closed_set! {
    /// Which world a gateway speaks of.
    pub enum Environment {
        /// Real drivers.
        Production = 1, "production";
        /// Synthetic drivers: test numbers accepted, every answer says so.
        Sandbox = 2, "sandbox";
    }
}

closed_set! {
    /// How log lines look.
    pub enum LogFormat {
        /// For people.
        Pretty = 1, "pretty";
        /// For machines.
        Json = 2, "json";
    }
}

/// A gateway's configuration. Relative paths are relative to the file's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Which world this gateway speaks of.
    pub environment: Environment,
    /// Where it listens.
    #[serde(default)]
    pub listen: ListenConfig,
    /// Its certificate, and whom it trusts.
    pub tls: TlsConfig,
    /// Contracts and standing.
    #[serde(default)]
    pub partners: PartnersConfig,
    /// The licence registry.
    #[serde(default)]
    pub registry: RegistryConfig,
    /// Facts in process and in Redis.
    #[serde(default)]
    pub cache: CacheConfig,
    /// The evidence log.
    #[serde(default)]
    pub evidence: EvidenceConfig,
    /// What drivers show.
    #[serde(default)]
    pub presentations: PresentationsConfig,
    /// Answers kept for the retry of their request.
    #[serde(default)]
    pub retries: RetriesConfig,
    /// Limits of partners, where several replicas keep them.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Bounds of the whole gateway.
    #[serde(default)]
    pub bounds: BoundsConfig,
    /// Logs and traces.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// Rules that no source settles.
    #[serde(default)]
    pub rules: RulesTable,
}

/// Where a gateway listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// For partners: gRPC over mutual TLS 1.3. Loopback unless told otherwise.
    pub partners: SocketAddr,
    /// For the operator: read-only health, metrics, status. Never expose it.
    pub admin: SocketAddr,
    /// For auditors, witnesses and peers: the signed log, read-only (C2SP tlog-tiles over HTTP). Absent: not served.
    pub auditor: Option<SocketAddr>,
    /// For the operator: the socket that changes state, mode 0600.
    pub admin_socket: PathBuf,
    /// Cores that serve connections; 0: all.
    pub cores: usize,
    /// Balancers, by network as in `10.0.0.0/8`, whose connections begin with a PROXY protocol header, version 2, so that bounds by
    /// address count the real callers. What such a header says is believed: list the balancers' own addresses and no others.
    pub proxy_protocol_from: Vec<IpNet>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            partners: SocketAddr::from(([127, 0, 0, 1], 8443)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            auditor: None,
            admin_socket: PathBuf::from("data/admin.sock"),
            cores: 0,
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// Certificates and trust, all PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// The server's private key, mode 0600.
    pub key: PathBuf,
    /// Authorities that issue partners' certificates.
    pub client_authorities: Vec<PathBuf>,
    /// Revocation lists: one for every issuer in a partner's chain.
    pub revocation_lists: Vec<PathBuf>,
}

/// Contracts and standing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartnersConfig {
    /// One TOML file per partner.
    pub folder: PathBuf,
    /// One standing record per partner that was ever suspended.
    pub standing: PathBuf,
}

impl Default for PartnersConfig {
    fn default() -> Self {
        Self { folder: PathBuf::from("partners"), standing: PathBuf::from("data/standing") }
    }
}

/// The registry: embedded, unless `postgres` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// The folder the store's file `registry.redb` lies in.
    pub folder: PathBuf,
    /// Its keys, mode 0600. Losing them is losing the registry.
    pub keys: PathBuf,
    /// Memory for the store's own pages, in MiB. 64: the index of a million licences stays warm.
    pub page_cache_mib: usize,
    /// Threads that read the store. 2: a read that touches the disk does not hold up the others.
    pub readers: usize,
    /// The registry on PostgreSQL instead: what more than one replica needs.
    pub postgres: Option<PostgresConfig>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("data"),
            keys: PathBuf::from("data/registry.keys"),
            page_cache_mib: 64,
            readers: 2,
            postgres: None,
        }
    }
}

/// Facts in process and in Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Memory for parsed facts, in MiB; 0 turns the level off. 128: about 100,000 drivers.
    pub in_process_mib: usize,
    /// How old a reading may be when its answer leaves. 2 s: the product's promise.
    pub freshness_ms: u64,
    /// Look-ups that may read the registry at once while changes do not arrive and nothing that is held may be used; the rest is told to
    /// come back. 64: what the registry bears beside everybody's coming at once.
    pub bypass_places: usize,
    /// The shared level.
    pub redis: Option<RedisConfig>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { in_process_mib: 128, freshness_ms: 2_000, bypass_places: 64, redis: None }
    }
}

/// The evidence log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceConfig {
    /// The journal's folder.
    pub folder: PathBuf,
    /// The replica's name, from which the log's is made: 1 to 63 characters of a-z, 0-9, '.' and '-'.
    pub name: String,
    /// The secret that all replicas of a deployment share, 32 random bytes, mode 0600; made by the operator. Absent: the folder
    /// has one of its own, and no other replica can make receipts of this one's answers.
    pub secret: Option<PathBuf>,
    /// The shortest time between two signed checkpoints. 500 ms: whoever waits for one waits for less than a second.
    pub checkpoint_ms: u64,
    /// How many days from now a hold-back may end at most. 180: an investigation that goes on longer is looked at anew.
    pub hold_back_days_max: u16,
    /// The logs of the other replicas, so that any of them gives receipts of all.
    pub peers: Vec<LogAddress>,
    /// Witnesses that cosign the log's checkpoints (C2SP tlog-witness).
    pub witnesses: Vec<LogAddress>,
}

/// A log, or a witness, elsewhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogAddress {
    /// Where it is read or asked: `http://host:port`, with a path where it needs one.
    pub url: String,
    /// Its public key: the line in its file `verifier`.
    pub verifier: String,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("data/log"),
            name: "localhost".to_owned(),
            secret: None,
            checkpoint_ms: 500,
            hold_back_days_max: 180,
            peers: Vec::new(),
            witnesses: Vec::new(),
        }
    }
}

/// Answers kept for the retry of their request, sealed, in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetriesConfig {
    /// How long an answer is given again, in seconds. 600: the contract says ten minutes; less only where memory is short, and
    /// partners are told.
    pub answers_kept_s: u64,
    /// How long it is known where an answer stands, in hours: a retry is refused and told where. 24: a day's work repeated by mistake is
    /// not charged again.
    pub ids_known_h: u64,
    /// Memory for all of it, in MiB. 128: some 300,000 answers.
    pub memory_mib: usize,
    /// Memory for one partner, in MiB. 32: some 75,000 answers; beyond it the partner's oldest are let go of.
    pub memory_per_partner_mib: usize,
    /// How many entries of the log are read at the start to know what was answered before it. 200,000: some 60 MB, read in less than half a second.
    pub recalled_entries_max: u64,
}

impl Default for RetriesConfig {
    fn default() -> Self {
        Self {
            answers_kept_s: 600,
            ids_known_h: 24,
            memory_mib: 128,
            memory_per_partner_mib: 32,
            recalled_entries_max: 200_000,
        }
    }
}

/// Bounds of the whole gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BoundsConfig {
    /// Connections open at once. 4,096: 30 KiB each.
    pub connections_max: usize,
    /// Connections from one address. 256: a partner's egress proxy. 0: no bound, for a gateway behind a balancer that does not say
    /// whose connections it hands on (`listen.proxy_protocol_from` is better).
    pub connections_per_address_max: usize,
    /// Handshakes under way at once on one core. 32: each costs 0.4 ms.
    pub handshakes_per_core_max: usize,
    /// Calls served at once; one more is refused. 4,096: more only wait. A core that is behind its work takes on fewer by itself.
    pub in_flight_max: usize,
    /// Readings of the registry under way at once, at most. 256: how many it bears is learned from how it answers.
    pub registry_reads_max: usize,
    /// How long a claim may wait for the registry in a burst: a fifth of it while the line does not get empty, presentations twice as
    /// long. 100 ms: a client has not given up by then.
    pub registry_wait_ms: u64,
    /// The longest a call may take. 2 s.
    pub call_ms_max: u64,
    /// Answers about unconfirmed subjects leave so long after arrival. 25 ms: above every look-up's usual time.
    pub unconfirmed_floor_ms: u64,
    /// How long open calls may take when the gateway stops. 10 s.
    pub drain_ms: u64,
}

impl Default for BoundsConfig {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_address_max: 256,
            handshakes_per_core_max: 32,
            in_flight_max: 4_096,
            registry_reads_max: 256,
            registry_wait_ms: 100,
            call_ms_max: 2_000,
            unconfirmed_floor_ms: 25,
            drain_ms: 10_000,
        }
    }
}

/// Logs and traces.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which lines are written, as in `info,drivegate=debug`.
    pub log_filter: String,
    /// Where traces go (OTLP over gRPC), as in `http://127.0.0.1:4317`. Absent: nowhere.
    pub otlp_endpoint: Option<String>,
    /// The part of calls traced when the caller does not say: 0.0 to 1.0. One in a thousand.
    pub trace_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            trace_ratio: 0.001,
        }
    }
}

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no such configuration; the source names line and key.
    #[error("{} is no drivegate configuration", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
    /// A rule cannot be what the file says.
    #[error("{}: a rule cannot be used", path.display())]
    Rule {
        /// Which file.
        path: PathBuf,
        /// Which rule, and why.
        source: RulesFault,
    },
    /// A value lies outside its bounds.
    #[error("{}: {key} {rule}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// The rule.
        rule: &'static str,
    },
}

impl GatewayConfig {
    /// Reads a file; relative paths become relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, line and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, path).map(|config| config.resolved(folder))
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`ConfigError`] names the line and key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let demand = |holds: bool, key: &'static str, rule: &'static str| {
            if holds { Ok(()) } else { Err(ConfigError::Value { path: path.to_owned(), key, rule }) }
        };
        self.rules.over_defaults().map_err(|source| ConfigError::Rule { path: path.to_owned(), source })?;
        let bounds = &self.bounds;
        demand(
            !self.tls.client_authorities.is_empty(),
            "tls.client_authorities",
            "must name at least one file",
        )?;
        demand(!self.tls.revocation_lists.is_empty(), "tls.revocation_lists", "must name at least one file")?;
        demand(self.registry.readers >= 1, "registry.readers", "must be at least 1")?;
        let postgres = self.registry.postgres.as_ref().and_then(PostgresConfig::broken_rule);
        postgres.map_or(Ok(()), |(key, rule)| demand(false, key, rule))?;
        self.presentations.broken_rule().map_or(Ok(()), |(key, rule)| demand(false, key, rule))?;
        demand(
            (100..=60_000).contains(&self.cache.freshness_ms),
            "cache.freshness_ms",
            "must be 100 to 60000",
        )?;
        let production = self.environment == Environment::Production;
        demand(
            !production || self.cache.freshness_ms <= 2_000,
            "cache.freshness_ms",
            "must be at most 2000 in production: it is the product's promise",
        )?;
        demand(
            !production || bounds.unconfirmed_floor_ms >= 5,
            "bounds.unconfirmed_floor_ms",
            "must be at least 5 in production: without a floor the time tells why a subject was not confirmed",
        )?;
        demand(
            (50..=1_000).contains(&self.evidence.checkpoint_ms),
            "evidence.checkpoint_ms",
            "must be 50 to 1000",
        )?;
        demand(bounds.drain_ms <= 600_000, "bounds.drain_ms", "must be at most 600000")?;
        demand(
            self.listen.proxy_protocol_from.iter().all(|network| network.prefix_len() > 0),
            "listen.proxy_protocol_from",
            "must not name everybody (a prefix of 0): whoever is listed can claim any address",
        )?;
        let redis = self.cache.redis.as_ref().and_then(RedisConfig::broken_rule);
        redis.map_or(Ok(()), |(key, rule)| demand(false, key, rule))?;
        let retries = &self.retries;
        demand((1..=600).contains(&retries.answers_kept_s), "retries.answers_kept_s", "must be 1 to 600")?;
        demand((1..=168).contains(&retries.ids_known_h), "retries.ids_known_h", "must be 1 to 168")?;
        demand((1..=65_536).contains(&retries.memory_mib), "retries.memory_mib", "must be 1 to 65536")?;
        demand(
            (1..=retries.memory_mib).contains(&retries.memory_per_partner_mib),
            "retries.memory_per_partner_mib",
            "must be 1 to retries.memory_mib",
        )?;
        demand(
            retries.recalled_entries_max <= 10_000_000,
            "retries.recalled_entries_max",
            "must be at most 10000000",
        )?;
        demand((1..=1_000).contains(&self.limits.replicas_max), "limits.replicas_max", "must be 1 to 1000")?;
        demand(bounds.connections_max >= 1, "bounds.connections_max", "must be at least 1")?;
        demand(bounds.in_flight_max >= 1, "bounds.in_flight_max", "must be at least 1")?;
        demand(
            (1..=65_536).contains(&bounds.registry_reads_max),
            "bounds.registry_reads_max",
            "must be 1 to 65536",
        )?;
        demand(
            (5..=bounds.call_ms_max).contains(&bounds.registry_wait_ms),
            "bounds.registry_wait_ms",
            "must be 5 to bounds.call_ms_max",
        )?;
        demand(self.cache.bypass_places >= 1, "cache.bypass_places", "must be at least 1")?;
        demand((10..=60_000).contains(&bounds.call_ms_max), "bounds.call_ms_max", "must be 10 to 60000")?;
        demand(
            bounds.unconfirmed_floor_ms < bounds.call_ms_max,
            "bounds.unconfirmed_floor_ms",
            "must be below bounds.call_ms_max",
        )?;
        demand(
            (0.0..=1.0).contains(&self.telemetry.trace_ratio),
            "telemetry.trace_ratio",
            "must be 0.0 to 1.0",
        )
    }

    fn resolved(mut self, folder: &Path) -> Self {
        let tls = &mut self.tls;
        let paths = [&mut tls.certificate, &mut tls.key]
            .into_iter()
            .chain(&mut tls.client_authorities)
            .chain(&mut tls.revocation_lists)
            .chain([
                &mut self.listen.admin_socket,
                &mut self.partners.folder,
                &mut self.partners.standing,
                &mut self.registry.folder,
                &mut self.registry.keys,
                &mut self.evidence.folder,
            ])
            .chain(&mut self.evidence.secret);
        for path in paths {
            *path = folder.join(&*path);
        }
        self.presentations.resolve(folder);
        if let Some(postgres) = &mut self.registry.postgres {
            postgres.resolve(folder);
        }
        if let Some(redis) = &mut self.cache.redis {
            redis.resolve(folder);
        }
        self
    }

    /// The dated rules with what this configuration overrides.
    ///
    /// # Errors
    /// [`RulesFault`] names the rule; a configuration that was parsed has none.
    pub fn rules(&self) -> Result<Rules, RulesFault> {
        self.rules.over_defaults()
    }

    /// The freshness bound.
    pub fn freshness(&self) -> Duration {
        Duration::from_millis(self.cache.freshness_ms)
    }
}
