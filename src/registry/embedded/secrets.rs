//! The subjects' secrets, by subject.

use redb::ReadableDatabase as _;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::error::{RegistryError, Trying as _};
use super::store::{EmbeddedRegistry, Shared};
use super::tables::RECORDS;
use crate::domain::subject::{SubjectId, SubjectSecret};
use crate::evidence::ports::{IndexUnavailable, SubjectSecrets};
use crate::registry::codec;
use crate::registry::secrets::secret_of;
use crate::verification::ports::Later;

impl SubjectSecrets for EmbeddedRegistry {
    fn secret(&self, subject: SubjectId) -> Later<'_, Result<Option<SubjectSecret>, IndexUnavailable>> {
        let shared = std::sync::Arc::clone(&self.shared);
        let read = move || {
            shared.secret(subject).map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "a subject's secret cannot be read");
                IndexUnavailable
            })
        };
        match Handle::try_current() {
            Err(_no_runtime) => Box::pin(std::future::ready(read())),
            Ok(runtime) => {
                Box::pin(async move { runtime.spawn_blocking(read).await.unwrap_or(Err(IndexUnavailable)) })
            }
        }
    }
}

impl Shared {
    fn secret(&self, subject: SubjectId) -> Result<Option<SubjectSecret>, RegistryError> {
        const UNREADABLE: RegistryError = RegistryError::Damaged("a record cannot be opened");
        let reading = self.database.begin_read().trying_to("read")?;
        let records = reading.open_table(RECORDS).trying_to("read")?;
        let Some(sealed) = records.get(subject.as_bytes()).trying_to("read")? else { return Ok(None) };
        let mut scratch = Zeroizing::default();
        let opened = self.keys.sealing.open(sealed.value(), subject.as_bytes(), &mut scratch);
        let record = codec::decode(subject, opened.map_err(|_| UNREADABLE)?).map_err(|_| UNREADABLE)?;
        Ok(secret_of(record))
    }
}
