//! A witness (C2SP `tlog-witness`): remembers of each log the largest tree it has cosigned, and cosigns only what continues it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use signed_note::Note;
use tlog_tiles::Checkpoint;

use super::cosign::WitnessKey;
use super::tiles::is_consistent;
use crate::audit::note::{LogVerifier, NOTE_BYTES_MAX, NoteFault, write_durably};
use crate::evidence::ports::SignedCheckpoint;
use crate::hashing::sha256;

/// Lines of a consistency proof (C2SP `tlog-witness`).
const PROOF_LINES_MAX: usize = 63;

/// Follows logs and cosigns their checkpoints.
pub struct Witness {
    folder: PathBuf,
    key: WitnessKey,
    logs: HashMap<String, LogVerifier>,
    /// Looking at what was cosigned last and writing the next are one step.
    turn: Mutex<()>,
}

/// Why a checkpoint is not cosigned; the number is the HTTP status C2SP `tlog-witness` asks for.
#[derive(Debug, thiserror::Error)]
pub enum WitnessRefusal {
    /// 400: not a request, or the old size is above the new one.
    #[error("not a request for a cosignature")]
    Malformed,
    /// 404.
    #[error("the log is not known here")]
    UnknownLog,
    /// 403.
    #[error("the checkpoint is not signed by the log's key")]
    NotSigned,
    /// 409: it was cosigned at another size, or with another root.
    #[error("the log was last seen with {size} entries")]
    Conflict {
        /// What was cosigned last.
        size: u64,
    },
    /// 422: it does not continue what was cosigned.
    #[error("the checkpoint does not continue the one cosigned last")]
    NotContinued,
    /// 500: what was cosigned cannot be read or written.
    #[error("cannot keep what was cosigned")]
    State(#[source] NoteFault),
}

/// What is asked of a witness.
struct Asked<'a> {
    old: u64,
    proof: Vec<[u8; 32]>,
    note: &'a [u8],
}

impl Witness {
    /// Opens a witness' folder.
    ///
    /// # Errors
    /// [`NoteFault::Io`] when the folder cannot be used.
    pub fn open(folder: &Path, key: WitnessKey, logs: Vec<LogVerifier>) -> Result<Self, NoteFault> {
        std::fs::create_dir_all(folder)?;
        let logs = logs.into_iter().map(|log| (log.name().to_owned(), log)).collect();
        Ok(Self { folder: folder.to_owned(), key, logs, turn: Mutex::new(()) })
    }

    /// Returns the public key's line.
    pub fn verifier_line(&self) -> String {
        self.key.verifier_line()
    }

    /// Returns the checkpoint of a log cosigned last.
    ///
    /// # Errors
    /// [`NoteFault`] when it cannot be read: then nothing is cosigned, because anything might be older.
    pub fn seen(&self, origin: &str) -> Result<Option<SignedCheckpoint>, NoteFault> {
        let log = self.logs.get(origin).ok_or(NoteFault::Key)?;
        let mut note = Vec::new();
        match File::open(self.folder.join(state_name(origin))) {
            Ok(file) => file.take(NOTE_BYTES_MAX).read_to_end(&mut note)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        log.checkpoint(&note).map(Some)
    }

    /// Answers `add-checkpoint`: cosigns, having kept durably what it cosigned. Blocks on the disk.
    ///
    /// # Errors
    /// See [`WitnessRefusal`].
    pub fn add_checkpoint(&self, body: &[u8], at_second: u64) -> Result<Vec<u8>, WitnessRefusal> {
        let asked = parse(body).ok_or(WitnessRefusal::Malformed)?;
        let text = Note::from_bytes(asked.note).map_err(|_| WitnessRefusal::Malformed)?;
        let told = Checkpoint::from_bytes(text.text()).map_err(|_| WitnessRefusal::Malformed)?;
        let log = self.logs.get(told.origin()).ok_or(WitnessRefusal::UnknownLog)?;
        let new = log.checkpoint(asked.note).map_err(|fault| match fault {
            NoteFault::Signature => WitnessRefusal::NotSigned,
            _ => WitnessRefusal::Malformed,
        })?;
        if asked.old > new.size {
            return Err(WitnessRefusal::Malformed);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen(log.name()).map_err(WitnessRefusal::State)?;
        let (size, root) = seen.map_or((0, tlog_tiles::tlog::EMPTY_HASH.0), |seen| (seen.size, seen.root));
        if asked.old != size {
            return Err(WitnessRefusal::Conflict { size });
        }
        if size == new.size && root != new.root {
            tracing::error!(origin = log.name(), size, "a log has signed two different trees of one size");
            return Err(WitnessRefusal::Conflict { size });
        }
        if !is_consistent(&asked.proof, (size, root), (new.size, new.root)) {
            tracing::error!(
                origin = log.name(),
                seen = size,
                size = new.size,
                "a log has signed a tree that was not shown to continue the one cosigned last"
            );
            return Err(WitnessRefusal::NotContinued);
        }
        let line = self.key.cosign(text.text(), at_second).map_err(WitnessRefusal::State)?;
        self.keep(log.name(), asked.note).map_err(WitnessRefusal::State)?;
        Ok(line)
    }

    /// Keeps a checkpoint that was found to continue the one seen last by other means. `false`: something else was cosigned in
    /// the meantime, and it must be looked at again.
    ///
    /// # Errors
    /// [`NoteFault`] when it cannot be kept.
    pub fn keep_followed(
        &self,
        origin: &str,
        seen: Option<&SignedCheckpoint>,
        new: &SignedCheckpoint,
    ) -> Result<bool, NoteFault> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seen(origin)?.as_ref() != seen {
            return Ok(false);
        }
        self.keep(origin, &new.note)?;
        Ok(true)
    }

    fn keep(&self, origin: &str, note: &[u8]) -> Result<(), NoteFault> {
        Ok(write_durably(&self.folder, &state_name(origin), note, 0o600)?)
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Witness").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Writes a request for a cosignature.
pub(super) fn request(old: u64, proof: &[[u8; 32]], note: &[u8]) -> Vec<u8> {
    let proof: String = proof.iter().map(|hash| format!("{}\n", BASE64_STANDARD.encode(hash))).collect();
    [format!("old {old}\n{proof}\n").as_bytes(), note].concat()
}

fn parse(body: &[u8]) -> Option<Asked<'_>> {
    let end = body.windows(2).position(|pair| pair == b"\n\n")?;
    let head = std::str::from_utf8(body.get(..end)?).ok()?;
    let note = body.get(end + 2..)?;
    let mut lines = head.split('\n');
    let size = lines.next()?.strip_prefix("old ")?;
    let old: u64 = size.parse().ok()?;
    if old.to_string() != size {
        return None;
    }
    let mut proof = Vec::new();
    for line in lines {
        proof.push(BASE64_STANDARD.decode(line).ok()?.try_into().ok()?);
    }
    (proof.len() <= PROOF_LINES_MAX).then_some(Asked { old, proof, note })
}

/// A log's name may hold anything: its hash names the file.
fn state_name(origin: &str) -> String {
    let hash: String = sha256(origin.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hash}.checkpoint")
}
