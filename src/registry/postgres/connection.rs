//! Connections: made in time, to the right kind of server, and what their errors mean.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::options::PostgresOptions;
use super::server;
use crate::registry::embedded::{RegistryError, StoreError};

/// Connections beside those of changes: one listens, one notifies and forgets.
const BESIDE_WRITERS: u32 = 2;

/// Whether a server takes changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It must take changes: one that is still a copy of another is not the primary.
    Primary,
    /// It may be a copy.
    Standby,
}

/// Opens one connection.
pub(super) async fn connect(
    options: &PgConnectOptions,
    role: Role,
    within: Duration,
) -> Result<PgConnection, sqlx::Error> {
    let connecting = async {
        let mut connection = options.connect().await?;
        admit(&mut connection, role).await?;
        Ok(connection)
    };
    tokio::time::timeout(within, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Prepares the connections of changes; none is opened yet. Inside a runtime.
pub(super) fn writers(options: &PostgresOptions, connecting: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(options.writers_max.max(1) + BESIDE_WRITERS)
        .min_connections(1)
        .acquire_timeout(options.connect_time_max)
        .after_connect(|connection, _| Box::pin(admit_writer(connection)))
        .connect_lazy_with(connecting)
}

/// Admits a connection to the primary, and begins a new epoch where one must begin, before anything is changed over it.
pub(super) async fn admit_writer(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    admit(connection, Role::Primary).await?;
    let settled = server::settle(connection).await;
    settled.map(drop).map_err(|error| sqlx::Error::Configuration(error.into()))
}

/// Refuses a server that cannot be the primary: what it shows may be old, whatever the URL says.
async fn admit(connection: &mut PgConnection, role: Role) -> Result<(), sqlx::Error> {
    if role == Role::Standby {
        return Ok(());
    }
    let copies: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if copies {
        return Err(sqlx::Error::Protocol("the server is a standby, not the primary".to_owned()));
    }
    Ok(())
}

/// Ends a connection without waiting for the server: it may be gone.
pub(super) fn forget(connection: PgConnection) {
    tokio::spawn(async move {
        let _ended = tokio::time::timeout(Duration::from_secs(1), connection.close_hard()).await;
    });
}

/// Does work on a thread and a runtime of its own, and waits for it: the caller may stand inside a runtime, where none may be
/// waited for, nor dropped.
pub(super) fn aside<T: Send>(
    work: impl Future<Output = Result<T, RegistryError>> + Send,
) -> Result<T, RegistryError> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(RegistryError::Threads)?.block_on(work)
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or(Err(RegistryError::Damaged("work on it failed")))
}

/// Says whether an error lies in the connection: another one may do better.
pub(super) fn is_disconnection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        // Class 08: connection exception. 57P01–57P03: the server stops, crashed, or is starting. 25006: it became a copy.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25006")
        }),
        _ => false,
    }
}

/// Says whether a transaction lost against another one, and nothing of it was taken.
pub(super) fn is_collision(error: &sqlx::Error) -> bool {
    // Serialization failure, deadlock, unique violation: a number another batch took in between is found the second time.
    code_of(error).is_some_and(|code| matches!(&*code, "40001" | "40P01" | "23505"))
}

/// Returns the server's code for an error.
pub(super) fn code_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(Into::into)
}

/// Names what was tried when the server, or the way to it, failed.
pub(super) trait Trying<T> {
    fn trying_to(self, action: &'static str) -> Result<T, RegistryError>;
}

impl<T, E: Into<sqlx::Error>> Trying<T> for Result<T, E> {
    fn trying_to(self, action: &'static str) -> Result<T, RegistryError> {
        self.map_err(|error| RegistryError::Store { action, source: StoreError::new(error.into()) })
    }
}
