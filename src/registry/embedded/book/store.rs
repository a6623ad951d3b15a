//! The book as a whole: opened, checked against its registry, shared between the line and those who only read.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable, TableError};
use tokio::runtime::Handle;

use super::line::{Job, Line};
use super::log::Log;
use super::tables::{
    ABOUT, ABOUT_FORMAT, ABOUT_LOG_GENERATION, ABOUT_REGISTRY_ID, ABOUT_REVOKED_UNTIL, BOOK_FORMAT, Tables,
};
use super::writer::Writer;
use crate::registry::book::{KnownConsents, unavailable};
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::store::open_file;
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::{Later, StoreUnavailable};
use crate::waking::CoreTask;

/// The name of the book's file in the data folder.
pub const BOOK_FILE: &str = "book.redb";
/// The name of the log before it. Empty when the book is at rest.
pub const BOOK_LOG: &str = "book.log";
/// Memory the engine may use for pages: the uses of some minutes.
pub(in crate::registry::embedded) const CACHE_BYTES: usize = 64 << 20;

/// The book of a registry.
pub(in crate::registry::embedded) struct Book {
    pub(in crate::registry::embedded) database: Arc<Database>,
    pub(super) keys: Arc<RegistryKeys>,
    /// Presentations issued up to this moment are spent no more.
    pub(super) revoked_until: Option<Timestamp>,
    pub(super) known: KnownConsents,
    line: Line,
}

impl Book {
    /// Opens the book in a file; makes it if there is none.
    pub(in crate::registry::embedded) fn open(
        path: &Path,
        keys: &Arc<RegistryKeys>,
        registry: [u8; 16],
    ) -> Result<Self, RegistryError> {
        let database = open_file(path, CACHE_BYTES)?;
        let about = prepare(&database, registry)?;
        let (mut log, lacking) = Log::open(&path.with_file_name(BOOK_LOG), registry, about.log_generation)?;
        if bring_up_to_date(&database, &about, &lacking)? {
            log.restart();
        }
        Self::run(database, keys, &about, Some(log))
    }

    /// Makes one that lives in memory only.
    pub(in crate::registry::embedded) fn in_memory(
        keys: &Arc<RegistryKeys>,
        registry: [u8; 16],
    ) -> Result<Self, RegistryError> {
        let backend = redb::backends::InMemoryBackend::new();
        let made = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
        Self::start(made.trying_to("open")?, keys, registry)
    }

    /// Runs a book without a file.
    pub(super) fn start(
        database: Database,
        keys: &Arc<RegistryKeys>,
        registry: [u8; 16],
    ) -> Result<Self, RegistryError> {
        let about = prepare(&database, registry)?;
        Self::run(database, keys, &about, None)
    }

    fn run(
        database: Database,
        keys: &Arc<RegistryKeys>,
        about: &About,
        log: Option<Log>,
    ) -> Result<Self, RegistryError> {
        let (database, keys) = (Arc::new(database), Arc::clone(keys));
        let line = Line::start(Writer::new(Arc::clone(&database), log))?;
        let (revoked_until, known) = (about.revoked_until, KnownConsents::default());
        Ok(Self { database, keys, revoked_until, known, line })
    }

    pub(in crate::registry::embedded) fn core_task(&self) -> CoreTask<Job> {
        self.line.core_task()
    }

    /// Changes the book. When this completes, the change is durable.
    pub(super) fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<(T, bool), RegistryError> + Send + 'static,
    ) -> Later<'static, Result<T, StoreUnavailable>> {
        self.line.ask(work)
    }

    /// Notes something in the book that nobody waits for: whoever changes the book afterwards finds it noted.
    pub(super) fn note(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<bool, RegistryError> + Send + 'static,
    ) -> Result<(), StoreUnavailable> {
        self.line.leave(work)
    }

    /// Reads the book where it may block: beside the caller's runtime, or right here if there is none.
    pub(super) fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, RegistryError> + Send + 'static,
    ) -> Later<'static, Result<T, StoreUnavailable>> {
        let database = Arc::clone(&self.database);
        aside(move || work(&database.begin_read().trying_to("read")?))
    }
}

/// Does blocking work beside the caller's runtime, or right here if there is none.
pub(super) fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Later<'static, Result<T, StoreUnavailable>> {
    let work = || work().map_err(|error| unavailable(&error));
    match Handle::try_current() {
        Err(_no_runtime) => Box::pin(std::future::ready(work())),
        // A damaged file can make the engine panic; that costs one answer.
        Ok(runtime) => {
            Box::pin(async move { runtime.spawn_blocking(work).await.unwrap_or(Err(StoreUnavailable)) })
        }
    }
}

/// What a book says of itself.
#[derive(Default)]
pub(in crate::registry::embedded) struct About {
    pub(in crate::registry::embedded) format: u32,
    /// Presentations issued up to this moment are spent no more.
    pub(in crate::registry::embedded) revoked_until: Option<Timestamp>,
    /// The last generation of the log that is held whole. The first one there is is 1.
    pub(in crate::registry::embedded) log_generation: u64,
}

/// Makes the tables of a fresh book, or checks whose an old one is.
fn prepare(database: &Database, registry: [u8; 16]) -> Result<About, RegistryError> {
    let reading = database.begin_read().trying_to("read")?;
    match reading.open_table(ABOUT) {
        Ok(about) => check(&about, registry),
        Err(TableError::TableDoesNotExist(_)) => {
            drop(reading);
            let about = About { format: BOOK_FORMAT, ..About::default() };
            create(database, registry, &about)?;
            Ok(about)
        }
        Err(error) => Err(error).trying_to("read"),
    }
}

/// Makes the tables.
pub(in crate::registry::embedded) fn create(
    database: &Database,
    registry: [u8; 16],
    about: &About,
) -> Result<(), RegistryError> {
    let transaction = database.begin_write().trying_to("create")?;
    drop(Tables::open(&transaction)?);
    write_about(&transaction, registry, about)?;
    transaction.commit().trying_to("create")
}

/// Puts in what only the log holds, notes that there is a log from now on, and makes an older book one of today's format. Says whether
/// there was anything to do; then the generation that was looked for is held.
fn bring_up_to_date(database: &Database, about: &About, lacking: &[Vec<u8>]) -> Result<bool, RegistryError> {
    if lacking.is_empty() && about.format == BOOK_FORMAT && about.log_generation > 0 {
        return Ok(false);
    }
    let transaction = database.begin_write().trying_to("write")?;
    let mut tables = Tables::open(&transaction)?;
    for batch in lacking {
        tables.redo(batch)?;
    }
    drop(tables);
    let mut facts = transaction.open_table(ABOUT).trying_to("write")?;
    facts.insert(ABOUT_FORMAT, BOOK_FORMAT.to_be_bytes().as_slice()).trying_to("write")?;
    let generation = (about.log_generation + 1).to_be_bytes();
    facts.insert(ABOUT_LOG_GENERATION, generation.as_slice()).trying_to("write")?;
    drop(facts);
    transaction.commit().trying_to("write")?;
    Ok(true)
}

/// Writes what a book says of itself.
pub(in crate::registry::embedded) fn write_about(
    transaction: &redb::WriteTransaction,
    registry: [u8; 16],
    told: &About,
) -> Result<(), RegistryError> {
    let mut about = transaction.open_table(ABOUT).trying_to("create")?;
    about.insert(ABOUT_FORMAT, BOOK_FORMAT.to_be_bytes().as_slice()).trying_to("create")?;
    about.insert(ABOUT_REGISTRY_ID, registry.as_slice()).trying_to("create")?;
    about.insert(ABOUT_LOG_GENERATION, told.log_generation.to_be_bytes().as_slice()).trying_to("create")?;
    if let Some(until) = told.revoked_until {
        let until = until.as_microsecond().to_be_bytes();
        about.insert(ABOUT_REVOKED_UNTIL, until.as_slice()).trying_to("create")?;
    }
    Ok(())
}

/// Reads what a book says of itself, and checks whose it is.
pub(in crate::registry::embedded) fn check(
    about: &impl ReadableTable<&'static str, &'static [u8]>,
    registry: [u8; 16],
) -> Result<About, RegistryError> {
    const MISSHAPEN: RegistryError = RegistryError::Damaged("a fact about the book");
    let value = |name| about.get(name).trying_to("read");
    let format = value(ABOUT_FORMAT)?.ok_or(MISSHAPEN)?;
    let format = u32::from_be_bytes(format.value().try_into().map_err(|_| MISSHAPEN)?);
    if format > BOOK_FORMAT {
        return Err(RegistryError::NewerFormat { found: format, known: BOOK_FORMAT });
    }
    if value(ABOUT_REGISTRY_ID)?.ok_or(MISSHAPEN)?.value() != registry {
        return Err(RegistryError::Damaged("the book beside it belongs to another registry"));
    }
    let log_generation = match value(ABOUT_LOG_GENERATION)? {
        None => 0,
        Some(held) => u64::from_be_bytes(held.value().try_into().map_err(|_| MISSHAPEN)?),
    };
    let revoked_until = match value(ABOUT_REVOKED_UNTIL)? {
        None => None,
        Some(until) => {
            let until = i64::from_be_bytes(until.value().try_into().map_err(|_| MISSHAPEN)?);
            Some(Timestamp::from_microsecond(until).map_err(|_| MISSHAPEN)?)
        }
    };
    Ok(About { format, revoked_until, log_generation })
}
