//! Reads a file past the page cache: what is on the disk, not what memory believes is there.
//!
//! A page whose write-back failed stays in memory, marked clean: an ordinary read shows bytes that no disk holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};

/// What memory and offset of a direct read must be multiples of, on every disk in use.
const BLOCK_BYTES: usize = 4096;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A file as the disk has it.
pub(super) struct OnDisk {
    /// All its bytes.
    pub(super) bytes: Vec<u8>,
    /// How they were had.
    pub(super) how: Bypass,
}

/// How a read got past the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bypass {
    /// `O_DIRECT`: the disk itself was read.
    Direct,
    /// The file system knows no direct reads: the pages were dropped first. Where it cannot drop them either (tmpfs), memory is
    /// all the truth there is.
    DroppedPages,
}

impl Bypass {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::DroppedPages => "dropped-pages",
        }
    }
}

/// Reads a file's bytes, directly where the file system can.
pub(super) fn read(file: &File) -> io::Result<OnDisk> {
    match read_direct(file) {
        Ok(bytes) => Ok(OnDisk { bytes, how: Bypass::Direct }),
        Err(error) if is_not_offered(&error) => {
            // Only clean pages can be dropped.
            file.sync_data()?;
            let _ = fadvise(file, 0, None, Advice::DontNeed);
            Ok(OnDisk { bytes: read_chunks(file)?, how: Bypass::DroppedPages })
        }
        Err(error) => Err(error),
    }
}

fn is_not_offered(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

fn read_direct(file: &File) -> io::Result<Vec<u8>> {
    let flags = fcntl_getfl(file)?;
    fcntl_setfl(file, flags | OFlags::DIRECT)?;
    let read = read_chunks(file);
    // Writes go through the cache again.
    fcntl_setfl(file, flags)?;
    read
}

fn read_chunks(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    let mut memory = vec![0; CHUNK_BYTES + BLOCK_BYTES];
    let aligned = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
    let chunk = &mut memory[aligned..aligned + CHUNK_BYTES];
    loop {
        match file.read_at(chunk, bytes.len() as u64) {
            Ok(count) => {
                bytes.extend_from_slice(&chunk[..count]);
                // A direct read that is no whole block met the end; another at that offset would be refused.
                if count == 0 || count % BLOCK_BYTES != 0 {
                    return Ok(bytes);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around blocks and chunks; the file is read while pages of it are still dirty.
    #[test]
    fn all_bytes_come_back_whatever_the_length_and_writing_goes_on() {
        for length in
            [0, 1, 4095, 4096, 4097, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 77]
        {
            let file = tempfile::tempfile().unwrap();
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            file.write_all_at(&bytes, 0).unwrap();
            let OnDisk { bytes: read, how } = read(&file).unwrap();
            assert!(read == bytes, "{length} bytes, read {}", how.word());
            file.write_all_at(b"unaligned", 3).unwrap();
        }
    }
}
