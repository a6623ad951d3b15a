//! What replicas tell each other about claims: marks in the order they were committed, and a count for each replica.
//!
//! PostgreSQL carries it, not Redis: a deployment with several replicas has it, nothing it was told is lost, and while its primary is away no
//! claim is answered, so that nobody gains by it. One transaction a second writes, and only when there is something to tell; no request
//! waits for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::connection::{Trying as _, forget};
use super::store::{PostgresRegistry, Shared};
use crate::admission::claims::{ClaimNews, ClaimsUnshared, Heard, MarkNews, SharedClaims, TallyNews};
use crate::admission::standing::Later;
use crate::domain::partner::PartnerId;
use crate::registry::embedded::{RegistryError, StoreError};

const ADVANCE: &str = "UPDATE claim_head SET seq = seq + 1 RETURNING seq";
const PUT_DOWN: &str = "INSERT INTO claim_mark (partner, window_us, mark, seq) \
     SELECT news.*, $4::bigint FROM UNNEST($1::text[], $2::bigint[], $3::bigint[]) AS news \
     ON CONFLICT DO NOTHING";
const COUNT: &str = "INSERT INTO claim_tally (partner, since_us, replica, unconfirmed) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (partner, since_us, replica) \
     DO UPDATE SET unconfirmed = GREATEST(claim_tally.unconfirmed, EXCLUDED.unconfirmed)";
const SWEEP_MARKS: &str = "DELETE FROM claim_mark WHERE window_us < $1";
const SWEEP_TALLIES: &str = "DELETE FROM claim_tally WHERE since_us < $1";
const HEAD: &str = "SELECT seq FROM claim_head";
const MARKS: &str =
    "SELECT partner, window_us, mark FROM claim_mark WHERE seq > $1 AND seq <= $2 AND window_us >= $3";
const TALLIES: &str = "SELECT partner, since_us, SUM(unconfirmed)::bigint FROM claim_tally \
     WHERE replica <> $1 AND since_us >= $2 GROUP BY partner, since_us";

/// Marks that share a seq.
const BATCH: usize = 1_000;
/// Batches read in one statement.
const PAGE: i64 = 32;
/// Pages read in one exchange: a replica that starts catches up over several, each in time.
const PAGES_MAX: i64 = 8;
/// The longest window, and an hour for clocks.
const KEPT_FOR: Duration = Duration::from_hours(25);
const MISSHAPEN: RegistryError = RegistryError::Damaged("news about claims");

/// Where one replica tells the others.
pub struct PostgresClaims {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    replica: Arc<str>,
}

impl PostgresRegistry {
    /// Returns where the replica of this name tells the others about claims.
    pub fn claims_of(&self, replica: &str) -> PostgresClaims {
        PostgresClaims {
            shared: Arc::clone(&self.shared),
            runtime: self.runtime.clone(),
            replica: replica.into(),
        }
    }
}

impl SharedClaims for PostgresClaims {
    fn exchange(
        &self,
        news: ClaimNews,
        now: Timestamp,
        after: u64,
    ) -> Later<'_, Result<Heard, ClaimsUnshared>> {
        let (shared, replica) = (Arc::clone(&self.shared), Arc::clone(&self.replica));
        let exchange =
            self.runtime.spawn(async move { shared.exchange_claims(&replica, (&news, now), after).await });
        Box::pin(async move {
            let exchanged = exchange.await.unwrap_or(Err(RegistryError::Damaged("its work ended early")));
            exchanged.map_err(|error| ClaimsUnshared(Box::new(error)))
        })
    }
}

impl Shared {
    async fn exchange_claims(
        &self,
        replica: &str,
        news: (&ClaimNews, Timestamp),
        after: u64,
    ) -> Result<Heard, RegistryError> {
        let mut connection = self.writers.acquire().await.trying_to("write")?;
        let within = self.options.lock_time_max + self.options.write_time_max;
        match tokio::time::timeout(within, exchange(&mut connection, replica, news, after)).await {
            Ok(exchanged) => exchanged,
            Err(_elapsed) => {
                // Not back into the pool: nobody knows when, or whether, the server will speak again.
                forget(connection.detach());
                Err(RegistryError::Store {
                    action: "write",
                    source: StoreError::new(sqlx::Error::PoolTimedOut),
                })
            }
        }
    }
}

async fn exchange(
    connection: &mut PgConnection,
    replica: &str,
    (news, now): (&ClaimNews, Timestamp),
    after: u64,
) -> Result<Heard, RegistryError> {
    let kept_from = now.saturating_sub(KEPT_FOR).unwrap_or(Timestamp::MIN).as_microsecond();
    for batch in news.marks.chunks(BATCH) {
        put_down(connection, batch).await.trying_to("write")?;
    }
    for TallyNews { partner, since, unconfirmed } in &news.tallies {
        sqlx::query(COUNT)
            .bind(partner.as_str())
            .bind(since.as_microsecond())
            .bind(replica)
            .bind(unconfirmed.cast_signed())
            .execute(&mut *connection)
            .await
            .trying_to("write")?;
    }
    if !news.marks.is_empty() {
        for sweep in [SWEEP_MARKS, SWEEP_TALLIES] {
            sqlx::query(sweep).bind(kept_from).execute(&mut *connection).await.trying_to("write")?;
        }
    }
    read(connection, replica, after.cast_signed(), kept_from).await
}

async fn put_down(connection: &mut PgConnection, marks: &[MarkNews]) -> Result<(), sqlx::Error> {
    let partners: Vec<&str> = marks.iter().map(|news| news.partner.as_str()).collect();
    let windows: Vec<i64> = marks.iter().map(|news| news.window_began.as_microsecond()).collect();
    let these: Vec<i64> = marks.iter().map(|news| news.mark.cast_signed()).collect();
    let mut transaction = connection.begin().await?;
    let seq: i64 = sqlx::query_scalar(ADVANCE).fetch_one(&mut *transaction).await?;
    let put = sqlx::query(PUT_DOWN).bind(partners).bind(windows).bind(these).bind(seq);
    put.execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn read(
    connection: &mut PgConnection,
    replica: &str,
    after: i64,
    kept_from: i64,
) -> Result<Heard, RegistryError> {
    let head: i64 = sqlx::query_scalar(HEAD).fetch_one(&mut *connection).await.trying_to("read")?;
    // A restore or a promotion took some of them back: all are read anew.
    let mut from = if after > head { 0 } else { after };
    let mut news = ClaimNews::default();
    let stop_at = from.saturating_add(PAGE * PAGES_MAX).min(head);
    while from < stop_at {
        let to = stop_at.min(from.saturating_add(PAGE));
        let page = sqlx::query(MARKS).bind(from).bind(to).bind(kept_from);
        let rows = page.fetch_all(&mut *connection).await.trying_to("read")?;
        for row in &rows {
            let (Some(partner), window_began) = (partner(row)?, moment(row)?) else { continue };
            let mark: i64 = row.try_get(2).trying_to("read")?;
            news.marks.push(MarkNews { partner, window_began, mark: mark.cast_unsigned() });
        }
        from = to;
    }
    let tallies = sqlx::query(TALLIES).bind(replica).bind(kept_from);
    for row in tallies.fetch_all(&mut *connection).await.trying_to("read")? {
        let (Some(partner), since) = (partner(&row)?, moment(&row)?) else { continue };
        let unconfirmed: i64 = row.try_get(2).trying_to("read")?;
        news.tallies.push(TallyNews { partner, since, unconfirmed: unconfirmed.cast_unsigned() });
    }
    Ok(Heard { news, up_to: from.cast_unsigned() })
}

/// Reads whose news it is; `None`: an id this version does not know.
fn partner(row: &PgRow) -> Result<Option<PartnerId>, RegistryError> {
    Ok(row.try_get::<&str, _>(0).trying_to("read")?.parse().ok())
}

fn moment(row: &PgRow) -> Result<Timestamp, RegistryError> {
    Timestamp::from_microsecond(row.try_get(1).trying_to("read")?).map_err(|_| MISSHAPEN)
}

#[cfg(test)]
mod tests;
