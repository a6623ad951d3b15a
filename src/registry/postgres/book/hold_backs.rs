//! Hold-backs, by subject.

use std::sync::Arc;

use sqlx::Row as _;

use super::try_on_book;
use crate::domain::subject::SubjectId;
use crate::evidence::ports::{HoldBack, HoldBacks, IndexUnavailable};
use crate::registry::book::{UNREADABLE, open_hold_back, seal_hold_back, set_last_first};
use crate::registry::embedded::RegistryError;
use crate::registry::postgres::store::{PostgresRegistry, Shared};
use crate::verification::ports::{Later, StoreUnavailable};

const SET: &str = "INSERT INTO hold_back (partition, subject, id, sealed) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (partition, subject, id) DO UPDATE SET sealed = excluded.sealed";
const OF_SUBJECT: &str = "SELECT id, sealed FROM hold_back WHERE partition = $1 AND subject = $2";
const LIFT: &str = "DELETE FROM hold_back WHERE partition = $1 AND subject = $2 AND id = $3";

impl HoldBacks for PostgresRegistry {
    fn set(&self, hold_back: HoldBack) -> Later<'_, Result<(), IndexUnavailable>> {
        self.ask_hold_backs(async move |shared| {
            let sealed = seal_hold_back(&shared.keys, &hold_back)?;
            let partition = shared.layout.of_subject(&hold_back.subject).cast_signed();
            try_on_book!(&shared, connection => {
                sqlx::query(SET)
                    .bind(partition)
                    .bind(&hold_back.subject.as_bytes()[..])
                    .bind(&hold_back.id[..])
                    .bind(&sealed)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
    }

    fn of_subject(&self, subject: SubjectId) -> Later<'_, Result<Vec<HoldBack>, IndexUnavailable>> {
        self.ask_hold_backs(async move |shared| {
            let partition = shared.layout.of_subject(&subject).cast_signed();
            let found = try_on_book!(&shared, connection => {
                let asked = sqlx::query(OF_SUBJECT).bind(partition).bind(&subject.as_bytes()[..]);
                let mut found = Vec::new();
                for row in asked.fetch_all(connection).await? {
                    let id: &[u8] = row.try_get(0)?;
                    let key = [&subject.as_bytes()[..], id].concat().try_into().map_err(|_| UNREADABLE)?;
                    found.push(open_hold_back(&shared.keys, &key, row.try_get(1)?)?);
                }
                Ok(found)
            });
            Ok(set_last_first(found?))
        })
    }

    fn lift(&self, subject: SubjectId, id: [u8; 16]) -> Later<'_, Result<bool, IndexUnavailable>> {
        self.ask_hold_backs(async move |shared| {
            let partition = shared.layout.of_subject(&subject).cast_signed();
            try_on_book!(&shared, connection => {
                let lifting =
                    sqlx::query(LIFT).bind(partition).bind(&subject.as_bytes()[..]).bind(&id[..]);
                Ok(lifting.execute(connection).await?.rows_affected() == 1)
            })
        })
    }
}

impl PostgresRegistry {
    fn ask_hold_backs<T: Send + 'static, W>(
        &self,
        work: impl FnOnce(Arc<Shared>) -> W,
    ) -> Later<'static, Result<T, IndexUnavailable>>
    where
        W: Future<Output = Result<T, RegistryError>> + Send + 'static,
    {
        let asked = self.ask_book(work);
        Box::pin(async move { asked.await.map_err(|StoreUnavailable| IndexUnavailable) })
    }
}
