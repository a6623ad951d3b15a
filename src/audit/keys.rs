//! Where pseudonyms, openings and digests come from. Three secrets, three reaches:
//!
//! - `k_subject` lives in the registry, one per subject. A confirmed subject's pseudonym and every entry's opening key derive
//!   from it: destroying it unlinks the entries, while their proofs still verify.
//! - The **log secret** lives beside the journal (0600), or in a file that the replicas of one deployment share. From it come the
//!   monthly keys that stand in for `k_subject` where there is no subject, the digests of request ids and case references, and
//!   the masks under which an entry says whom it is about: so index and receipts can be made from the log alone.
//! - A **monthly** derivation is used for everything not confirmed: a partner that keeps receipts must not be able to tell a
//!   number that exists (wrong name) from one that does not, so both kinds of pseudonym change with the month and number.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::entry::{CaseDigest, HiddenHandle, RequestDigest, SubjectPseudonym};
use crate::domain::licence::{DocumentKind, LicenceNumber};
use crate::domain::partner::PartnerId;
use crate::domain::subject::{NumberPseudonym, SubjectSecret};
use crate::domain::time::civil_day;
use crate::evidence::ports::SubjectHandle;
use crate::hashing::{MacKey, first_half, sha256};

const LABEL_SUBJECT: &[u8] = b"drivegate/1 subject";
const LABEL_UNCONFIRMED: &[u8] = b"drivegate/1 unconfirmed";
const LABEL_OPEN: &[u8] = b"drivegate/1 open";
const LABEL_SALT: &[u8] = b"drivegate/1 salt";
const LABEL_MONTH: &[u8] = b"drivegate/1 month";
const LABEL_NUMBER: &[u8] = b"drivegate/1 number";
const LABEL_REQUEST: &[u8] = b"drivegate/1 request";
const LABEL_CASE: &[u8] = b"drivegate/1 case";
const LABEL_CHECK: &[u8] = b"drivegate/1 check";
const LABEL_HANDLE: &[u8] = b"drivegate/1 handle";

/// The log's secret: 32 random bytes in a file of mode 0600.
pub struct LogSecret(MacKey);

/// Why the journal's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read or written.
    #[error("cannot read or create the log secret")]
    Io(#[source] io::Error),
    /// Others may read it: restore mode 0600 and consider it known.
    #[error("the log secret is readable by others: its mode must be 0600")]
    Readable,
    /// Not 32 bytes.
    #[error("the log secret must have 32 bytes")]
    Length,
    /// The log was begun with another secret: what it holds could not be opened. Configure the old one, or begin a new log.
    #[error("the log was begun with another secret: configure that one, or begin a new log folder")]
    Other,
    /// The folder has a log but no secret: without it, entries about unknown numbers cannot be opened. Restore it.
    #[error("the log folder has lost its secret: restore the file `secret` from its backup")]
    Missing,
}

impl std::fmt::Debug for LogSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("LogSecret([elided])")
    }
}

impl LogSecret {
    /// Wraps 32 random bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(MacKey::new(bytes))
    }

    /// Reads the secret of a file that others look after: it is never made here.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read_from(path: &Path) -> Result<Self, SecretError> {
        Self::read(File::open(path).map_err(SecretError::Io)?)
    }

    /// Reads the secret of a log's folder, or makes it when the folder is new.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(super) fn load(path: &Path, folder_is_new: bool) -> Result<Self, SecretError> {
        match File::open(path) {
            Ok(file) => Self::read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder_is_new => {
                Self::create(path).map_err(SecretError::Io)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SecretError::Missing),
            Err(error) => Err(SecretError::Io(error)),
        }
    }

    fn read(mut file: File) -> Result<Self, SecretError> {
        if file.metadata().map_err(SecretError::Io)?.mode() & 0o077 != 0 {
            return Err(SecretError::Readable);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        (&mut file).take(33).read_to_end(&mut bytes).map_err(SecretError::Io)?;
        let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| SecretError::Length)?;
        Ok(Self::from_bytes(bytes))
    }

    fn create(path: &Path) -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| io::Error::other("no randomness"))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&*bytes)?;
        file.sync_all()?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Returns what tells this secret from others, and nothing else about it.
    pub(super) fn check(&self) -> [u8; 16] {
        first_half(&self.0.mac(&[LABEL_CHECK]))
    }

    /// Digests an idempotency key. Keyed, because partners choose these words and a plain hash of a guessable word tells it;
    /// bound to the partner, because two partners may choose the same.
    pub fn request_digest(&self, partner: &PartnerId, request_id: &str) -> RequestDigest {
        let partner = partner.as_str().as_bytes();
        RequestDigest(first_half(&self.0.mac(&[LABEL_REQUEST, partner, b"\n", request_id.as_bytes()])))
    }

    /// Digests a case reference; keyed and bound to the partner for the same reasons.
    pub fn case_digest(&self, partner: &PartnerId, case_reference: &str) -> CaseDigest {
        let partner = partner.as_str().as_bytes();
        CaseDigest(first_half(&self.0.mac(&[LABEL_CASE, partner, b"\n", case_reference.as_bytes()])))
    }

    /// Hides whom an entry is about, under a mask of the entry's own: equal handles look different in every entry.
    pub fn hide_handle(&self, nonce: &[u8; 16], handle: SubjectHandle) -> HiddenHandle {
        HiddenHandle(self.mask(nonce, handle.0))
    }

    /// Opens what [`Self::hide_handle`] hid. With another secret, or for a damaged entry, it is nobody's handle.
    pub fn open_handle(&self, nonce: &[u8; 16], hidden: HiddenHandle) -> SubjectHandle {
        SubjectHandle(self.mask(nonce, hidden.0))
    }

    fn mask(&self, nonce: &[u8; 16], mut handle: [u8; 16]) -> [u8; 16] {
        let mask = self.0.mac(&[LABEL_HANDLE, nonce]);
        handle.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        handle
    }

    /// Derives the keys of an entry about a number nobody has: the monthly key stands in for `k_subject`.
    pub fn unknown_number(&self, month: Month, number: NumberPseudonym) -> EntryKeys {
        let monthly = MacKey::new(&self.0.mac(&[LABEL_MONTH, &month.0]));
        let stand_in = monthly.mac(&[LABEL_NUMBER, number.as_bytes()]);
        EntryKeys::over(&stand_in, |key| key.mac(&[LABEL_UNCONFIRMED]))
    }
}

/// A calendar month of China Standard Time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Month([u8; 3]);

impl Month {
    /// Returns the month a moment falls into.
    pub fn of(moment: Timestamp) -> Self {
        let day = civil_day(moment);
        let [high, low] = day.year().to_be_bytes();
        Self([high, low, day.month().to_be_bytes()[0]])
    }
}

/// What one entry needs of its subject: a pseudonym and openings.
pub struct EntryKeys {
    key: MacKey,
    pseudonym: SubjectPseudonym,
}

impl EntryKeys {
    /// Derives the keys of an entry about a confirmed subject: one pseudonym for ever, so that the index can group.
    pub fn confirmed(secret: &SubjectSecret) -> Self {
        Self::over(secret.expose(), |key| key.mac(&[LABEL_SUBJECT]))
    }

    /// Derives the keys of an entry about a subject that was not confirmed: a pseudonym for this month and number.
    pub fn unconfirmed(
        secret: &SubjectSecret,
        month: Month,
        document: DocumentKind,
        number: &LicenceNumber,
    ) -> Self {
        let number = number.expose().as_bytes();
        Self::over(secret.expose(), |key| key.mac(&[LABEL_UNCONFIRMED, &month.0, &[document.code()], number]))
    }

    /// Derives the keys of an entry about whoever showed something, and was not confirmed: a pseudonym for this month and number. No
    /// document has the code 0, so it is none of a claim's.
    pub fn unconfirmed_shown(secret: &SubjectSecret, month: Month, number: NumberPseudonym) -> Self {
        let number = number.as_bytes();
        Self::over(secret.expose(), |key| key.mac(&[LABEL_UNCONFIRMED, &month.0, &[0], number]))
    }

    fn over(secret: &[u8; 32], pseudonym: impl FnOnce(&MacKey) -> [u8; 32]) -> Self {
        let key = MacKey::new(secret);
        let pseudonym = SubjectPseudonym(first_half(&pseudonym(&key)));
        Self { key, pseudonym }
    }

    /// Returns whom the entry is about.
    pub fn pseudonym(&self) -> SubjectPseudonym {
        self.pseudonym
    }

    /// Derives the key that opens the entry with this nonce.
    pub fn opening(&self, nonce: &[u8; 16]) -> OpeningKey {
        OpeningKey::from_bytes(self.key.mac(&[LABEL_OPEN, nonce]))
    }
}

/// The key to one entry's openings: whoever holds it can open every leaf of this entry, and of no other.
#[derive(Clone)]
pub struct OpeningKey(Zeroizing<[u8; 32]>);

impl OpeningKey {
    /// Wraps the derived key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Derives the salt of the leaf with this code: half of SHA-256(key ‖ label ‖ code / 2), so one hash serves two leaves.
    ///
    /// Plain SHA-256 instead of HMAC because it is half the work and no less safe here: the key is uniform and secret, and
    /// every message has the same 49 bytes (one compression), so there is nothing to extend. Each salt has 128 bits, and
    /// two salts of one hash are disjoint halves of it.
    pub fn salt(&self, leaf_code: u8) -> [u8; 16] {
        let mut message = [0; 49];
        message[..32].copy_from_slice(&*self.0);
        message[32..48].copy_from_slice(LABEL_SALT);
        message[48] = leaf_code / 2;
        let block = sha256(&message);
        let mut salt = first_half(&block);
        if leaf_code % 2 == 1 {
            salt.copy_from_slice(&block[16..]);
        }
        salt
    }
}

impl std::fmt::Debug for OpeningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("OpeningKey([elided])")
    }
}
