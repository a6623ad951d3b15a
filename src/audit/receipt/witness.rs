//! Others who saw the log: cosignatures of a checkpoint (C2SP `tlog-cosignature`, Ed25519).

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use signed_note::{Signature, is_key_name_valid, key_id};

use crate::audit::note::NoteFault;

/// A timestamped Ed25519 cosignature in a key line (C2SP `signed-note`, signature types).
const COSIGNATURE: u8 = 0x04;

/// A witness's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: [u8; 32],
}

/// A witness has seen the log at least as long as the checkpoint says, and every earlier state of it as its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness's name.
    pub witness: String,
    /// When it says it saw it.
    pub at: Timestamp,
}

impl WitnessKey {
    /// Reads a verifier line, `name+id+key`, of type 4.
    ///
    /// # Errors
    /// [`NoteFault::Key`].
    pub fn parse(line: &str) -> Result<Self, NoteFault> {
        let mut parts = line.trim_end().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteFault::Key);
        };
        let typed = BASE64_STANDARD.decode(key).map_err(|_| NoteFault::Key)?;
        let known = key_id(name, &typed);
        match typed.split_first() {
            Some((&COSIGNATURE, key)) if is_key_name_valid(name) && id == format!("{known:08x}") => {
                let key = key.try_into().map_err(|_| NoteFault::Key)?;
                Ok(Self { name: name.to_owned(), id: known, key })
            }
            _ => Err(NoteFault::Key),
        }
    }

    /// Returns the witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Finds this witness's cosignature of a checkpoint; `None` when it gave none.
    ///
    /// # Errors
    /// [`NoteFault::Signature`] when there is one and it is false.
    pub(super) fn cosignature(&self, note: &str) -> Result<Option<Cosignature>, NoteFault> {
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteFault::Checkpoint)?;
        let signatures = signatures.lines().map(|line| Signature::from_bytes(line.as_bytes()));
        let mine = |signature: &Signature| signature.name() == self.name && signature.id() == self.id;
        match signatures.filter_map(Result::ok).find(mine) {
            None => Ok(None),
            Some(signature) => self.verify(text, signature.signature()).map(Some),
        }
    }

    fn verify(&self, text: &str, signature: &[u8]) -> Result<Cosignature, NoteFault> {
        let (moment, signature) = signature.split_first_chunk().ok_or(NoteFault::Signature)?;
        let seconds = u64::from_be_bytes(*moment);
        let message = format!("cosignature/v1\ntime {seconds}\n{text}\n");
        UnparsedPublicKey::new(&ED25519, self.key)
            .verify(message.as_bytes(), signature)
            .map_err(|_| NoteFault::Signature)?;
        let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        Ok(Cosignature { witness: self.name.clone(), at: at.ok_or(NoteFault::Signature)? })
    }
}
