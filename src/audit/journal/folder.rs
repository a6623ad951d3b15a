//! Whose log a folder holds.
//!
//! Layout: `lock`, `secret` (0600; not where replicas share one), `secret-check`, `origin`, and a folder of segments named by each origin. An origin is the replica's name and
//! 64 random bits; it names one history of indices for ever, so two logs must never share it. A copy or a restored backup
//! would: it would hand out indices that the original has handed out, too. So the file `origin` records its own inode number and
//! birth time, which no copy can bring along (and no ordinary tool can set); where they do not fit, the folder is a copy, and a
//! new origin with a new folder of segments is begun beside the old one, which stays readable. Device numbers are not compared:
//! they change with reboots. A whole disk image rolled back keeps inode and birth time; witnesses find that one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, StatxFlags, flock, statx};
use rustix::io::Errno;

use super::options::OpenError;
use super::storage::sync_folder;
use crate::audit::keys::{LogSecret, SecretError};

const ORIGIN_FILE: &str = "origin";
const ORIGIN_FORMAT: &str = "drivegate log 1";
const NAME_BYTES_MAX: usize = 63;

/// A folder that is ours alone.
pub(super) struct LogFolder {
    pub(super) origin: String,
    pub(super) segments: PathBuf,
    pub(super) secret: Arc<LogSecret>,
    /// Held for its lock.
    pub(super) lock: File,
}

impl LogFolder {
    /// Locks the folder, finds or makes its secret and its origin.
    pub(super) fn open(folder: &Path, name: &str, shared_secret: Option<&Path>) -> Result<Self, OpenError> {
        if !is_name(name) {
            return Err(OpenError::Name);
        }
        make_folder(folder).map_err(OpenError::Folder)?;
        let lock = lock(&folder.join("lock"))?;
        let recorded = read_origin(folder)?;
        let secret = match shared_secret {
            Some(path) => LogSecret::read_from(path),
            None => LogSecret::load(&folder.join("secret"), recorded.is_none()),
        };
        let secret = secret.map_err(OpenError::Secret)?;
        demand_same_secret(folder, &secret)?;
        let origin = match recorded {
            Some(recorded) if recorded.is_of(folder, name) => recorded.origin,
            _ => begin_origin(folder, name).map_err(OpenError::Folder)?,
        };
        let segments = folder.join(&origin);
        make_folder(&segments).map_err(OpenError::Folder)?;
        sync_folder(folder).map_err(OpenError::Folder)?;
        Ok(Self { origin, segments, secret: Arc::new(secret), lock })
    }
}

/// Returns the folder of segments of the origin in force.
pub(super) fn current_origin(folder: &Path) -> Result<Option<String>, OpenError> {
    Ok(read_origin(folder)?.map(|recorded| recorded.origin))
}

/// Records which secret the log is kept with, and refuses another: nothing on record could be opened with it, and that would
/// look as if every driver had been erased.
fn demand_same_secret(folder: &Path, secret: &LogSecret) -> Result<(), OpenError> {
    let path = folder.join("secret-check");
    let check = hex(&secret.check());
    match std::fs::read_to_string(&path) {
        Ok(recorded) if recorded.trim_end() == check => Ok(()),
        Ok(_) => Err(OpenError::Secret(SecretError::Other)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_check(folder, &path, &check).map_err(OpenError::Folder)
        }
        Err(error) => Err(OpenError::Folder(error)),
    }
}

fn write_check(folder: &Path, path: &Path, check: &str) -> io::Result<()> {
    let unnamed = folder.join("secret-check.tmp");
    let mut file = File::create(&unnamed)?;
    file.write_all(format!("{check}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(unnamed, path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Recorded {
    origin: String,
    identity: String,
}

impl Recorded {
    fn is_of(&self, folder: &Path, name: &str) -> bool {
        let of_name = self.origin.rsplit_once('-').is_some_and(|(prefix, _)| prefix == name);
        of_name && identity(&folder.join(ORIGIN_FILE)).is_ok_and(|identity| identity == self.identity)
    }
}

fn read_origin(folder: &Path) -> Result<Option<Recorded>, OpenError> {
    let mut text = String::new();
    match File::open(folder.join(ORIGIN_FILE)) {
        Ok(file) => file.take(1024).read_to_string(&mut text).map_err(OpenError::Folder)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::Folder(error)),
    };
    let mut lines = text.lines();
    let (format, origin, identity) = (lines.next(), lines.next(), lines.next());
    match (origin.and_then(|line| line.strip_prefix("origin ")), identity) {
        (Some(origin), Some(identity)) if format == Some(ORIGIN_FORMAT) && is_origin(origin) => {
            Ok(Some(Recorded { origin: origin.to_owned(), identity: identity.to_owned() }))
        }
        _ => Err(OpenError::Origin),
    }
}

/// Begins a new origin: the file is made under another name, records what it is, and is then named.
fn begin_origin(folder: &Path, name: &str) -> io::Result<String> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let origin = format!("{name}-{:016x}", u64::from_be_bytes(random));
    let unnamed = folder.join("origin.tmp");
    match std::fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed)?;
    let identity = identity(&unnamed)?;
    file.write_all(format!("{ORIGIN_FORMAT}\norigin {origin}\n{identity}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unnamed, folder.join(ORIGIN_FILE))?;
    sync_folder(folder)?;
    Ok(origin)
}

/// What tells a file from its copies. A file system without birth times leaves the inode number.
fn identity(path: &Path) -> io::Result<String> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let stat = statx(rustix::fs::CWD, path, AtFlags::empty(), wanted)?;
    Ok(format!("inode {} born {}.{:09}", stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(OpenError::Folder)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(OpenError::Locked),
        Err(error) => Err(OpenError::Folder(error.into())),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn is_name(name: &str) -> bool {
    let permitted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(permitted) && !name.starts_with('.')
}

/// An origin becomes a folder's name: nothing but what we write ourselves may pass.
pub(in crate::audit) fn is_origin(origin: &str) -> bool {
    origin.rsplit_once('-').is_some_and(|(name, random)| {
        is_name(name) && random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Result<LogFolder, OpenError> {
        LogFolder::open(folder, "gw-1", None)
    }

    #[test]
    fn a_folder_keeps_its_origin() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path()).expect("opens").origin;
        assert!(first.starts_with("gw-1-") && first.len() == 21);
        assert_eq!(open(folder.path()).expect("opens").origin, first);
    }

    #[test]
    fn a_copy_gets_a_new_origin_and_keeps_the_old_segments() {
        let (folder, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let first = open(folder.path()).expect("opens").origin;
        for name in [ORIGIN_FILE, "secret"] {
            std::fs::copy(folder.path().join(name), copy.path().join(name)).expect("copies");
        }
        std::fs::create_dir(copy.path().join(&first)).expect("copies");
        let second = open(copy.path()).expect("opens").origin;
        assert_ne!(second, first);
        assert!(copy.path().join(&first).is_dir());
        assert_eq!(open(copy.path()).expect("opens").origin, second);
    }

    #[test]
    fn another_name_is_another_origin() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path()).expect("opens").origin;
        let second = LogFolder::open(folder.path(), "gw-2", None).expect("opens").origin;
        assert_ne!(second, first);
    }

    #[test]
    fn a_folder_is_used_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = open(folder.path()).expect("opens");
        assert!(matches!(open(folder.path()), Err(OpenError::Locked)));
        drop(held);
        assert!(open(folder.path()).is_ok());
    }

    #[test]
    fn a_lost_or_readable_secret_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        drop(open(folder.path()).expect("opens"));
        let secret = folder.path().join("secret");
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).expect("chmod");
        assert!(matches!(open(folder.path()), Err(OpenError::Secret(SecretError::Readable))));
        std::fs::remove_file(&secret).expect("removes");
        assert!(matches!(open(folder.path()), Err(OpenError::Secret(SecretError::Missing))));
    }

    #[test]
    fn replicas_share_a_secret_and_a_log_keeps_the_one_it_was_begun_with() {
        use std::os::unix::fs::PermissionsExt;

        let secrets = tempfile::tempdir().expect("a folder");
        let path_of = |name: &str, byte: u8| {
            let path = secrets.path().join(name);
            std::fs::write(&path, [byte; 32]).expect("writes");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("chmod");
            path
        };
        let (shared, other) = (path_of("shared", 7), path_of("other", 8));
        let open_with = |folder: &Path, secret| LogFolder::open(folder, "gw-1", secret);
        let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
        for folder in &folders {
            let opened = open_with(folder.path(), Some(&shared)).expect("opens");
            assert_eq!(opened.secret.check(), LogSecret::from_bytes(&[7; 32]).check());
            assert!(!folder.path().join("secret").exists(), "none of its own is made");
        }
        let folder = folders[0].path();
        assert!(open_with(folder, Some(&shared)).is_ok());
        let refused = open_with(folder, Some(&other)).err();
        assert!(matches!(refused, Some(OpenError::Secret(SecretError::Other))));
        assert!(matches!(open(folder), Err(OpenError::Secret(SecretError::Missing))));
        let missing = open_with(folder, Some(&secrets.path().join("none"))).err();
        assert!(matches!(missing, Some(OpenError::Secret(SecretError::Io(_)))), "it is never made");
    }

    #[test]
    fn a_damaged_origin_is_refused_and_a_bad_name_too() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open(folder.path()).expect("opens"));
        std::fs::write(folder.path().join(ORIGIN_FILE), "drivegate log 1\norigin ../../etc\nx\n")
            .expect("writes");
        assert!(matches!(open(folder.path()), Err(OpenError::Origin)));
        assert!(matches!(LogFolder::open(folder.path(), "../x", None), Err(OpenError::Name)));
    }
}
