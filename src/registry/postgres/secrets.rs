//! The subjects' secrets, by subject.

use std::sync::Arc;

use sqlx::Row as _;
use zeroize::Zeroizing;

use super::connection::Trying as _;
use super::store::{PostgresRegistry, Shared};
use crate::domain::subject::{SubjectId, SubjectSecret};
use crate::evidence::ports::{IndexUnavailable, SubjectSecrets};
use crate::registry::codec;
use crate::registry::embedded::RegistryError;
use crate::registry::secrets::secret_of;
use crate::verification::ports::Later;

const RECORD: &str = "SELECT sealed FROM record WHERE partition = $1 AND subject = $2";

impl SubjectSecrets for PostgresRegistry {
    fn secret(&self, subject: SubjectId) -> Later<'_, Result<Option<SubjectSecret>, IndexUnavailable>> {
        let shared = Arc::clone(&self.shared);
        let read = self.run(async move { shared.secret(subject).await });
        Box::pin(async move {
            read.await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "a subject's secret cannot be read");
                IndexUnavailable
            })
        })
    }
}

impl Shared {
    async fn secret(&self, subject: SubjectId) -> Result<Option<SubjectSecret>, RegistryError> {
        const UNREADABLE: RegistryError = RegistryError::Damaged("a record cannot be opened");
        let mut connection = self.writers.acquire().await.trying_to("read")?;
        let row = sqlx::query(RECORD)
            .bind(self.layout.of_subject(&subject).cast_signed())
            .bind(&subject.as_bytes()[..])
            .fetch_optional(&mut *connection)
            .await
            .trying_to("read")?;
        let Some(row) = row else { return Ok(None) };
        let sealed: &[u8] = row.try_get(0).trying_to("read")?;
        let mut scratch = Zeroizing::default();
        let opened = self.keys.sealing.open(sealed, subject.as_bytes(), &mut scratch);
        let record = codec::decode(subject, opened.map_err(|_| UNREADABLE)?).map_err(|_| UNREADABLE)?;
        Ok(secret_of(record))
    }
}
