//! Where the parts of a deployment lie: as its configuration says, or as `init` lays them out.

use std::path::{Path, PathBuf};

use miette::{Context as _, IntoDiagnostic as _};

use crate::config::GatewayConfig;
use crate::config::gateway::{Environment, ListenConfig, PartnersConfig, RegistryConfig};
use crate::config::postgres::PostgresConfig;
use crate::domain::partner::PartnerId;
use crate::registry::embedded::STORE_FILE;

/// The places commands work on besides a gateway, or without one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The folder of contracts.
    pub(super) partners: PathBuf,
    /// The folder of standing records.
    pub(super) standing: PathBuf,
    /// The folder of the registry's store.
    pub(super) registry: PathBuf,
    /// The registry's keys.
    pub(super) registry_keys: PathBuf,
    /// The registry on PostgreSQL instead.
    pub(super) postgres: Option<PostgresConfig>,
    /// The socket of a running gateway.
    pub(super) admin_socket: PathBuf,
    /// Whether test numbers are accepted.
    pub(super) is_sandbox: bool,
}

impl Places {
    /// Reads `config.toml` of the folder; a folder without one is laid out by default, and no sandbox.
    ///
    /// # Errors
    /// A configuration that is there and cannot be used: to guess would be to change the wrong deployment.
    pub(super) fn of(dir: &Path) -> miette::Result<Self> {
        let path = dir.join("config.toml");
        // A link that leads nowhere is a configuration, too: only what is not there at all is none.
        if path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(Self::by_default(dir));
        }
        let config = GatewayConfig::read(&path).into_diagnostic().wrap_err(
            "the deployment's configuration cannot be used; `drivegate check --config FILE` says why",
        )?;
        let is_sandbox = config.environment == Environment::Sandbox;
        Ok(Self::named(config.listen, config.partners, config.registry, is_sandbox))
    }

    fn by_default(dir: &Path) -> Self {
        let places =
            Self::named(ListenConfig::default(), PartnersConfig::default(), RegistryConfig::default(), false);
        Self {
            partners: dir.join(places.partners),
            standing: dir.join(places.standing),
            registry: dir.join(places.registry),
            registry_keys: dir.join(places.registry_keys),
            postgres: None,
            admin_socket: dir.join(places.admin_socket),
            is_sandbox: false,
        }
    }

    fn named(
        listen: ListenConfig,
        partners: PartnersConfig,
        registry: RegistryConfig,
        is_sandbox: bool,
    ) -> Self {
        Self {
            partners: partners.folder,
            standing: partners.standing,
            registry: registry.folder,
            registry_keys: registry.keys,
            postgres: registry.postgres,
            admin_socket: listen.admin_socket,
            is_sandbox,
        }
    }

    /// Returns the file of a partner's contract.
    pub(super) fn contract(&self, partner: &PartnerId) -> PathBuf {
        self.partners.join(format!("{partner}.toml"))
    }

    /// Returns the registry's store.
    pub(super) fn store(&self) -> PathBuf {
        self.registry.join(STORE_FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = include_str!("init/config.toml");

    fn places(config: Option<&str>) -> (tempfile::TempDir, miette::Result<Places>) {
        let dir = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            std::fs::write(dir.path().join("config.toml"), config).unwrap();
        }
        let places = Places::of(dir.path());
        (dir, places)
    }

    #[test]
    fn a_folder_without_configuration_is_laid_out_as_init_does_it() {
        let (bare, without) = places(None);
        let (made, with) = places(Some(CONFIG));
        let (without, with) = (without.unwrap(), with.unwrap());
        assert!(!without.is_sandbox && with.is_sandbox);
        for (one, other) in [
            (&without.partners, &with.partners),
            (&without.standing, &with.standing),
            (&without.registry, &with.registry),
            (&without.registry_keys, &with.registry_keys),
            (&without.admin_socket, &with.admin_socket),
        ] {
            assert_eq!(one.strip_prefix(bare.path()).unwrap(), other.strip_prefix(made.path()).unwrap());
        }
    }

    #[test]
    fn a_configuration_that_says_otherwise_is_followed() {
        let text = CONFIG
            .replace("folder = \"partners\"", "folder = \"contracts\"")
            .replace("data/standing", "/var/standing")
            .replace("data/registry.keys", "secrets/registry.keys")
            .replace("folder = \"data\"", "folder = \"store\"")
            .replace("data/admin.sock", "run/admin.sock");
        let (dir, places) = places(Some(&text));
        let (dir, places) = (dir.path(), places.unwrap());
        assert_eq!(places.contract(&"one".parse().unwrap()), dir.join("contracts/one.toml"));
        assert_eq!(places.standing, Path::new("/var/standing"));
        assert_eq!(places.store(), dir.join("store/registry.redb"));
        assert_eq!(places.registry_keys, dir.join("secrets/registry.keys"));
        assert_eq!(places.admin_socket, dir.join("run/admin.sock"));
    }

    #[test]
    fn a_configuration_that_cannot_be_used_is_an_error_and_no_guess() {
        let (_dir, broken) = places(Some("environment = "));
        assert!(format!("{:?}", broken.unwrap_err()).contains("is no drivegate configuration"));
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("config.toml")).unwrap();
        assert!(Places::of(dir.path()).is_err(), "a link that leads nowhere");
    }
}
