//! A schema for a while: what a demo makes in somebody's database, and takes away again.

use sqlx::AssertSqlSafe;

use super::connection::{Role, Trying as _, aside, connect, forget};
use super::options::PostgresOptions;
use crate::registry::embedded::RegistryError;

/// A schema of its own in a database. Dropping it removes everything in it.
pub struct TemporarySchema {
    options: PostgresOptions,
    name: String,
}

impl TemporarySchema {
    /// Makes one under a random name. Blocks.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn create(url: &str) -> Result<Self, RegistryError> {
        let options = PostgresOptions::new(url);
        options.check().map_err(super::store::misconfigured)?;
        let name = format!("drivegate_demo_{:016x}", rand::random::<u64>());
        let schema = Self { options, name };
        schema.run(format!("CREATE SCHEMA {}", schema.name))?;
        Ok(schema)
    }

    /// Returns the database's URL with the schema in it.
    pub fn url(&self) -> String {
        let url = &self.options.url;
        let sign = if url.contains('?') { '&' } else { '?' };
        format!("{url}{sign}options[search_path]={}", self.name)
    }

    /// Runs a statement. Nothing in it comes from outside.
    fn run(&self, statement: String) -> Result<(), RegistryError> {
        let preparing = self.options.preparing().map_err(super::store::misconfigured)?;
        let running = async {
            let connected = connect(&preparing, Role::Primary, self.options.connect_time_max).await;
            let mut connection = connected.trying_to("reach the server of")?;
            let ran =
                sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.trying_to("prepare");
            forget(connection);
            ran.map(drop)
        };
        aside(running)
    }
}

impl Drop for TemporarySchema {
    fn drop(&mut self) {
        if let Err(error) = self.run(format!("DROP SCHEMA {} CASCADE", self.name)) {
            tracing::warn!(%error, schema = self.name, "a temporary schema was left behind");
        }
    }
}
