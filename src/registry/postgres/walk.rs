//! Going through every record of one snapshot, by page of each partition.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlx::{PgConnection, Row as _};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::connection::Trying as _;
use super::layout::Layout;
use super::store::{PostgresRegistry, Shared};
use crate::domain::licence::Record;
use crate::domain::subject::SubjectId;
use crate::registry::codec;
use crate::registry::embedded::RegistryError;
use crate::registry::export::Records;
use crate::registry::store::wait;

/// Everything that is read in one such transaction was true at one moment.
pub(super) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Whoever takes the records may be slow (a pipe, a person who looks): the snapshot outlasts it for so long. It locks nobody out.
const PATIENCE: &str = "SET LOCAL idle_in_transaction_session_timeout = '1h'";
/// Records between two round trips.
const PAGE: i64 = 5_000;
/// Pages read ahead of whoever takes the records.
const PAGES_AHEAD: usize = 1;

/// Sealed records as they lie in a page.
pub(super) type Page = Vec<(SubjectId, Vec<u8>)>;

/// Where a walk stands: partition by partition, in each by subject.
pub(super) struct Pages {
    partition: u16,
    partitions: u16,
    last: Vec<u8>,
}

impl Pages {
    pub(super) fn of(layout: Layout) -> Self {
        Self { partition: 0, partitions: layout.partitions(), last: Vec::new() }
    }

    /// Reads the next page; `None` after the last.
    pub(super) async fn next(&mut self, snapshot: &mut PgConnection) -> Result<Option<Page>, RegistryError> {
        const SIZE: RegistryError = RegistryError::Damaged("an identifier has the wrong size");
        while self.partition < self.partitions {
            let rows = sqlx::query(
                "SELECT subject, sealed FROM record WHERE partition = $1 AND subject > $2 \
                 ORDER BY subject LIMIT $3",
            )
            .bind(self.partition.cast_signed())
            .bind(&self.last[..])
            .bind(PAGE)
            .fetch_all(&mut *snapshot)
            .await
            .trying_to("read")?;
            let mut page = Page::with_capacity(rows.len());
            for row in &rows {
                let subject: &[u8] = row.try_get(0).trying_to("read")?;
                let subject = SubjectId::from_bytes(subject.try_into().map_err(|_| SIZE)?);
                page.push((subject, row.try_get(1).trying_to("read")?));
            }
            if let Some((last, _)) = page.last() {
                self.last = last.as_bytes().to_vec();
                return Ok(Some(page));
            }
            self.partition += 1;
            self.last.clear();
        }
        Ok(None)
    }
}

impl Shared {
    /// Opens a record as it lies; `None` when it cannot be read.
    pub(super) fn open(
        &self,
        subject: SubjectId,
        sealed: &[u8],
        scratch: &mut Zeroizing<Vec<u8>>,
    ) -> Option<Record> {
        let opened = self.keys.sealing.open(sealed, subject.as_bytes(), scratch);
        opened.ok().and_then(|plain| codec::decode(subject, plain).ok())
    }

    /// Hands on every page of one snapshot, until nobody takes any more.
    async fn hand_on(&self, pages: &mpsc::Sender<Page>) -> Result<(), RegistryError> {
        let mut snapshot = self.writers.begin_with(SNAPSHOT).await.trying_to("read")?;
        sqlx::query(PATIENCE).execute(&mut *snapshot).await.trying_to("read")?;
        let mut all = Pages::of(self.layout);
        while let Some(page) = all.next(&mut snapshot).await? {
            if pages.send(page).await.is_err() {
                break;
            }
        }
        snapshot.rollback().await.trying_to("read")
    }
}

impl Records for PostgresRegistry {
    /// Partition by partition, in each in the order of the records' keys. Pages are read by the store's own runtime, ahead of
    /// whoever takes them.
    fn walk(&self, visit: &mut dyn FnMut(Option<Record>) -> ControlFlow<()>) -> Result<(), RegistryError> {
        let (hand_on, mut pages) = mpsc::channel(PAGES_AHEAD);
        let shared = Arc::clone(&self.shared);
        let reading = self.run(async move { shared.hand_on(&hand_on).await });
        let mut scratch = Zeroizing::default();
        while let Some(page) = wait(Box::pin(pages.recv())) {
            for (subject, sealed) in page {
                if visit(self.shared.open(subject, &sealed, &mut scratch)).is_break() {
                    return Ok(());
                }
            }
        }
        wait(reading)
    }
}
