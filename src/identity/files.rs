//! Writing small files so that a reader sees the old text or the new one, never half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What to do with a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Keep it and fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
    /// Replace it.
    Replace,
}

/// Mode of files that hold a private key.
pub const SECRET: u32 = 0o600;
/// Mode of files anyone may read.
pub const PUBLIC: u32 = 0o644;

/// Writes a file atomically and durably: temporary file, fsync, rename, fsync of the folder.
///
/// # Errors
/// The operating system's, or [`io::ErrorKind::AlreadyExists`] with [`Existing::Keep`].
pub fn write(path: &Path, text: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let temporary = beside(path)?;
    let written =
        write_synced(&temporary, text, mode).and_then(|()| put_in_place(&temporary, path, existing));
    if written.is_err() {
        // The leftover would block the next attempt; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(path)
}

/// Makes a rename or removal in the file's folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Says whether a folder's entry is a document of ours: hidden files are someone's work in progress.
pub fn is_toml(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "toml")
}

fn write_synced(temporary: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    file.write_all(text)?;
    file.sync_all()
}

/// A hard link fails if the name is taken, which a rename does not: nothing is overwritten by a race either.
fn put_in_place(temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => fs::rename(temporary, path),
        Existing::Keep => fs::hard_link(temporary, path).and_then(|()| fs::remove_file(temporary)),
    }
}

/// Names the temporary file: hidden, so that no watcher takes it for a contract, and of this process only.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.{:?}.tmp", std::process::id(), std::thread::current().id()));
    Ok(folder_of(path).join(hidden))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_is_there_is_kept_unless_replacing_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write(&path, b"first", SECRET, Existing::Keep).unwrap();
        let refused = write(&path, b"second", SECRET, Existing::Keep).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write(&path, b"third", SECRET, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays behind");
    }
}
