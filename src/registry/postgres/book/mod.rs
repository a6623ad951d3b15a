//! The book in PostgreSQL: uses and share codes ([`uses`], [`line`]), consents, hold-backs. Always asked of the primary.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::time::error::Elapsed;

use super::connection::{Trying as _, forget, is_collision, is_disconnection};
use super::store::{PostgresRegistry, Shared};
use super::writing::{ATTEMPTS, Trouble};
use crate::registry::book::unavailable;
use crate::registry::embedded::RegistryError;
use crate::verification::ports::{Later, StoreUnavailable};

mod consents;
mod hold_backs;
mod line;
#[cfg(test)]
mod tests;
mod uses;

pub(super) use line::Desk;

impl PostgresRegistry {
    /// Asks the book on the store's runtime; what went wrong is for the operator's eyes.
    fn ask_book<T: Send + 'static, W>(
        &self,
        work: impl FnOnce(Arc<Shared>) -> W,
    ) -> Later<'static, Result<T, StoreUnavailable>>
    where
        W: Future<Output = Result<T, RegistryError>> + Send + 'static,
    {
        let work = self.run(work(Arc::clone(&self.shared)));
        Box::pin(async move { work.await.map_err(|error| unavailable(&error)) })
    }
}

/// Tries work on a connection of the book's own, in time: again when it lost against another, or, within the budget of attempts, when the
/// connection, and with it perhaps the answer, was lost. The work must be safe to repeat.
macro_rules! try_on_book {
    ($shared:expr, $connection:ident => $work:expr) => {{
        let mut tries = $crate::registry::postgres::book::Tries::of($shared);
        loop {
            let mut held = tries.acquire().await?;
            let $connection: &mut sqlx::PgConnection = &mut held;
            let done = tokio::time::timeout(tries.within, async { $work }).await;
            if let Some(done) = tries.judge(done, held) {
                break done;
            }
        }
    }};
}

use try_on_book;

/// The attempts at one piece of work.
struct Tries<'s> {
    shared: &'s Shared,
    made: u32,
    within: Duration,
}

impl<'s> Tries<'s> {
    fn of(shared: &'s Shared) -> Self {
        shared.options.retries.asked();
        Self { shared, made: 0, within: shared.options.book_time_max }
    }

    async fn acquire(&mut self) -> Result<PoolConnection<Postgres>, RegistryError> {
        self.made += 1;
        self.shared.desk.pool.acquire().await.trying_to("write")
    }

    /// Says what an attempt came to; `None`: try again.
    fn judge<T>(
        &self,
        done: Result<Result<T, Trouble>, Elapsed>,
        connection: PoolConnection<Postgres>,
    ) -> Option<Result<T, RegistryError>> {
        let error = match done {
            Ok(Ok(done)) => return Some(Ok(done)),
            Ok(Err(Trouble::Registry(error))) => return Some(Err(error)),
            Ok(Err(Trouble::Server(error))) => error,
            Err(_elapsed) => {
                // Not back into the pool: nobody knows when, or whether, the server will speak again.
                forget(connection.detach());
                return Some(Err(sqlx::Error::PoolTimedOut).trying_to("write"));
            }
        };
        let is_lost = is_disconnection(&error);
        if is_lost {
            forget(connection.detach());
        }
        // A collision is no trouble, but the order of writers: what lost has not been done, and is next.
        let is_tried_again = if is_lost { self.shared.options.retries.take() } else { is_collision(&error) };
        if self.made < ATTEMPTS && is_tried_again {
            return None;
        }
        Some(Err(error).trying_to("write"))
    }
}
