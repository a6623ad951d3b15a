//! Opens the registry of a deployment folder.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use miette::miette;

use crate::app::SystemClock;
use crate::cli::deployment::Places;
use crate::domain::time::{Clock as _, civil_day};
use crate::registry::{EmbeddedRegistry, KeyFault, RegistryError, RegistryKeys, RegistryOptions};

/// Why the registry of a folder cannot be opened.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum OpenFault {
    #[error("cannot make the data folder {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Keys(KeyFault),
    #[error(transparent)]
    #[diagnostic(help("a running gateway holds its registry open; stop it first"))]
    Registry(RegistryError),
}

/// Opens the store; makes it and its keys if there are none.
pub(super) fn open_store(places: &Places) -> Result<EmbeddedRegistry, OpenFault> {
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

/// Opens the store of a folder that must have one.
pub(super) fn open_existing(places: &Places) -> miette::Result<EmbeddedRegistry> {
    must_exist(places)?;
    Ok(open_store(places)?)
}

/// Says how to make a registry where there is none.
pub(super) fn must_exist(places: &Places) -> miette::Result<()> {
    let store = places.store();
    if store.exists() {
        return Ok(());
    }
    Err(miette!(
        help = "make one: drivegate registry generate --count 1000 --into DIR",
        "there is no registry at {}",
        store.display()
    ))
}
