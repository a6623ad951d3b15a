//! The way to the registry: a place in the line, the reading, and the one retry.
//!
//! Nothing below tries a reading again, so that trouble is answered once: here, where it is known how much was tried already. One
//! attempt more, at once (a connection the server dropped is replaced by then), if a tenth of the readings so far allow it.

use std::sync::Arc;

use super::CacheObserver;
use crate::admission::RetryBudget;
use crate::admission::line::{Line, NoLine, Place};
use crate::domain::partner::PartnerId;
use crate::domain::subject::NumberPseudonym;
use crate::verification::ports::{Class, LookUpError, Reading, RecordSource, Turn};

/// The registry, and what stands before it.
#[derive(Clone)]
pub struct RegistryAccess {
    /// Reads.
    pub source: Arc<dyn RecordSource>,
    /// Says who may, and when.
    pub line: Arc<dyn Line>,
    /// Bounds attempts beyond the first, with whoever else asks the same servers.
    pub retries: Arc<RetryBudget>,
}

/// What a reading may take for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsOf {
    /// As much of the feed as is known here.
    Known,
    /// Nothing: as of its own start.
    Now,
}

/// A turn that outlives its caller.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    class: Class,
    partner: Option<PartnerId>,
}

impl From<Turn<'_>> for Whose {
    fn from(turn: Turn<'_>) -> Self {
        Self { class: turn.class, partner: turn.partner.cloned() }
    }
}

impl RegistryAccess {
    /// Makes a way that is always free, for a registry that nobody else asks.
    pub fn free(source: Arc<dyn RecordSource>) -> Self {
        Self { source, line: Arc::new(NoLine), retries: Arc::default() }
    }

    /// Waits for a place.
    pub(super) async fn place(&self, whose: &Whose) -> Result<Place, LookUpError> {
        let turn = Turn { class: whose.class, partner: whose.partner.as_ref() };
        self.line.enter(turn).wait().await.map_err(|_overloaded| LookUpError::Overloaded)
    }

    /// Reads on a place.
    pub(super) async fn read(
        &self,
        place: Place,
        pseudonym: NumberPseudonym,
        as_of: AsOf,
        observer: &dyn CacheObserver,
    ) -> Result<Reading, LookUpError> {
        self.retries.asked();
        let mut answer = self.ask(pseudonym, as_of).await;
        if matches!(answer, Err(LookUpError::RegistryUnavailable)) {
            let is_tried_again = self.retries.take();
            observer.retried(is_tried_again);
            if is_tried_again {
                answer = self.ask(pseudonym, as_of).await;
            }
        }
        if answer.is_ok() {
            place.answered();
        }
        answer
    }

    async fn ask(&self, pseudonym: NumberPseudonym, as_of: AsOf) -> Result<Reading, LookUpError> {
        match as_of {
            AsOf::Known => self.source.read(pseudonym).await,
            AsOf::Now => self.source.read_latest(pseudonym).await,
        }
    }
}
