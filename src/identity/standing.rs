//! Standing records: the operator's word on who may call, beside the contracts. They bind this replica.
//!
//! One small file per partner (`<id>.toml`), per partner's claims (`<id>.claims.toml`) or denied key (`key-<pin>.toml`). No file means active. What cannot be read means
//! suspended, and so does a suspended record that vanished: only a record that says `active` brings a partner or a key back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::{self, Existing};
use crate::domain::partner::PartnerId;
use crate::domain::standing::{KeyPin, ProseFault, RecordedState, StandingChange, StandingOf};

/// The longest record read.
const RECORD_BYTES_MAX: usize = 4096;

/// One standing record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingRecord {
    /// What it says.
    pub state: RecordedState,
    /// Since when.
    pub since: Timestamp,
    /// Why, for the operators who come after.
    pub reason: String,
    /// Who said so.
    pub by: String,
}

/// The standing book could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The folder or a file refused.
    #[error("cannot {doing} {}: check that the gateway's user owns the folder", path.display())]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A record could not be turned into text.
    #[error("cannot write the record down")]
    Text(#[from] toml::ser::Error),
    /// Reason or name would not fit into a record.
    #[error(transparent)]
    Prose(#[from] ProseFault),
}

/// All standing records of a folder.
pub struct StandingBook {
    folder: PathBuf,
    records: ArcSwap<Records>,
    generation: AtomicU64,
    faults: Mutex<Vec<String>>,
}

/// The record, or the last one known of a file that cannot be read now.
type Records = BTreeMap<StandingOf, StandingRecord>;

impl StandingBook {
    /// Opens the book, making its folder if need be.
    ///
    /// # Errors
    /// [`StandingError::File`] when the folder cannot be read.
    pub fn open(folder: &Path) -> Result<Self, StandingError> {
        std::fs::create_dir_all(folder).map_err(|source| file_error("write", folder, source))?;
        Self::look(folder)
    }

    /// Opens the book to be looked at: a folder that is absent stays so, and holds no records.
    ///
    /// # Errors
    /// [`StandingError::File`] when the folder is there and cannot be read.
    pub fn look(folder: &Path) -> Result<Self, StandingError> {
        let book = Self {
            folder: folder.to_path_buf(),
            records: ArcSwap::default(),
            generation: AtomicU64::new(1),
            faults: Mutex::default(),
        };
        if folder.exists() {
            book.read_all()?;
        }
        Ok(book)
    }

    /// Reads all records again; if the folder cannot be read, what is known stays in force.
    pub fn reload(&self) {
        if let Err(error) = self.read_all() {
            let fault = format!("{}; what is known stays in force", super::trust::chain(&error));
            *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = vec![fault];
        }
    }

    /// Puts a change on record, durably, before it returns.
    ///
    /// # Errors
    /// The record could not be written: everything is as it was.
    pub fn put(&self, change: StandingChange) -> Result<StandingRecord, StandingError> {
        let StandingChange { of, state, reason, by, at } = change.checked()?;
        let record = StandingRecord { state, since: at, reason, by };
        let text = format!(
            "# Standing of {of}, written by drivegate. The stricter of all records and the contract wins.\n{}",
            toml::to_string(&record)?
        );
        let path = self.folder.join(format!("{of}.toml"));
        files::write(&path, text.as_bytes(), files::PUBLIC, Existing::Replace)
            .map_err(|source| file_error("write", &path, source))?;
        // In force before it is reported: a folder that cannot be read back is an error, not a silent reload.
        self.read_all()?;
        Ok(record)
    }

    /// Returns the record of a partner or a key, if there is one.
    pub fn record(&self, of: &StandingOf) -> Option<StandingRecord> {
        self.records.load().get(of).cloned()
    }

    /// Returns all records.
    pub fn list(&self) -> Vec<(StandingOf, StandingRecord)> {
        self.records.load().iter().map(|(of, record)| (of.clone(), record.clone())).collect()
    }

    /// Says whether a record suspends the partner.
    pub fn is_suspended(&self, partner: &PartnerId) -> bool {
        self.is_against(&StandingOf::Partner(partner.clone()))
    }

    /// Says whether a record suspends the partner's claims.
    pub fn are_claims_suspended(&self, partner: &PartnerId) -> bool {
        self.is_against(&StandingOf::Claims(partner.clone()))
    }

    /// Says whether a record denies the key.
    pub fn is_denied(&self, pin: KeyPin) -> bool {
        self.is_against(&StandingOf::Key(pin))
    }

    fn is_against(&self, of: &StandingOf) -> bool {
        self.records.load().get(of).is_some_and(|record| record.state == RecordedState::Suspended)
    }

    /// Counts how often the records have changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says which records cannot be read now.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read_all(&self) -> Result<(), StandingError> {
        // The lock spans reading and publishing: of two readers at once the later one must win.
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |source| file_error("read", &self.folder, source);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(refused)? {
            found.push(entry.map_err(refused)?.path());
        }
        faults.clear();
        let known = self.records.load_full();
        let mut records = Records::new();
        for path in found.iter().filter(|path| files::is_toml(path)) {
            match whose(path) {
                Some(of) => {
                    let record =
                        read_record(path).unwrap_or_else(|why| safe_when_unsure(path, &why, &mut faults));
                    records.insert(of, record);
                }
                None => {
                    faults.push(format!(
                        "{}: its name is no partner's id and no key's; it has no effect",
                        path.display()
                    ));
                }
            }
        }
        hold_vanished(&known, &mut records, &mut faults);
        if *known != records {
            self.records.store(Arc::new(records));
            self.generation.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }
}

fn whose(path: &Path) -> Option<StandingOf> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn read_record(path: &Path) -> Result<StandingRecord, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.len() > RECORD_BYTES_MAX {
        return Err("longer than 4 KiB: not a standing record".to_owned());
    }
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.as_bytes()[..start.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: {}", error.message())
    })
}

fn safe_when_unsure(path: &Path, why: &str, faults: &mut Vec<String>) -> StandingRecord {
    faults.push(format!(
        "{}: {why}; it counts as suspended until `drivegate partner resume` (claims: `resume-claims`; a key: `allow`) or a good record",
        path.display()
    ));
    unsure("the standing record cannot be read")
}

fn hold_vanished(known: &Records, records: &mut Records, faults: &mut Vec<String>) {
    for (of, former) in known {
        if former.state == RecordedState::Suspended && !records.contains_key(of) {
            faults.push(format!(
                "the standing record of {of} vanished while it was suspended; it stays so until `drivegate partner resume` \
                 (claims: `resume-claims`; a key: `allow`)"
            ));
            records.insert(of.clone(), former.clone());
        }
    }
}

/// What is held of a record nobody can read: its time is unknown, and its text must not change from reload to reload.
fn unsure(reason: &str) -> StandingRecord {
    StandingRecord {
        state: RecordedState::Suspended,
        since: Timestamp::UNIX_EPOCH,
        reason: reason.to_owned(),
        by: "drivegate".to_owned(),
    }
}

fn file_error(doing: &'static str, path: &Path, source: std::io::Error) -> StandingError {
    StandingError::File { doing, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partner() -> PartnerId {
        "rental-demo".parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-22T00:00:00Z".parse().unwrap()
    }

    fn says(state: RecordedState, reason: &str) -> StandingChange {
        let of = StandingOf::Partner(partner());
        StandingChange { of, state, reason: reason.to_owned(), by: "op".to_owned(), at: now() }
    }

    #[test]
    fn a_denied_key_has_a_file_of_its_own_beside_the_partners() {
        let folder = tempfile::tempdir().unwrap();
        let book = StandingBook::open(folder.path()).unwrap();
        let (pin, other) = (KeyPin([0xab; 32]), KeyPin([0xac; 32]));
        let of = StandingOf::Key(pin);
        book.put(StandingChange { of: of.clone(), ..says(RecordedState::Suspended, "stolen") }).unwrap();
        assert!(folder.path().join(format!("key-{}.toml", "ab".repeat(32))).is_file());
        let again = StandingBook::open(folder.path()).unwrap();
        assert!(again.is_denied(pin) && !again.is_denied(other));
        assert_eq!(again.record(&of).unwrap().reason, "stolen");
        again.put(StandingChange { of, ..says(RecordedState::Active, "found") }).unwrap();
        assert!(!again.is_denied(pin));
    }

    #[test]
    fn a_suspension_outlives_the_process_and_ends_by_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let book = StandingBook::open(folder.path()).unwrap();
        assert!(!book.is_suspended(&partner()));
        let record = book.put(says(RecordedState::Suspended, "key lost \"yesterday\"")).unwrap();
        assert!(book.is_suspended(&partner()));
        let again = StandingBook::open(folder.path()).unwrap();
        assert_eq!(again.list(), [(StandingOf::Partner(partner()), record)]);
        let before = book.generation();
        again.put(says(RecordedState::Active, "new key")).unwrap();
        assert!(book.is_suspended(&partner()), "not before the reload");
        book.reload();
        assert!(!book.is_suspended(&partner()));
        assert_eq!(book.generation(), before + 1);
    }

    #[test]
    fn what_cannot_be_read_or_has_vanished_is_suspended_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let book = StandingBook::open(folder.path()).unwrap();
        let path = folder.path().join("rental-demo.toml");
        std::fs::write(&path, "state = \"active\"\nsince = 2026\n").unwrap();
        book.reload();
        assert!(book.is_suspended(&partner()));
        let faults = book.faults();
        assert!(faults[0].contains("rental-demo.toml: line 2"), "{faults:?}");
        let generation = book.generation();
        book.reload();
        assert_eq!(book.generation(), generation);

        std::fs::remove_file(&path).unwrap();
        book.reload();
        assert!(book.is_suspended(&partner()));
        assert!(book.faults()[0].contains("vanished"));
        book.put(says(RecordedState::Active, "mended")).unwrap();
        assert!(!book.is_suspended(&partner()));
        assert_eq!(book.faults(), Vec::<String>::new());
    }

    #[test]
    fn a_stray_file_suspends_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Not A Partner.toml"), "").unwrap();
        std::fs::write(folder.path().join(".rental-demo.toml.1.tmp"), "half").unwrap();
        let book = StandingBook::open(folder.path()).unwrap();
        assert_eq!(book.list(), []);
        assert_eq!(book.faults().len(), 1);
        let refused = book.put(says(RecordedState::Suspended, "a\nb"));
        assert!(matches!(refused, Err(StandingError::Prose(_))));
    }
}
