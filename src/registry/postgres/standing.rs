//! The standing record all replicas share: small, ordered like the feed, followed by the same tail.
//!
//! A change takes the next sequence under the head's row lock and commits before it lets go: a snapshot that holds a change holds
//! every one before it. A poll reads what lies after the last sequence it was told, in one statement; the first over each
//! connection, and of each epoch, reads the latest word about everybody instead. So whatever a restore or a promotion took away
//! or gave to others is seen: no connection outlives either.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::connection::{Role, Trying as _, aside, code_of, connect, forget};
use super::options::PostgresOptions;
use super::store::{PostgresRegistry, Shared, misconfigured};
use super::tail::in_time;
use crate::admission::standing::{
    Later, StandingFollower, StandingRecords, StandingUnavailable, StandingWord,
};
use crate::domain::standing::{RecordedState, StandingChange};
use crate::registry::embedded::{RegistryError, StoreError};

const LATEST: &str = "SELECT DISTINCT ON (whose) seq, whose, state, reason, changed_by, changed_us \
     FROM standing_change ORDER BY whose, seq DESC";
const AFTER: &str = "SELECT seq, whose, state, reason, changed_by, changed_us \
     FROM standing_change WHERE seq > $1 ORDER BY seq LIMIT $2";
const ADVANCE: &str = "UPDATE standing_head SET seq = seq + 1 RETURNING seq";
const APPEND: &str = "INSERT INTO standing_change (seq, whose, state, reason, changed_by, changed_us) \
     VALUES ($1, $2, $3, $4, $5, $6)";
/// Words told between two round trips.
const PAGE: i64 = 1_000;
const UNDEFINED_TABLE: &str = "42P01";
const MISSHAPEN: RegistryError = RegistryError::Damaged("a standing change");

/// How far the follower was told.
#[derive(Debug, Default)]
pub(super) struct StandingTail {
    /// The last sequence; `None`: everything is read anew.
    told: Option<i64>,
    /// Of the last poll.
    began: Duration,
}

impl StandingTail {
    /// Has the next poll read everything anew.
    pub(super) fn begin_anew(&mut self) {
        self.told = None;
    }

    /// Says when the last poll began, since boot.
    pub(super) fn began(&self) -> Duration {
        self.began
    }

    /// Tells every word that is on record, then that none is missing. `began`: now, since boot.
    pub(super) async fn poll(
        &mut self,
        connection: &mut PgConnection,
        follower: &dyn StandingFollower,
        began: Duration,
    ) -> Result<(), RegistryError> {
        self.began = began;
        let mut told = match self.told {
            Some(told) => told,
            None => {
                let rows = in_time(latest(connection)).await?;
                let last = last_seq(&rows)?.unwrap_or(0);
                follower.begins_with(words(&rows)?);
                last
            }
        };
        loop {
            let rows = in_time(after(connection, told)).await?;
            let Some(last) = last_seq(&rows)? else { break };
            follower.told(words(&rows)?);
            told = last;
        }
        self.told = Some(told);
        follower.current_as_of(began);
        Ok(())
    }
}

impl StandingRecords for PostgresRegistry {
    fn put(&self, change: StandingChange) -> Later<'_, Result<StandingWord, StandingUnavailable>> {
        let shared = Arc::clone(&self.shared);
        let put = self.run(async move { shared.put_standing(change).await });
        Box::pin(async move { put.await.map_err(|error| StandingUnavailable(Box::new(error))) })
    }
}

impl PostgresRegistry {
    /// Has the tail tell a follower of the shared standing record. Before [`Self::tail`]; the first one stands.
    pub fn follow_standing(&self, follower: Arc<dyn StandingFollower>) {
        let _set_once = self.shared.standing.set(follower);
    }

    /// Reads the latest word about everybody over one connection, and changes nothing. Blocks.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn standing_words(options: &PostgresOptions) -> Result<Vec<StandingWord>, RegistryError> {
        aside(async {
            options.check().map_err(misconfigured)?;
            let preparing = options.preparing().map_err(misconfigured)?;
            let connected = connect(&preparing, Role::Primary, options.connect_time_max).await;
            let mut connection = connected.trying_to("reach the server of")?;
            let read = in_time(async {
                match sqlx::query(LATEST).fetch_all(&mut connection).await {
                    // Nobody has made the registry yet, or brought it up to date.
                    Err(error) if code_of(&error).as_deref() == Some(UNDEFINED_TABLE) => Ok(Vec::new()),
                    read => read.trying_to("read"),
                }
            });
            let read = read.await;
            forget(connection);
            words(&read?)
        })
    }
}

impl Shared {
    /// Puts a change on record, rings for every replica, and tells this one's follower.
    async fn put_standing(&self, change: StandingChange) -> Result<StandingWord, RegistryError> {
        let mut connection = self.writers.acquire().await.trying_to("write")?;
        let within = self.options.lock_time_max + self.options.connect_time_max;
        let seq = match tokio::time::timeout(within, append(&mut connection, &change)).await {
            Ok(appended) => appended.trying_to("write")?,
            Err(_elapsed) => {
                // Not back into the pool: nobody knows when, or whether, the server will speak again.
                forget(connection.detach());
                return Err(RegistryError::Store {
                    action: "write",
                    source: StoreError::new(sqlx::Error::PoolTimedOut),
                });
            }
        };
        drop(connection);
        self.committed.notify_one();
        let word = StandingWord { seq: u64::try_from(seq).map_err(|_| MISSHAPEN)?, change };
        if let Some(follower) = self.standing.get() {
            follower.told(vec![word.clone()]);
        }
        Ok(word)
    }
}

async fn append(connection: &mut PgConnection, change: &StandingChange) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let seq: i64 = sqlx::query_scalar(ADVANCE).fetch_one(&mut *transaction).await?;
    sqlx::query(APPEND)
        .bind(seq)
        .bind(change.of.to_string())
        .bind(change.state.word())
        .bind(&change.reason)
        .bind(&change.by)
        .bind(change.at.as_microsecond())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(seq)
}

async fn latest(connection: &mut PgConnection) -> Result<Vec<PgRow>, RegistryError> {
    sqlx::query(LATEST).fetch_all(connection).await.trying_to("read")
}

async fn after(connection: &mut PgConnection, seq: i64) -> Result<Vec<PgRow>, RegistryError> {
    sqlx::query(AFTER).bind(seq).bind(PAGE).fetch_all(connection).await.trying_to("read")
}

fn last_seq(rows: &[PgRow]) -> Result<Option<i64>, RegistryError> {
    rows.iter().try_fold(None, |last, row| Ok(last.max(Some(row.try_get::<i64, _>(0).trying_to("read")?))))
}

fn words(rows: &[PgRow]) -> Result<Vec<StandingWord>, RegistryError> {
    let words: Result<Vec<_>, _> = rows.iter().map(word).collect();
    Ok(words?.into_iter().flatten().collect())
}

/// Reads a row; `None` for one about somebody only a later program knows how to judge.
fn word(row: &PgRow) -> Result<Option<StandingWord>, RegistryError> {
    let text = |column: usize| row.try_get::<&str, _>(column).trying_to("read");
    let seq = u64::try_from(row.try_get::<i64, _>(0).trying_to("read")?).map_err(|_| MISSHAPEN)?;
    let Ok(of) = text(1)?.parse() else {
        tracing::warn!(seq, "a standing change is about nobody this version knows: it has no effect here");
        return Ok(None);
    };
    let change = StandingChange {
        of,
        // A state only a later program knows is none that lets anybody in.
        state: text(2)?.parse().unwrap_or(RecordedState::Suspended),
        reason: text(3)?.to_owned(),
        by: text(4)?.to_owned(),
        at: Timestamp::from_microsecond(row.try_get::<i64, _>(5).trying_to("read")?)
            .map_err(|_| MISSHAPEN)?,
    };
    Ok(Some(StandingWord { seq, change }))
}

#[cfg(test)]
mod tests;
