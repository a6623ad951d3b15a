//! A look at a database without changing it: is there a registry, and are these keys its own?

use super::connection::{Role, Trying as _, aside, connect, forget};
use super::options::PostgresOptions;
use super::schema;
use super::store::misconfigured;
use crate::registry::embedded::RegistryError;
use crate::registry::keys::RegistryKeys;

/// Looks at a database over one connection. Blocks. Returns how many partitions its registry has (0 without keys to check it with), or `None` if there is none.
pub(super) fn look_alone(
    options: &PostgresOptions,
    keys: Option<&RegistryKeys>,
) -> Result<Option<u16>, RegistryError> {
    aside(look(options, keys))
}

async fn look(options: &PostgresOptions, keys: Option<&RegistryKeys>) -> Result<Option<u16>, RegistryError> {
    options.check().map_err(misconfigured)?;
    let preparing = options.preparing().map_err(misconfigured)?;
    let connected = connect(&preparing, Role::Primary, options.connect_time_max).await;
    let mut connection = connected.trying_to("reach the server of")?;
    let found = match (schema::exists(&mut connection).await?, keys) {
        (false, _) => None,
        (true, None) => Some(0),
        (true, Some(keys)) => {
            schema::look(&mut connection, keys).await?.map(|about| about.layout.partitions())
        }
    };
    forget(connection);
    Ok(found)
}
