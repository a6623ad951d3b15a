//! Secrets of this process that no other room keeps.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::StartError;
use crate::identity::{Existing, write_secret};

const KEY_BYTES: usize = 32;

/// Loads the 32 bytes of a key file, or makes them when there is none. A file others may read is refused.
pub(super) fn load_or_make_key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, StartError> {
    if !path.exists() {
        let mut fresh = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(fresh.as_mut_slice()).map_err(|_unspecified| StartError::System {
            what: "draw random bytes for a key",
            source: std::io::Error::other("the random source failed"),
        })?;
        write_secret(path, fresh.as_slice(), Existing::Keep)
            .map_err(|source| file_error("write", path, source))?;
    }
    load_key(path)
}

/// Loads the 32 bytes of a key file that is not ours to make. One others may read is refused.
pub(super) fn load_key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, StartError> {
    read_key(path).map_err(|source| file_error("use", path, source))
}

fn read_key(path: &Path) -> std::io::Result<Zeroizing<[u8; KEY_BYTES]>> {
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(std::io::Error::other(
            "others may read this key: chmod 600, or remove it and let a new one be made",
        ));
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    file.read_exact(key.as_mut_slice())?;
    if file.read(&mut [0])? != 0 {
        return Err(std::io::Error::other("a key file has exactly 32 bytes"));
    }
    Ok(key)
}

fn file_error(action: &str, path: &Path, source: std::io::Error) -> StartError {
    StartError::File { what: format!("{action} the key file {}", path.display()), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_refused_when_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis.key");
        let made = load_or_make_key(&path).unwrap();
        assert_eq!(*made, *load_or_make_key(&path).unwrap());

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_make_key(&path), Err(StartError::File { .. })));
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 31, 33] {
            let path = folder.path().join(format!("{length}.key"));
            write_secret(&path, &vec![7; length], Existing::Keep).unwrap();
            assert!(load_or_make_key(&path).is_err(), "{length} bytes");
        }
    }
}
