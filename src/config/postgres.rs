//! `[registry.postgres]`: the registry on PostgreSQL, for more than one gateway.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::secret::SecretText;

/// The registry on PostgreSQL. `registry.folder` is not used then; `registry.keys` is, and every replica needs the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host/database?sslmode=verify-full&sslrootcert=FILE`. Or `url_file`, never both.
    pub url: Option<SecretText>,
    /// A file whose first line is the URL: how secrets are handed in by most platforms.
    pub url_file: Option<PathBuf>,
    /// A streaming copy; its readings count while they are not behind what this replica knows.
    pub standby_url: Option<SecretText>,
    /// A file whose first line is the standby's URL.
    pub standby_url_file: Option<PathBuf>,
    /// Connections for look-ups, kept open. 4: look-ups that find them all busy go together.
    #[serde(default = "default_readers")]
    pub readers: usize,
    /// Connections for changes, at most. 4: they wait for the disk.
    #[serde(default = "default_writers")]
    pub writers: u32,
    /// The longest a look-up may take, waiting for a connection included. 1 s: half of a call.
    #[serde(default = "default_read_timeout_ms")]
    pub read_timeout_ms: u64,
    /// The longest connecting may take. 2 s.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How often the feed is polled when nobody tells of a change. 200 ms; freshness needs it below a quarter of a second.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
    /// How long rows of the feed are kept. 168 hours: a week.
    #[serde(default = "default_feed_hours")]
    pub feed_hours: u64,
    /// Prepared statements kept per connection, those of look-ups beside; 0 behind a pooler that shares connections between transactions.
    #[serde(default = "default_statements_prepared")]
    pub statements_prepared: usize,
    /// Partitions of a registry that is made: a power of two up to 256, for ever.
    #[serde(default = "default_partitions")]
    pub partitions: u16,
    /// Leaves the tables of a registry that is made uncut: for engines that spread them over servers themselves.
    #[serde(default)]
    pub uncut_tables: bool,
}

fn default_readers() -> usize {
    4
}

fn default_writers() -> u32 {
    4
}

fn default_read_timeout_ms() -> u64 {
    1_000
}

fn default_connect_timeout_ms() -> u64 {
    2_000
}

fn default_poll_ms() -> u64 {
    200
}

fn default_feed_hours() -> u64 {
    168
}

fn default_statements_prepared() -> usize {
    64
}

fn default_partitions() -> u16 {
    16
}

impl PostgresConfig {
    /// Returns the defaults for a URL.
    pub fn new(url: SecretText) -> Self {
        Self {
            url: Some(url),
            url_file: None,
            standby_url: None,
            standby_url_file: None,
            readers: default_readers(),
            writers: default_writers(),
            read_timeout_ms: default_read_timeout_ms(),
            connect_timeout_ms: default_connect_timeout_ms(),
            poll_ms: default_poll_ms(),
            feed_hours: default_feed_hours(),
            statements_prepared: default_statements_prepared(),
            partitions: default_partitions(),
            uncut_tables: false,
        }
    }

    /// Returns the primary's URL, from the file where one is named.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn primary_url(&self) -> std::io::Result<SecretText> {
        let url = secret(self.url.as_ref(), self.url_file.as_deref())?;
        url.ok_or_else(|| std::io::Error::other("registry.postgres names no url"))
    }

    /// Returns the standby's URL, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn standby(&self) -> std::io::Result<Option<SecretText>> {
        secret(self.standby_url.as_ref(), self.standby_url_file.as_deref())
    }

    /// Says which rule is broken, if any: key and rule.
    pub(super) fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let rules = [
            (
                self.url.is_some() != self.url_file.is_some(),
                "registry.postgres.url",
                "or url_file must be given, not both",
            ),
            (
                self.standby_url.is_none() || self.standby_url_file.is_none(),
                "registry.postgres.standby_url",
                "or standby_url_file may be given, not both",
            ),
            ((1..=256).contains(&self.readers), "registry.postgres.readers", "must be 1 to 256"),
            ((1..=64).contains(&self.writers), "registry.postgres.writers", "must be 1 to 64"),
            (
                (10..=60_000).contains(&self.read_timeout_ms),
                "registry.postgres.read_timeout_ms",
                "must be 10 to 60000",
            ),
            (
                (10..=60_000).contains(&self.connect_timeout_ms),
                "registry.postgres.connect_timeout_ms",
                "must be 10 to 60000",
            ),
            ((5..=250).contains(&self.poll_ms), "registry.postgres.poll_ms", "must be 5 to 250"),
            ((1..=8_760).contains(&self.feed_hours), "registry.postgres.feed_hours", "must be 1 to 8760"),
            (
                self.partitions.is_power_of_two() && self.partitions <= 256,
                "registry.postgres.partitions",
                "must be a power of two up to 256",
            ),
        ];
        rules.into_iter().find(|(holds, ..)| !holds).map(|(_, key, rule)| (key, rule))
    }

    /// Makes relative paths relative to a folder.
    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.url_file, &mut self.standby_url_file].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }
}

fn secret(text: Option<&SecretText>, file: Option<&Path>) -> std::io::Result<Option<SecretText>> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(file)) => {
            let text = zeroize::Zeroizing::new(std::fs::read_to_string(file)?);
            Ok(Some(SecretText::new(text.lines().next().unwrap_or_default().trim())))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> PostgresConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_url_comes_from_the_file_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("url"), "postgres://a:s3cret@db/d\nand more\n").unwrap();
        let mut config = parse("url_file = \"url\"");
        config.resolve(folder.path());
        assert_eq!(config.primary_url().unwrap().expose(), "postgres://a:s3cret@db/d");
        assert_eq!(config.standby().unwrap(), None);
        let shown = parse("url = \"postgres://a:s3cret@db/d\"\nstandby_url = \"postgres://a:s3cret@db2/d\"");
        assert!(!format!("{shown:?}").contains("s3cret"));
        assert!(parse("url_file = \"/nowhere\"").primary_url().is_err());
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let broken = |more: &str| {
            parse(&format!("url = \"postgres://db/d\"\n{more}")).broken_rule().map(|(key, _)| key)
        };
        assert_eq!(broken(""), None);
        assert_eq!(broken("url_file = \"x\""), Some("registry.postgres.url"));
        assert_eq!(broken("readers = 0"), Some("registry.postgres.readers"));
        assert_eq!(broken("poll_ms = 251"), Some("registry.postgres.poll_ms"));
        assert_eq!(broken("partitions = 24"), Some("registry.postgres.partitions"));
        assert_eq!(parse("").broken_rule().map(|(key, _)| key), Some("registry.postgres.url"));
    }
}
