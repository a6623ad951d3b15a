//! The store as a whole: opened, checked against its keys, shared between the writer and the readers.

use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use redb::{Builder, Database, DatabaseError, ReadableDatabase as _};

use super::book::{BOOK_FILE, Book};
use super::bulk::SpillFolder;
use super::error::{RegistryError, Trying as _};
use super::filling::shrink;
use super::readers::Readers;
use super::tables::{
    FEED, Facts, META, META_EPOCH, META_FORMAT, META_REGISTRY_ID, NUMBERS, RECORDS, STORE_FORMAT,
    epoch_and_head, fixed,
};
use crate::domain::subject::Position;
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::ChangeObserver;

/// The name of the store's file in the data folder.
pub const STORE_FILE: &str = "registry.redb";
/// The embedded store has one partition.
pub(super) const PARTITION: u16 = 0;

/// How the embedded store runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryOptions {
    /// Memory the engine may use for pages, in bytes. Default 256 MiB: the upper levels of millions of records, and what a
    /// commit of thousands of changes writes. `docs/benchmarks.md` says what more subjects want.
    pub cache_size: usize,
    /// Reader threads. Default 2: enough to keep one disk busy, few enough to stay cheap on small machines.
    pub readers: usize,
    /// Look-ups that may wait for a reader. Default 1,024; beyond that the registry counts as unavailable.
    pub queue_length: usize,
    /// Feed rows kept. Default 1,000,000: far more than any cache entry lives.
    pub feed_rows: u64,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self { cache_size: 256 << 20, readers: 2, queue_length: 1_024, feed_rows: 1_000_000 }
    }
}

/// The embedded registry. Dropping it ends its readers and frees the file.
pub struct EmbeddedRegistry {
    pub(super) shared: Arc<Shared>,
    pub(super) readers: Readers,
    pub(super) book: Box<Book>,
    path: Option<PathBuf>,
}

/// What writer and readers share.
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) keys: Arc<RegistryKeys>,
    pub(super) feed_rows: u64,
    /// Held from before a transaction until every observer has heard of it: observers hear in order of position.
    pub(super) writing: Mutex<()>,
    /// Counts commits; a reader's snapshot is current while this stands still.
    pub(super) commits: AtomicU64,
    pub(super) epoch: AtomicU32,
    pub(super) head: AtomicU64,
    pub(super) observers: RwLock<Vec<Arc<dyn ChangeObserver>>>,
}

impl std::fmt::Debug for EmbeddedRegistry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EmbeddedRegistry").field("path", &self.path).field("head", &self.head()).finish()
    }
}

impl EmbeddedRegistry {
    /// Returns the task that hands over a core's look-ups, and what it asks of the book, once per turn of its loop, and wakes those
    /// who wait for them together. Spawn one on each core's own current-thread runtime; without it each is handed over, and
    /// woken, alone.
    pub fn core_task(&self) -> impl Future<Output = ()> + Send + 'static {
        let both = futures_util::future::join(self.readers.core_task(), self.book.core_task());
        async move {
            both.await;
        }
    }

    /// Opens the store in a data folder; makes it if there is none.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn open(
        data: &Path,
        keys: Arc<RegistryKeys>,
        options: RegistryOptions,
    ) -> Result<Self, RegistryError> {
        let path = data.join(STORE_FILE);
        let database = open_file(&path, options.cache_size)?;
        // Ours alone now: what a killed load left behind belongs to nobody.
        SpillFolder::remove_from(data)?;
        Self::start(database, keys, options, Some(path))
    }

    /// Makes a store that lives in memory only, for demos and tests.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn in_memory(keys: Arc<RegistryKeys>, options: RegistryOptions) -> Result<Self, RegistryError> {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Builder::new()
            .set_cache_size(options.cache_size)
            .create_with_backend(backend)
            .trying_to("open")?;
        Self::start(database, keys, options, None)
    }

    fn start(
        database: Database,
        keys: Arc<RegistryKeys>,
        options: RegistryOptions,
        path: Option<PathBuf>,
    ) -> Result<Self, RegistryError> {
        let (epoch, head) = prepare(&database, &keys)?;
        let id = id_of(&database)?;
        let book = match &path {
            Some(path) => Book::open(&path.with_file_name(BOOK_FILE), &keys, id)?,
            None => Book::in_memory(&keys, id)?,
        };
        let shared = Arc::new(Shared {
            database,
            keys,
            feed_rows: options.feed_rows,
            writing: Mutex::new(()),
            commits: AtomicU64::new(0),
            epoch: AtomicU32::new(epoch),
            head: AtomicU64::new(head),
            observers: RwLock::default(),
        });
        let readers = Readers::start(&shared, options.readers, options.queue_length)?;
        Ok(Self { shared, readers, book: Box::new(book), path })
    }

    /// Tells an observer of every change from now on.
    pub fn observe(&self, observer: Arc<dyn ChangeObserver>) {
        self.shared.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Returns the feed's head: the position of the latest durable change.
    pub fn head(&self) -> Position {
        Position {
            epoch: self.shared.epoch.load(Ordering::Acquire),
            partition: PARTITION,
            seq: self.shared.head.load(Ordering::Acquire),
        }
    }

    /// Returns the keys the store is sealed with; they also make pseudonyms.
    pub fn keys(&self) -> &Arc<RegistryKeys> {
        &self.shared.keys
    }

    /// Returns the store's file; `None` in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Ends the registry, and gives back what its file has behind the last rows: worth it after a first load.
    ///
    /// # Errors
    /// [`RegistryError`]; the registry is whole then, too.
    pub fn close_and_shrink(self) -> Result<(), RegistryError> {
        let path = self.path().ok_or(RegistryError::InMemory)?.to_owned();
        // The readers hold parts of it: only another opening has it alone.
        drop(self);
        shrink(&mut open_file(&path, RegistryOptions::default().cache_size)?)
    }

    /// Returns the data folder.
    pub(super) fn data(&self) -> Result<&Path, RegistryError> {
        self.path().and_then(Path::parent).ok_or(RegistryError::InMemory)
    }

    /// Begins a new epoch: every fact read before counts as outdated. Called after a file was put back.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub fn new_epoch(&self, now: Timestamp) -> Result<u32, RegistryError> {
        let _writing = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = self.shared.database.begin_write().trying_to("write")?;
        let epoch = {
            let mut meta = transaction.open_table(META).trying_to("write")?;
            let (epoch, _) = epoch_and_head(&meta)?;
            let next = epoch_after(epoch, now)?;
            meta.insert(META_EPOCH, next.to_be_bytes().as_slice()).trying_to("write")?;
            next
        };
        transaction.commit().trying_to("write")?;
        self.shared.epoch.store(epoch, Ordering::Release);
        self.shared.commits.fetch_add(1, Ordering::Release);
        Ok(epoch)
    }
}

/// Returns the number of the epoch that begins now: by the clock, if that is later than the one after the last. Two restores of
/// the same copy must not share an epoch, or a cache could take the facts of one for those of the other.
pub(super) fn epoch_after(epoch: u32, now: Timestamp) -> Result<u32, RegistryError> {
    let next = epoch.checked_add(1).ok_or(RegistryError::Damaged("epochs have run out"))?;
    Ok(u32::try_from(now.as_second()).map_or(next, |now| now.max(next)))
}

/// Opens the engine's file. Makes it if there is none, so that the engine finds it private.
pub(super) fn open_file(path: &Path, cache_size: usize) -> Result<Database, RegistryError> {
    let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    made.map_err(|source| RegistryError::File { action: "open", path: path.to_owned(), source })?;
    match Builder::new().set_cache_size(cache_size).create(path) {
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(RegistryError::Locked(path.to_owned())),
        other => other.trying_to("open"),
    }
}

/// Makes the tables of a fresh store, or checks those of an old one. Returns epoch and head.
fn prepare(database: &Database, keys: &RegistryKeys) -> Result<(u32, u64), RegistryError> {
    let reading = database.begin_read().trying_to("read")?;
    match reading.open_table(META) {
        Ok(meta) => {
            let format = check(&meta, keys)?;
            let at = epoch_and_head(&meta)?;
            if format < STORE_FORMAT {
                bring_up_to_date(database)?;
            }
            Ok(at)
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {
            drop(reading);
            create(database, keys)?;
            Ok((1, 0))
        }
        Err(error) => Err(error).trying_to("read"),
    }
}

fn id_of(database: &Database) -> Result<[u8; 16], RegistryError> {
    let reading = database.begin_read().trying_to("read")?;
    fixed(&reading.open_table(META).trying_to("read")?, META_REGISTRY_ID)
}

fn create(database: &Database, keys: &RegistryKeys) -> Result<(), RegistryError> {
    let facts = Facts::of_new(keys)?;
    let transaction = database.begin_write().trying_to("create")?;
    transaction.open_table(NUMBERS).trying_to("create")?;
    transaction.open_table(RECORDS).trying_to("create")?;
    transaction.open_table(FEED).trying_to("create")?;
    facts.write(&transaction)?;
    transaction.commit().trying_to("create")
}

fn bring_up_to_date(database: &Database) -> Result<(), RegistryError> {
    let transaction = database.begin_write().trying_to("write")?;
    let mut meta = transaction.open_table(META).trying_to("write")?;
    meta.insert(META_FORMAT, STORE_FORMAT.to_be_bytes().as_slice()).trying_to("write")?;
    drop(meta);
    transaction.commit().trying_to("write")
}

/// Checks that this program and these keys can read the store; returns its format.
fn check(
    meta: &impl redb::ReadableTable<&'static str, &'static [u8]>,
    keys: &RegistryKeys,
) -> Result<u32, RegistryError> {
    let facts = Facts::read(meta)?;
    let found = facts.format()?;
    if found > STORE_FORMAT {
        return Err(RegistryError::NewerFormat { found, known: STORE_FORMAT });
    }
    if !facts.fit(keys)? {
        return Err(RegistryError::WrongKeys);
    }
    Ok(found)
}
