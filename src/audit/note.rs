//! A log's key pair and its signed checkpoints (C2SP `signed-note`, `tlog-checkpoint`).
//!
//! Beside an origin's segments lie `signer` (0600) and `verifier`: the private and the public key line of C2SP `signed-note`,
//! Ed25519, named as the origin. Who has the verifier line checks every checkpoint of that log for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use signed_note::{Note, Signer as _, StandardSigner, StandardVerifier, Verifier, VerifierList, key_id};
use tlog_tiles::Checkpoint;
use tlog_tiles::tlog::Hash;
use zeroize::Zeroizing;

use super::journal::sync_folder;
use crate::evidence::ports::SignedCheckpoint;

/// Where a log's checkpoint lies below its origin's folder.
pub(super) const CHECKPOINT: &str = "tree/checkpoint";
const SIGNER: &str = "signer";
const VERIFIER: &str = "verifier";
/// Ed25519 in a key line (C2SP `signed-note`).
const ED25519: u8 = 0x01;
/// The longest note ever read: a checkpoint with a hundred signatures has 20 KiB.
pub(super) const NOTE_BYTES_MAX: u64 = 64 * 1024;
/// The largest tree believed in: 30 years at 300,000 entries a second. The arithmetic of trees holds far above.
pub(super) const TREE_SIZE_MAX: u64 = 1 << 48;

/// Why a key or a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoteFault {
    /// A file cannot be read or written.
    #[error("cannot read or write a key or checkpoint")]
    Io(#[from] io::Error),
    /// Others may read the signing key: make a new log, and tell whoever verifies.
    #[error("the log's signing key is readable by others: its mode must be 0600")]
    Readable,
    /// The log was signed, and its signing key is gone. Bring the file `signer` back, or move `origin` away to begin a new log.
    #[error("the log has a checkpoint but no signing key")]
    NoSigner,
    /// The log was signed, and its public key is gone. Bring the file `verifier` back.
    #[error("the log has a checkpoint but no file `verifier`")]
    NoVerifier,
    /// Not a key line of C2SP signed-note with an Ed25519 key, or of another log.
    #[error("not an Ed25519 key line of this log (C2SP signed-note)")]
    Key,
    /// Not a checkpoint, or of another log.
    #[error("not a checkpoint of this log (C2SP tlog-checkpoint)")]
    Checkpoint,
    /// Not signed by the log's key.
    #[error("the checkpoint is not signed by the log's key")]
    Signature,
}

/// A log's public key.
#[derive(Clone)]
pub struct LogVerifier {
    line: Arc<str>,
    verifier: StandardVerifier,
}

impl LogVerifier {
    /// Reads a verifier line, `name+id+key`.
    ///
    /// # Errors
    /// [`NoteFault::Key`].
    pub fn parse(line: &str) -> Result<Self, NoteFault> {
        let line = line.trim_end();
        let verifier = StandardVerifier::new(line).map_err(|_| NoteFault::Key)?;
        Ok(Self { line: line.into(), verifier })
    }

    /// Reads the verifier of the log in an origin's folder; `None` when there is none.
    ///
    /// # Errors
    /// See [`NoteFault`].
    pub fn of_folder(folder: &Path) -> Result<Option<Self>, NoteFault> {
        let Some(line) = read_line(&folder.join(VERIFIER))? else { return Ok(None) };
        Self::parse(&line).map(Some)
    }

    /// Returns the key's line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Returns the key's name: the log's.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// Reads a checkpoint that this key has signed; other signatures are kept and not looked at.
    ///
    /// # Errors
    /// See [`NoteFault`].
    pub fn checkpoint(&self, bytes: &[u8]) -> Result<SignedCheckpoint, NoteFault> {
        let note = Note::from_bytes(bytes).map_err(|_| NoteFault::Checkpoint)?;
        let known = VerifierList::new(vec![Box::new(self.verifier.clone())]);
        note.verify(&known).map_err(|_| NoteFault::Signature)?;
        let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| NoteFault::Checkpoint)?;
        if checkpoint.origin() != self.name() || checkpoint.size() > TREE_SIZE_MAX {
            return Err(NoteFault::Checkpoint);
        }
        Ok(SignedCheckpoint { size: checkpoint.size(), root: checkpoint.hash().0, note: bytes.into() })
    }
}

impl std::fmt::Debug for LogVerifier {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("LogVerifier").field(&self.line).finish()
    }
}

/// A log's private key. Cannot be shown.
pub(super) struct LogSigner {
    signer: StandardSigner,
    verifier: LogVerifier,
}

impl LogSigner {
    /// Reads the key pair of an origin's folder, or makes it when nothing was ever signed there.
    pub(super) fn open(folder: &Path, origin: &str) -> Result<Self, NoteFault> {
        let path = folder.join(SIGNER);
        let line = match File::open(&path) {
            Ok(file) if file.metadata()?.mode() & 0o077 != 0 => return Err(NoteFault::Readable),
            Ok(_) => read_line(&path)?.map(Zeroizing::new).ok_or(NoteFault::NoSigner)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Err(_) if folder.join(CHECKPOINT).exists() => return Err(NoteFault::NoSigner),
            Err(_) => create(folder, origin)?,
        };
        let signer = StandardSigner::new(line.trim_end()).map_err(|_| NoteFault::Key)?;
        let public = public_key(&line)?;
        let verifier = LogVerifier::parse(&key_line(origin, ED25519, &public))?;
        if signer.name() != origin || signer.key_id() != verifier.verifier.key_id() {
            return Err(NoteFault::Key);
        }
        if LogVerifier::of_folder(folder)?.is_none_or(|told| told.line() != verifier.line()) {
            write_durably(folder, VERIFIER, format!("{}\n", verifier.line()).as_bytes(), 0o644)?;
        }
        Ok(Self { signer, verifier })
    }

    pub(super) fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// Signs a tree head.
    pub(super) fn sign(&self, size: u64, root: [u8; 32]) -> Result<SignedCheckpoint, NoteFault> {
        let checkpoint = Checkpoint::new(self.signer.name(), size, Hash(root), "");
        let text = checkpoint.map_err(|_| NoteFault::Checkpoint)?.to_bytes();
        let mut note = Note::new(&text, &[]).map_err(|_| NoteFault::Checkpoint)?;
        note.add_sigs(&[&self.signer]).map_err(|_| NoteFault::Key)?;
        Ok(SignedCheckpoint { size, root, note: note.to_bytes().into() })
    }
}

impl std::fmt::Debug for LogSigner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("LogSigner").field(&self.verifier.line).finish()
    }
}

/// Reads the last checkpoint of the log in an origin's folder; `None` when nothing was ever signed.
///
/// # Errors
/// See [`NoteFault`].
pub fn last_checkpoint(folder: &Path, origin: &str) -> Result<Option<SignedCheckpoint>, NoteFault> {
    let mut note = Vec::new();
    match File::open(folder.join(CHECKPOINT)) {
        Ok(file) => file.take(NOTE_BYTES_MAX).read_to_end(&mut note)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let verifier = LogVerifier::of_folder(folder)?.ok_or(NoteFault::NoVerifier)?;
    if verifier.name() != origin {
        return Err(NoteFault::Key);
    }
    verifier.checkpoint(&note).map(Some)
}

/// Writes a small file so that it is either the old one or the new one, whatever happens.
pub(super) fn write_durably(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let unnamed = folder.join(format!("{name}.tmp"));
    match std::fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unnamed)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unnamed, folder.join(name))?;
    sync_folder(folder)
}

/// Makes the private key's line, durable before anything is signed with it.
fn create(folder: &Path, origin: &str) -> Result<Zeroizing<String>, NoteFault> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(seed.as_mut()).map_err(|_| io::Error::other("no randomness"))?;
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| NoteFault::Key)?;
    let public = [&[ED25519], pair.public_key().as_ref()].concat();
    let private = Zeroizing::new([&[ED25519], seed.as_slice()].concat());
    let private = Zeroizing::new(BASE64_STANDARD.encode(private.as_slice()));
    let line = format!("PRIVATE+KEY+{origin}+{:08x}+{}\n", key_id(origin, &public), private.as_str());
    let line = Zeroizing::new(line);
    write_durably(folder, SIGNER, line.as_bytes(), 0o600)?;
    Ok(line)
}

/// Returns the public key of a private key's line.
fn public_key(line: &str) -> Result<Vec<u8>, NoteFault> {
    // Standard base64 may hold a '+' itself: the key is everything behind the fourth.
    let key = line.trim_end().splitn(5, '+').nth(4).ok_or(NoteFault::Key)?;
    let key = Zeroizing::new(BASE64_STANDARD.decode(key).map_err(|_| NoteFault::Key)?);
    let seed = key.split_first().map(|(_, seed)| seed).ok_or(NoteFault::Key)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteFault::Key)?;
    Ok(pair.public_key().as_ref().to_vec())
}

/// Returns the line of a public key: `name+id+base64(kind ‖ key)`.
pub(super) fn key_line(name: &str, kind: u8, public: &[u8]) -> String {
    let key = [&[kind], public].concat();
    format!("{name}+{:08x}+{}", key_id(name, &key), BASE64_STANDARD.encode(&key))
}

fn read_line(path: &Path) -> io::Result<Option<String>> {
    let mut line = String::new();
    match File::open(path) {
        Ok(file) => file.take(1024).read_to_string(&mut line)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(line))
}
