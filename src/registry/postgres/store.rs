//! The store as a whole: opened, checked against its keys, shared between readers, writers and the tail.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use sqlx::postgres::PgPool;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::book::Desk;
use super::clock::ClockOffset;
use super::connection::{Role, Trying as _, connect, writers};
use super::known::Known;
use super::layout::Layout;
use super::options::{PostgresOptions, PostgresOptionsFault};
use super::readers::Readers;
use super::reading::Statements;
use super::{feed, inspect, intake, schema, server};
use crate::admission::standing::StandingFollower;
use crate::domain::subject::{NumberPseudonym, Position};
use crate::registry::embedded::{FeedRow, RegistryError, RegistryStats, StoreError};
use crate::registry::keys::RegistryKeys;
use crate::registry::store::{FeedHeads, LicenceStore};
use crate::registry::submission::{Outcome, Submission};
use crate::verification::ports::{ChangeObserver, Later, LookUpError, Reading, RecordSource};

/// Threads of a store that brings its own runtime.
const OWN_THREADS: usize = 2;

/// A registry in PostgreSQL. Dropping it closes its connections.
pub struct PostgresRegistry {
    pub(super) shared: Arc<Shared>,
    pub(super) primary: Readers,
    standby: Option<Readers>,
    pub(super) runtime: Handle,
    pub(super) tasks: Mutex<Vec<AbortHandle>>,
    /// Only when the store was opened without one.
    own_runtime: Option<Runtime>,
}

/// What readers, writers and the tail share.
pub(super) struct Shared {
    pub(super) options: PostgresOptions,
    pub(super) keys: Arc<RegistryKeys>,
    pub(super) id: [u8; 16],
    pub(super) layout: Layout,
    pub(super) statements: Statements,
    /// The schema it works as: an earlier one than the program's own in tests alone.
    pub(super) schema: i64,
    pub(super) writers: PgPool,
    pub(super) desk: Desk,
    pub(super) observers: RwLock<Vec<Arc<dyn ChangeObserver>>>,
    pub(super) known: Known,
    /// Changes of the authority remembered since the oldest were last forgotten.
    pub(super) remembered: AtomicU64,
    /// Hears of the shared standing record, once somebody does.
    pub(super) standing: OnceLock<Arc<dyn StandingFollower>>,
    /// How far this machine's clock is from the server's.
    pub(super) clock_offset: Arc<ClockOffset>,
    /// Rung after a commit: other replicas are told to poll.
    pub(super) committed: Notify,
    /// Rung when something says that the feed has moved.
    pub(super) moved: Notify,
}

impl std::fmt::Debug for PostgresRegistry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PostgresRegistry")
            .field("heads", &self.shared.known.heads())
            .finish_non_exhaustive()
    }
}

impl PostgresRegistry {
    /// Opens the registry of a database on a runtime of the caller's; makes it if there is none. The server must be there.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open(
        options: PostgresOptions,
        keys: Arc<RegistryKeys>,
        runtime: Handle,
    ) -> Result<Self, RegistryError> {
        Self::open_at(options, keys, runtime, schema::SCHEMA_VERSION).await
    }

    /// Opens it as the program of an earlier schema does.
    async fn open_at(
        options: PostgresOptions,
        keys: Arc<RegistryKeys>,
        runtime: Handle,
        version: i64,
    ) -> Result<Self, RegistryError> {
        options.check().map_err(misconfigured)?;
        let opening = Self::open_here(options, keys, runtime.clone(), version);
        // Connections belong to the runtime they were opened on.
        runtime.spawn(opening).await.map_err(|_panic| RegistryError::Damaged("opening it failed"))?
    }

    /// As [`Self::open`], on a runtime of its own: for commands. Blocks.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn open_alone(options: PostgresOptions, keys: Arc<RegistryKeys>) -> Result<Self, RegistryError> {
        Self::open_alone_at(options, keys, schema::SCHEMA_VERSION)
    }

    /// As [`Self::open_alone`], as the program of an earlier schema does it.
    pub(super) fn open_alone_at(
        options: PostgresOptions,
        keys: Arc<RegistryKeys>,
        version: i64,
    ) -> Result<Self, RegistryError> {
        let runtime = own_runtime()?;
        let opening = Self::open_at(options, keys, runtime.handle().clone(), version);
        let mut opened = crate::registry::store::wait(Box::pin(opening))?;
        opened.own_runtime = Some(runtime);
        Ok(opened)
    }

    /// Says whether the database holds a registry, whoever's keys it has. Changes nothing. Blocks.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn exists(options: &PostgresOptions) -> Result<bool, RegistryError> {
        inspect::look_alone(options, None).map(|found| found.is_some())
    }

    /// Checks the registry of a database against its keys, without changing or making anything. Returns how many partitions it
    /// has, or `None` when there is none yet. Blocks.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn inspect(options: &PostgresOptions, keys: &RegistryKeys) -> Result<Option<u16>, RegistryError> {
        inspect::look_alone(options, Some(keys))
    }

    async fn open_here(
        options: PostgresOptions,
        keys: Arc<RegistryKeys>,
        runtime: Handle,
        version: i64,
    ) -> Result<Self, RegistryError> {
        let preparing = options.preparing().map_err(misconfigured)?;
        let mut connection = connect(&preparing, Role::Primary, options.connect_time_max)
            .await
            .trying_to("reach the server of")?;
        let about = schema::prepare(&mut connection, &keys, &options, version).await?;
        let heads = feed::heads(&mut connection).await?;
        super::connection::forget(connection);
        let (desk, line) = Desk::open(options.booking().map_err(misconfigured)?, options.connect_time_max);
        let shared = Arc::new(Shared {
            desk,
            writers: writers(&options, options.writing().map_err(misconfigured)?),
            known: Known::new(&heads),
            remembered: AtomicU64::new(intake::FORGET_EVERY),
            keys,
            id: about.id,
            statements: Statements::of(about.layout),
            layout: about.layout,
            schema: version,
            observers: RwLock::default(),
            standing: OnceLock::new(),
            clock_offset: Arc::default(),
            committed: Notify::new(),
            moved: Notify::new(),
            options,
        });
        let options = &shared.options;
        let reading = options.reading(&options.url, "url", shared.layout).map_err(misconfigured)?;
        let primary = Readers::start(&shared, &reading, Role::Primary);
        let standby = match &options.standby_url {
            Some(url) => {
                let reading = options.reading(url, "standby_url", shared.layout).map_err(misconfigured)?;
                Some(Readers::start(&shared, &reading, Role::Standby))
            }
            None => None,
        };
        let notifier = tokio::spawn(feed::notify(Arc::clone(&shared))).abort_handle();
        let mut tasks = Desk::serve(&shared, line);
        tasks.push(notifier);
        let tasks = Mutex::new(tasks);
        Ok(Self { shared, primary, standby, runtime, tasks, own_runtime: None })
    }

    /// Returns the registry's own id: random, made with it.
    pub fn id(&self) -> [u8; 16] {
        self.shared.id
    }

    /// Returns how many partitions its feed has.
    pub fn partitions(&self) -> u16 {
        self.shared.layout.partitions()
    }

    /// Returns how far this machine's clock is from the server's, as measured while the feed is followed.
    pub fn clock_offset(&self) -> Arc<ClockOffset> {
        Arc::clone(&self.shared.clock_offset)
    }

    /// Runs work on the store's runtime: whoever waits for it needs none, and leaving early does not stop it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Later<'static, Result<T, RegistryError>> {
        let work = self.runtime.spawn(work);
        Box::pin(async move {
            work.await.unwrap_or(Err(RegistryError::Damaged("its work ended before it was done")))
        })
    }

    /// Asks the standby, and the primary where the standby is away or behind what this process knows.
    async fn read_anywhere(&self, pseudonym: NumberPseudonym) -> Result<Reading, LookUpError> {
        if let Some(standby) = self.standby.as_ref().filter(|standby| standby.is_there())
            && let Ok(reading) = standby.read(pseudonym).await
            && !self.shared.known.is_ahead_of(reading.position)
        {
            return Ok(reading);
        }
        self.primary.read(pseudonym).await
    }
}

impl Drop for PostgresRegistry {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        if let Some(runtime) = self.own_runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl RecordSource for PostgresRegistry {
    fn read(&self, pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>> {
        match &self.standby {
            None => Box::pin(self.primary.read(pseudonym)),
            Some(_) => Box::pin(self.read_anywhere(pseudonym)),
        }
    }

    fn read_latest(&self, pseudonym: NumberPseudonym) -> Later<'_, Result<Reading, LookUpError>> {
        Box::pin(self.primary.read(pseudonym))
    }

    fn epoch(&self) -> u32 {
        self.shared.known.epoch()
    }
}

impl LicenceStore for PostgresRegistry {
    fn apply_since<'a>(
        &'a self,
        batch: &'a [Submission],
        began: Option<&'a FeedHeads>,
    ) -> Later<'a, Result<Vec<Outcome>, RegistryError>> {
        let shared = Arc::clone(&self.shared);
        let (batch, began) = (batch.to_vec(), began.cloned());
        self.run(async move { shared.apply(&batch, began.as_ref()).await })
    }

    fn observe(&self, observer: Arc<dyn ChangeObserver>) {
        self.shared.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    fn feed_after(
        &self,
        after: Position,
        count_max: usize,
    ) -> Later<'_, Result<Vec<FeedRow>, RegistryError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let mut connection = shared.writers.acquire().await.trying_to("read")?;
            feed::after(&mut connection, after, count_max).await
        })
    }

    fn heads(&self) -> Later<'_, Result<FeedHeads, RegistryError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let mut connection = shared.writers.acquire().await.trying_to("read")?;
            feed::heads(&mut connection).await
        })
    }

    fn heads_known(&self) -> FeedHeads {
        self.shared.known.heads()
    }

    /// The server's own clock is asked: other programs begin epochs by it.
    fn new_epoch(&self, _now: Timestamp) -> Later<'_, Result<u32, RegistryError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let mut connection = shared.writers.acquire().await.trying_to("write")?;
            let here = server::identity(&mut connection).await?;
            let epoch = server::begin_epoch(&mut connection, &here, None, shared.known.epoch()).await?;
            let epoch = epoch.ok_or(RegistryError::Damaged("a fact about the store is missing"))?;
            shared.known.enter(&feed::heads(&mut connection).await?);
            shared.committed.notify_one();
            Ok(epoch)
        })
    }

    fn stats(&self) -> Later<'_, Result<RegistryStats, RegistryError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move { shared.stats().await })
    }

    fn keys(&self) -> &Arc<RegistryKeys> {
        &self.shared.keys
    }
}

fn own_runtime() -> Result<Runtime, RegistryError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(OWN_THREADS)
        .thread_name("registry-postgres")
        .enable_all()
        .build()
        .map_err(RegistryError::Threads)
}

pub(super) fn misconfigured(fault: PostgresOptionsFault) -> RegistryError {
    RegistryError::Store { action: "use the configuration of", source: StoreError::new(fault) }
}
