//! The tables: made and brought up to date at start, checked against the keys.
//!
//! # Two versions at once
//! During a rolling upgrade programs of schema n−1 run against the tables of schema n. Therefore a migration only *expands*:
//! it adds. What is no longer used is dropped one release later (*contract*), in a migration that raises
//! `registry.program_oldest`, and a program older than that refuses to start. A program that finds migrations it does not know
//! goes on.

use std::time::Duration;

use aws_lc_rs::rand;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqlSafeStr as _};
use zeroize::Zeroizing;

use super::connection::Trying as _;
use super::layout::Layout;
use super::options::{PostgresOptions, Tables};
use super::server;
use crate::registry::embedded::{RegistryError, StoreError};
use crate::registry::keys::RegistryKeys;

/// The schema this program was written for: the number of its last migration.
pub const SCHEMA_VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;
/// The layout of sealed values this program writes.
const FORMAT: i32 = 1;
const SEALING_CHECK: &[u8] = b"drivegate registry sealing check";
/// Replicas that start together may get in each other's way; the next attempt finds the work done.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const UNDEFINED_TABLE: &str = "42P01";

const MIGRATIONS: [(i64, &str, &str); 8] = [
    (1, "licences", include_str!("migrations/0001_licences.sql")),
    (2, "presentations", include_str!("migrations/0002_presentations.sql")),
    (3, "intake", include_str!("migrations/0003_intake.sql")),
    (4, "look-ups", include_str!("migrations/0004_look_ups.sql")),
    (5, "book", include_str!("migrations/0005_book.sql")),
    (6, "standing", include_str!("migrations/0006_standing.sql")),
    (7, "claims", include_str!("migrations/0007_claims.sql")),
    (8, "questions", include_str!("migrations/0008_questions.sql")),
];

/// What a registry says of itself.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) id: [u8; 16],
    pub(super) layout: Layout,
}

/// Returns the migrations up to a version.
pub(super) fn migrator(up_to: i64) -> Migrator {
    let migrations =
        MIGRATIONS.iter().filter(|(version, ..)| *version <= up_to).map(|(version, name, sql)| {
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // Applied by a newer program; and no advisory locks, which not every engine has: see `ATTEMPTS`.
    migrator.set_ignore_missing(true).set_locking(false);
    migrator
}

/// Brings the tables up to a version of the schema (this program's own, but for tests), makes the registry if there is none, and checks that the keys are its own.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    keys: &RegistryKeys,
    options: &PostgresOptions,
    version: i64,
) -> Result<About, RegistryError> {
    for attempt in 1.. {
        match try_prepare(connection, keys, options, version).await {
            Err(RegistryError::Store { action: "migrate" | "create", .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            done => return done,
        }
    }
    Err(RegistryError::Damaged("it cannot be prepared"))
}

async fn try_prepare(
    connection: &mut PgConnection,
    keys: &RegistryKeys,
    options: &PostgresOptions,
    version: i64,
) -> Result<About, RegistryError> {
    let migrated = migrator(version).run_direct(None, connection, false).await;
    migrated.map_err(|error| RegistryError::Store { action: "migrate", source: StoreError::new(error) })?;
    if let Some(about) = look(connection, keys).await? {
        server::settle(connection).await?;
        return Ok(about);
    }
    create(connection, keys, options).await?;
    look(connection, keys).await?.ok_or(RegistryError::Damaged("a fact about the store is missing"))
}

/// Says whether there is a registry, whoever's keys it has. Changes nothing.
pub(super) async fn exists(connection: &mut PgConnection) -> Result<bool, RegistryError> {
    match sqlx::query("SELECT 1 FROM registry").fetch_optional(connection).await {
        Ok(found) => Ok(found.is_some()),
        Err(error) if super::connection::code_of(&error).as_deref() == Some(UNDEFINED_TABLE) => Ok(false),
        Err(error) => Err(error).trying_to("read"),
    }
}

/// Reads what the registry says of itself and checks it; `None` when there is none yet. Changes nothing.
pub(super) async fn look(
    connection: &mut PgConnection,
    keys: &RegistryKeys,
) -> Result<Option<About>, RegistryError> {
    const MISSHAPEN: RegistryError = RegistryError::Damaged("a fact about the store has the wrong size");
    let found = sqlx::query(
        "SELECT id, format, program_oldest, partitions, sealing_check, pseudonym_check FROM registry",
    )
    .fetch_optional(connection)
    .await
    .trying_to("read")?;
    let Some(row) = found else { return Ok(None) };
    let format: i32 = row.try_get("format").trying_to("read")?;
    let program_oldest: i64 = row.try_get("program_oldest").trying_to("read")?;
    if format > FORMAT || program_oldest > SCHEMA_VERSION {
        let found = u32::try_from(program_oldest.max(i64::from(format))).unwrap_or(u32::MAX);
        let known = u32::try_from(SCHEMA_VERSION).unwrap_or(u32::MAX);
        return Err(RegistryError::NewerFormat { found, known });
    }
    let id: [u8; 16] = bytes(&row, "id")?.try_into().map_err(|_| MISSHAPEN)?;
    let partitions: i16 = row.try_get("partitions").trying_to("read")?;
    let layout = u16::try_from(partitions).ok().and_then(Layout::of).ok_or(MISSHAPEN)?;
    let sealed = bytes(&row, "sealing_check")?;
    let mut scratch = Zeroizing::new(Vec::new());
    let opened = keys.sealing.open(&sealed, &id, &mut scratch);
    if opened != Ok(SEALING_CHECK) || bytes(&row, "pseudonym_check")? != keys.check(&id) {
        return Err(RegistryError::WrongKeys);
    }
    Ok(Some(About { id, layout }))
}

fn bytes(row: &sqlx::postgres::PgRow, column: &str) -> Result<Vec<u8>, RegistryError> {
    row.try_get(column).trying_to("read")
}

async fn create(
    connection: &mut PgConnection,
    keys: &RegistryKeys,
    options: &PostgresOptions,
) -> Result<(), RegistryError> {
    let here = server::identity(connection).await?;
    let mut id = [0_u8; 16];
    rand::fill(&mut id).map_err(|_| RegistryError::NoRandomness)?;
    let sealed = keys.sealing.seal(SEALING_CHECK, &id).map_err(|_| RegistryError::WrongKeys)?;
    let partitions = i16::try_from(options.partitions).map_err(|_| RegistryError::Damaged("partitions"))?;
    let mut transaction = connection.begin().await.trying_to("create")?;
    // First, so that of two that create only one goes on.
    sqlx::query(
        "INSERT INTO registry (id, format, partitions, server, sealing_check, pseudonym_check) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&id[..])
    .bind(FORMAT)
    .bind(partitions)
    .bind(here)
    .bind(&sealed[..])
    .bind(&keys.check(&id)[..])
    .execute(&mut *transaction)
    .await
    .trying_to("create")?;
    for statement in tables(options) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await.trying_to("create")?;
    }
    for partition in 0..partitions {
        sqlx::query("INSERT INTO feed_head (partition, epoch, seq) VALUES ($1, 1, 0)")
            .bind(partition)
            .execute(&mut *transaction)
            .await
            .trying_to("create")?;
    }
    transaction.commit().await.trying_to("create")
}

/// Writes the statements that cut the tables. Nothing in them comes from outside.
fn tables(options: &PostgresOptions) -> Vec<String> {
    let mut statements = Vec::new();
    for table in ["number", "record"] {
        match options.tables {
            Tables::One => statements.push(format!("CREATE TABLE {table}_all PARTITION OF {table} DEFAULT")),
            Tables::PerPartition => statements.extend((0..options.partitions).map(|partition| {
                format!(
                    "CREATE TABLE {table}_{partition:03} PARTITION OF {table} FOR VALUES IN ({partition})"
                )
            })),
        }
    }
    statements
}
