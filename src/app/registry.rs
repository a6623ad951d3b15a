//! The registry a configuration names, opened and followed: embedded, or on PostgreSQL.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::error::StartError;
use crate::admission::RetryBudget;
use crate::admission::claims::SharedClaims;
use crate::admission::standing::StandingRecords;
use crate::audit::Journal;
use crate::cache::{FeedWatermark, SlotTable, Watermark};
use crate::config::GatewayConfig;
use crate::config::postgres::PostgresConfig;
use crate::domain::time::Clock;
use crate::evidence::ports::{HoldBacks, LookUpIndex, SubjectSecrets};
use crate::identity::Identity;
use crate::intake::IntakeOptions;
use crate::intake::ports::ChangeStore;
use crate::issuing::ports::{DriverConsents, PresentationBook};
use crate::registry::embedded::STORE_FILE;
use crate::registry::postgres::{ClockOffset, PostgresOptions, Tables, TailOptions};
use crate::registry::{
    EmbeddedLookUps, EmbeddedRegistry, KeyFault, LicenceStore, PostgresRegistry, RegistryKeys,
    RegistryOptions,
};
use crate::verification::ports::{ConsentBook, Redemptions};

/// Added to the time Redis keeps values: reading, writing and clocks take their time too.
const REDIS_MARGIN: Duration = Duration::from_secs(60);

/// The registry's book, by its ports.
pub(super) struct Book {
    pub(super) redemptions: Arc<dyn Redemptions>,
    pub(super) presentations: Arc<dyn PresentationBook>,
    pub(super) consents: Arc<dyn ConsentBook>,
    pub(super) driver_consents: Arc<dyn DriverConsents>,
    pub(super) hold_backs: Arc<dyn HoldBacks>,
}

impl Book {
    fn of<R>(registry: &Arc<R>) -> Self
    where
        R: Redemptions + PresentationBook + ConsentBook + DriverConsents + HoldBacks,
    {
        Self {
            redemptions: Arc::clone(registry) as _,
            presentations: Arc::clone(registry) as _,
            consents: Arc::clone(registry) as _,
            driver_consents: Arc::clone(registry) as _,
            hold_backs: Arc::clone(registry) as _,
        }
    }
}

/// An opened registry.
pub(super) enum Registry {
    Embedded(Arc<EmbeddedRegistry>, Arc<EmbeddedLookUps>),
    Postgres(Arc<PostgresRegistry>),
}

impl Registry {
    /// Opens it; makes it if there is none.
    pub(super) fn open(
        config: &GatewayConfig,
        retries: &Arc<RetryBudget>,
        runtime: &Handle,
    ) -> Result<Self, StartError> {
        let registry = &config.registry;
        let Some(postgres) = &registry.postgres else {
            let keys = RegistryKeys::load_or_create(&registry.keys, &registry.folder.join(STORE_FILE))?;
            let options = RegistryOptions {
                cache_size: registry.page_cache_mib << 20,
                readers: registry.readers,
                ..RegistryOptions::default()
            };
            let opened = EmbeddedRegistry::open(&registry.folder, Arc::new(keys), options)?;
            let look_ups = EmbeddedLookUps::open(&registry.folder)?;
            return Ok(Self::Embedded(Arc::new(opened), Arc::new(look_ups)));
        };
        let options = PostgresOptions {
            book_time_max: Duration::from_millis(config.bounds.call_ms_max),
            retries: Arc::clone(retries),
            ..postgres_options(postgres)?
        };
        let keys = postgres_keys(&registry.keys, &options)?;
        let opening = PostgresRegistry::open(options, Arc::new(keys), runtime.clone());
        Ok(Self::Postgres(Arc::new(runtime.block_on(opening)?)))
    }

    /// Returns the port.
    pub(super) fn store(&self) -> Arc<dyn LicenceStore> {
        match self {
            Self::Embedded(registry, _) => Arc::clone(registry) as _,
            Self::Postgres(registry) => Arc::clone(registry) as _,
        }
    }

    /// Returns the embedded registry, if that is the one.
    pub(super) fn embedded(&self) -> Option<Arc<EmbeddedRegistry>> {
        match self {
            Self::Embedded(registry, _) => Some(Arc::clone(registry)),
            Self::Postgres(_) => None,
        }
    }

    /// Returns the index over the logs.
    pub(super) fn index(&self) -> Arc<dyn LookUpIndex> {
        match self {
            Self::Embedded(_, look_ups) => Arc::clone(look_ups) as _,
            Self::Postgres(registry) => Arc::clone(registry) as _,
        }
    }

    /// Returns the subjects' secrets.
    pub(super) fn secrets(&self) -> Arc<dyn SubjectSecrets> {
        match self {
            Self::Embedded(registry, _) => Arc::clone(registry) as _,
            Self::Postgres(registry) => Arc::clone(registry) as _,
        }
    }

    /// Returns what drivers showed, agreed to and took back.
    pub(super) fn book(&self) -> Book {
        match self {
            Self::Embedded(registry, _) => Book::of(registry),
            Self::Postgres(registry) => Book::of(registry),
        }
    }

    /// Returns where the authority's changes go.
    pub(super) fn changes(&self) -> Arc<dyn ChangeStore> {
        match self {
            Self::Embedded(registry, _) => Arc::clone(registry) as _,
            Self::Postgres(registry) => Arc::clone(registry) as _,
        }
    }

    /// Returns the bounds of the intake: a commit of the embedded store waits for one disk alone and is shared by as many as wait, while one of
    /// PostgreSQL holds the heads of its partitions against other replicas.
    pub(super) fn intake_options(&self) -> IntakeOptions {
        let defaults = IntakeOptions::default();
        match self {
            Self::Embedded(..) => {
                IntakeOptions { batch_changes_max: 2 * defaults.batch_changes_max, ..defaults }
            }
            Self::Postgres(_) => defaults,
        }
    }

    /// Returns how changes reach this process.
    pub(super) fn watermark(&self) -> Watermark {
        match self {
            Self::Embedded(..) => Watermark::InProcess,
            Self::Postgres(_) => Watermark::Tailed(Arc::new(FeedWatermark::default())),
        }
    }

    /// Returns how many partitions its feed has.
    pub(super) fn partitions(&self) -> u16 {
        match self {
            Self::Embedded(..) => 1,
            Self::Postgres(registry) => registry.partitions(),
        }
    }

    /// Returns the standing record all replicas share; `None` where there is one replica and its files say everything.
    pub(super) fn standing(&self) -> Option<Arc<dyn StandingRecords>> {
        match self {
            Self::Embedded(..) => None,
            Self::Postgres(registry) => Some(Arc::clone(registry) as _),
        }
    }

    /// Returns how far this machine's clock is from the one all replicas share; `None` where there is none.
    pub(super) fn clock_offset(&self) -> Option<Arc<ClockOffset>> {
        match self {
            Self::Embedded(..) => None,
            Self::Postgres(registry) => Some(registry.clock_offset()),
        }
    }

    /// Returns where replicas tell each other about claims, this one under its log's name; `None` where there is one replica.
    pub(super) fn claims(&self, journal: &Journal) -> Option<Arc<dyn SharedClaims>> {
        match self {
            Self::Embedded(..) => None,
            Self::Postgres(registry) => Some(Arc::new(registry.claims_of(journal.origin()))),
        }
    }

    /// Has the shared standing record count, where there is one. Before [`Self::tell`].
    pub(super) fn share_standing(&self, identity: &Identity, config: &GatewayConfig, clock: &Arc<dyn Clock>) {
        if let Self::Postgres(registry) = self {
            registry.follow_standing(identity.share_standing(config.freshness(), Arc::clone(clock)));
        }
    }

    /// Tells the slots of every change from now on.
    pub(super) fn tell(&self, slots: &Arc<SlotTable>, config: &GatewayConfig, clock: &Arc<dyn Clock>) {
        self.store().observe(Arc::clone(slots) as _);
        match self {
            Self::Embedded(registry, _) => slots.told_from(registry.head()),
            Self::Postgres(registry) => {
                registry.tail(Arc::clone(slots) as _, tail_options(config), Arc::clone(clock));
            }
        }
    }

    /// Says whether other replicas may serve the same registry.
    pub(super) fn has_replicas(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Returns what Redis keys and values are bound to beside the secret.
    ///
    /// An embedded registry may have been restored or made anew since the last start, with positions that look like those of the
    /// readings Redis still holds: what an earlier start wrote is never opened again. PostgreSQL begins a new epoch then: its id and
    /// epoch name the same readings for every replica, and for this one after a restart.
    pub(super) fn redis_scope(&self) -> Vec<u8> {
        match self {
            Self::Embedded(..) => rand::random::<[u8; 16]>().to_vec(),
            Self::Postgres(registry) => {
                [&registry.id()[..], &registry.heads_known().epoch.to_be_bytes()[..]].concat()
            }
        }
    }

    /// Returns what names the deployment to its replicas; `None`: there is but this process.
    pub(super) fn deployment(&self) -> Option<Vec<u8>> {
        match self {
            Self::Embedded(..) => None,
            Self::Postgres(registry) => Some(registry.id().to_vec()),
        }
    }
}

/// Prepares the options of `[registry.postgres]`.
pub fn postgres_options(config: &PostgresConfig) -> Result<PostgresOptions, StartError> {
    let unreadable =
        |source| StartError::File { what: "read the URL of registry.postgres".to_owned(), source };
    let url = config.primary_url().map_err(unreadable)?;
    let standby = config.standby().map_err(unreadable)?;
    Ok(PostgresOptions {
        standby_url: standby.map(|url| url.expose().to_owned()),
        readers: config.readers,
        writers_max: config.writers,
        read_time_max: Duration::from_millis(config.read_timeout_ms),
        connect_time_max: Duration::from_millis(config.connect_timeout_ms),
        statements_prepared_max: config.statements_prepared,
        partitions: config.partitions,
        tables: if config.uncut_tables { Tables::One } else { Tables::PerPartition },
        ..PostgresOptions::new(url.expose())
    })
}

/// Loads the registry's keys; makes them only for a registry that is not there yet. Blocks.
pub fn postgres_keys(path: &Path, options: &PostgresOptions) -> Result<RegistryKeys, StartError> {
    if !path.exists() {
        if PostgresRegistry::exists(options)? {
            return Err(KeyFault::Missing(path.to_owned()).into());
        }
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|source| StartError::File { what: format!("make {}", folder.display()), source })?;
        }
        RegistryKeys::create(path)?;
    }
    Ok(RegistryKeys::load(path)?)
}

fn tail_options(config: &GatewayConfig) -> TailOptions {
    let redis = config.cache.redis.as_ref();
    let back = redis.map_or(Duration::ZERO, |redis| Duration::from_secs(redis.ttl_s) + REDIS_MARGIN);
    let defaults = TailOptions::default();
    match &config.registry.postgres {
        None => TailOptions { back, ..defaults },
        Some(postgres) => TailOptions {
            back,
            poll_every: Duration::from_millis(postgres.poll_ms),
            retention: Duration::from_secs(postgres.feed_hours * 3_600),
        },
    }
}
