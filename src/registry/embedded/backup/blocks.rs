//! The frame of a backup: blocks out and in, each with its checksum, the whole with one no stranger can make.

use std::io::{ErrorKind, Read, Write};

use aws_lc_rs::hmac;
use crc32fast::Hasher;

use super::error::BackupError;
use crate::registry::embedded::progress::Stage;

const FILE_HEAD: &[u8] = b"drivegate-registry-backup 1\n";
/// What every version begins with.
const FILE_HEAD_WORD: &[u8] = b"drivegate-registry-backup ";
/// Payload bytes after which a block is written.
const BLOCK_SIZE: usize = 256 * 1024;
/// Payload bytes a block may have when read: a full one and the largest record behind it.
const BLOCK_SIZE_MAX: usize = 8 * 1024 * 1024;
const BLOCK_HEAD: usize = 5;
const CHECKSUM_SIZE: usize = 4;
const TAG_SIZE: usize = 32;

/// What a block holds. Codes are append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Store,
    Rows(Stage),
    End,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Store => 1,
            Self::Rows(Stage::Numbers) => 2,
            Self::Rows(Stage::Records) => 3,
            Self::Rows(Stage::Feed) => 4,
            Self::End => 5,
            Self::Rows(Stage::IntakeSubjects) => 6,
            Self::Rows(Stage::IntakeNumbers) => 7,
            Self::Rows(Stage::IntakeWaiting) => 8,
            Self::Rows(Stage::IntakeKnown) => 9,
            Self::Rows(Stage::IntakeKnownBefore) => 10,
            Self::Rows(Stage::BookUses) => 11,
            Self::Rows(Stage::BookCodes) => 12,
            Self::Rows(Stage::BookEnds) => 13,
            Self::Rows(Stage::BookConsents) => 14,
            Self::Rows(Stage::BookHoldBacks) => 15,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let rows = Stage::ALL.into_iter().map(Self::Rows);
        [Self::Store, Self::End].into_iter().chain(rows).find(|kind| kind.code() == code)
    }
}

/// Writes blocks.
pub(super) struct BlockWriter<'w> {
    out: &'w mut dyn Write,
    context: hmac::Context,
    block: Vec<u8>,
    bytes: u64,
}

impl<'w> BlockWriter<'w> {
    pub(super) fn begin(out: &'w mut dyn Write, key: &hmac::Key) -> Result<Self, BackupError> {
        let context = hmac::Context::with_key(key);
        let mut writer = Self { out, context, block: Vec::with_capacity(BLOCK_SIZE * 2), bytes: 0 };
        writer.put(FILE_HEAD)?;
        Ok(writer)
    }

    /// Opens a block; what is appended to the payload is written by [`Self::close`].
    pub(super) fn open(&mut self, kind: Kind) {
        self.block.clear();
        self.block.push(kind.code());
        self.block.extend_from_slice(&[0; 4]);
    }

    pub(super) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.block
    }

    pub(super) fn is_full(&self) -> bool {
        self.block.len() >= BLOCK_SIZE
    }

    /// Writes the open block, unless it is empty.
    pub(super) fn close(&mut self) -> Result<(), BackupError> {
        let Some(length) = self.block.len().checked_sub(BLOCK_HEAD).filter(|length| *length > 0) else {
            return Ok(());
        };
        let length = u32::try_from(length).map_err(|_| BackupError::Write(ErrorKind::InvalidData.into()))?;
        self.block[1..BLOCK_HEAD].copy_from_slice(&length.to_be_bytes());
        let checksum = checksum(&self.block);
        self.block.extend_from_slice(&checksum);
        let block = std::mem::take(&mut self.block);
        let put = self.put(&block);
        self.block = block;
        put
    }

    /// Ends the file; returns its size.
    pub(super) fn finish(mut self) -> Result<u64, BackupError> {
        let tag = self.context.clone().sign();
        self.open(Kind::End);
        self.payload().extend_from_slice(tag.as_ref());
        self.close()?;
        self.out.flush().map_err(BackupError::Write)?;
        Ok(self.bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(BackupError::Write)
    }
}

/// Reads blocks.
pub(super) struct BlockReader<R> {
    from: R,
    context: hmac::Context,
    block: Vec<u8>,
    bytes: u64,
}

impl<R: Read> BlockReader<R> {
    pub(super) fn begin(from: R, key: &hmac::Key) -> Result<Self, BackupError> {
        let context = hmac::Context::with_key(key);
        let mut reader = Self { from, context, block: Vec::new(), bytes: 0 };
        reader.read_head()?;
        Ok(reader)
    }

    fn read_head(&mut self) -> Result<(), BackupError> {
        let mut head = [0; FILE_HEAD.len()];
        match self.from.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(BackupError::NoBackup),
            other => other.map_err(BackupError::Read)?,
        }
        if head != FILE_HEAD {
            let newer = head.starts_with(FILE_HEAD_WORD);
            return Err(if newer { BackupError::NewerFormat } else { BackupError::NoBackup });
        }
        self.context.update(&head);
        self.bytes = head.len() as u64;
        Ok(())
    }

    /// Reads the next block whole. The end is only told when it fits everything before it.
    pub(super) fn next(&mut self) -> Result<(Kind, &[u8]), BackupError> {
        let offset = self.bytes;
        self.block.clear();
        self.fill(BLOCK_HEAD)?;
        let code = self.block[0];
        let length =
            self.block[1..BLOCK_HEAD].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let rotten = BackupError::Rotten { offset, length: (BLOCK_HEAD + length + CHECKSUM_SIZE) as u64 };
        let kind = Kind::from_code(code);
        let (Some(kind), 1..=BLOCK_SIZE_MAX) = (kind, length) else { return Err(rotten) };
        self.fill(BLOCK_HEAD + length)?;
        let expected = checksum(&self.block);
        self.fill(BLOCK_HEAD + length + CHECKSUM_SIZE)?;
        if self.block[BLOCK_HEAD + length..] != expected {
            return Err(rotten);
        }
        if kind == Kind::End {
            self.check_end(length)?;
        }
        self.context.update(&self.block);
        Ok((kind, &self.block[BLOCK_HEAD..BLOCK_HEAD + length]))
    }

    fn check_end(&mut self, length: usize) -> Result<(), BackupError> {
        let tag = self.context.clone().sign();
        let found = &self.block[BLOCK_HEAD..BLOCK_HEAD + length];
        let genuine = length == TAG_SIZE && subtle::ConstantTimeEq::ct_eq(tag.as_ref(), found).into();
        let mut more = [0];
        let ends = self.from.read(&mut more).map_err(BackupError::Read)? == 0;
        if genuine && ends { Ok(()) } else { Err(BackupError::NotGenuine) }
    }

    /// Reads until the block has this size.
    fn fill(&mut self, size: usize) -> Result<(), BackupError> {
        let wanted = (size - self.block.len()) as u64;
        let read = self.from.by_ref().take(wanted).read_to_end(&mut self.block).map_err(BackupError::Read)?;
        self.bytes += read as u64;
        if (read as u64) < wanted { Err(BackupError::Truncated { offset: self.bytes }) } else { Ok(()) }
    }
}

fn checksum(block: &[u8]) -> [u8; CHECKSUM_SIZE] {
    let mut hasher = Hasher::new();
    hasher.update(block);
    hasher.finalize().to_be_bytes()
}
