//! The index as a whole: opened, written by one, read by many.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{
    Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition,
    TableError,
};
use tokio::runtime::Handle;

use super::catalogue::Catalogue;
use super::chunks::{CHUNKS, ChunkTable, Sorted};
use super::row::{Row, Way};
use super::upkeep::{self, GONE, GoneTable};
use crate::evidence::ports::{Found, IndexUnavailable, LookUp, LookUpIndex, SubjectHandle};
use crate::registry::embedded::error::{RegistryError, Trying as _};
use crate::registry::embedded::store::open_file;
use crate::verification::ports::Later;

/// The name of the index's file in the registry's folder.
pub const LOOK_UPS_FILE: &str = "look-ups.redb";
/// What a file is called that cannot be read, until somebody removes it or the next one takes its place.
const SET_ASIDE: &str = "look-ups.redb.damaged";
/// Origin → catalogue.
pub(super) const LOGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("look-up-logs");
/// Memory the engine may use for pages: the right edge, and what is merged.
const CACHE_BYTES: usize = 32 << 20;
/// Every so many commits one is synced: until then the engine cannot use freed pages again, and a crash takes them back. Fed
/// four times a second, that is a sync in four seconds.
const SYNC_EVERY: u64 = 16;
/// Entries of one request that are found: one, unless it was answered again after its charge was forgotten.
const REQUEST_ENTRIES_MAX: usize = 64;

/// The index of look-ups of the embedded store. Dropping it frees the file.
pub struct EmbeddedLookUps {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) database: Database,
    commits: AtomicU64,
}

impl std::fmt::Debug for EmbeddedLookUps {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EmbeddedLookUps").finish_non_exhaustive()
    }
}

impl EmbeddedLookUps {
    /// Opens the index in a registry's folder; makes it if there is none. One that cannot be read is set aside: an empty one
    /// takes its place, to be fed from the logs.
    ///
    /// # Errors
    /// [`RegistryError::Locked`] while another process has it open, [`RegistryError`] if no file can be made.
    pub fn open(folder: &Path) -> Result<Self, RegistryError> {
        let path = folder.join(LOOK_UPS_FILE);
        let opened = open_file(&path, CACHE_BYTES).and_then(Self::start);
        match opened {
            Err(error @ (RegistryError::Store { .. } | RegistryError::Damaged(_))) => {
                tracing::warn!(%error, "the index of look-ups cannot be read: it is set aside and fed anew from the log");
                let file = |source| RegistryError::File { action: "set aside", path: path.clone(), source };
                match std::fs::rename(&path, folder.join(SET_ASIDE)) {
                    Err(source) if source.kind() != ErrorKind::NotFound => Err(file(source)),
                    _ => Self::start(open_file(&path, CACHE_BYTES)?),
                }
            }
            other => other,
        }
    }

    /// Makes an index that lives in memory only, for demos and tests.
    ///
    /// # Errors
    /// [`RegistryError::Store`].
    pub fn in_memory() -> Result<Self, RegistryError> {
        let backend = redb::backends::InMemoryBackend::new();
        let made = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
        Self::start(made.trying_to("open")?)
    }

    fn start(database: Database) -> Result<Self, RegistryError> {
        let reading = database.begin_read().trying_to("read")?;
        match reading.open_table(LOGS) {
            Ok(logs) => {
                for log in logs.iter().trying_to("read")? {
                    Catalogue::decode(log.trying_to("read")?.1.value())?;
                }
            }
            Err(TableError::TableDoesNotExist(_)) => {
                let transaction = database.begin_write().trying_to("create")?;
                transaction.open_table(LOGS).trying_to("create")?;
                transaction.commit().trying_to("create")?;
            }
            Err(error) => return Err(error).trying_to("read"),
        }
        drop(reading);
        Ok(Self { shared: Arc::new(Shared { database, commits: AtomicU64::new(0) }) })
    }

    /// Runs work where it may block: beside the caller's runtime, or right here if there is none.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, RegistryError> + Send + 'static,
    ) -> Later<'static, Result<T, IndexUnavailable>> {
        let shared = Arc::clone(&self.shared);
        let work = move || {
            work(&shared).map_err(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the index of look-ups is unavailable"
                );
                IndexUnavailable
            })
        };
        match Handle::try_current() {
            Err(_no_runtime) => Box::pin(std::future::ready(work())),
            Ok(runtime) => Box::pin(async move {
                // A damaged file can make the engine panic; that costs one answer.
                runtime.spawn_blocking(work).await.unwrap_or(Err(IndexUnavailable))
            }),
        }
    }
}

impl LookUpIndex for EmbeddedLookUps {
    fn cursor(&self, origin: &str) -> Later<'_, Result<u64, IndexUnavailable>> {
        let origin = origin.to_owned();
        self.run(move |shared| {
            let reading = shared.database.begin_read().trying_to("read")?;
            let logs = reading.open_table(LOGS).trying_to("read")?;
            Ok(catalogue(&logs, &origin)?.map_or(0, |catalogue| catalogue.cursor))
        })
    }

    fn take_in(
        &self,
        origin: &str,
        from: u64,
        to: u64,
        look_ups: Vec<LookUp>,
    ) -> Later<'_, Result<u64, IndexUnavailable>> {
        let origin = origin.to_owned();
        self.run(move |shared| shared.take_in(&origin, from, to, &look_ups))
    }

    fn forget(&self, origin: &str) -> Later<'_, Result<(), IndexUnavailable>> {
        let origin = origin.to_owned();
        self.run(move |shared| shared.forget(&origin))
    }

    fn by_subject(
        &self,
        subject: SubjectHandle,
        before: Option<Found>,
        limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        self.run(move |shared| shared.search(Way::Subject, subject.0, before.as_ref(), limit))
    }

    fn by_request(&self, request: [u8; 16]) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        self.run(move |shared| {
            let mut found = shared.search(Way::Request, request, None, REQUEST_ENTRIES_MAX)?;
            found.reverse();
            Ok(found)
        })
    }

    fn by_case(
        &self,
        case: [u8; 16],
        before: Option<Found>,
        limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        self.run(move |shared| shared.search(Way::Case, case, before.as_ref(), limit))
    }
}

type LogTable<'t> = Table<'t, &'static str, &'static [u8]>;

impl Shared {
    pub(super) fn take_in(
        &self,
        origin: &str,
        from: u64,
        to: u64,
        look_ups: &[LookUp],
    ) -> Result<u64, RegistryError> {
        // Sorted before the engine's one writer is waited for.
        let sorted = Way::ALL.map(|way| (way, sorted(way, look_ups)));
        self.write(false, |logs, chunks, gone| {
            let mut catalogue = match catalogue(logs, origin)? {
                Some(catalogue) => catalogue,
                None => Catalogue { log: unused_log(logs, gone)?, ..Catalogue::default() },
            };
            if catalogue.cursor != from || to < from {
                return Ok((catalogue.cursor, false));
            }
            if !look_ups.is_empty() {
                let run = catalogue.begin_run(look_ups.len() as u64);
                for (way, rows) in &sorted {
                    Sorted { log: catalogue.log, run: run.number, way: *way }.write(chunks, rows)?;
                }
                catalogue.runs.push(run);
            }
            catalogue.cursor = to;
            let budget = upkeep::budget_of(look_ups.len());
            upkeep::merge(&mut catalogue, chunks, gone, budget)?;
            upkeep::sweep(chunks, gone, budget)?;
            logs.insert(origin, catalogue.encode().as_slice()).trying_to("write")?;
            Ok((to, true))
        })
    }

    /// Forgets a log at once; its chunks are swept with what is taken in later.
    fn forget(&self, origin: &str) -> Result<(), RegistryError> {
        self.write(true, |logs, chunks, gone| {
            let Some(catalogue) = catalogue(logs, origin)? else { return Ok(((), false)) };
            for run in catalogue.all_runs() {
                gone.insert((catalogue.log, run), ()).trying_to("write")?;
            }
            logs.remove(origin).trying_to("write")?;
            upkeep::sweep(chunks, gone, upkeep::budget_of(0))?;
            Ok(((), true))
        })
    }

    /// Runs a transaction; it is undone unless the work says that it changed something. A crash may undo the last ones, in
    /// order, unless it is to be `synced`.
    fn write<T>(
        &self,
        synced: bool,
        work: impl FnOnce(
            &mut LogTable<'_>,
            &mut ChunkTable<'_>,
            &mut GoneTable<'_>,
        ) -> Result<(T, bool), RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut transaction = self.database.begin_write().trying_to("write")?;
        let is_due = self.commits.load(Ordering::Relaxed) % SYNC_EVERY == SYNC_EVERY - 1;
        let durability = if synced || is_due { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).trying_to("write")?;
        let (done, is_changed) = {
            let mut logs = transaction.open_table(LOGS).trying_to("write")?;
            let mut chunks = transaction.open_table(CHUNKS).trying_to("write")?;
            let mut gone = transaction.open_table(GONE).trying_to("write")?;
            work(&mut logs, &mut chunks, &mut gone)?
        };
        if is_changed {
            transaction.commit().trying_to("write")?;
            self.commits.fetch_add(1, Ordering::Relaxed);
        } else {
            transaction.abort().trying_to("write")?;
        }
        Ok(done)
    }
}

/// The rows of look-ups in the order of a way.
fn sorted(way: Way, look_ups: &[LookUp]) -> Vec<Row> {
    let mut rows: Vec<Row> = look_ups.iter().filter_map(|look_up| Row::of(way, look_up)).collect();
    rows.sort_unstable();
    rows
}

fn catalogue(
    logs: &impl redb::ReadableTable<&'static str, &'static [u8]>,
    origin: &str,
) -> Result<Option<Catalogue>, RegistryError> {
    logs.get(origin).trying_to("read")?.map(|found| Catalogue::decode(found.value())).transpose()
}

/// A number no log has, nor one whose chunks are still to be swept.
fn unused_log(logs: &LogTable<'_>, gone: &GoneTable<'_>) -> Result<u32, RegistryError> {
    let mut last = gone.last().trying_to("read")?.map(|(run, _nothing)| run.value().0);
    for log in logs.iter().trying_to("read")? {
        last = last.max(Some(Catalogue::decode(log.trying_to("read")?.1.value())?.log));
    }
    last.map_or(Ok(0), |last| last.checked_add(1).ok_or(RegistryError::Damaged("log numbers have run out")))
}
