//! The file: the lines of C2SP `tlog-proof`, in the one way they can be written.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use signed_note::Note;
use tlog_tiles::Checkpoint;

use super::openings::{LeafOpening, push_openings, read_openings};
use crate::audit::entry::{AnswerEntry, DecodeError, Entry};

/// The longest receipt read: a checkpoint with a hundred signatures has 20 KiB, everything else 5 KiB.
pub const RECEIPT_BYTES_MAX: usize = 64 * 1024;
/// A tree of 2⁶⁴ entries has no longer proof.
const PROOF_HASHES_MAX: usize = 64;
const EXTRA_VERSION: u8 = 1;
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A receipt, read and well-formed; whether it is true is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    entry: Vec<u8>,
    answer: AnswerEntry<'static>,
    pub(super) leaves: Vec<LeafOpening>,
    index: u64,
    proof: Vec<[u8; 32]>,
    note: String,
}

/// Bytes that are no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// Longer than any receipt.
    #[error("longer than a receipt may be ({RECEIPT_BYTES_MAX} bytes)")]
    TooLong,
    /// Not UTF-8.
    #[error("not a text file")]
    NotText,
    /// A line is not what stands there in a receipt.
    #[error("line {line} is not {expected}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What stands there.
        expected: &'static str,
    },
    /// The bytes after `extra` are not laid out as an entry and its openings.
    #[error("line 2 (`extra`): {0}")]
    Extra(&'static str),
    /// The entry cannot be read.
    #[error("line 2 (`extra`): the entry {0}")]
    Entry(#[source] DecodeError),
    /// Receipts are about answers.
    #[error("line 2 (`extra`): the entry is not that of an answer")]
    NotAnAnswer,
    /// The checkpoint is no signed note.
    #[error("what follows the empty line is not a signed checkpoint (C2SP tlog-checkpoint, signed-note)")]
    Note,
    /// Read, but not written in the one way a receipt is written.
    #[error("not written as receipts are written: a line has blanks, zeros or characters too many")]
    NotCanonical,
}

impl Receipt {
    /// Puts a receipt together. `note` is the signed checkpoint, cosignatures included.
    ///
    /// # Errors
    /// [`ReceiptFault`] when the parts are not those of a receipt.
    pub fn build(
        entry: &[u8],
        salt_of: impl Fn(u8) -> Option<[u8; 16]>,
        index: u64,
        proof: Vec<[u8; 32]>,
        note: &[u8],
    ) -> Result<Self, ReceiptFault> {
        let answer = answer_in(entry)?;
        let leaf = |name| LeafOpening { name, hash: None, salt: salt_of(name.code()) };
        let leaves = answer.leaves.iter().map(leaf).collect();
        let note = checked_note(std::str::from_utf8(note).map_err(|_| ReceiptFault::NotText)?)?;
        Ok(Self { entry: entry.to_vec(), answer, leaves, index, proof, note })
    }

    /// Reads a receipt. Accepts exactly what [`Self::to_text`] writes.
    ///
    /// # Errors
    /// [`ReceiptFault`] names the first line that does not fit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptFault> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptFault::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ReceiptFault::NotText)?;
        let receipt = Self::read(text)?;
        if receipt.to_text() == text { Ok(receipt) } else { Err(ReceiptFault::NotCanonical) }
    }

    fn read(text: &str) -> Result<Self, ReceiptFault> {
        let wrong = |line, expected| ReceiptFault::Line { line, expected };
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(wrong(1, "the beginning of a receipt: no empty line stands before a checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(wrong(1, "`c2sp.org/tlog-proof@v1`"));
        }
        let extra = lines
            .next()
            .and_then(|line| line.strip_prefix("extra "))
            .and_then(|extra| BASE64_STANDARD.decode(extra).ok())
            .ok_or(wrong(2, "`extra` and base64"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(|index| index.parse().ok())
            .ok_or(wrong(3, "`index` and a number"))?;
        let proof = (4..).zip(lines).map(|(line, hash)| {
            let hash = BASE64_STANDARD.decode(hash).ok().and_then(|hash| hash.try_into().ok());
            hash.filter(|_| line < 4 + PROOF_HASHES_MAX).ok_or(wrong(line, "a hash of the proof"))
        });
        let proof = proof.collect::<Result<_, _>>()?;
        let (entry, answer, leaves) = read_extra(&extra)?;
        Ok(Self { entry, answer, leaves, index, proof, note: checked_note(note)? })
    }

    /// Writes the file.
    pub fn to_text(&self) -> String {
        let mut extra = vec![EXTRA_VERSION];
        // An entry has at most 350 bytes.
        extra.extend_from_slice(&u16::try_from(self.entry.len()).unwrap_or(u16::MAX).to_be_bytes());
        extra.extend_from_slice(&self.entry);
        push_openings(&mut extra, &self.leaves);
        let extra = BASE64_STANDARD.encode(extra);
        let mut text = format!("{FIRST_LINE}\nextra {extra}\nindex {}\n", self.index);
        for hash in &self.proof {
            BASE64_STANDARD.encode_string(hash, &mut text);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.note);
        text
    }

    /// Returns the entry.
    pub fn answer(&self) -> &AnswerEntry<'static> {
        &self.answer
    }

    /// Returns the entry's bytes: what the log's tree holds.
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// Returns the entry's number in its log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns what is shown of each leaf, in canonical order.
    pub fn leaves(&self) -> &[LeafOpening] {
        &self.leaves
    }

    /// Returns the inclusion proof, from the leaf upwards.
    pub fn proof(&self) -> &[[u8; 32]] {
        &self.proof
    }

    /// Returns the signed checkpoint.
    pub fn note(&self) -> &str {
        &self.note
    }
}

fn read_extra(extra: &[u8]) -> Result<(Vec<u8>, AnswerEntry<'static>, Vec<LeafOpening>), ReceiptFault> {
    let cut = ReceiptFault::Extra("it ends too early");
    let (&[version, high, low], rest) = extra.split_first_chunk().ok_or(cut.clone())?;
    if version != EXTRA_VERSION {
        return Err(ReceiptFault::Extra("of a version this build does not know"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (entry, openings) = rest.split_at_checked(length).ok_or(cut)?;
    let answer = answer_in(entry)?;
    let leaves = read_openings(openings, answer.leaves).map_err(ReceiptFault::Extra)?;
    Ok((entry.to_vec(), answer, leaves))
}

fn answer_in(entry: &[u8]) -> Result<AnswerEntry<'static>, ReceiptFault> {
    match Entry::decode(entry).map_err(ReceiptFault::Entry)? {
        Entry::Answer(answer) => Ok(answer),
        Entry::Refusals(_) | Entry::Access(_) => Err(ReceiptFault::NotAnAnswer),
    }
}

/// Takes a signed checkpoint that reads and writes back as it is: origin, size, root, and nothing else.
fn checked_note(text: &str) -> Result<String, ReceiptFault> {
    let note = Note::from_bytes(text.as_bytes()).map_err(|_| ReceiptFault::Note)?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| ReceiptFault::Note)?;
    let is_plain = checkpoint.extension().is_empty() && checkpoint.to_bytes() == note.text();
    if is_plain && note.to_bytes() == text.as_bytes() { Ok(text.to_owned()) } else { Err(ReceiptFault::Note) }
}
