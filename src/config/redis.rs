//! `[cache.redis]`: one Redis or a Cluster, which replicas share.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::secret::SecretText;

/// The shared level.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// One server: `redis://` or `rediss://` (TLS), with user, password and database where needed. Or `nodes`, never both.
    pub url: Option<SecretText>,
    /// Some nodes of a Cluster, each as a URL; the others are learnt from them. Two or three, so that one may be away.
    #[serde(default)]
    pub nodes: Vec<SecretText>,
    /// The user of Redis' ACL. Not given: the URL's, or the default one.
    pub user: Option<String>,
    /// A file whose first line is the user's password: it stands in no configuration then.
    pub password_file: Option<PathBuf>,
    /// The authority that signed Redis' certificates, PEM. Not given: the machine's own trust.
    pub authority: Option<PathBuf>,
    /// A certificate to show to Redis, PEM, with `certificate_key`.
    pub certificate: Option<PathBuf>,
    /// The certificate's key, PEM.
    pub certificate_key: Option<PathBuf>,
    /// The secret values are sealed with, 32 bytes, mode 0600, the same on every replica. Made at first start.
    #[serde(default = "default_key")]
    pub key: PathBuf,
    /// A second secret whose values open, too: the next one before a rotation, the one before after it. Never made.
    pub second_key: Option<PathBuf>,
    /// The secret Redis keys are named with. Not given: `key`. It stays when `key` is rotated, else nothing held is found again.
    pub names_key: Option<PathBuf>,
    /// The longest wait for one answer. 50 ms: a registry read is quicker than a slow Redis.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// How long an entry may lie there: memory hygiene, never the safety argument.
    #[serde(default = "default_ttl_s")]
    pub ttl_s: u64,
}

fn default_key() -> PathBuf {
    PathBuf::from("data/redis.key")
}

fn default_timeout_ms() -> u64 {
    50
}

fn default_ttl_s() -> u64 {
    3_600
}

impl RedisConfig {
    /// Says which rule is broken, if any: key and rule.
    pub(super) fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let second_is_other = self.second_key.as_ref() != Some(&self.key);
        let rules = [
            (
                self.url.is_some() == self.nodes.is_empty(),
                "cache.redis.url",
                "or nodes must be given, not both: url for one server, nodes for a Cluster",
            ),
            (
                self.certificate.is_some() == self.certificate_key.is_some(),
                "cache.redis.certificate",
                "and certificate_key must be given together",
            ),
            (self.user.as_deref() != Some(""), "cache.redis.user", "must not be empty"),
            (second_is_other, "cache.redis.second_key", "must be another file than key"),
            (
                self.second_key.is_none() || self.names_key.is_some(),
                "cache.redis.names_key",
                "must be given with second_key: the file that was key before the first rotation",
            ),
            ((1..=1_000).contains(&self.timeout_ms), "cache.redis.timeout_ms", "must be 1 to 1000"),
            ((1..=86_400).contains(&self.ttl_s), "cache.redis.ttl_s", "must be 1 to 86400"),
        ];
        rules.into_iter().find(|(holds, ..)| !holds).map(|(_, key, rule)| (key, rule))
    }

    /// Makes relative paths relative to a folder.
    pub(super) fn resolve(&mut self, folder: &Path) {
        let named = [
            &mut self.password_file,
            &mut self.authority,
            &mut self.certificate,
            &mut self.certificate_key,
            &mut self.second_key,
            &mut self.names_key,
        ];
        for path in named.into_iter().flatten().chain([&mut self.key]) {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> RedisConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn one_server_or_a_cluster_and_a_rotation_that_finds_what_is_held() {
        let broken = |text: &str| parsed(text).broken_rule().map(|(key, _)| key);
        let rotation = "key = \"b\"\nsecond_key = \"a\"\nnames_key = \"a\"";
        for accepted in [
            "url = \"redis://host\"".to_owned(),
            "nodes = [\"rediss://one\", \"rediss://two\"]".to_owned(),
            "url = \"rediss://host\"\nuser = \"gw\"\npassword_file = \"p\"\nauthority = \"ca.pem\""
                .to_owned(),
            format!("url = \"redis://host\"\n{rotation}"),
        ] {
            assert_eq!(broken(&accepted), None, "{accepted}");
        }
        for (text, key) in [
            ("", "url"),
            ("url = \"redis://a\"\nnodes = [\"redis://b\"]", "url"),
            ("url = \"redis://a\"\ncertificate = \"c\"", "certificate"),
            ("url = \"redis://a\"\nuser = \"\"", "user"),
            ("url = \"redis://a\"\nsecond_key = \"data/redis.key\"", "second_key"),
            ("url = \"redis://a\"\nsecond_key = \"next\"", "names_key"),
            ("url = \"redis://a\"\ntimeout_ms = 0", "timeout_ms"),
            ("url = \"redis://a\"\nttl_s = 0", "ttl_s"),
        ] {
            assert_eq!(broken(text), Some(format!("cache.redis.{key}").as_str()), "{text}");
        }
    }

    #[test]
    fn files_lie_where_the_configuration_lies_and_no_password_is_shown() {
        let mut config = parsed("nodes = [\"redis://gw:s3cret@one\"]\nnames_key = \"/etc/names.key\"");
        config.resolve(Path::new("/srv/gw"));
        assert_eq!(config.key, Path::new("/srv/gw/data/redis.key"));
        assert_eq!(config.names_key.as_deref(), Some(Path::new("/etc/names.key")));
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
