//! Cosignatures (C2SP `tlog-cosignature`, Ed25519, key kind 0x04): a witness says that a checkpoint continued what it had seen.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use signed_note::{Note, Signature, is_key_name_valid, key_id};
use zeroize::Zeroizing;

use crate::audit::note::{NoteFault, key_line, write_durably};

/// The key kind of timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 0x04;
/// The longest answer of a witness: a hundred signatures.
const LINES_BYTES_MAX: usize = 16 * 1024;

/// A witness' private key. Cannot be shown.
pub struct WitnessKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl WitnessKey {
    /// Reads the key of a file (0600, 32 bytes), or makes it.
    ///
    /// # Errors
    /// See [`NoteFault`].
    pub fn load_or_make(folder: &Path, name: &str) -> Result<Self, NoteFault> {
        if !is_key_name_valid(name) {
            return Err(NoteFault::Key);
        }
        let mut seed = Zeroizing::new(Vec::new());
        match File::open(folder.join("key")) {
            Ok(file) if file.metadata()?.mode() & 0o077 != 0 => return Err(NoteFault::Readable),
            Ok(file) => {
                file.take(33).read_to_end(&mut seed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                seed.resize(32, 0);
                aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no randomness"))?;
                write_durably(folder, "key", &seed, 0o600)?;
            }
            Err(error) => return Err(error.into()),
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoteFault::Key)?;
        Ok(Self { name: name.to_owned(), pair })
    }

    /// Returns the public key's line, `name+id+key`.
    pub fn verifier_line(&self) -> String {
        key_line(&self.name, COSIGNATURE, self.pair.public_key().as_ref())
    }

    /// Cosigns the text of a checkpoint; returns the line for the note.
    ///
    /// # Errors
    /// [`NoteFault::Key`] never: the name was checked.
    pub fn cosign(&self, text: &[u8], at_second: u64) -> Result<Vec<u8>, NoteFault> {
        let public = [&[COSIGNATURE], self.pair.public_key().as_ref()].concat();
        let signature = self.pair.sign(&message(text, at_second));
        let timestamped = [&at_second.to_be_bytes(), signature.as_ref()].concat();
        let line = Signature::new(self.name.clone(), key_id(&self.name, &public), timestamped);
        Ok(line.map_err(|_| NoteFault::Key)?.to_bytes())
    }
}

impl std::fmt::Debug for WitnessKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WitnessKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A witness' public key.
#[derive(Clone, Debug)]
pub struct WitnessVerifier {
    name: String,
    id: u32,
    key: Vec<u8>,
}

impl WitnessVerifier {
    /// Reads a verifier line, `name+id+key`, with a key of kind 0x04.
    ///
    /// # Errors
    /// [`NoteFault::Key`].
    pub fn parse(line: &str) -> Result<Self, NoteFault> {
        let mut parts = line.trim_end().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteFault::Key);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| NoteFault::Key)?;
        let told = u32::from_str_radix(id, 16).map_err(|_| NoteFault::Key)?;
        let sound = is_key_name_valid(name) && key.len() == 33 && key.first() == Some(&COSIGNATURE);
        if !sound || told != key_id(name, &key) {
            return Err(NoteFault::Key);
        }
        Ok(Self { name: name.to_owned(), id: told, key: key.get(1..).unwrap_or_default().to_vec() })
    }

    /// Returns the witness' name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the first line among those of a witness' answer that is its valid cosignature of a checkpoint's text.
    pub fn valid_line(&self, text: &[u8], lines: &[u8]) -> Option<Vec<u8>> {
        let lines = lines.get(..lines.len().min(LINES_BYTES_MAX))?;
        lines.split(|byte| *byte == b'\n').find_map(|line| {
            let signature = Signature::from_bytes(line).ok()?;
            self.is_valid(text, &signature).then(|| signature.to_bytes())
        })
    }

    /// Says whether a note carries this witness' valid cosignature.
    pub fn has_signed(&self, note: &[u8]) -> bool {
        let Ok(parsed) = Note::from_bytes(note) else { return false };
        note.get(parsed.text().len()..).is_some_and(|lines| self.valid_line(parsed.text(), lines).is_some())
    }

    fn is_valid(&self, text: &[u8], signature: &Signature) -> bool {
        let Some((at, bytes)) = signature.signature().split_first_chunk::<8>() else { return false };
        signature.name() == self.name
            && signature.id() == self.id
            && UnparsedPublicKey::new(&ED25519, &self.key)
                .verify(&message(text, u64::from_be_bytes(*at)), bytes)
                .is_ok()
    }
}

/// What a cosignature signs.
fn message(text: &[u8], at_second: u64) -> Vec<u8> {
    [format!("cosignature/v1\ntime {at_second}\n").as_bytes(), text].concat()
}
