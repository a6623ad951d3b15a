//! What the store holds, in numbers.

use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::connection::Trying as _;
use super::feed;
use super::store::Shared;
use super::walk::{Pages, SNAPSHOT};
use crate::registry::embedded::{RegistryError, RegistryStats};

impl Shared {
    /// Counts over one snapshot of the whole store, opening every record.
    pub(super) async fn stats(&self) -> Result<RegistryStats, RegistryError> {
        let mut snapshot = self.writers.begin_with(SNAPSHOT).await.trying_to("read")?;
        let heads = feed::heads(&mut snapshot).await?;
        let mut stats = RegistryStats {
            registry_id: self.id.iter().map(|byte| format!("{byte:02x}")).collect(),
            epoch: heads.epoch,
            head_seq: heads.changes(),
            feed_rows: count(&mut snapshot, "SELECT count(*) FROM feed").await?,
            numbers: count(&mut snapshot, "SELECT count(*) FROM number").await?,
            uses: count(&mut snapshot, "SELECT count(*) FROM redemption").await?,
            share_codes: count(&mut snapshot, "SELECT count(*) FROM presentation").await?,
            consents: count(&mut snapshot, "SELECT count(*) FROM consent").await?,
            hold_backs: count(&mut snapshot, "SELECT count(*) FROM hold_back").await?,
            ..RegistryStats::default()
        };
        let mut pages = Pages::of(self.layout);
        let mut scratch = Zeroizing::default();
        while let Some(page) = pages.next(&mut snapshot).await? {
            for (subject, sealed) in page {
                stats.subjects += 1;
                stats.sealed_bytes += sealed.len() as u64;
                stats.sealed_bytes_max = stats.sealed_bytes_max.max(sealed.len() as u64);
                match self.open(subject, &sealed, &mut scratch) {
                    Some(record) => stats.count(&record.history),
                    None => stats.unreadable += 1,
                }
            }
        }
        snapshot.rollback().await.trying_to("read")?;
        // An engine that cannot tell its size says nothing else wrong.
        let size = sqlx::query_scalar::<_, i64>("SELECT pg_database_size(current_database())");
        let size = size.fetch_one(&self.writers).await.unwrap_or(0);
        stats.file_bytes = size.cast_unsigned();
        Ok(stats)
    }
}

async fn count(snapshot: &mut PgConnection, sql: &'static str) -> Result<u64, RegistryError> {
    let counted: i64 = sqlx::query_scalar(sql).fetch_one(snapshot).await.trying_to("read")?;
    Ok(counted.cast_unsigned())
}
