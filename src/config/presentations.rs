//! `[presentations]`: what drivers show, and the secrets it is made with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// What drivers show. Every replica of a deployment needs the same key files: the first start of the first replica makes them, the
/// operator copies them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PresentationsConfig {
    /// How long a QR code lives, in seconds, 10 to 600. 60: long enough to be scanned, too short to be sent on.
    pub qr_lifetime_s: u64,
    /// The secret QR codes are sealed with, 32 random bytes, mode 0600. Made at first start.
    pub qr_key: PathBuf,
    /// A second secret whose QR codes open, too: the next one before a rotation, the one before after it. Never made.
    pub second_qr_key: Option<PathBuf>,
    /// The secret share codes are named with, 32 random bytes, mode 0600. Made at first start. It is not rotated: with another one,
    /// the codes that are out lead nowhere.
    pub share_code_key: PathBuf,
}

impl Default for PresentationsConfig {
    fn default() -> Self {
        Self {
            qr_lifetime_s: 60,
            qr_key: PathBuf::from("data/qr.key"),
            second_qr_key: None,
            share_code_key: PathBuf::from("data/share-codes.key"),
        }
    }
}

impl PresentationsConfig {
    /// Returns how long a QR code lives.
    pub fn qr_lifetime(&self) -> Duration {
        Duration::from_secs(self.qr_lifetime_s)
    }

    /// Says which rule is broken, if any: key and rule.
    pub(super) fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let rules = [
            ((10..=600).contains(&self.qr_lifetime_s), "presentations.qr_lifetime_s", "must be 10 to 600"),
            (
                self.second_qr_key.as_ref() != Some(&self.qr_key),
                "presentations.second_qr_key",
                "must be another file than qr_key",
            ),
        ];
        rules.into_iter().find(|(holds, ..)| !holds).map(|(_, key, rule)| (key, rule))
    }

    /// Makes relative paths relative to a folder.
    pub(super) fn resolve(&mut self, folder: &Path) {
        let paths = [&mut self.qr_key, &mut self.share_code_key].into_iter().chain(&mut self.second_qr_key);
        for path in paths {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> PresentationsConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_lifetime_has_bounds_and_a_second_key_is_another_one() {
        let broken = |text| parsed(text).broken_rule().map(|(key, _)| key);
        for accepted in
            ["", "qr_lifetime_s = 10", "qr_lifetime_s = 600", "second_qr_key = \"data/qr-next.key\""]
        {
            assert_eq!(broken(accepted), None, "{accepted}");
        }
        assert_eq!(broken("qr_lifetime_s = 9"), Some("presentations.qr_lifetime_s"));
        assert_eq!(broken("qr_lifetime_s = 601"), Some("presentations.qr_lifetime_s"));
        assert_eq!(broken("second_qr_key = \"data/qr.key\""), Some("presentations.second_qr_key"));
    }

    #[test]
    fn keys_lie_where_the_configuration_lies() {
        let mut config = parsed("second_qr_key = \"/etc/drivegate/next.key\"");
        config.resolve(Path::new("/srv/gw"));
        assert_eq!(config.qr_key, Path::new("/srv/gw/data/qr.key"));
        assert_eq!(config.share_code_key, Path::new("/srv/gw/data/share-codes.key"));
        assert_eq!(config.second_qr_key.unwrap(), Path::new("/etc/drivegate/next.key"));
    }
}
