//! The index of look-ups: plain tables, a batch of look-ups and the log's cursor in one transaction.
//!
//! The transaction is not waited for at the server's disk: a crash takes rows and cursor back together, and the feeder begins
//! where the cursor is.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::connection::{Trying as _, forget};
use super::store::{PostgresRegistry, Shared};
use super::writing::Trouble;
use crate::evidence::ports::{Found, IndexUnavailable, LookUp, LookUpIndex, SubjectHandle};
use crate::registry::embedded::{RegistryError, StoreError};
use crate::verification::ports::{EntryAt, Later};

const LOCK: &str = "SELECT id, cursor FROM look_up_log WHERE origin = $1 FOR UPDATE";
const BEGIN: &str = "INSERT INTO look_up_log (id, origin) VALUES ($1, $2) ON CONFLICT (origin) DO NOTHING";
const ADD: &str = "INSERT INTO look_up (log, entry_index, at_us, subject, request, case_digest) \
     SELECT $1::bigint, added.* FROM \
     UNNEST($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[]) AS added";
const ADVANCE: &str = "UPDATE look_up_log SET cursor = $2 WHERE id = $1";
const SET_ASIDE: &str = "UPDATE look_up_log SET origin = NULL WHERE origin = $1";
const SWEEP: &str = "DELETE FROM look_up WHERE (log, entry_index) IN (SELECT log, entry_index FROM look_up \
     WHERE log IN (SELECT id FROM look_up_log WHERE origin IS NULL) LIMIT $1)";
const END: &str = "DELETE FROM look_up_log l WHERE origin IS NULL \
     AND NOT EXISTS (SELECT 1 FROM look_up WHERE log = l.id)";
/// Rows deleted in one transaction.
const SWEEP_ROWS: i64 = 10_000;

const BY_SUBJECT: &str = "SELECT l.at_us, o.origin, l.entry_index FROM look_up l JOIN look_up_log o ON o.id = l.log \
     WHERE l.subject = $1 AND o.origin IS NOT NULL AND l.at_us <= $2 AND (l.at_us, o.origin, l.entry_index) < ($2, $3 COLLATE \"C\", $4) \
     ORDER BY l.at_us DESC, o.origin DESC, l.entry_index DESC LIMIT $5";
const BY_CASE: &str = "SELECT l.at_us, o.origin, l.entry_index FROM look_up l JOIN look_up_log o ON o.id = l.log \
     WHERE l.case_digest = $1 AND o.origin IS NOT NULL AND l.at_us <= $2 AND (l.at_us, o.origin, l.entry_index) < ($2, $3 COLLATE \"C\", $4) \
     ORDER BY l.at_us DESC, o.origin DESC, l.entry_index DESC LIMIT $5";
const BY_REQUEST: &str = "SELECT l.at_us, o.origin, l.entry_index FROM look_up l JOIN look_up_log o ON o.id = l.log \
     WHERE l.request = $1 AND o.origin IS NOT NULL \
     ORDER BY l.at_us DESC, o.origin DESC, l.entry_index DESC LIMIT $2";
/// Entries of one request that are found: one, unless it was answered again after its charge was forgotten.
const REQUEST_ENTRIES_MAX: i64 = 64;

const BAD_NUMBER: RegistryError = RegistryError::Damaged("a number of the index of look-ups");

impl LookUpIndex for PostgresRegistry {
    fn cursor(&self, origin: &str) -> Later<'_, Result<u64, IndexUnavailable>> {
        let (shared, origin) = (Arc::clone(&self.shared), origin.to_owned());
        self.ask_index(async move {
            let mut connection = shared.writers.acquire().await.trying_to("read")?;
            let cursor = sqlx::query_scalar("SELECT cursor FROM look_up_log WHERE origin = $1").bind(origin);
            let cursor: Option<i64> = cursor.fetch_optional(&mut *connection).await.trying_to("read")?;
            unsigned(cursor.unwrap_or_default())
        })
    }

    fn take_in(
        &self,
        origin: &str,
        from: u64,
        to: u64,
        look_ups: Vec<LookUp>,
    ) -> Later<'_, Result<u64, IndexUnavailable>> {
        let (shared, origin) = (Arc::clone(&self.shared), origin.to_owned());
        self.ask_index(async move { shared.take_in(&origin, from, to, &look_ups).await })
    }

    fn forget(&self, origin: &str) -> Later<'_, Result<(), IndexUnavailable>> {
        let (shared, origin) = (Arc::clone(&self.shared), origin.to_owned());
        self.ask_index(async move { shared.forget_log(&origin).await })
    }

    fn by_subject(
        &self,
        subject: SubjectHandle,
        before: Option<Found>,
        limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        let shared = Arc::clone(&self.shared);
        self.ask_index(async move { shared.search(BY_SUBJECT, subject.0, before, limit).await })
    }

    fn by_request(&self, request: [u8; 16]) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        let shared = Arc::clone(&self.shared);
        self.ask_index(async move {
            let mut connection = shared.writers.acquire().await.trying_to("read")?;
            let query = sqlx::query(BY_REQUEST).bind(&request[..]).bind(REQUEST_ENTRIES_MAX);
            let rows = query.fetch_all(&mut *connection).await.trying_to("read")?;
            rows.iter().rev().map(found).collect()
        })
    }

    fn by_case(
        &self,
        case: [u8; 16],
        before: Option<Found>,
        limit: usize,
    ) -> Later<'_, Result<Vec<Found>, IndexUnavailable>> {
        let shared = Arc::clone(&self.shared);
        self.ask_index(async move { shared.search(BY_CASE, case, before, limit).await })
    }
}

impl PostgresRegistry {
    /// Runs a part of the index on the store's runtime; what went wrong is for the operator's eyes.
    fn ask_index<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Later<'static, Result<T, IndexUnavailable>> {
        let work = self.run(work);
        Box::pin(async move {
            work.await.map_err(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the index of look-ups is unavailable"
                );
                IndexUnavailable
            })
        })
    }
}

impl Shared {
    /// One attempt, given up when the server says nothing for longer than it may take.
    async fn take_in(
        &self,
        origin: &str,
        from: u64,
        to: u64,
        look_ups: &[LookUp],
    ) -> Result<u64, RegistryError> {
        let rows = Rows::of(look_ups)?;
        let mut connection = self.writers.acquire().await.trying_to("write")?;
        let within = self.options.lock_time_max + self.options.write_time_max;
        let attempt = take_in(&mut connection, origin, from, to, &rows);
        match tokio::time::timeout(within, attempt).await {
            Ok(Ok(cursor)) => Ok(cursor),
            Ok(Err(Trouble::Registry(error))) => Err(error),
            Ok(Err(Trouble::Server(error))) => {
                Err(RegistryError::Store { action: "write", source: StoreError::new(error) })
            }
            Err(_elapsed) => {
                // Not back into the pool: nobody knows when, or whether, the server will speak again.
                forget(connection.detach());
                Err(sqlx::Error::PoolTimedOut).trying_to("write")
            }
        }
    }

    /// Forgets a log at once; then deletes its rows, and those of logs whose forgetting was broken off.
    async fn forget_log(&self, origin: &str) -> Result<(), RegistryError> {
        let mut connection = self.writers.acquire().await.trying_to("write")?;
        sqlx::query(SET_ASIDE).bind(origin).execute(&mut *connection).await.trying_to("write")?;
        loop {
            let swept = sqlx::query(SWEEP).bind(SWEEP_ROWS).execute(&mut *connection).await;
            if swept.trying_to("write")?.rows_affected() == 0 {
                break;
            }
        }
        sqlx::query(END).execute(&mut *connection).await.trying_to("write").map(drop)
    }

    async fn search(
        &self,
        statement: &'static str,
        key: [u8; 16],
        before: Option<Found>,
        limit: usize,
    ) -> Result<Vec<Found>, RegistryError> {
        let (at, origin, index) = match &before {
            // After every row there can be.
            None => (i64::MAX, "", 0),
            Some(Found { at, place }) => (at.as_microsecond(), &*place.origin, signed(place.index)?),
        };
        let mut connection = self.writers.acquire().await.trying_to("read")?;
        let query = sqlx::query(statement).bind(&key[..]).bind(at).bind(origin).bind(index);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&mut *connection).await.trying_to("read")?;
        rows.iter().map(found).collect()
    }
}

/// Look-ups as columns.
struct Rows<'l> {
    indices: Vec<i64>,
    moments: Vec<i64>,
    subjects: Vec<&'l [u8]>,
    requests: Vec<Option<&'l [u8]>>,
    cases: Vec<&'l [u8]>,
}

impl<'l> Rows<'l> {
    fn of(look_ups: &'l [LookUp]) -> Result<Self, RegistryError> {
        Ok(Self {
            indices: look_ups.iter().map(|look_up| signed(look_up.index)).collect::<Result<_, _>>()?,
            moments: look_ups.iter().map(|look_up| look_up.at.as_microsecond()).collect(),
            subjects: look_ups.iter().map(|look_up| &look_up.subject.0[..]).collect(),
            requests: look_ups.iter().map(|look_up| look_up.request.as_ref().map(|key| &key[..])).collect(),
            cases: look_ups.iter().map(|look_up| &look_up.case[..]).collect(),
        })
    }
}

async fn take_in(
    connection: &mut PgConnection,
    origin: &str,
    from: u64,
    to: u64,
    rows: &Rows<'_>,
) -> Result<u64, Trouble> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await?;
    let mut log: Option<(i64, i64)> = lock(&mut transaction, origin).await?;
    if log.is_none() && from == 0 {
        let id = i64::try_from(rand::random::<u64>() >> 1).unwrap_or_default();
        sqlx::query(BEGIN).bind(id).bind(origin).execute(&mut *transaction).await?;
        log = lock(&mut transaction, origin).await?;
    }
    let cursor = log.map_or(Ok(0), |(_, cursor)| unsigned(cursor))?;
    let Some((id, _)) = log.filter(|_| cursor == from && from <= to) else {
        transaction.rollback().await?;
        return Ok(cursor);
    };
    if !rows.indices.is_empty() {
        sqlx::query(ADD)
            .bind(id)
            .bind(&rows.indices)
            .bind(&rows.moments)
            .bind(&rows.subjects)
            .bind(&rows.requests)
            .bind(&rows.cases)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query(ADVANCE).bind(id).bind(signed(to)?).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(to)
}

/// Reads a log's id and cursor, and holds them.
async fn lock(connection: &mut PgConnection, origin: &str) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let row = sqlx::query(LOCK).bind(origin).fetch_optional(connection).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

fn found(row: &PgRow) -> Result<Found, RegistryError> {
    let at = Timestamp::from_microsecond(row.try_get(0).trying_to("read")?).map_err(|_| BAD_NUMBER)?;
    let origin: &str = row.try_get(1).trying_to("read")?;
    let index = unsigned(row.try_get(2).trying_to("read")?)?;
    Ok(Found { at, place: EntryAt { origin: origin.into(), index } })
}

fn signed(number: u64) -> Result<i64, RegistryError> {
    i64::try_from(number).map_err(|_| BAD_NUMBER)
}

fn unsigned(number: i64) -> Result<u64, RegistryError> {
    u64::try_from(number).map_err(|_| BAD_NUMBER)
}

#[cfg(test)]
mod tests;
