//! What replicas tell each other about claims: marks and questions in the order they were committed, and a count for each replica.
//!
//! PostgreSQL carries it, not Redis: a deployment with several replicas has it, nothing it was told is lost, and while its primary is away no
//! claim is answered, so that nobody gains by it. One transaction a second writes, and only when there is something to tell; no request
//! waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::connection::{Trying as _, forget};
use super::store::{PostgresRegistry, Shared};
use crate::admission::claims::{
    ClaimNews, ClaimsUnshared, Heard, MarkNews, QuestionNews, SharedClaims, TallyNews,
};
use crate::admission::standing::Later;
use crate::domain::partner::PartnerId;
use crate::registry::embedded::{RegistryError, StoreError};

const ADVANCE: &str = "UPDATE claim_head SET seq = seq + 1 RETURNING seq";
const PUT_DOWN: &str = "INSERT INTO claim_mark (partner, window_us, mark, told_us, seq) \
     SELECT news.*, $5::bigint FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS news \
     ON CONFLICT DO NOTHING";
const COUNT: &str = "INSERT INTO claim_tally (partner, since_us, replica, unconfirmed) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (partner, since_us, replica) \
     DO UPDATE SET unconfirmed = GREATEST(claim_tally.unconfirmed, EXCLUDED.unconfirmed)";
const PUT_QUESTIONS_DOWN: &str = "INSERT INTO claim_question (partner, is_case, subject, question, asked_us, seq) \
     SELECT news.*, $6::bigint FROM UNNEST($1::text[], $2::boolean[], $3::bigint[], $4::bigint[], $5::bigint[]) AS news \
     ON CONFLICT (partner, is_case, subject, question) \
     DO UPDATE SET asked_us = EXCLUDED.asked_us, seq = EXCLUDED.seq WHERE claim_question.asked_us < EXCLUDED.asked_us";
const QUESTIONS: &str = "SELECT partner, is_case, subject, question, seq, asked_us FROM claim_question \
     WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
const SWEEP_QUESTIONS: &str = "DELETE FROM claim_question WHERE is_case = $2 AND asked_us < $1";
const SWEEP_MARKS: &str = "DELETE FROM claim_mark WHERE window_us < $1";
const SWEEP_TALLIES: &str = "DELETE FROM claim_tally WHERE since_us < $1";
const HEAD: &str = "SELECT seq FROM claim_head";
const MARKS: &str = "SELECT partner, window_us, mark, told_us, seq FROM claim_mark \
     WHERE seq > $1 AND seq <= $2 AND window_us >= $3 ORDER BY seq LIMIT $4";
const TALLIES: &str = "SELECT partner, since_us, SUM(unconfirmed)::bigint FROM claim_tally \
     WHERE replica <> $1 AND since_us >= $2 GROUP BY partner, since_us";

/// Marks, or questions, that share a seq.
const BATCH: usize = 1_000;
/// Marks read in one statement. Rows are counted, not seqs: the head grows for ever, and most of what lies below it is swept.
const PAGE: i64 = 33_000;
/// Pages read in one exchange: a replica that starts catches up over several, each in time.
const PAGES_MAX: usize = 8;
/// The longest window, and an hour for clocks.
const KEPT_FOR: Duration = Duration::from_hours(25);
/// The same of questions about a case.
const CASES_KEPT_FOR: Duration = Duration::from_hours(30 * 24 + 1);
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
    let before = |time: Duration| now.saturating_sub(time).unwrap_or(Timestamp::MIN).as_microsecond();
    let kept_from = before(KEPT_FOR);
    for batch in news.marks.chunks(BATCH) {
        put_down(connection, batch).await.trying_to("write")?;
    }
    for batch in news.questions.chunks(BATCH) {
        put_questions_down(connection, batch).await.trying_to("write")?;
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
    if !news.questions.is_empty() {
        for (is_case, kept_from) in [(false, kept_from), (true, before(CASES_KEPT_FOR))] {
            let sweep = sqlx::query(SWEEP_QUESTIONS).bind(kept_from).bind(is_case);
            sweep.execute(&mut *connection).await.trying_to("write")?;
        }
    }
    read(connection, replica, after.cast_signed(), kept_from).await
}

async fn put_down(connection: &mut PgConnection, marks: &[MarkNews]) -> Result<(), sqlx::Error> {
    let partners: Vec<&str> = marks.iter().map(|news| news.partner.as_str()).collect();
    let windows: Vec<i64> = marks.iter().map(|news| news.window_began.as_microsecond()).collect();
    let these: Vec<i64> = marks.iter().map(|news| news.mark.cast_signed()).collect();
    let told: Vec<i64> = marks.iter().map(|news| news.told_at.as_microsecond()).collect();
    let mut transaction = connection.begin().await?;
    let seq: i64 = sqlx::query_scalar(ADVANCE).fetch_one(&mut *transaction).await?;
    let put = sqlx::query(PUT_DOWN).bind(partners).bind(windows).bind(these).bind(told).bind(seq);
    put.execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn put_questions_down(
    connection: &mut PgConnection,
    questions: &[QuestionNews],
) -> Result<(), sqlx::Error> {
    // One statement may touch a row once.
    let mut latest: HashMap<_, &QuestionNews> = HashMap::new();
    for news in questions {
        let kept = latest.entry((&news.partner, news.is_case, news.key, news.question)).or_insert(news);
        if kept.asked_at < news.asked_at {
            *kept = news;
        }
    }
    let all = || latest.values();
    let mut transaction = connection.begin().await?;
    let seq: i64 = sqlx::query_scalar(ADVANCE).fetch_one(&mut *transaction).await?;
    sqlx::query(PUT_QUESTIONS_DOWN)
        .bind(all().map(|news| news.partner.as_str()).collect::<Vec<_>>())
        .bind(all().map(|news| news.is_case).collect::<Vec<_>>())
        .bind(all().map(|news| news.key.cast_signed()).collect::<Vec<_>>())
        .bind(all().map(|news| i64::from(news.question)).collect::<Vec<_>>())
        .bind(all().map(|news| news.asked_at.as_microsecond()).collect::<Vec<_>>())
        .bind(seq)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

async fn read(
    connection: &mut PgConnection,
    replica: &str,
    after: i64,
    kept_from: i64,
) -> Result<Heard, RegistryError> {
    // Before the marks: whoever counts a claim has put its mark down already, so no count comes without its numbers.
    let tallies = tallies(connection, replica, kept_from).await?;
    let head: i64 = sqlx::query_scalar(HEAD).fetch_one(&mut *connection).await.trying_to("read")?;
    // A restore or a promotion took some of them back: all are read anew.
    let mut up_to = if after > head { 0 } else { after };
    let (questions, told_to) = questions(connection, (up_to, head)).await?;
    let mut marks = Vec::new();
    for _ in 0..PAGES_MAX {
        if up_to == told_to {
            break;
        }
        up_to = page(connection, &mut marks, (up_to, told_to), kept_from).await?;
    }
    let news = ClaimNews { marks, tallies, questions };
    Ok(Heard { news, up_to: up_to.cast_unsigned(), is_all: up_to == head })
}

/// Reads the questions after `from`, up to `head` or as many as a page has. Returns up to where.
async fn questions(
    connection: &mut PgConnection,
    (from, head): (i64, i64),
) -> Result<(Vec<QuestionNews>, i64), RegistryError> {
    let page = sqlx::query(QUESTIONS).bind(from).bind(head).bind(PAGE);
    let rows = page.fetch_all(connection).await.trying_to("read")?;
    let mut questions = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(partner) = partner(row)? else { continue };
        let (key, question): (i64, i64) =
            (row.try_get(2).trying_to("read")?, row.try_get(3).trying_to("read")?);
        questions.push(QuestionNews {
            partner,
            is_case: row.try_get(1).trying_to("read")?,
            key: key.cast_unsigned(),
            question: u32::try_from(question).map_err(|_| MISSHAPEN)?,
            asked_at: moment(row, 5)?,
        });
    }
    Ok((questions, end_of(&rows, head)?))
}

/// Returns up to where a page is whole: of the last seq on a full one some rows may be missing. A page holds more than one seq does.
fn end_of(rows: &[PgRow], head: i64) -> Result<i64, RegistryError> {
    let last = rows.last().filter(|_| rows.len() as u64 == PAGE.cast_unsigned());
    last.map_or(Ok(head), |row| seq(row).map(|last| last - 1))
}

async fn tallies(
    connection: &mut PgConnection,
    replica: &str,
    kept_from: i64,
) -> Result<Vec<TallyNews>, RegistryError> {
    let mut tallies = Vec::new();
    let rows = sqlx::query(TALLIES).bind(replica).bind(kept_from).fetch_all(connection).await;
    for row in rows.trying_to("read")? {
        let (Some(partner), since) = (partner(&row)?, moment(&row, 1)?) else { continue };
        let unconfirmed: i64 = row.try_get(2).trying_to("read")?;
        tallies.push(TallyNews { partner, since, unconfirmed: unconfirmed.cast_unsigned() });
    }
    Ok(tallies)
}

/// Reads the marks after `from`, up to `head` or as many as a page has. Returns up to where.
async fn page(
    connection: &mut PgConnection,
    marks: &mut Vec<MarkNews>,
    (from, head): (i64, i64),
    kept_from: i64,
) -> Result<i64, RegistryError> {
    let page = sqlx::query(MARKS).bind(from).bind(head).bind(kept_from).bind(PAGE);
    let rows = page.fetch_all(connection).await.trying_to("read")?;
    let up_to = end_of(&rows, head)?;
    for row in &rows {
        let (Some(partner), window_began) = (partner(row)?, moment(row, 1)?) else { continue };
        let mark: i64 = row.try_get(2).trying_to("read")?;
        if seq(row)? <= up_to {
            let (mark, told_at) = (mark.cast_unsigned(), moment(row, 3)?);
            marks.push(MarkNews { partner, window_began, mark, told_at });
        }
    }
    Ok(up_to)
}

fn seq(row: &PgRow) -> Result<i64, RegistryError> {
    row.try_get(4).trying_to("read")
}

/// Reads whose news it is; `None`: an id this version does not know.
fn partner(row: &PgRow) -> Result<Option<PartnerId>, RegistryError> {
    Ok(row.try_get::<&str, _>(0).trying_to("read")?.parse().ok())
}

fn moment(row: &PgRow, column: usize) -> Result<Timestamp, RegistryError> {
    Timestamp::from_microsecond(row.try_get(column).trying_to("read")?).map_err(|_| MISSHAPEN)
}

#[cfg(test)]
mod tests;
