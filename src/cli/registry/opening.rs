//! Opens the registry of a deployment folder.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use miette::miette;

use crate::app::SystemClock;
use crate::cli::deployment::Places;
use crate::config::postgres::PostgresConfig;
use crate::domain::time::{Clock as _, civil_day};
use crate::registry::{
    EmbeddedRegistry, KeyFault, LicenceStore, PostgresRegistry, RegistryError, RegistryKeys, RegistryOptions,
};

/// Why the registry of a folder cannot be opened.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum OpenFault {
    #[error("cannot make the data folder {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Keys(KeyFault),
    #[error("cannot open the registry on PostgreSQL")]
    Postgres(#[source] crate::app::StartError),
    #[error("there is no registry at {place}")]
    #[diagnostic(help("make one: drivegate registry generate --count 1000 --into DIR"))]
    Nowhere { place: String },
    #[error(transparent)]
    #[diagnostic(help("a running gateway holds its registry open; stop it first"))]
    Registry(RegistryError),
}

/// Opens the store, wherever it stands; makes it and its keys if there are none.
pub(super) fn open_store(places: &Places) -> Result<Box<dyn LicenceStore>, OpenFault> {
    match &places.postgres {
        Some(postgres) => Ok(Box::new(open_postgres(places, postgres).map_err(OpenFault::Postgres)?)),
        None => Ok(Box::new(open_embedded(places)?)),
    }
}

fn open_postgres(
    places: &Places,
    config: &PostgresConfig,
) -> Result<PostgresRegistry, crate::app::StartError> {
    let options = crate::app::postgres_options(config)?;
    let keys = crate::app::postgres_keys(&places.registry_keys, &options)?;
    Ok(PostgresRegistry::open_alone(options, Arc::new(keys))?)
}

/// Opens the embedded store; makes it and its keys if there are none.
pub(super) fn open_embedded(places: &Places) -> Result<EmbeddedRegistry, OpenFault> {
    let folder = &places.registry;
    std::fs::create_dir_all(folder).map_err(|source| OpenFault::Folder { path: folder.clone(), source })?;
    let keys =
        RegistryKeys::load_or_create(&places.registry_keys, &places.store()).map_err(OpenFault::Keys)?;
    EmbeddedRegistry::open(folder, Arc::new(keys), RegistryOptions::default()).map_err(OpenFault::Registry)
}

/// Loads the keys; never makes any.
pub(super) fn load_keys(places: &Places) -> Result<RegistryKeys, OpenFault> {
    RegistryKeys::load(&places.registry_keys).map_err(OpenFault::Keys)
}

/// Returns today in China Standard Time.
pub(super) fn today() -> Date {
    civil_day(SystemClock.now())
}

/// Opens the store of a deployment that must have one; makes none.
pub(super) fn open_existing(places: &Places) -> Result<Box<dyn LicenceStore>, OpenFault> {
    let exists = match &places.postgres {
        Some(postgres) => {
            let options = crate::app::postgres_options(postgres).map_err(OpenFault::Postgres)?;
            PostgresRegistry::exists(&options).map_err(OpenFault::Registry)?
        }
        None => places.store().exists(),
    };
    if exists { open_store(places) } else { Err(OpenFault::Nowhere { place: place_of(places) }) }
}

/// Says where a registry would lie. Never shows a URL: it may hold a password.
fn place_of(places: &Places) -> String {
    match places.postgres {
        Some(_) => "the server of registry.postgres".to_owned(),
        None => places.store().display().to_string(),
    }
}

/// Says how to make an embedded registry where there is none, and that one on PostgreSQL is kept by PostgreSQL's own tools.
pub(super) fn must_exist(places: &Places) -> miette::Result<()> {
    if places.postgres.is_some() {
        return Err(miette!(
            help = "back it up, restore, check and tidy it with PostgreSQL's own tools (docs/scale.md)",
            "this deployment's registry stands on PostgreSQL"
        ));
    }
    if places.store().exists() {
        return Ok(());
    }
    Err(OpenFault::Nowhere { place: place_of(places) }.into())
}
