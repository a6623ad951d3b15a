//! `witness.toml`: whose checkpoints a witness cosigns.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::gateway::ConfigError;

/// A witness' configuration. Relative paths are relative to the file's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// The witness' name in its cosignatures, as in `witness.example/w1`.
    pub name: String,
    /// Its key, made at first start, and the last checkpoint of every log.
    #[serde(default = "default_folder")]
    pub folder: PathBuf,
    /// Where logs submit checkpoints (C2SP tlog-witness over HTTP). Absent: nowhere, it only follows.
    pub listen: Option<SocketAddr>,
    /// Seconds between two looks at the logs it follows. 10: a rollback is noticed before anybody relies on it for long.
    #[serde(default = "default_look_every_s")]
    pub look_every_s: u64,
    /// The logs.
    pub logs: Vec<WitnessedLog>,
}

/// A log a witness knows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessedLog {
    /// Its public key: the line in its file `verifier`.
    pub verifier: String,
    /// Its auditor's listener, to follow it: `http://host:port`. Absent: it submits.
    pub url: Option<String>,
}

fn default_folder() -> PathBuf {
    PathBuf::from("witness")
}

fn default_look_every_s() -> u64 {
    10
}

impl WitnessConfig {
    /// Reads a file; relative paths become relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, line and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        let demand = |holds: bool, key: &'static str, rule: &'static str| {
            if holds { Ok(()) } else { Err(ConfigError::Value { path: path.to_owned(), key, rule }) }
        };
        demand(config.look_every_s >= 1, "look_every_s", "must be at least 1")?;
        demand(!config.logs.is_empty(), "logs", "must name at least one log")?;
        config.folder = path.parent().unwrap_or(Path::new(".")).join(&config.folder);
        Ok(config)
    }
}
