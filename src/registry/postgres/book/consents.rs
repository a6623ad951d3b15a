//! Consents: noted as they are used, listed, withdrawn. A withdrawal is one transaction: the stop on the record, its place on the feed, the
//! mark on the book.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::try_on_book;
use crate::domain::licence::{Stops, StopsFull};
use crate::domain::partner::PartnerId;
use crate::domain::question::Purpose;
use crate::domain::subject::SubjectId;
use crate::issuing::ports::{ConsentId, ConsentOnBook, ConsentPlace, DriverConsents, StopFault};
use crate::registry::book::{CONSENTS_MAX, OnBook, UNREADABLE, consent_of, page_of, withdraw};
use crate::registry::embedded::RegistryError;
use crate::registry::postgres::plan::{OnFile, Plan};
use crate::registry::postgres::store::{PostgresRegistry, Shared};
use crate::registry::postgres::writing::{self, Trouble, sixteen};
use crate::verification::ports::{ConsentBook, ConsentUsed, Later, Soon, StoreUnavailable};

const FIND: &str = "SELECT sealed FROM consent WHERE partition = $1 AND subject = $2 AND id = $3";
/// Whoever changes a consent waits for whoever else does.
const HOLD: &str = "SELECT sealed FROM consent WHERE partition = $1 AND subject = $2 AND id = $3 FOR UPDATE";
const ADD: &str = "INSERT INTO consent (partition, subject, id, sealed) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (partition, subject, id) DO NOTHING";
const PUT: &str = "UPDATE consent SET sealed = $4 WHERE partition = $1 AND subject = $2 AND id = $3";
const REMOVE: &str = "DELETE FROM consent WHERE partition = $1 AND subject = $2 AND id = $3";
const ALL: &str = "SELECT id, sealed FROM consent WHERE partition = $1 AND subject = $2";
const COUNT: &str = "SELECT count(*) FROM consent WHERE partition = $1 AND subject = $2";

impl ConsentBook for PostgresRegistry {
    fn note<'a>(&'a self, used: &ConsentUsed<'_>) -> Soon<'a, Result<(), StoreUnavailable>> {
        let (subject, consent) = (used.subject, consent_of(&self.shared.keys, used));
        if self.shared.desk.known.holds(&consent) {
            return Soon::Now(Ok(()));
        }
        Soon::Later(self.ask_book(async move |shared| {
            try_on_book!(&shared, connection => note(connection, &shared, subject, &consent).await)?;
            shared.desk.known.remember(&consent);
            Ok(())
        }))
    }
}

impl DriverConsents for PostgresRegistry {
    fn list(
        &self,
        subject: SubjectId,
        before: Option<ConsentPlace>,
        limit: usize,
    ) -> Later<'_, Result<Vec<ConsentOnBook>, StoreUnavailable>> {
        self.ask_book(async move |shared| {
            let all = try_on_book!(&shared, connection => all(connection, &shared, subject).await);
            Ok(page_of(all?, before, limit))
        })
    }

    fn withdraw(
        &self,
        subject: SubjectId,
        consent: ConsentId,
        at: Timestamp,
    ) -> Later<'_, Result<Option<Timestamp>, StopFault>> {
        let asked = self.ask_book(async move |shared| {
            try_on_book!(&shared, connection => {
                let mut work = Stopping::begin(connection, &shared, subject).await?;
                let Some(known) = work.consent(consent).await? else { return Ok(None) };
                if let Some(since) = known.withdrawn_at {
                    return Ok(Some(Ok(since)));
                }
                let Some(since) = work.stop(|stops| withdraw(stops, &known, at))? else { return Ok(None) };
                let Ok(since) = since else { return Ok(Some(since)) };
                let marked = ConsentOnBook { withdrawn_at: Some(since), ..known };
                work.put(&marked).await?;
                work.commit().await?;
                Ok(Some(Ok(since)))
            })
        });
        Box::pin(async move { Ok(asked.await?.transpose()?) })
    }

    fn object(
        &self,
        subject: SubjectId,
        partner: PartnerId,
        purpose: Purpose,
        at: Timestamp,
    ) -> Later<'_, Result<Timestamp, StopFault>> {
        let asked = self.ask_book(async move |shared| {
            try_on_book!(&shared, connection => {
                let mut work = Stopping::begin(connection, &shared, subject).await?;
                let stopped = work.stop(|stops| {
                    let known = stops.of(&partner, purpose).and_then(|stop| stop.objected_at);
                    Ok((stops.object(partner.clone(), purpose, at)?, known.is_none()))
                })?;
                work.commit().await?;
                // Where nothing is on record there is nothing that could be looked up.
                Ok(stopped.unwrap_or(Ok(at)))
            })
        });
        Box::pin(async move { Ok(asked.await??) })
    }
}

/// A transaction that changes what a driver stopped, under the lock of the subject's partition. Dropped, it changes nothing.
struct Stopping<'c, 's> {
    transaction: sqlx::Transaction<'c, sqlx::Postgres>,
    shared: &'s Arc<Shared>,
    plan: Plan,
    subject: SubjectId,
}

impl<'c, 's> Stopping<'c, 's> {
    async fn begin(
        connection: &'c mut PgConnection,
        shared: &'s Arc<Shared>,
        subject: SubjectId,
    ) -> Result<Self, Trouble> {
        let mut transaction = connection.begin().await?;
        let mut plan = Plan::new(Arc::clone(&shared.keys), shared.layout, None);
        writing::lock(&mut transaction, &mut plan, &BTreeSet::from([shared.layout.of_subject(&subject)]))
            .await?;
        shared.read_records(&mut transaction, &mut plan, &BTreeSet::from([subject])).await?;
        Ok(Self { transaction, shared, plan, subject })
    }

    async fn consent(&mut self, id: ConsentId) -> Result<Option<ConsentOnBook>, Trouble> {
        find(&mut self.transaction, HOLD, self.shared, self.subject, id).await
    }

    /// Changes the stops; `change` says since when it is so, and whether it changed anything. `None`: there is no such record, or no
    /// longer.
    fn stop(
        &mut self,
        change: impl FnOnce(&mut Stops) -> Result<(Timestamp, bool), StopsFull>,
    ) -> Result<Option<Result<Timestamp, StopsFull>>, RegistryError> {
        let mut record = match self.plan.records.get(&self.subject) {
            None => return Ok(None),
            Some(OnFile::Unreadable) => return Err(RegistryError::Damaged("a record cannot be opened")),
            Some(OnFile::Read(record)) if record.history.is_erased() => return Ok(None),
            Some(OnFile::Read(record)) => record.clone(),
        };
        match change(&mut record.stops) {
            Ok((since, false)) => Ok(Some(Ok(since))),
            Err(full) => Ok(Some(Err(full))),
            Ok((since, true)) => {
                let position = self.plan.next(self.shared.layout.of_subject(&self.subject))?;
                match self.plan.write(record, &[], position)? {
                    Ok(_position) => Ok(Some(Ok(since))),
                    Err(_rejected) => Err(RegistryError::Damaged("a record has no room for stops")),
                }
            }
        }
    }

    async fn put(&mut self, consent: &ConsentOnBook) -> Result<(), Trouble> {
        put(&mut self.transaction, PUT, self.shared, self.subject, consent).await.map(drop)
    }

    async fn commit(mut self) -> Result<(), Trouble> {
        for (partition, writes) in &self.plan.writes {
            writing::write(&mut self.transaction, self.plan.epoch, *partition, writes).await?;
        }
        self.transaction.commit().await?;
        if !self.plan.writes.is_empty() {
            self.shared.publish(&self.plan);
        }
        Ok(())
    }
}

async fn note(
    connection: &mut PgConnection,
    shared: &Shared,
    subject: SubjectId,
    used: &ConsentOnBook,
) -> Result<(), Trouble> {
    let known = find(connection, FIND, shared, subject, used.id).await?;
    if known.is_none() {
        make_room(connection, shared, subject).await?;
        if put(connection, ADD, shared, subject, used).await? {
            return Ok(());
        }
    } else if known.as_ref().and_then(|known| OnBook::used_again(known, used)).is_none() {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    if let Some(known) = find(&mut transaction, HOLD, shared, subject, used.id).await?
        && let Some(noted) = OnBook::used_again(&known, used)
    {
        put(&mut transaction, PUT, shared, subject, &noted).await?;
    }
    Ok(transaction.commit().await?)
}

/// Removes the oldest consent of a subject with as many as there may be.
async fn make_room(
    connection: &mut PgConnection,
    shared: &Shared,
    subject: SubjectId,
) -> Result<(), Trouble> {
    let partition = shared.layout.of_subject(&subject).cast_signed();
    let counting = sqlx::query_scalar(COUNT).bind(partition).bind(&subject.as_bytes()[..]);
    let count: i64 = counting.fetch_one(&mut *connection).await?;
    if usize::try_from(count).unwrap_or_default() < CONSENTS_MAX {
        return Ok(());
    }
    let all = all(connection, shared, subject).await?;
    let oldest = all.iter().min_by_key(|consent| (consent.first_used_at, consent.id));
    if let Some(oldest) = oldest {
        let removing = sqlx::query(REMOVE).bind(partition).bind(&subject.as_bytes()[..]);
        removing.bind(&oldest.id.0[..]).execute(connection).await?;
    }
    Ok(())
}

async fn find(
    connection: &mut PgConnection,
    statement: &'static str,
    shared: &Shared,
    subject: SubjectId,
    id: ConsentId,
) -> Result<Option<ConsentOnBook>, Trouble> {
    let asked = sqlx::query_scalar(statement)
        .bind(shared.layout.of_subject(&subject).cast_signed())
        .bind(&subject.as_bytes()[..])
        .bind(&id.0[..]);
    let sealed: Option<Vec<u8>> = asked.fetch_optional(connection).await?;
    Ok(sealed.map(|sealed| OnBook::open(&shared.keys, subject, id, &sealed)).transpose()?)
}

/// Writes a consent; says whether a row was written.
async fn put(
    connection: &mut PgConnection,
    statement: &'static str,
    shared: &Shared,
    subject: SubjectId,
    consent: &ConsentOnBook,
) -> Result<bool, Trouble> {
    let sealed = OnBook::seal(&shared.keys, subject, consent)?;
    let written = sqlx::query(statement)
        .bind(shared.layout.of_subject(&subject).cast_signed())
        .bind(&subject.as_bytes()[..])
        .bind(&consent.id.0[..])
        .bind(sealed)
        .execute(connection)
        .await?;
    Ok(written.rows_affected() == 1)
}

async fn all(
    connection: &mut PgConnection,
    shared: &Shared,
    subject: SubjectId,
) -> Result<Vec<ConsentOnBook>, Trouble> {
    let asked =
        sqlx::query(ALL).bind(shared.layout.of_subject(&subject).cast_signed()).bind(&subject.as_bytes()[..]);
    let mut found = Vec::new();
    for row in asked.fetch_all(connection).await? {
        let id = ConsentId(sixteen(row.try_get(0)?).map_err(|_| UNREADABLE)?);
        found.push(OnBook::open(&shared.keys, subject, id, row.try_get(1)?)?);
    }
    Ok(found)
}
