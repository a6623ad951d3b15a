//! Redis as configured: where it is, the secrets of what lies there, and the level of facts over it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::bridges::{MetricsBridge, RecordBytes};
use super::error::StartError;
use super::secrets::{load_key, load_or_make_key};
use crate::cache::{RedisLevel, RedisOptions, RedisSecrets, SealingKey};
use crate::config::redis::RedisConfig;
use crate::domain::time::Clock;
use crate::redis_link::{RedisAddress, RedisClientIdentity, RedisPlace};

type Secret = Zeroizing<[u8; 32]>;

/// Starts the level of facts. Redis need not be there.
pub(super) fn start_redis(
    config: &RedisConfig,
    scope: &[u8],
    clock: &Arc<dyn Clock>,
    bridge: &Arc<MetricsBridge>,
    background: &Runtime,
) -> Result<RedisLevel, StartError> {
    let options = RedisOptions {
        address: redis_address(config)?,
        read_time_max: Duration::from_millis(config.timeout_ms),
        time_to_live: Duration::from_secs(config.ttl_s),
        ..RedisOptions::new(String::new())
    };
    let key = load_or_make_key(&config.key)?;
    let level = RedisLevel::start(
        options,
        &redis_secrets(config, &key, scope)?,
        Arc::new(RecordBytes),
        Arc::clone(clock),
        Arc::clone(bridge) as _,
        background.handle(),
    )?;
    Ok(level)
}

/// Reads where Redis is and what both sides prove who they are with. Connects to nothing.
///
/// # Errors
/// A file that is named cannot be read.
pub fn redis_address(config: &RedisConfig) -> Result<RedisAddress, StartError> {
    let nodes = config.nodes.iter().map(|node| node.expose().to_owned()).collect();
    let place = config
        .url
        .as_ref()
        .map_or(RedisPlace::Cluster(nodes), |url| RedisPlace::Server(url.expose().to_owned()));
    let password = config.password_file.as_deref().map(|path| read(path, "password")).transpose()?;
    let identity = match (&config.certificate, &config.certificate_key) {
        (Some(certificate), Some(key)) => Some(RedisClientIdentity {
            certificate_pem: read(certificate, "certificate")?.to_vec(),
            key_pem: read(key, "certificate's key")?,
        }),
        _ => None,
    };
    let authority = config.authority.as_deref().map(|path| read(path, "authority")).transpose()?;
    Ok(RedisAddress {
        user: config.user.clone(),
        password: password.map(|bytes| first_line(&bytes)),
        authority_pem: authority.map(|bytes| bytes.to_vec()),
        identity,
        ..RedisAddress::at(place)
    })
}

/// Looks at what [`start_redis`] needs, and makes nothing; returns what is told of it.
///
/// # Errors
/// A file cannot be used, or the address cannot work whatever Redis does.
pub fn look_at_redis(config: &RedisConfig) -> Result<String, StartError> {
    redis_address(config)?.client()?;
    if config.key.exists() {
        redis_secrets(config, &load_key(&config.key)?, b"")?;
    }
    let where_it_is = match config.nodes.len() {
        0 => "one server".to_owned(),
        named => format!("a Cluster, {named} of its nodes named"),
    };
    let sealed = match (config.key.exists(), &config.second_key) {
        (false, _) => "no key yet: it is made at the first start, and every replica needs the same file",
        (true, None) => "one key",
        (true, Some(_)) => "two keys: a rotation is under way",
    };
    Ok(format!("{where_it_is}; {sealed}"))
}

fn read(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, StartError> {
    let unreadable =
        |source| StartError::File { what: format!("read the {what} for Redis, {}", path.display()), source };
    std::fs::read(path).map(Zeroizing::new).map_err(unreadable)
}

fn first_line(bytes: &[u8]) -> Zeroizing<String> {
    let text = String::from_utf8_lossy(bytes);
    Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Derives what Redis keys are named by and what values are sealed with from the files' secrets, within a scope: whoever has the same
/// secrets and scope shares what Redis holds.
fn redis_secrets(config: &RedisConfig, key: &Secret, scope: &[u8]) -> Result<RedisSecrets, StartError> {
    let second = config.second_key.as_deref().map(load_key).transpose()?;
    let names = config.names_key.as_deref().map(load_key).transpose()?;
    let naming = derive(names.as_ref().unwrap_or(key), b"drivegate redis naming v1", scope);
    let retired = second.iter().map(|secret| sealing_key(secret, scope)).collect();
    Ok(RedisSecrets { naming, sealing: sealing_key(key, scope), retired })
}

/// The id says which secret a value was sealed with, whichever of two files it lies in, and nothing about it.
fn sealing_key(secret: &Secret, scope: &[u8]) -> SealingKey {
    let mut id = [0; 4];
    id.copy_from_slice(&derive(secret, b"drivegate redis sealing id v1", scope)[..4]);
    SealingKey::new(u32::from_be_bytes(id), *derive(secret, b"drivegate redis sealing v1", scope))
}

fn derive(secret: &Secret, purpose: &[u8], scope: &[u8]) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice());
    let mut derived = Zeroizing::new([0; 32]);
    derived.copy_from_slice(hmac::sign(&key, &[purpose, scope].concat()).as_ref());
    derived
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(text: &str) -> RedisConfig {
        toml::from_str(&format!("url = \"redis://host\"\n{text}")).unwrap()
    }

    #[test]
    fn who_has_the_same_secret_and_scope_shares_what_redis_holds() {
        let naming = |secret: u8, scope: &[u8]| {
            redis_secrets(&config(""), &Zeroizing::new([secret; 32]), scope).unwrap().naming.to_vec()
        };
        assert_eq!(naming(1, b"registry 7, epoch 1"), naming(1, b"registry 7, epoch 1"));
        assert_ne!(naming(1, b"registry 7, epoch 1"), naming(1, b"registry 7, epoch 2"));
        assert_ne!(naming(1, b"registry 7, epoch 1"), naming(2, b"registry 7, epoch 1"));
    }

    #[test]
    fn through_a_rotation_names_stay_and_both_keys_keep_their_ids() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, fill: u8| {
            let path = folder.path().join(name);
            std::fs::write(&path, [fill; 32]).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let (old, new) = (file("old", 1), file("new", 2));
        let secrets = |key: &str, more: &str| {
            let secret = load_key(Path::new(key)).unwrap();
            redis_secrets(&config(more), &secret, b"scope").unwrap()
        };
        let before = secrets(&old, "");
        let prepared = secrets(&old, &format!("second_key = \"{new}\"\nnames_key = \"{old}\""));
        let rotated = secrets(&new, &format!("second_key = \"{old}\"\nnames_key = \"{old}\""));
        let after = secrets(&new, &format!("names_key = \"{old}\""));
        for step in [&prepared, &rotated, &after] {
            assert_eq!(step.naming, before.naming);
        }
        // A key shows its id, and nothing else of it.
        let shown = |key: &SealingKey| format!("{key:?}");
        assert_eq!(shown(&prepared.sealing), shown(&before.sealing));
        assert_eq!(shown(&prepared.retired[0]), shown(&rotated.sealing));
        assert_eq!(shown(&rotated.retired[0]), shown(&before.sealing));
        assert!(after.retired.is_empty() && shown(&after.sealing) == shown(&rotated.sealing));
    }

    #[test]
    fn a_password_comes_from_a_files_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "w0rd\nand more\n").unwrap();
        let named = config(&format!("user = \"gateway\"\npassword_file = \"{}\"", path.display()));
        let address = redis_address(&named).unwrap();
        assert_eq!(address.password.unwrap().as_str(), "w0rd");
        let absent = redis_address(&config("password_file = \"/nowhere\""));
        assert!(matches!(absent, Err(StartError::File { .. })));
    }
}
