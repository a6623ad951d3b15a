//! Sealed rows on their way: dealt into files by their key, read back one file at a time and sorted.
//!
//! A row is key (16) · length (4, little-endian) · payload. Keys are random or keyed hashes, so their first bits deal
//! them evenly: 50 million records make files of about 70 MB.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::registry::embedded::error::RegistryError;

/// Files per kind of row. Two kinds stay well below the 1,024 files a process may usually open.
pub(super) const FILES: usize = 128;
/// The bits of a key's first byte that name no file.
const SHIFT: u32 = 1;
/// Bytes of one file's rows a worker holds back, so that writes are few and large.
const HELD_BACK: usize = 48 * 1024;
const KEY_SIZE: usize = 16;
const HEAD_SIZE: usize = KEY_SIZE + 4;

/// A folder for spilled rows; removed when dropped.
pub(in crate::registry::embedded) struct SpillFolder {
    path: PathBuf,
}

impl SpillFolder {
    /// The folder's name beside the store.
    const NAME: &str = "registry.loading";

    /// Makes the folder, private. What an earlier load left is removed.
    pub(super) fn make_in(data: &Path) -> Result<Self, RegistryError> {
        Self::remove_from(data)?;
        let path = data.join(Self::NAME);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| RegistryError::File { action: "make", path: path.clone(), source })?;
        Ok(Self { path })
    }

    /// Removes what a load that was killed left behind.
    pub(in crate::registry::embedded) fn remove_from(data: &Path) -> Result<(), RegistryError> {
        let path = data.join(Self::NAME);
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(RegistryError::File { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the store is next opened.
        let _left = std::fs::remove_dir_all(&self.path);
    }
}

/// The files of one kind of row.
pub(super) struct Spill {
    files: Vec<SpillFile>,
}

struct SpillFile {
    path: PathBuf,
    /// Nothing once it is read back.
    file: Mutex<Option<File>>,
}

impl Spill {
    pub(super) fn make(folder: &SpillFolder, kind: &str) -> Result<Self, RegistryError> {
        let files = (0..FILES).map(|index| {
            let path = folder.path.join(format!("{kind}-{index:03}"));
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match file {
                Ok(file) => Ok(SpillFile { path, file: Mutex::new(Some(file)) }),
                Err(source) => Err(RegistryError::File { action: "make", path, source }),
            }
        });
        Ok(Self { files: files.collect::<Result<_, _>>()? })
    }

    /// Reads one file's rows back, sorted, and removes the file: its room is wanted for the tables.
    pub(super) fn sorted(&self, index: usize) -> Result<Sorted, RegistryError> {
        let Some(SpillFile { path, file }) = self.files.get(index) else { return Ok(Sorted::default()) };
        // A file that is still open keeps its room on the disk.
        drop(file.lock().unwrap_or_else(PoisonError::into_inner).take());
        let fault = |action| move |source| RegistryError::File { action, path: path.clone(), source };
        let bytes = std::fs::read(path).map_err(fault("read"))?;
        std::fs::remove_file(path).map_err(fault("remove"))?;
        Sorted::of(bytes).ok_or(RegistryError::Damaged("a spilled row"))
    }
}

/// Deals rows for one worker.
pub(super) struct Dealer<'s> {
    spill: &'s Spill,
    held: Vec<Vec<u8>>,
}

impl<'s> Dealer<'s> {
    pub(super) fn to(spill: &'s Spill) -> Self {
        Self { spill, held: vec![Vec::new(); FILES] }
    }

    pub(super) fn deal(&mut self, key: &[u8; KEY_SIZE], payload: &[u8]) -> Result<(), RegistryError> {
        let index = usize::from(key[0] >> SHIFT);
        let length =
            u32::try_from(payload.len()).map_err(|_| RegistryError::Damaged("a row is too large"))?;
        let held = &mut self.held[index];
        held.extend_from_slice(key);
        held.extend_from_slice(&length.to_le_bytes());
        held.extend_from_slice(payload);
        if held.len() >= HELD_BACK { self.write(index) } else { Ok(()) }
    }

    /// Writes what was held back.
    pub(super) fn finish(mut self) -> Result<(), RegistryError> {
        (0..FILES).try_for_each(|index| self.write(index))
    }

    fn write(&mut self, index: usize) -> Result<(), RegistryError> {
        let held = &mut self.held[index];
        let SpillFile { path, file } = &self.spill.files[index];
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_mut().ok_or(RegistryError::Damaged("a row was spilled too late"))?;
        let written = file.write_all(held);
        written.map_err(|source| RegistryError::File { action: "write", path: path.clone(), source })?;
        held.clear();
        Ok(())
    }
}

/// The rows of one file in order of key, then of payload.
#[derive(Default)]
pub(super) struct Sorted {
    bytes: Vec<u8>,
    order: Vec<(u128, u64)>,
}

impl Sorted {
    fn of(bytes: Vec<u8>) -> Option<Self> {
        let mut order = Vec::with_capacity(bytes.len() / 64);
        let mut at = 0;
        while at < bytes.len() {
            let (key, payload) = row(&bytes, at)?;
            order.push((u128::from_be_bytes(*key), at as u64));
            at += HEAD_SIZE + payload.len();
        }
        let payload = |at: &u64| usize::try_from(*at).ok().and_then(|at| row(&bytes, at)).map(|row| row.1);
        order.sort_unstable_by(|(one, one_at), (other, other_at)| {
            one.cmp(other).then_with(|| payload(one_at).cmp(&payload(other_at)))
        });
        Some(Self { bytes, order })
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&[u8; KEY_SIZE], &[u8])> {
        self.order.iter().filter_map(|(_, at)| row(&self.bytes, usize::try_from(*at).ok()?))
    }
}

fn row(bytes: &[u8], at: usize) -> Option<(&[u8; KEY_SIZE], &[u8])> {
    let (key, rest) = bytes.get(at..)?.split_first_chunk::<KEY_SIZE>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    Some((key, rest.get(..length)?))
}
