//! Wires the rooms together, starts them in order, and stops them in the opposite one.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bridges::MetricsBridge;
use super::calls::CallReporter;
use super::clock::SystemClock;
use super::disk::DiskWatch;
use super::error::StartError;
use super::intake::IntakeReporter;
use super::leases;
use super::monitor::Monitor;
use super::operator::{GatewayOperator, ReplicaFacts};
use super::overload::Overload;
use super::probe::RegistryProbe;
use super::redis::start_redis;
use super::registry::Registry;
use super::tokens::open_tokens;
use super::wallet::{WalletParts, wire};
use crate::admission::claims::SharedClaims;
use crate::admission::standing::StandingRecords;
use crate::audit::{AllLogs, IndexFeed, Journal, JournalOptions, LogTree, Opener, TreeOptions};
use crate::cache::{CacheOptions, FactCache, FreshnessOptions, RedisLevel, SlotTable};
use crate::config::GatewayConfig;
use crate::config::gateway::Environment;
use crate::domain::licence::NumberRules;
use crate::domain::time::Clock;
use crate::evidence::ports::LookUpIndex;
use crate::evidence::{Accesses, HoldBackDesk, Receipts};
use crate::gateway::{Farewells, Gateway, ServeOptions, Streams, proto};
use crate::identity::{
    AcceptLoop, Acceptor, AcceptorOptions, CoreContext, CoreIncoming, Identity, IdentityFiles, TrustFiles,
    Watch,
};
use crate::intake::Intake;
use crate::issuing::{Consents, Issuing};
use crate::limits::{ClaimLimits, LimitLeases, LocalLimits};
use crate::registry::postgres::ClockOffset;
use crate::registry::{EmbeddedRegistry, LicenceStore};
use crate::retries::KeptAnswers;
use crate::telemetry::Metrics;
use crate::telemetry::traces::{TraceOptions, Tracer};
use crate::tokens::Deployment;
use crate::verification::Verification;

/// The largest `Verify` message: a claim with every field takes 600 bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Threads for everything that is not a call: Redis, the operator, traces. Two, so that one may be busy.
const BACKGROUND_THREADS: usize = 2;

/// How long the last look-ups may take to get into the index.
const INDEX_WITHIN: Duration = Duration::from_secs(2);

/// How long the other replicas may take to be told of the last claims.
const CLAIMS_WITHIN: Duration = Duration::from_secs(1);

/// How long a start waits for the shared standing record, and how often it looks.
const STANDING_WITHIN: Duration = Duration::from_secs(2);
const STANDING_LOOK: Duration = Duration::from_millis(5);

/// How long the last traces may take to leave.
const TRACES_WITHIN: Duration = Duration::from_secs(2);

/// A gateway that serves. Dropping it without [`Self::stop`] ends it without a drain.
pub struct RunningGateway {
    partner_addr: SocketAddr,
    admin_addr: SocketAddr,
    auditor_addr: Option<SocketAddr>,
    admin_socket: PathBuf,
    parts: Arc<Parts>,
    tracer: Arc<Tracer>,
    drain: CancellationToken,
    background_stop: CancellationToken,
    cores: Vec<JoinHandle<()>>,
    accept: Option<JoinHandle<()>>,
    index_feed: Option<tokio::task::JoinHandle<()>>,
    claims: Option<tokio::task::JoinHandle<()>>,
    background: Option<Runtime>,
    leases: Option<LimitLeases>,
    drain_max: Duration,
    _watch: Watch,
}

/// The long-lived parts that the operator's side looks at.
pub(super) struct Parts {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) identity: Arc<Identity>,
    pub(super) registry: Arc<dyn LicenceStore>,
    /// The same registry, when it is this process that keeps its file.
    pub(super) embedded: Option<Arc<EmbeddedRegistry>>,
    /// The standing record all replicas share, where they do.
    pub(super) shared_standing: Option<Arc<dyn StandingRecords>>,
    /// How far this machine's clock is from the one replicas share, where they do.
    pub(super) clock_offset: Option<Arc<ClockOffset>>,
    pub(super) slots: Arc<SlotTable>,
    pub(super) probe: RegistryProbe,
    pub(super) facts: Arc<FactCache>,
    pub(super) journal: Arc<Journal>,
    pub(super) tree: Arc<LogTree>,
    pub(super) logs: Arc<AllLogs>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) index: Arc<dyn LookUpIndex>,
    pub(super) issuing: Arc<Issuing>,
    pub(super) consents: Arc<Consents>,
    pub(super) accesses: Arc<Accesses>,
    pub(super) hold_backs: Arc<HoldBackDesk>,
    pub(super) disk: DiskWatch,
    pub(super) intake: Arc<Intake>,
    pub(super) limits: Arc<LocalLimits>,
    pub(super) claims: Arc<ClaimLimits>,
    /// Where replicas tell each other about claims, where they do.
    pub(super) shared_claims: Option<Arc<dyn SharedClaims>>,
    pub(super) overload: Overload,
    pub(super) retries: Arc<KeptAnswers>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) accepts_test_numbers: bool,
}

impl RunningGateway {
    /// Starts a gateway. Blocks until it serves.
    ///
    /// # Errors
    /// [`StartError`] names the part and, by its source, the file.
    pub fn start(config: &GatewayConfig) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let background = background_runtime()?;
        let metrics = Metrics::new(config.environment.word())?;
        let tracer = start_tracer(config, &clock, &metrics, &background)?;
        let identity = Identity::open(identity_files(config), Arc::clone(&clock))?;
        let overload = Overload::new(config, &clock);
        let opened = Registry::open(config, overload.retries(), background.handle())?;
        let registry = opened.store();
        let bridge = Arc::new(MetricsBridge(Arc::clone(&metrics)));
        let slots = SlotTable::new(
            FreshnessOptions {
                watermark_age_max: config.freshness(),
                partitions: opened.partitions(),
                ..FreshnessOptions::default()
            },
            opened.watermark(),
            Arc::clone(&clock),
        );
        opened.share_standing(&identity, config, &clock);
        opened.tell(&slots, config, &clock);
        let redis = config
            .cache
            .redis
            .as_ref()
            .map(|redis| start_redis(redis, &opened.redis_scope(), &clock, &bridge, &background))
            .transpose()?;
        // One replica has nobody to ask, and its notes would be read by nobody.
        let others = redis.as_ref().filter(|_| opened.has_replicas()).map(RedisLevel::notes);
        let facts = FactCache::new(
            overload.before(&registry),
            Arc::clone(&slots),
            redis,
            cache_options(config),
            Arc::clone(&clock),
            Arc::clone(&bridge) as _,
            background.handle().clone(),
        );
        let mut journal_options = JournalOptions::new(&config.evidence.folder, &config.evidence.name);
        journal_options.secret.clone_from(&config.evidence.secret);
        let journal = Journal::open(journal_options, Arc::clone(&clock), Arc::clone(&bridge) as _)?;
        let retries = super::retries::start(config, &journal, others, &clock, &bridge)?;
        let tree = Arc::new(LogTree::open(&journal, tree_options(config), Arc::clone(&clock))?);
        let logs = super::logs::open(config, &journal, &tree, background.handle())?;
        let receipts = Arc::new(Receipts {
            logs: Arc::clone(&logs) as _,
            index: opened.index(),
            secrets: opened.secrets(),
            entries: Arc::new(Opener::new(Arc::clone(journal.secret()))),
            accesses: Arc::clone(&journal) as _,
            clock: Arc::clone(&clock),
            unconfirmed_floor: Duration::from_millis(config.bounds.unconfirmed_floor_ms),
        });
        let rules = Arc::new(config.rules()?);
        let deployment =
            Deployment { environment: config.environment.word(), id: registry.keys().deployment_id() };
        let tokens = open_tokens(&config.presentations, &deployment)?;
        let book = opened.book();
        let wallet = wire(WalletParts {
            config,
            keys: registry.keys(),
            facts: Arc::clone(&facts) as _,
            book: &book,
            index: opened.index(),
            secrets: opened.secrets(),
            tokens: &tokens,
            journal: &journal,
            logs: &logs,
            roster: identity.roster(),
            rules: &rules,
        });
        let (limits, leases) =
            leases::start(config, opened.deployment(), &identity, &clock, &bridge, background.handle())?;
        let claims = Arc::new(ClaimLimits::new(Arc::clone(&clock), opened.has_replicas()));
        let verification = Arc::new(Verification {
            pseudonyms: Arc::clone(registry.keys()) as _,
            facts: Arc::clone(&facts) as _,
            qr_codes: Arc::clone(&tokens.qr) as _,
            share_codes: Arc::clone(&tokens.share_codes) as _,
            redemptions: Arc::clone(&book.redemptions),
            consents: Arc::clone(&book.consents),
            guesses: Arc::clone(&limits) as _,
            quotas: Arc::clone(&limits) as _,
            budget: Arc::clone(&claims) as _,
            claims: Arc::clone(&claims) as _,
            evidence: Arc::clone(&journal) as _,
            retries: Arc::clone(&retries) as _,
            clock: Arc::clone(&clock),
            rules,
            age_max: config.freshness(),
            unconfirmed_floor: Duration::from_millis(config.bounds.unconfirmed_floor_ms),
        });
        let intake = Intake::start(
            opened.changes(),
            Arc::clone(&clock),
            Arc::new(IntakeReporter(Arc::clone(&metrics))),
            opened.intake_options(),
            background.handle(),
        );
        let accepts_test_numbers = config.environment == Environment::Sandbox;
        let shared_claims = opened.claims(&journal);
        let parts = Arc::new(Parts {
            clock,
            identity,
            registry,
            embedded: opened.embedded(),
            shared_standing: opened.standing(),
            clock_offset: opened.clock_offset(),
            slots,
            probe: RegistryProbe::default(),
            facts,
            journal,
            tree,
            logs,
            receipts,
            index: opened.index(),
            issuing: Arc::new(wallet.issuing),
            consents: Arc::new(wallet.consents),
            accesses: Arc::new(wallet.accesses),
            hold_backs: Arc::new(wallet.hold_backs),
            disk: DiskWatch::new(config.evidence.folder.clone()),
            intake,
            limits,
            claims,
            shared_claims,
            overload,
            retries,
            metrics,
            accepts_test_numbers,
        });
        await_standing(&parts);
        super::claims::recall(&parts);
        Self::serve(config, parts, verification, leases, bridge, tracer, background)
    }

    /// Opens the listeners and puts every core to work.
    fn serve(
        config: &GatewayConfig,
        parts: Arc<Parts>,
        verification: Arc<Verification>,
        leases: Option<LimitLeases>,
        bridge: Arc<MetricsBridge>,
        tracer: Arc<Tracer>,
        background: Runtime,
    ) -> Result<Self, StartError> {
        let keeper = background.block_on(super::claims::Keeper::begin(Arc::clone(&parts)));
        let (health_reporter, health) = tonic_health::server::health_reporter();
        let farewells = Arc::<Farewells>::default();
        let gateway = Arc::new(Gateway {
            verification,
            receipts: Arc::clone(&parts.receipts),
            intake: Arc::clone(&parts.intake),
            issuing: Arc::clone(&parts.issuing),
            consents: Arc::clone(&parts.consents),
            accesses: Arc::clone(&parts.accesses),
            names: Arc::clone(parts.identity.roster()) as _,
            streams: Arc::new(Streams::default()),
            roster: Arc::clone(parts.identity.roster()),
            meters: Arc::clone(&parts.limits) as _,
            refusals: Arc::clone(&parts.journal) as _,
            observer: Arc::new(CallReporter::new(&parts.metrics, &tracer, &parts.clock)),
            clock: Arc::clone(&parts.clock),
            health,
            farewells: Arc::clone(&farewells),
            serve: ServeOptions {
                grace: Duration::from_millis(config.bounds.drain_ms),
                ..ServeOptions::default()
            },
            message_bytes_max: MESSAGE_BYTES_MAX,
            in_flight: Arc::new(AtomicUsize::new(0)),
            in_flight_max: config.bounds.in_flight_max,
            call_max: Duration::from_millis(config.bounds.call_ms_max),
            numbers: NumberRules { accept_test_numbers: parts.accepts_test_numbers },
            environment: match config.environment {
                Environment::Production => proto::Environment::Production,
                Environment::Sandbox => proto::Environment::Sandbox,
            },
        });
        let acceptor = Acceptor::bind(config.listen.partners, acceptor_options(config))
            .map_err(|source| StartError::Listen { address: config.listen.partners.to_string(), source })?
            .behind(config.listen.proxy_protocol_from.clone());
        let partner_addr = acceptor
            .local_addr()
            .map_err(|source| StartError::Listen { address: config.listen.partners.to_string(), source })?;
        let context = CoreContext {
            trust: Arc::clone(parts.identity.trust()),
            roster: Arc::clone(parts.identity.roster()),
            meters: Arc::clone(&parts.limits) as _,
            observer: bridge,
            clock: Arc::clone(&parts.clock),
        };
        let (accept, incoming) = acceptor.split(core_count(config), &context);
        let drain = CancellationToken::new();
        let loads: Vec<_> = incoming.iter().map(|incoming| Arc::clone(incoming.load())).collect();
        let cores = incoming
            .into_iter()
            .enumerate()
            .map(|(index, incoming)| start_core(index, incoming, &gateway, &parts, &drain))
            .collect::<Result<Vec<_>, _>>()?;
        let accept = start_acceptor(accept, &drain)?;

        let background_stop = CancellationToken::new();
        let replica = ReplicaFacts::of(config, partner_addr, parts.clock.as_ref());
        let operator = Arc::new(GatewayOperator::new(Arc::clone(&parts), replica, drain.clone()));
        let admin_addr = super::listeners::start(config, &operator, &background, &background_stop)?;
        let auditor_addr = match config.listen.auditor {
            Some(address) => {
                Some(super::logs::serve(address, &parts.logs, &background, background_stop.clone())?)
            }
            None => None,
        };
        super::logs::submit(config, parts.tree.log(), &background, &background_stop)?;
        let monitor = Monitor::new(Arc::clone(&parts), loads, health_reporter, farewells, drain.clone());
        background.spawn(monitor.run(background_stop.clone()));
        background.spawn(probe_registry(Arc::clone(&parts), background_stop.clone()));
        let claims = background.spawn(super::claims::keep(keeper, background_stop.clone()));
        let feed = IndexFeed::new(
            Arc::clone(&parts.journal),
            Arc::clone(&parts.index),
            Arc::new(MetricsBridge(Arc::clone(&parts.metrics))),
        );
        let index_feed = background.spawn(feed.run(background_stop.clone()));
        let watch = parts.identity.watch()?;
        Ok(Self {
            partner_addr,
            admin_addr,
            auditor_addr,
            admin_socket: config.listen.admin_socket.clone(),
            parts,
            tracer,
            drain,
            background_stop,
            cores,
            accept: Some(accept),
            index_feed: Some(index_feed),
            claims: Some(claims),
            background: Some(background),
            leases,
            drain_max: Duration::from_millis(config.bounds.drain_ms),
            _watch: watch,
        })
    }

    /// Returns where partners connect.
    pub fn partner_addr(&self) -> SocketAddr {
        self.partner_addr
    }

    /// Returns where the operator reads health and metrics.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Returns where auditors read the log; `None` when they are not served.
    pub fn auditor_addr(&self) -> Option<SocketAddr> {
        self.auditor_addr
    }

    /// Returns the operator's socket.
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// Returns the registry, for imports by the process that runs the gateway.
    pub fn registry(&self) -> &Arc<dyn LicenceStore> {
        &self.parts.registry
    }

    /// Reads contracts, standing, certificates and revocation lists again.
    pub fn reload(&self) {
        self.parts.identity.reload_now();
    }

    /// Drains and stops: no new connections, open calls finish within the grace, then the log is closed. Blocks.
    pub fn stop(mut self) {
        self.drain.cancel();
        for thread in self.cores.drain(..).chain(self.accept.take()) {
            if thread.join().is_err() {
                tracing::error!("a thread that served connections died of a panic");
            }
        }
        if let (Some(background), Some(leases)) = (&self.background, self.leases.take()) {
            background.block_on(leases.leave());
        }
        self.parts.journal.close();
        self.parts.tree.close();
        self.background_stop.cancel();
        if let Some(background) = self.background.take() {
            if let Some(feed) = self.index_feed.take() {
                // What is not in the index by then is fed at the next start.
                let _late = background.block_on(async { tokio::time::timeout(INDEX_WITHIN, feed).await });
            }
            if let Some(claims) = self.claims.take() {
                // What the other replicas are not told by then they never are; this one's start does not know it either.
                let _late = background.block_on(async { tokio::time::timeout(CLAIMS_WITHIN, claims).await });
            }
            if let Err(error) = background.block_on(self.tracer.shutdown(TRACES_WITHIN)) {
                tracing::warn!(%error, "the last traces were lost");
            }
            background.shutdown_timeout(self.drain_max.min(Duration::from_secs(1)));
        }
    }
}

/// Waits until the shared standing record was read: before, every call would be UNAVAILABLE. Blocks, but not for ever: a server that
/// went away meanwhile is no reason not to start.
fn await_standing(parts: &Parts) {
    let Some(shared) = parts.identity.roster().shared() else { return };
    let until = parts.clock.since_boot() + STANDING_WITHIN;
    while !shared.is_current() && parts.clock.since_boot() < until {
        std::thread::sleep(STANDING_LOOK);
    }
}

async fn probe_registry(parts: Arc<Parts>, stop: CancellationToken) {
    parts.probe.run(Arc::clone(&parts.registry) as _, stop).await;
}

fn background_runtime() -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("background")
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what: "start the background runtime", source })
}

/// Starts the thread that accepts: nothing that may block on a disk or a network shares it.
fn start_acceptor(accept: AcceptLoop, drain: &CancellationToken) -> Result<JoinHandle<()>, StartError> {
    let what = "start the thread that accepts";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what, source })?;
    let drain = drain.clone();
    std::thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(accept.run(drain)) {
                tracing::error!(%error, "no connection is accepted any more");
            }
        })
        .map_err(|source| StartError::System { what, source })
}

/// Starts the thread of one core: its own runtime, its wake-ups from the journal and the registry, its connection to Redis, its
/// partners' connections.
fn start_core<H: tonic_health::pb::health_server::Health>(
    index: usize,
    incoming: CoreIncoming,
    gateway: &Arc<Gateway<H>>,
    parts: &Parts,
    drain: &CancellationToken,
) -> Result<JoinHandle<()>, StartError> {
    let what = "start a core's thread";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what, source })?;
    let from_journal = parts.journal.core_task();
    let from_registry = parts.embedded.as_ref().map(|registry| registry.core_task());
    let to_redis = parts.facts.core_task();
    let gateway = Arc::clone(gateway);
    let drain = drain.clone();
    std::thread::Builder::new()
        .name(format!("core-{index}"))
        .spawn(move || {
            runtime.block_on(async {
                let mut beside = JoinSet::new();
                beside.spawn(from_journal);
                if let Some(from_registry) = from_registry {
                    beside.spawn(from_registry);
                }
                if let Some(to_redis) = to_redis {
                    beside.spawn(to_redis);
                }
                gateway.serve(incoming, drain).await;
            });
        })
        .map_err(|source| StartError::System { what, source })
}

fn start_tracer(
    config: &GatewayConfig,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    background: &Runtime,
) -> Result<Arc<Tracer>, StartError> {
    let _inside = background.enter();
    let options = TraceOptions {
        endpoint: config.telemetry.otlp_endpoint.clone(),
        ratio: config.telemetry.trace_ratio,
        replica: config.evidence.name.clone(),
        environment: config.environment.word().to_owned(),
        ..TraceOptions::default()
    };
    Ok(Arc::new(Tracer::new(&options, Arc::clone(clock), Arc::clone(metrics))?))
}

fn tree_options(config: &GatewayConfig) -> TreeOptions {
    TreeOptions {
        checkpoint_every: Duration::from_millis(config.evidence.checkpoint_ms),
        ..TreeOptions::default()
    }
}

fn cache_options(config: &GatewayConfig) -> CacheOptions {
    CacheOptions {
        bytes_max: (config.cache.in_process_mib as u64) << 20,
        bypass_places: config.cache.bypass_places,
        ..CacheOptions::default()
    }
}

/// Names the files identity is read from.
pub fn identity_files(config: &GatewayConfig) -> IdentityFiles {
    IdentityFiles {
        trust: TrustFiles {
            server_chain: config.tls.certificate.clone(),
            server_key: config.tls.key.clone(),
            client_roots: config.tls.client_authorities.clone(),
            revocation_lists: config.tls.revocation_lists.clone(),
        },
        partners: config.partners.folder.clone(),
        standing: config.partners.standing.clone(),
    }
}

fn acceptor_options(config: &GatewayConfig) -> AcceptorOptions {
    let bounds = &config.bounds;
    AcceptorOptions {
        connections_max: bounds.connections_max,
        connections_per_address_max: match bounds.connections_per_address_max {
            0 => None,
            max => Some(u32::try_from(max).unwrap_or(u32::MAX)),
        },
        handshakes_per_core_max: bounds.handshakes_per_core_max,
        open_per_core_max: bounds.in_flight_max,
        ..AcceptorOptions::default()
    }
}

fn core_count(config: &GatewayConfig) -> NonZeroUsize {
    NonZeroUsize::new(config.listen.cores)
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}
