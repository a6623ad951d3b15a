//! A batch is one transaction: its partitions are locked in order, read, merged in memory, written, and only then given their
//! next sequences.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use sqlx::{Connection as _, PgConnection, Row as _};
use zeroize::Zeroizing;

use super::connection::{forget, is_collision};
use super::intake;
use super::plan::{Asked, OnFile, Plan, Writes};
use super::store::Shared;
use crate::domain::subject::{NumberPseudonym, Position, SubjectId};
use crate::registry::codec;
use crate::registry::embedded::{RegistryError, StoreError};
use crate::registry::store::FeedHeads;
use crate::registry::submission::{Outcome, Submission};

/// A batch that lost against another one is tried again, so often.
pub(super) const ATTEMPTS: u32 = 4;

const LOCK: &str = "SELECT epoch, seq FROM feed_head WHERE partition = $1 FOR UPDATE";
const OWNERS: &str = "SELECT pseudonym, subject FROM number WHERE partition = $1 AND pseudonym = ANY($2)";
const RECORDS: &str = "SELECT subject, sealed FROM record WHERE partition = $1 AND subject = ANY($2)";
const ADD_NUMBERS: &str = "INSERT INTO number (partition, pseudonym, subject) \
     SELECT $1::smallint, added.* FROM UNNEST($2::bytea[], $3::bytea[]) AS added";
const PUT_RECORDS: &str = "INSERT INTO record (partition, subject, sealed) \
     SELECT $1::smallint, put.* FROM UNNEST($2::bytea[], $3::bytea[]) AS put \
     ON CONFLICT (partition, subject) DO UPDATE SET sealed = excluded.sealed";
const APPEND: &str = "INSERT INTO feed (partition, epoch, seq, subject, pseudonyms) \
     SELECT $1::smallint, $2::bigint, appended.* FROM UNNEST($3::bigint[], $4::bytea[], $5::bytea[]) AS appended";
const ADVANCE: &str = "UPDATE feed_head SET seq = seq + $2 WHERE partition = $1 RETURNING seq";

/// Why an attempt did not succeed.
pub(super) enum Trouble {
    Server(sqlx::Error),
    Registry(RegistryError),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Server(error)
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl Shared {
    /// Applies a batch in one durable transaction.
    pub(super) async fn apply(
        &self,
        batch: &[Submission],
        began: Option<&FeedHeads>,
    ) -> Result<Vec<Outcome>, RegistryError> {
        let asked: Vec<_> = batch.iter().map(|submission| Asked::new(submission, &self.keys)).collect();
        let numbers = asked.iter().flat_map(|asked| &asked.numbers);
        let mut partitions: BTreeSet<u16> = numbers.map(|number| self.layout.home(number)).collect();
        for attempt in 1.. {
            match self.apply_in_time(&asked, &mut partitions, began).await {
                Ok(Some(outcomes)) => return Ok(outcomes),
                // Somebody's record lies in a partition that was not locked: now it is known which.
                Ok(None) => {}
                Err(Trouble::Server(error)) if attempt < ATTEMPTS && is_collision(&error) => {}
                Err(Trouble::Server(error)) => {
                    return Err(RegistryError::Store { action: "write", source: StoreError::new(error) });
                }
                Err(Trouble::Registry(error)) => return Err(error),
            }
        }
        Ok(Vec::new())
    }

    /// One attempt, given up when the server says nothing for longer than it may take.
    async fn apply_in_time(
        &self,
        asked: &[Asked<'_>],
        partitions: &mut BTreeSet<u16>,
        began: Option<&FeedHeads>,
    ) -> Result<Option<Vec<Outcome>>, Trouble> {
        let mut connection = self.writers.acquire().await?;
        let within = self.options.lock_time_max + self.options.write_time_max;
        let attempt = self.try_apply(&mut connection, asked, partitions, began);
        match tokio::time::timeout(within, attempt).await {
            Ok(done) => done,
            Err(_elapsed) => {
                // Not back into the pool: nobody knows when, or whether, the server will speak again.
                forget(connection.detach());
                Err(Trouble::Server(sqlx::Error::PoolTimedOut))
            }
        }
    }

    async fn try_apply(
        &self,
        connection: &mut PgConnection,
        asked: &[Asked<'_>],
        partitions: &mut BTreeSet<u16>,
        began: Option<&FeedHeads>,
    ) -> Result<Option<Vec<Outcome>>, Trouble> {
        let mut transaction = connection.begin().await?;
        let mut plan = Plan::new(Arc::clone(&self.keys), self.layout, began.cloned());
        lock(&mut transaction, &mut plan, partitions).await?;
        self.read_owners(&mut transaction, &mut plan, asked).await?;
        let owned: BTreeSet<SubjectId> = plan.owners.values().copied().collect();
        let needed: BTreeSet<u16> = owned.iter().map(|subject| self.layout.of_subject(subject)).collect();
        if !needed.is_subset(partitions) {
            transaction.rollback().await?;
            partitions.extend(needed);
            return Ok(None);
        }
        self.read_records(&mut transaction, &mut plan, &owned).await?;
        let mut outcomes = Vec::with_capacity(asked.len());
        for asked in asked {
            outcomes.push(plan.take(asked)?);
        }
        if plan.writes.is_empty() {
            transaction.rollback().await?;
            return Ok(Some(outcomes));
        }
        // What waited for these subjects must not be forgotten: their answers are in dispute while it waits.
        let ledger = intake::notice(self, &mut transaction, plan).await?;
        for (partition, writes) in &ledger.base.writes {
            write(&mut transaction, ledger.base.epoch, *partition, writes).await?;
        }
        intake::write_noticed(&mut transaction, &ledger).await?;
        transaction.commit().await?;
        self.publish(&ledger.base);
        Ok(Some(outcomes))
    }

    async fn read_owners(
        &self,
        connection: &mut PgConnection,
        plan: &mut Plan,
        asked: &[Asked<'_>],
    ) -> Result<(), Trouble> {
        for partition in plan.heads.keys().copied().collect::<Vec<_>>() {
            let numbers = asked.iter().flat_map(|asked| &asked.numbers);
            let here = numbers.filter(|number| self.layout.home(number) == partition);
            let here: Vec<&[u8]> = here.map(|number| &number.as_bytes()[..]).collect();
            if here.is_empty() {
                continue;
            }
            let rows = sqlx::query(OWNERS)
                .bind(partition.cast_signed())
                .bind(here)
                .fetch_all(&mut *connection)
                .await?;
            for row in rows {
                plan.owners.insert(
                    NumberPseudonym::from_bytes(sixteen(row.try_get(0)?)?),
                    SubjectId::from_bytes(sixteen(row.try_get(1)?)?),
                );
            }
        }
        Ok(())
    }

    pub(super) async fn read_records(
        &self,
        connection: &mut PgConnection,
        plan: &mut Plan,
        subjects: &BTreeSet<SubjectId>,
    ) -> Result<(), Trouble> {
        let mut scratch = Zeroizing::default();
        for partition in plan.heads.keys().copied().collect::<Vec<_>>() {
            let here = subjects.iter().filter(|subject| self.layout.of_subject(subject) == partition);
            let here: Vec<&[u8]> = here.map(|subject| &subject.as_bytes()[..]).collect();
            if here.is_empty() {
                continue;
            }
            let rows = sqlx::query(RECORDS)
                .bind(partition.cast_signed())
                .bind(here)
                .fetch_all(&mut *connection)
                .await?;
            for row in rows {
                let subject = SubjectId::from_bytes(sixteen(row.try_get(0)?)?);
                let opened = self.keys.sealing.open(row.try_get(1)?, subject.as_bytes(), &mut scratch);
                let record = opened.ok().and_then(|plain| codec::decode(subject, plain).ok());
                plan.records.insert(subject, record.map_or(OnFile::Unreadable, OnFile::Read));
            }
        }
        Ok(())
    }

    /// Makes a commit known: what this process knows of the heads, then observers, then everybody else.
    pub(super) fn publish(&self, plan: &Plan) {
        let rows = || plan.writes.values().flat_map(|writes| &writes.feed);
        for observer in &*self.observers.read().unwrap_or_else(PoisonError::into_inner) {
            for row in rows() {
                observer.changed(&row.subject, &row.pseudonyms, row.position);
            }
        }
        for (partition, seq) in &plan.heads {
            self.known.note(Position { epoch: plan.epoch, partition: *partition, seq: *seq });
        }
        self.committed.notify_one();
    }
}

/// Locks the heads, lowest first: two batches that meet wait for each other and never in a circle.
pub(super) async fn lock(
    connection: &mut PgConnection,
    plan: &mut Plan,
    partitions: &BTreeSet<u16>,
) -> Result<(), Trouble> {
    const MISSHAPEN: RegistryError = RegistryError::Damaged("a feed head");
    for partition in partitions {
        let row = sqlx::query(LOCK).bind(partition.cast_signed()).fetch_one(&mut *connection).await?;
        let epoch = u32::try_from(row.try_get::<i64, _>(0)?).map_err(|_| MISSHAPEN)?;
        if plan.epoch != 0 && plan.epoch != epoch {
            return Err(RegistryError::Damaged("its partitions are of different epochs").into());
        }
        plan.epoch = epoch;
        let seq = u64::try_from(row.try_get::<i64, _>(1)?).map_err(|_| MISSHAPEN)?;
        plan.heads.insert(*partition, seq);
    }
    Ok(())
}

pub(super) async fn write(
    connection: &mut PgConnection,
    epoch: u32,
    partition: u16,
    writes: &Writes,
) -> Result<(), Trouble> {
    let partition = partition.cast_signed();
    if !writes.numbers.is_empty() {
        let numbers: Vec<&[u8]> = writes.numbers.iter().map(|(number, _)| &number.as_bytes()[..]).collect();
        let owners: Vec<&[u8]> = writes.numbers.iter().map(|(_, subject)| &subject.as_bytes()[..]).collect();
        let query = sqlx::query(ADD_NUMBERS).bind(partition).bind(numbers).bind(owners);
        query.execute(&mut *connection).await?;
    }
    if !writes.records.is_empty() {
        let subjects: Vec<&[u8]> = writes.records.keys().map(|subject| &subject.as_bytes()[..]).collect();
        let sealed: Vec<&[u8]> = writes.records.values().map(Vec::as_slice).collect();
        let query = sqlx::query(PUT_RECORDS).bind(partition).bind(subjects).bind(sealed);
        query.execute(&mut *connection).await?;
    }
    append(connection, epoch, partition, writes).await?;
    // Last: what a reader can see at a sequence is whole, and the row is locked anyway.
    let seq: i64 = sqlx::query_scalar(ADVANCE)
        .bind(partition)
        .bind(i64::try_from(writes.feed.len()).unwrap_or(i64::MAX))
        .fetch_one(connection)
        .await?;
    let last = writes.feed.last().map_or(0, |row| row.position.seq);
    if seq.cast_unsigned() == last { Ok(()) } else { Err(RegistryError::Damaged("a feed head").into()) }
}

async fn append(
    connection: &mut PgConnection,
    epoch: u32,
    partition: i16,
    writes: &Writes,
) -> Result<(), Trouble> {
    let seqs: Vec<i64> = writes.feed.iter().map(|row| row.position.seq.cast_signed()).collect();
    let subjects: Vec<&[u8]> = writes.feed.iter().map(|row| &row.subject.as_bytes()[..]).collect();
    let pseudonyms: Vec<Vec<u8>> = writes.feed.iter().map(|row| joined(&row.pseudonyms)).collect();
    sqlx::query(APPEND)
        .bind(partition)
        .bind(i64::from(epoch))
        .bind(seqs)
        .bind(subjects)
        .bind(pseudonyms)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn joined(pseudonyms: &[NumberPseudonym]) -> Vec<u8> {
    pseudonyms.iter().flat_map(|pseudonym| *pseudonym.as_bytes()).collect()
}

pub(super) fn sixteen(bytes: &[u8]) -> Result<[u8; 16], RegistryError> {
    bytes.try_into().map_err(|_| RegistryError::Damaged("an identifier has the wrong size"))
}
