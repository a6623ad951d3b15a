//! What the store holds, in numbers.

use sqlx::{PgConnection, Row as _};
use zeroize::Zeroizing;

use super::connection::Trying as _;
use super::feed;
use super::store::Shared;
use crate::domain::subject::SubjectId;
use crate::registry::codec;
use crate::registry::embedded::{RegistryError, RegistryStats};

/// Records opened between two round trips.
const PAGE: i64 = 5_000;
const FIRST: [u8; 0] = [];

impl Shared {
    /// Counts over one snapshot of the whole store, opening every record.
    pub(super) async fn stats(&self) -> Result<RegistryStats, RegistryError> {
        let mut snapshot = self
            .writers
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .trying_to("read")?;
        let heads = feed::heads(&mut snapshot).await?;
        let mut stats = RegistryStats {
            registry_id: self.id.iter().map(|byte| format!("{byte:02x}")).collect(),
            epoch: heads.epoch,
            head_seq: heads.changes(),
            feed_rows: count(&mut snapshot, "SELECT count(*) FROM feed").await?,
            numbers: count(&mut snapshot, "SELECT count(*) FROM number").await?,
            ..RegistryStats::default()
        };
        for partition in 0..self.layout.partitions() {
            self.count_partition(&mut snapshot, partition, &mut stats).await?;
        }
        snapshot.rollback().await.trying_to("read")?;
        // An engine that cannot tell its size says nothing else wrong.
        let size = sqlx::query_scalar::<_, i64>("SELECT pg_database_size(current_database())");
        let size = size.fetch_one(&self.writers).await.unwrap_or(0);
        stats.file_bytes = size.cast_unsigned();
        Ok(stats)
    }

    async fn count_partition(
        &self,
        snapshot: &mut PgConnection,
        partition: u16,
        stats: &mut RegistryStats,
    ) -> Result<(), RegistryError> {
        const SIZE: RegistryError = RegistryError::Damaged("an identifier has the wrong size");
        let mut scratch = Zeroizing::default();
        let mut last = FIRST.to_vec();
        loop {
            let rows = sqlx::query(
                "SELECT subject, sealed FROM record WHERE partition = $1 AND subject > $2 \
                 ORDER BY subject LIMIT $3",
            )
            .bind(partition.cast_signed())
            .bind(&last[..])
            .bind(PAGE)
            .fetch_all(&mut *snapshot)
            .await
            .trying_to("read")?;
            for row in &rows {
                let subject: &[u8] = row.try_get(0).trying_to("read")?;
                let sealed: &[u8] = row.try_get(1).trying_to("read")?;
                let subject = SubjectId::from_bytes(subject.try_into().map_err(|_| SIZE)?);
                stats.subjects += 1;
                stats.sealed_bytes += sealed.len() as u64;
                stats.sealed_bytes_max = stats.sealed_bytes_max.max(sealed.len() as u64);
                let opened = self.keys.sealing.open(sealed, subject.as_bytes(), &mut scratch);
                match opened.ok().and_then(|plain| codec::decode(subject, plain).ok()) {
                    Some(record) => stats.count(&record.history),
                    None => stats.unreadable += 1,
                }
                last = subject.as_bytes().to_vec();
            }
            if rows.is_empty() {
                return Ok(());
            }
        }
    }
}

async fn count(snapshot: &mut PgConnection, sql: &'static str) -> Result<u64, RegistryError> {
    let counted: i64 = sqlx::query_scalar(sql).fetch_one(snapshot).await.trying_to("read")?;
    Ok(counted.cast_unsigned())
}
