//! The change feed, as it is read: heads, rows after a position, and what is forgotten. How it is written: `writing`.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgRow};
use sqlx::{PgConnection, Row as _};

use super::connection::{Trying as _, code_of};
use super::store::Shared;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::registry::embedded::{FeedRow, RegistryError};
use crate::registry::store::FeedHeads;

const CHANNEL: &str = "drivegate_feed";
/// Commits within this time are told together: a notification is a wake-up, not a change.
const NOTIFY_EVERY: Duration = Duration::from_millis(2);
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Rows forgotten at once.
const FORGET_ROWS: i64 = 5_000;
const MISSHAPEN: RegistryError = RegistryError::Damaged("a feed row");

/// Reads where the feed stands.
pub(super) async fn heads(connection: &mut PgConnection) -> Result<FeedHeads, RegistryError> {
    let rows = sqlx::query("SELECT epoch, seq FROM feed_head ORDER BY partition")
        .fetch_all(connection)
        .await
        .trying_to("read")?;
    let mut heads = FeedHeads { epoch: 0, seqs: Vec::with_capacity(rows.len()) };
    for (index, row) in rows.iter().enumerate() {
        let epoch = u32::try_from(row.try_get::<i64, _>(0).trying_to("read")?).map_err(|_| MISSHAPEN)?;
        if index > 0 && epoch != heads.epoch {
            return Err(RegistryError::Damaged("its partitions are of different epochs"));
        }
        heads.epoch = epoch;
        heads.seqs.push(u64::try_from(row.try_get::<i64, _>(1).trying_to("read")?).map_err(|_| MISSHAPEN)?);
    }
    if heads.seqs.is_empty() {
        return Err(RegistryError::Damaged("the feed's heads are missing"));
    }
    Ok(heads)
}

/// Reads rows after a position. The feed has no gaps: rows that do not begin right after it mean that some were forgotten.
pub(super) async fn after(
    connection: &mut PgConnection,
    after: Position,
    count_max: usize,
) -> Result<Vec<FeedRow>, RegistryError> {
    const HEAD: &str = "SELECT seq FROM feed_head WHERE partition = $1";
    let forgotten = || RegistryError::Forgotten { partition: after.partition, seq: after.seq };
    let mut read = rows(connection, after, count_max).await?;
    if read.is_empty() && count_max > 0 {
        let head: Option<i64> = sqlx::query_scalar(HEAD)
            .bind(after.partition.cast_signed())
            .fetch_optional(&mut *connection)
            .await
            .trying_to("read")?;
        if head.is_none_or(|head| head.cast_unsigned() <= after.seq) {
            return Ok(read);
        }
        // Committed in between, or forgotten.
        read = rows(connection, after, count_max).await?;
        if read.is_empty() {
            return Err(forgotten());
        }
    }
    if read.first().is_some_and(|first| first.position.seq != after.seq + 1) {
        return Err(forgotten());
    }
    Ok(read)
}

async fn rows(
    connection: &mut PgConnection,
    after: Position,
    count_max: usize,
) -> Result<Vec<FeedRow>, RegistryError> {
    let rows = sqlx::query(
        "SELECT seq, epoch, subject, pseudonyms FROM feed \
         WHERE partition = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(after.partition.cast_signed())
    .bind(i64::try_from(after.seq).unwrap_or(i64::MAX))
    .bind(i64::try_from(count_max).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
    .trying_to("read")?;
    rows.iter().map(|row| parse(row, after.partition)).collect()
}

fn parse(row: &PgRow, partition: u16) -> Result<FeedRow, RegistryError> {
    let seq = u64::try_from(row.try_get::<i64, _>(0).trying_to("read")?).map_err(|_| MISSHAPEN)?;
    let epoch = u32::try_from(row.try_get::<i64, _>(1).trying_to("read")?).map_err(|_| MISSHAPEN)?;
    let subject: &[u8] = row.try_get(2).trying_to("read")?;
    let pseudonyms: &[u8] = row.try_get(3).trying_to("read")?;
    let (pseudonyms, []) = pseudonyms.as_chunks::<16>() else { return Err(MISSHAPEN) };
    Ok(FeedRow {
        position: Position { epoch, partition, seq },
        subject: SubjectId::from_bytes(subject.try_into().map_err(|_| MISSHAPEN)?),
        pseudonyms: pseudonyms.iter().map(|bytes| NumberPseudonym::from_bytes(*bytes)).collect(),
    })
}

/// Finds the position before what was written within the last while, in one partition; the head when nothing was.
pub(super) async fn position_before(
    connection: &mut PgConnection,
    head: Position,
    back: Duration,
) -> Result<Position, RegistryError> {
    let first: Option<i64> = sqlx::query_scalar(
        "SELECT seq FROM feed WHERE partition = $1 AND written_at >= now() - make_interval(secs => $2) \
         ORDER BY written_at LIMIT 1",
    )
    .bind(head.partition.cast_signed())
    .bind(back.as_secs_f64())
    .fetch_optional(connection)
    .await
    .trying_to("read")?;
    let before = first.and_then(|seq| u64::try_from(seq - 1).ok());
    Ok(Position { seq: before.map_or(head.seq, |seq| seq.min(head.seq)), ..head })
}

/// Forgets rows older than the retention, a few at a time. Returns how many.
pub(super) async fn forget(shared: &Shared, retention: Duration) -> Result<u64, RegistryError> {
    let mut connection = shared.writers.acquire().await.trying_to("write")?;
    let mut forgotten = 0;
    for partition in 0..shared.layout.partitions() {
        loop {
            // The oldest first: what is left begins somewhere and has no gaps.
            let deleted = sqlx::query(
                "DELETE FROM feed WHERE partition = $1 AND seq <= (SELECT max(seq) FROM (SELECT seq FROM feed \
                 WHERE partition = $1 AND written_at < now() - make_interval(secs => $2) \
                 ORDER BY written_at LIMIT $3) old)",
            )
            .bind(partition.cast_signed())
            .bind(retention.as_secs_f64())
            .bind(FORGET_ROWS)
            .execute(&mut *connection)
            .await
            .trying_to("write")?
            .rows_affected();
            forgotten += deleted;
            if deleted < FORGET_ROWS.cast_unsigned() {
                break;
            }
        }
    }
    Ok(forgotten)
}

/// Tells whoever tails the registry that something was committed. Losing one costs them the time to their next poll.
pub(super) async fn notify(shared: Arc<Shared>) {
    loop {
        shared.committed.notified().await;
        shared.moved.notify_one();
        let told = match shared.writers.acquire().await {
            Ok(mut connection) => sqlx::query("SELECT pg_notify($1, '')")
                .bind(CHANNEL)
                .execute(&mut *connection)
                .await
                .map(drop),
            Err(error) => Err(error),
        };
        if told.is_err_and(|error| is_unknown_there(&error)) {
            tracing::info!("the registry's engine has no notifications: its feed is polled");
            return;
        }
        tokio::time::sleep(NOTIFY_EVERY).await;
    }
}

/// Listens to what others tell.
pub(super) async fn listen(shared: Arc<Shared>) {
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&shared.writers).await {
            match listener.listen(CHANNEL).await {
                Ok(()) => {
                    while listener.recv().await.is_ok() {
                        shared.moved.notify_one();
                    }
                }
                Err(error) if is_unknown_there(&error) => return,
                Err(_disconnected) => {}
            }
        }
        tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
    }
}

/// Undefined function, feature not supported, syntax error.
fn is_unknown_there(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| matches!(code.as_str(), "42883" | "0A000" | "42601"))
}
