//! The secrets of presentations: loaded, made at the first start, looked at by `drivegate check`.

use std::path::Path;
use std::sync::Arc;

use super::error::StartError;
use super::secrets::{load_key, load_or_make_key};
use crate::config::presentations::PresentationsConfig;
use crate::tokens::{Deployment, KeysAlike, QrKeys, QrTokens, ShareCodeKey};

/// What makes and reads presentations.
#[derive(Debug)]
pub struct Tokens {
    /// QR codes.
    pub qr: Arc<QrTokens>,
    /// Share codes' names.
    pub share_codes: Arc<ShareCodeKey>,
}

/// Loads the secrets; makes those of a first start.
///
/// # Errors
/// [`StartError`] names the file.
pub fn open_tokens(config: &PresentationsConfig, deployment: &Deployment) -> Result<Tokens, StartError> {
    let sealing = load_or_make_key(&config.qr_key)?;
    let second = config.second_qr_key.as_deref().map(load_key).transpose()?;
    let keys = QrKeys::new(&sealing, second.as_deref())?;
    let naming = load_or_make_key(&config.share_code_key)?;
    Ok(Tokens {
        qr: Arc::new(QrTokens::new(keys, deployment)),
        share_codes: Arc::new(ShareCodeKey::new(&naming)),
    })
}

/// Says what a start would find, without making anything: whether the secrets are there.
///
/// # Errors
/// As [`open_tokens`].
pub fn look_at_token_keys(config: &PresentationsConfig) -> Result<bool, StartError> {
    let look = |path: &Path| if path.exists() { load_key(path).map(Some) } else { Ok(None) };
    let sealing = look(&config.qr_key)?;
    let second = config.second_qr_key.as_deref().map(load_key).transpose()?;
    let share_codes = look(&config.share_code_key)?;
    if let Some(sealing) = &sealing {
        QrKeys::new(sealing, second.as_deref())?;
    }
    Ok(sealing.is_some() && share_codes.is_some())
}

impl From<KeysAlike> for StartError {
    fn from(alike: KeysAlike) -> Self {
        let what = "use presentations.second_qr_key".to_owned();
        Self::File { what, source: std::io::Error::other(alike) }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::presentation::QR_LIFETIME_MAX;
    use crate::domain::presentation::{Audience, Presentation, PresentationId, PresentationKind, ShareCode};
    use crate::domain::subject::NumberPseudonym;
    use crate::issuing::ports::QrWriter as _;
    use crate::verification::ports::{QrFault, QrReader as _, ShareCodeIds as _};

    const HERE: Deployment = Deployment { environment: "sandbox", id: [1; 16] };

    fn config(folder: &Path) -> PresentationsConfig {
        PresentationsConfig {
            qr_key: folder.join("qr.key"),
            share_code_key: folder.join("share-codes.key"),
            ..PresentationsConfig::default()
        }
    }

    fn open(config: &PresentationsConfig) -> Tokens {
        open_tokens(config, &HERE).unwrap()
    }

    fn text(by: &Tokens) -> String {
        let presentation = Presentation {
            id: PresentationId::new(PresentationKind::Qr, [1; 16]),
            number: NumberPseudonym::from_bytes([2; 16]),
            audience: Audience::Untold,
            purpose: None,
            fields: None,
            uses_max: 1,
            issued_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60),
        };
        by.qr.write(&presentation).unwrap()
    }

    #[test]
    fn secrets_are_made_once_and_the_same_files_open_the_same_codes() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert!(!look_at_token_keys(&config).unwrap());
        let (one, replica) = (open(&config), open(&config));
        assert!(look_at_token_keys(&config).unwrap());
        assert!(replica.qr.read(&text(&one)).is_ok());
        let code = ShareCode::generate(&[7; 13]);
        assert_eq!(one.share_codes.id(&code), replica.share_codes.id(&code));
    }

    /// As `docs/security.md` tells the operator to do it.
    #[test]
    fn a_rotation_of_files_loses_no_code_until_the_old_key_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let before = config(folder.path());
        let old = text(&open(&before));
        let next = folder.path().join("qr-next.key");
        let missing = PresentationsConfig { second_qr_key: Some(next.clone()), ..before.clone() };
        assert!(open_tokens(&missing, &HERE).is_err() && look_at_token_keys(&missing).is_err(), "never made");
        load_or_make_key(&next).unwrap();
        let announced = missing;
        let rotated = PresentationsConfig {
            qr_key: next.clone(),
            second_qr_key: Some(before.qr_key.clone()),
            ..before.clone()
        };
        let after = PresentationsConfig { qr_key: next, ..before.clone() };
        let new = text(&open(&rotated));
        assert!(open(&announced).qr.read(&old).is_ok() && open(&announced).qr.read(&new).is_ok());
        assert!(open(&rotated).qr.read(&old).is_ok() && open(&rotated).qr.read(&new).is_ok());
        assert!(open(&after).qr.read(&new).is_ok());
        assert_eq!(open(&after).qr.read(&old), Err(QrFault::NotGenuine));
        let twice = folder.path().join("copy.key");
        std::fs::copy(&before.qr_key, &twice).unwrap();
        let alike = PresentationsConfig { second_qr_key: Some(twice), ..before };
        assert!(open_tokens(&alike, &HERE).is_err() && look_at_token_keys(&alike).is_err());
    }

    #[test]
    fn the_longest_life_that_can_be_configured_is_the_use_cases() {
        let longest: PresentationsConfig = toml::from_str("qr_lifetime_s = 600").unwrap();
        assert_eq!(SignedDuration::try_from(longest.qr_lifetime()).unwrap(), QR_LIFETIME_MAX);
    }
}
