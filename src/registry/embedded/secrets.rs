//! The subjects' secrets, by subject.

use tokio::runtime::Handle;

use super::error::RegistryError;
use super::store::{EmbeddedRegistry, Shared};
use crate::domain::subject::{SubjectId, SubjectSecret};
use crate::evidence::ports::{IndexUnavailable, SubjectSecrets};
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
        Ok(self.record_of(subject)?.and_then(secret_of))
    }
}
