//! The book as a whole: opened, checked against its registry, shared between the line and those who only read.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable, TableError};
use tokio::runtime::Handle;

use super::line::{Job, Line};
use super::tables::{ABOUT, ABOUT_FORMAT, ABOUT_REGISTRY_ID, ABOUT_REVOKED_UNTIL, BOOK_FORMAT, Tables};
use crate::registry::book::{KnownConsents, unavailable};
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::store::open_file;
use crate::registry::keys::RegistryKeys;
use crate::verification::ports::{Later, StoreUnavailable};
use crate::waking::CoreTask;

/// The name of the book's file in the data folder.
pub const BOOK_FILE: &str = "book.redb";
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
        Self::start(open_file(path, CACHE_BYTES)?, keys, registry)
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

    pub(super) fn start(
        database: Database,
        keys: &Arc<RegistryKeys>,
        registry: [u8; 16],
    ) -> Result<Self, RegistryError> {
        let revoked_until = prepare(&database, registry)?;
        let database = Arc::new(database);
        let line = Line::start(Arc::clone(&database))?;
        Ok(Self { database, keys: Arc::clone(keys), revoked_until, known: KnownConsents::default(), line })
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

/// Makes the tables of a fresh book, or checks whose an old one is. Returns until when presentations are of old.
fn prepare(database: &Database, registry: [u8; 16]) -> Result<Option<Timestamp>, RegistryError> {
    let reading = database.begin_read().trying_to("read")?;
    match reading.open_table(ABOUT) {
        Ok(about) => check(&about, registry),
        Err(TableError::TableDoesNotExist(_)) => {
            drop(reading);
            create(database, registry, None)?;
            Ok(None)
        }
        Err(error) => Err(error).trying_to("read"),
    }
}

/// Makes the tables. Presentations issued up to `revoked_until` will be spent no more.
pub(in crate::registry::embedded) fn create(
    database: &Database,
    registry: [u8; 16],
    revoked_until: Option<Timestamp>,
) -> Result<(), RegistryError> {
    let transaction = database.begin_write().trying_to("create")?;
    drop(Tables::open(&transaction)?);
    write_about(&transaction, registry, revoked_until)?;
    transaction.commit().trying_to("create")
}

/// Writes what a book says of itself.
pub(in crate::registry::embedded) fn write_about(
    transaction: &redb::WriteTransaction,
    registry: [u8; 16],
    revoked_until: Option<Timestamp>,
) -> Result<(), RegistryError> {
    let mut about = transaction.open_table(ABOUT).trying_to("create")?;
    about.insert(ABOUT_FORMAT, BOOK_FORMAT.to_be_bytes().as_slice()).trying_to("create")?;
    about.insert(ABOUT_REGISTRY_ID, registry.as_slice()).trying_to("create")?;
    if let Some(until) = revoked_until {
        let until = until.as_microsecond().to_be_bytes();
        about.insert(ABOUT_REVOKED_UNTIL, until.as_slice()).trying_to("create")?;
    }
    Ok(())
}

/// Reads until when presentations are of old.
pub(in crate::registry::embedded) fn check(
    about: &impl ReadableTable<&'static str, &'static [u8]>,
    registry: [u8; 16],
) -> Result<Option<Timestamp>, RegistryError> {
    const MISSHAPEN: RegistryError = RegistryError::Damaged("a fact about the book");
    let value = |name| about.get(name).trying_to("read");
    let format = value(ABOUT_FORMAT)?.ok_or(MISSHAPEN)?;
    let found = u32::from_be_bytes(format.value().try_into().map_err(|_| MISSHAPEN)?);
    if found > BOOK_FORMAT {
        return Err(RegistryError::NewerFormat { found, known: BOOK_FORMAT });
    }
    if value(ABOUT_REGISTRY_ID)?.ok_or(MISSHAPEN)?.value() != registry {
        return Err(RegistryError::Damaged("the book beside it belongs to another registry"));
    }
    let Some(until) = value(ABOUT_REVOKED_UNTIL)? else { return Ok(None) };
    let until = i64::from_be_bytes(until.value().try_into().map_err(|_| MISSHAPEN)?);
    Timestamp::from_microsecond(until).map(Some).map_err(|_| MISSHAPEN)
}
