//! The registry's keys, and the file they live in. Losing the file is losing the registry.
//!
//! The file is text, one key a line, mode 0600:
//!
//! ```text
//! drivegate-registry-keys 1
//! pseudonym 1 <32 bytes of base64>
//! subject-ref 1 <32 bytes of base64>
//! sealing 1 <32 bytes of base64>
//! sealing 2 <32 bytes of base64> current
//! ```
//!
//! Lines starting with `#` and empty lines are skipped. The number is the key id. Any number of sealing keys may be
//! live while records are re-sealed; exactly one seals (marked `current` when there are several).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::sealing::{KEY_ID_MAX, SealingKeys};
use crate::hashing::MacKey;

/// The name of the key file in the data folder.
pub const KEY_FILE: &str = "registry.keys";
/// A key file is a handful of lines; more is not a key file.
const FILE_SIZE_MAX: usize = 16 * 1024;
const HEADER: &str = "drivegate-registry-keys 1";
const HEADER_WORD: &str = "drivegate-registry-keys ";
const KEY_SIZE: usize = 32;

type RawKey = Zeroizing<[u8; KEY_SIZE]>;

/// The keys of one registry, prepared for use. Cannot be shown.
pub struct RegistryKeys {
    pub(super) pseudonym: MacKey,
    pub(super) subject_ref: MacKey,
    pub(super) sealing: SealingKeys,
    /// Marks backups as made by somebody with the registry's keys.
    pub(super) backup: hmac::Key,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file is not there although a registry is: restore it from the backup of the keys.
    #[error("{path} is missing but the registry beside it exists; restore the key file it was made with", path = .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot {action} {path}", path = .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read or write the file: `chmod 600` it, and think about who may have seen it.
    #[error("{path} has mode {mode:04o}; it must be 0600: chmod 600 it", path = .path.display())]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file was written by a newer version.
    #[error("{path} is of a newer format than this program knows (it knows 1)", path = .0.display())]
    NewerFormat(PathBuf),
    /// A line is not what it should be. The line is never shown.
    #[error("{path} line {line}: {fault}", path = .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1; 0 for the file as a whole.
        line: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The machine has no randomness to give.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl std::fmt::Debug for RegistryKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RegistryKeys([elided])")
    }
}

impl RegistryKeys {
    /// Makes fresh keys that live in no file: demos and tests.
    ///
    /// # Errors
    /// [`KeyFault::NoRandomness`].
    pub fn ephemeral() -> Result<Self, KeyFault> {
        Ok(Self::prepare(&fresh_key()?, &fresh_key()?, 1, &[(1, fresh_key()?)]))
    }

    /// Loads the keys at `path`; makes them if neither they nor the registry at `store` exist yet.
    ///
    /// # Errors
    /// See [`KeyFault`]; [`KeyFault::Missing`] when the registry exists without its keys.
    pub fn load_or_create(path: &Path, store: &Path) -> Result<Self, KeyFault> {
        match path.try_exists() {
            Ok(true) => Self::load(path),
            Ok(false) if store.exists() => Err(KeyFault::Missing(path.to_owned())),
            Ok(false) => {
                Self::create(path)?;
                Self::load(path)
            }
            Err(source) => Err(file_fault("look for", path, source)),
        }
    }

    /// Loads the keys at `path`.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn load(path: &Path) -> Result<Self, KeyFault> {
        let file = File::open(path).map_err(|source| file_fault("open", path, source))?;
        let metadata = file.metadata().map_err(|source| file_fault("inspect", path, source))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFault::TooOpen { path: path.to_owned(), mode });
        }
        if metadata.len() > FILE_SIZE_MAX as u64 {
            return Err(malformed(path, 0, "too large for a key file"));
        }
        // Reserved up front, so that growing leaves no copy of the keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_SIZE_MAX + 1));
        file.take(FILE_SIZE_MAX as u64)
            .read_to_end(&mut bytes)
            .map_err(|source| file_fault("read", path, source))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed(path, 0, "is not text"))?;
        KeyLines::parse(text, path)?.into_keys(path)
    }

    /// Writes fresh keys to `path`, mode 0600, durable before it returns. Never overwrites.
    ///
    /// # Errors
    /// [`KeyFault::File`], also when the file exists; [`KeyFault::NoRandomness`].
    pub fn create(path: &Path) -> Result<(), KeyFault> {
        let (pseudonym, subject_ref, sealing) = (fresh_key()?, fresh_key()?, fresh_key()?);
        let mut text = Zeroizing::new(String::with_capacity(1024));
        text.push_str(HEADER);
        text.push_str(
            "\n# Keep a copy apart from the registry's own backup: without this file nobody can read it.\n",
        );
        for (word, key) in [("pseudonym", &pseudonym), ("subject-ref", &subject_ref), ("sealing", &sealing)] {
            text.push_str(word);
            text.push_str(" 1 ");
            STANDARD.encode_string(key.as_slice(), &mut text);
            text.push('\n');
        }
        write_durably(path, text.as_bytes()).map_err(|source| file_fault("write", path, source))
    }

    fn prepare(pseudonym: &RawKey, subject_ref: &RawKey, current: u8, sealing: &[(u8, RawKey)]) -> Self {
        Self {
            pseudonym: MacKey::new(pseudonym),
            subject_ref: MacKey::new(subject_ref),
            sealing: SealingKeys::prepare(current, sealing),
            backup: derived(pseudonym, b"drivegate registry backup"),
        }
    }
}

/// The lines of a key file, as read.
#[derive(Default)]
struct KeyLines {
    pseudonym: Option<RawKey>,
    subject_ref: Option<RawKey>,
    sealing: Vec<(u8, RawKey)>,
    current: Option<u8>,
}

impl KeyLines {
    fn parse(text: &str, path: &Path) -> Result<Self, KeyFault> {
        let mut lines = text.lines().enumerate();
        match lines.next().map(|(_, line)| line.trim_end()) {
            Some(HEADER) => {}
            Some(line) if line.starts_with(HEADER_WORD) => {
                return Err(KeyFault::NewerFormat(path.to_owned()));
            }
            _ => return Err(malformed(path, 1, "is not the first line of a key file")),
        }
        let mut keys = Self::default();
        for (index, line) in lines {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                keys.take(line).map_err(|fault| malformed(path, index + 1, fault))?;
            }
        }
        Ok(keys)
    }

    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let mut words = line.split_ascii_whitespace();
        let (Some(use_), Some(id), Some(key)) = (words.next(), words.next(), words.next()) else {
            return Err("must read: use, key id, key");
        };
        let id: u8 = id
            .parse()
            .ok()
            .filter(|id| (1..=KEY_ID_MAX).contains(id))
            .ok_or("the key id must be 1 to 127")?;
        let key = decode_key(key)?;
        let mark = words.next();
        if words.next().is_some() || mark.is_some_and(|mark| mark != "current" || use_ != "sealing") {
            return Err("holds words that do not belong there");
        }
        match use_ {
            "pseudonym" if self.pseudonym.is_none() => self.pseudonym = Some(key),
            "subject-ref" if self.subject_ref.is_none() => self.subject_ref = Some(key),
            "pseudonym" | "subject-ref" => return Err("a second key for this use"),
            "sealing" if self.sealing.iter().any(|(known, _)| *known == id) => {
                return Err("a second key with this id");
            }
            "sealing" if mark.is_some() && self.current.is_some() => {
                return Err("a second current sealing key");
            }
            "sealing" => {
                self.sealing.push((id, key));
                if mark.is_some() {
                    self.current = Some(id);
                }
            }
            _ => return Err("an unknown use; known are pseudonym, subject-ref and sealing"),
        }
        Ok(())
    }

    fn into_keys(self, path: &Path) -> Result<RegistryKeys, KeyFault> {
        let pseudonym = self.pseudonym.ok_or_else(|| malformed(path, 0, "holds no pseudonym key"))?;
        let subject_ref = self.subject_ref.ok_or_else(|| malformed(path, 0, "holds no subject-ref key"))?;
        let current = match (self.current, self.sealing.as_slice()) {
            (Some(id), _) => id,
            (None, [(id, _)]) => *id,
            (None, []) => return Err(malformed(path, 0, "holds no sealing key")),
            (None, _) => return Err(malformed(path, 0, "holds several sealing keys, none marked current")),
        };
        Ok(RegistryKeys::prepare(&pseudonym, &subject_ref, current, &self.sealing))
    }
}

/// Derives a key for a purpose of its own from one that outlives every rotation of the sealing keys.
fn derived(from: &RawKey, purpose: &[u8]) -> hmac::Key {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, from.as_slice()), purpose);
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

fn decode_key(text: &str) -> Result<RawKey, &'static str> {
    // Room for the decoder's estimate, which rounds up.
    let mut bytes = Zeroizing::new([0_u8; KEY_SIZE + 4]);
    match STANDARD.decode_slice(text, bytes.as_mut_slice()) {
        Ok(KEY_SIZE) => {
            let mut key = Zeroizing::new([0_u8; KEY_SIZE]);
            key.copy_from_slice(&bytes[..KEY_SIZE]);
            Ok(key)
        }
        _ => Err("the key must be 32 bytes of base64"),
    }
}

fn fresh_key() -> Result<RawKey, KeyFault> {
    let mut key = Zeroizing::new([0_u8; KEY_SIZE]);
    rand::fill(key.as_mut_slice()).map_err(|_| KeyFault::NoRandomness)?;
    Ok(key)
}

/// Writes beside, syncs, then links into place: a crash leaves either no key file or a whole one.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("keys.new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::hard_link(&beside, path)?;
    std::fs::remove_file(&beside)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn file_fault(action: &'static str, path: &Path, source: std::io::Error) -> KeyFault {
    KeyFault::File { action, path: path.to_owned(), source }
}

fn malformed(path: &Path, line: usize, fault: &'static str) -> KeyFault {
    KeyFault::Malformed { path: path.to_owned(), line, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_text(fill: u8) -> String {
        STANDARD.encode([fill; KEY_SIZE])
    }

    fn load_text(text: &str) -> Result<RegistryKeys, KeyFault> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        write_durably(&path, text.as_bytes()).unwrap();
        RegistryKeys::load(&path)
    }

    #[test]
    fn fresh_keys_are_private_and_load_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        RegistryKeys::load_or_create(&path, &folder.path().join("registry.redb")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        RegistryKeys::load(&path).unwrap();
        assert!(matches!(RegistryKeys::create(&path), Err(KeyFault::File { .. })), "never overwritten");
    }

    #[test]
    fn a_registry_without_its_keys_gets_no_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("registry.redb");
        std::fs::write(&store, b"x").unwrap();
        let fault = RegistryKeys::load_or_create(&folder.path().join(KEY_FILE), &store).unwrap_err();
        assert!(matches!(fault, KeyFault::Missing(_)));
    }

    #[test]
    fn keys_others_can_read_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        RegistryKeys::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(RegistryKeys::load(&path), Err(KeyFault::TooOpen { mode: seen, .. }) if seen == mode)
            );
        }
    }

    #[test]
    fn two_sealing_keys_need_a_current_one() {
        let (a, b) = (key_text(1), key_text(2));
        let head = format!("{HEADER}\npseudonym 1 {a}\nsubject-ref 1 {a}\nsealing 1 {a}\n");
        assert!(load_text(&head).is_ok());
        assert!(matches!(
            load_text(&format!("{head}sealing 2 {b}\n")),
            Err(KeyFault::Malformed { line: 0, .. })
        ));
        assert_eq!(load_text(&format!("{head}sealing 2 {b} current\n")).unwrap().sealing.current_id(), 2);
    }

    #[test]
    fn malformed_files_are_refused_with_their_line_and_without_their_content() {
        let a = key_text(1);
        let head = format!("{HEADER}\npseudonym 1 {a}\nsubject-ref 1 {a}\n");
        let cases = [
            ("hello\n".to_owned(), 1),
            (format!("{head}sealing 1 c2hvcnQ=\n"), 4),
            (format!("{head}sealing 0 {a}\n"), 4),
            (format!("{head}sealing 128 {a}\n"), 4),
            (format!("{head}sealing 1 {a} now\n"), 4),
            (format!("{head}pseudonym 2 {a}\n"), 4),
            (format!("{head}sealing 1 {a}\nsealing 1 {a}\n"), 5),
            (format!("{head}signing 1 {a}\n"), 4),
            (head.clone(), 0),
        ];
        for (text, expected) in cases {
            let fault = load_text(&text).unwrap_err();
            assert!(!fault.to_string().contains(&a) && !fault.to_string().contains("c2hv"), "{fault}");
            assert!(matches!(fault, KeyFault::Malformed { line, .. } if line == expected), "{fault}");
        }
        assert!(matches!(load_text("drivegate-registry-keys 2\n"), Err(KeyFault::NewerFormat(_))));
    }
}
