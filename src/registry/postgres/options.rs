//! Where PostgreSQL is, and how long anything may wait for it.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::layout::Layout;
use crate::admission::RetryBudget;

/// How the store reaches its servers. `Debug` shows no URL: it may hold a password.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=FILE`. Over a network TLS must be verified.
    pub url: String,
    /// A streaming copy of it, whose readings count while they are not behind what this process knows.
    pub standby_url: Option<String>,
    /// Connections kept open for look-ups: nobody's deadline pays for a handshake. 4: as many of a server's cores are busy, and
    /// look-ups that find them all busy go together. A standby gets as many.
    pub readers: usize,
    /// Connections for changes, at most. 4: they wait for the disk, and for each other where they meet in a partition.
    pub writers_max: u32,
    /// Look-ups under way or waiting; one more is refused as unavailable.
    pub reads_waiting_max: usize,
    /// The longest a look-up may take, waiting for a connection included.
    pub read_time_max: Duration,
    /// The longest connecting may take.
    pub connect_time_max: Duration,
    /// The longest work on the book may take: no caller waits longer than a call may take.
    pub book_time_max: Duration,
    /// The longest a change waits for another one in its partition.
    pub lock_time_max: Duration,
    /// The longest one statement of a change may take.
    pub write_time_max: Duration,
    /// A transaction the server hears nothing of for so long is rolled back: a gateway that died holds nobody up for longer.
    pub idle_in_transaction_max: Duration,
    /// Prepared statements kept per connection; for look-ups as many as there are partitions in any case. 0 behind a pooler that
    /// shares connections between transactions: then nothing is prepared, and look-ups never go together.
    pub statements_prepared_max: usize,
    /// Partitions of a registry that is made: a power of two up to 256, for ever. 16: on one server each table is vacuumed in
    /// 16 parts; on several, as many as there may ever be servers.
    pub partitions: u16,
    /// How the tables of a registry that is made are cut.
    pub tables: Tables,
    /// Bounds attempts beyond the first of work on the book whose connection was lost; readings are tried again by whoever asks.
    pub retries: Arc<RetryBudget>,
}

/// How tables are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// One for each partition: one server.
    #[default]
    PerPartition,
    /// One, which the engine itself spreads over servers: Citus, YugabyteDB.
    One,
}

/// Every statement takes the same path whatever it asks for: planning each anew costs more than running it, and a path chosen
/// while the tables were empty (a scan) would stay while they grow. Compiling such statements never pays.
const PLANNING: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];

/// Why PostgreSQL cannot be used as configured. Never holds the URL.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOptionsFault {
    /// The URL is none PostgreSQL is reached by.
    #[error("the postgres {which} is not valid; it reads postgres://user:password@host:port/database")]
    Url {
        /// Which one.
        which: &'static str,
    },
    /// Another machine would be reached without knowing which one it is.
    #[error(
        "the postgres {which} names another machine without verified TLS: add ?sslmode=verify-full&sslrootcert=FILE"
    )]
    Unverified {
        /// Which one.
        which: &'static str,
    },
    /// The number of partitions cannot be.
    #[error("the number of partitions must be a power of two from 1 to 256")]
    Partitions,
}

impl PostgresOptions {
    /// Returns the defaults for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            standby_url: None,
            readers: 4,
            writers_max: 4,
            reads_waiting_max: 1_024,
            read_time_max: Duration::from_millis(1_000),
            connect_time_max: Duration::from_secs(2),
            book_time_max: Duration::from_secs(2),
            lock_time_max: Duration::from_secs(5),
            write_time_max: Duration::from_secs(30),
            idle_in_transaction_max: Duration::from_secs(10),
            statements_prepared_max: 64,
            partitions: 16,
            tables: Tables::PerPartition,
            retries: Arc::default(),
        }
    }

    /// Checks what can be checked without a server.
    ///
    /// # Errors
    /// [`PostgresOptionsFault`].
    pub fn check(&self) -> Result<(), PostgresOptionsFault> {
        if Layout::of(self.partitions).is_none() {
            return Err(PostgresOptionsFault::Partitions);
        }
        parse(&self.url, "url")?;
        if let Some(standby) = &self.standby_url {
            parse(standby, "standby_url")?;
        }
        Ok(())
    }

    /// Prepares connections that read.
    pub(super) fn reading(
        &self,
        url: &str,
        which: &'static str,
        layout: Layout,
    ) -> Result<PgConnectOptions, PostgresOptionsFault> {
        let options = self.connecting(url, which)?;
        // One for the number of each partition, and one for records that lie elsewhere.
        let prepared = match self.statements_prepared_max {
            0 => 0,
            kept => kept.max(2 * usize::from(layout.partitions())),
        };
        Ok(options
            .statement_cache_capacity(prepared)
            .options([("statement_timeout", milliseconds(self.read_time_max))]))
    }

    /// Prepares connections that write.
    pub(super) fn writing(&self) -> Result<PgConnectOptions, PostgresOptionsFault> {
        let options = self.connecting(&self.url, "url")?;
        Ok(options.options([
            ("statement_timeout", milliseconds(self.write_time_max)),
            ("lock_timeout", milliseconds(self.lock_time_max)),
            ("idle_in_transaction_session_timeout", milliseconds(self.idle_in_transaction_max)),
        ]))
    }

    /// Prepares connections of the book.
    pub(super) fn booking(&self) -> Result<PgConnectOptions, PostgresOptionsFault> {
        let options = self.connecting(&self.url, "url")?;
        Ok(options.options([
            ("statement_timeout", milliseconds(self.book_time_max)),
            ("lock_timeout", milliseconds(self.book_time_max)),
            ("idle_in_transaction_session_timeout", milliseconds(self.idle_in_transaction_max)),
        ]))
    }

    /// Prepares connections that make tables: however long that takes, but never queueing behind a change for long.
    pub(super) fn preparing(&self) -> Result<PgConnectOptions, PostgresOptionsFault> {
        let options = self.connecting(&self.url, "url")?;
        Ok(options.options([("lock_timeout", milliseconds(self.lock_time_max))]))
    }

    fn connecting(&self, url: &str, which: &'static str) -> Result<PgConnectOptions, PostgresOptionsFault> {
        let options = parse(url, which)?;
        Ok(options
            .application_name("drivegate")
            .statement_cache_capacity(self.statements_prepared_max)
            .options(PLANNING)
            .disable_statement_logging())
    }
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

fn parse(url: &str, which: &'static str) -> Result<PgConnectOptions, PostgresOptionsFault> {
    // The library's own error may quote the URL, and with it a password.
    let options = PgConnectOptions::from_str(url).map_err(|_quotes| PostgresOptionsFault::Url { which })?;
    let verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa);
    if !verified && !is_this_machine(&options) {
        return Err(PostgresOptionsFault::Unverified { which });
    }
    Ok(options)
}

fn is_this_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PostgresOptions").field("url", &"[elided]").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<(), PostgresOptionsFault> {
        PostgresOptions::new(url).check()
    }

    #[test]
    fn another_machine_is_reached_over_verified_tls_alone() {
        for url in [
            "postgres://a:b@127.0.0.1:5432/d",
            "postgres://a@localhost/d",
            "postgres://a@[::1]/d",
            "postgres:///d?host=/run/postgresql",
            "postgres://a:b@db.example/d?sslmode=verify-full",
        ] {
            assert!(check(url).is_ok(), "{url}");
        }
        for url in [
            "postgres://a:b@db.example/d",
            "postgres://a:b@10.0.0.1/d?sslmode=require",
            "postgres://a:b@db.example/d?sslmode=disable",
        ] {
            assert!(matches!(check(url), Err(PostgresOptionsFault::Unverified { which: "url" })), "{url}");
        }
    }

    #[test]
    fn neither_debug_nor_faults_show_the_password() {
        let options = PostgresOptions::new("postgres://a:s3cret@db.example/d");
        assert!(!format!("{options:?}").contains("s3cret"));
        let unverified = options.check().unwrap_err();
        assert!(!format!("{unverified:?} {unverified}").contains("s3cret"));
        let broken = check("postgres://a:s3cret@127.0.0.1:port/d").unwrap_err();
        assert!(!format!("{broken:?} {broken}").contains("s3cret"));
    }

    #[test]
    fn partitions_that_cannot_be_are_refused() {
        let options = PostgresOptions { partitions: 12, ..PostgresOptions::new("postgres://127.0.0.1/d") };
        assert!(matches!(options.check(), Err(PostgresOptionsFault::Partitions)));
    }
}
