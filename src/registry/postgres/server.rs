//! On which server, and in which branch of its history, the epoch in force began. Another one begins a new epoch.
//!
//! A promoted standby may lack the last changes the old primary acknowledged, and gives their sequences to others; so does a
//! server restored from a backup. Each runs on a new *timeline* (or is another system altogether), which is how they are told
//! apart: every connection that changes or tails the registry compares, and whoever finds a difference begins a new epoch
//! before anything else. A folder that was copied back while the server was down shows no such trace: `drivegate registry
//! new-epoch` is for that.
//!
//! Engines without timelines (their consensus never loses an acknowledged change) have one branch.

use sqlx::PgConnection;

use super::connection::{Trying as _, code_of};
use crate::registry::embedded::RegistryError;

/// System, then timeline. The first eight characters of a WAL file's name are its timeline.
const IDENTITY: &str = "SELECT system_identifier::text || '.' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) \
                        FROM pg_control_system()";
/// What a server without timelines is called.
const ONE_BRANCH: &str = "one-branch";
/// Undefined function; feature not supported.
const NO_TIMELINES: [&str; 2] = ["42883", "0A000"];

/// Times from here on (the year 2096) are taken for a clock that is wrong: they would leave no room for later epochs.
const EPOCH_TIME_END: i64 = 4_000_000_000;

/// Asks the server who it is. Outside a transaction: an engine that has no timelines answers with an error.
pub(super) async fn identity(connection: &mut PgConnection) -> Result<String, RegistryError> {
    match sqlx::query_scalar::<_, String>(IDENTITY).fetch_one(connection).await {
        Ok(identity) => Ok(identity),
        Err(error) if code_of(&error).is_some_and(|code| NO_TIMELINES.contains(&code.as_str())) => {
            Ok(ONE_BRANCH.to_owned())
        }
        Err(error) => Err(error).trying_to("identify the server of"),
    }
}

/// Begins a new epoch if the one in force began elsewhere. Says whether it did.
pub(super) async fn settle(connection: &mut PgConnection) -> Result<bool, RegistryError> {
    let here = identity(connection).await?;
    let there: String = sqlx::query_scalar("SELECT server FROM registry")
        .fetch_one(&mut *connection)
        .await
        .trying_to("read")?;
    if here == there {
        return Ok(false);
    }
    let epoch = begin_epoch(connection, &here, Some(&there), 0).await?;
    if let Some(epoch) = epoch {
        tracing::warn!(epoch, "the registry's server changed or was restored: a new epoch begins");
    }
    Ok(true)
}

/// Begins a new epoch on this server, later than `known`; with `expected`, only if nobody else did since. Returns the epoch that
/// was begun.
///
/// Its number is the server's time in seconds, unless a later one was in force: the next number of a copy that was restored may
/// have been in force on the branch that was lost, of which the copy knows nothing, and what caches hold of that branch would
/// count as current. (`tests/freshness-model` finds it: `EpochNumberedByCopy`.)
pub(super) async fn begin_epoch(
    connection: &mut PgConnection,
    here: &str,
    expected: Option<&str>,
    known: u32,
) -> Result<Option<u32>, RegistryError> {
    use sqlx::Connection as _;
    let time: i64 = sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp())::bigint")
        .fetch_one(&mut *connection)
        .await
        .trying_to("read")?;
    let at_least = if time < EPOCH_TIME_END { time.max(i64::from(known) + 1) } else { i64::from(known) + 1 };
    let mut transaction = connection.begin().await.trying_to("write")?;
    let moved = sqlx::query("UPDATE registry SET server = $1 WHERE $2::text IS NULL OR server = $2")
        .bind(here)
        .bind(expected)
        .execute(&mut *transaction)
        .await
        .trying_to("write")?;
    if moved.rows_affected() == 0 {
        transaction.rollback().await.trying_to("write")?;
        return Ok(None);
    }
    // One by one and in order, as every change does: two that meet wait for each other and never in a circle.
    let partitions: Vec<i16> = sqlx::query_scalar("SELECT partition FROM feed_head ORDER BY partition")
        .fetch_all(&mut *transaction)
        .await
        .trying_to("read")?;
    let mut epoch = at_least;
    for partition in partitions {
        let next: i64 = sqlx::query_scalar(
            "UPDATE feed_head SET epoch = greatest(epoch + 1, $2) WHERE partition = $1 RETURNING epoch",
        )
        .bind(partition)
        .bind(epoch)
        .fetch_one(&mut *transaction)
        .await
        .trying_to("write")?;
        epoch = next;
    }
    transaction.commit().await.trying_to("write")?;
    u32::try_from(epoch).map(Some).map_err(|_| RegistryError::Damaged("epochs have run out"))
}
