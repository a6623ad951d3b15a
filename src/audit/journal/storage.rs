//! What the journal needs of a folder of files: five steps, each of which may fail, so that tests can make each fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::past_cache::{self, OnDisk};

/// A folder of segments.
pub(super) trait Storage: Send {
    /// Names the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file to go on writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Makes an empty file, replacing one of the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Gives a file its final name, replacing one of the name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_folder(&self) -> io::Result<()>;
}

/// One file of a [`Storage`].
pub(super) trait SegmentFile: Send {
    /// Reads everything, from the disk rather than from memory where the system lets us.
    fn read_from_disk(&mut self) -> io::Result<OnDisk>;
    /// Writes some of the bytes at the offset; returns how many.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A real folder.
pub(super) struct FolderStorage {
    path: PathBuf,
}

impl FolderStorage {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Storage for FolderStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        list_files(&self.path)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }
}

/// Names the files of a folder.
pub(super) fn list_files(folder: &Path) -> io::Result<Vec<String>> {
    std::fs::read_dir(folder)?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned())).collect()
}

/// Makes a folder's names durable.
pub(in crate::audit) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

struct RealFile(File);

impl SegmentFile for RealFile {
    fn read_from_disk(&mut self) -> io::Result<OnDisk> {
        past_cache::read(&self.0)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
