//! Everything identity reads from files, opened once and kept current.
//!
//! Files are watched by what the file system says about them (inode, size, times to the nanosecond), not by events: that
//! also sees network mounts, replaced folders and swapped symbolic links, and a change takes effect within a second.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::files::is_toml;
use super::roster::{Roster, RosterError};
use super::shared::SharedBook;
use super::standing::{StandingBook, StandingError};
use super::trust::{Trust, TrustError, TrustFiles};
use crate::domain::time::Clock;

/// How often files are looked at. Four times a second: a change counts within one, with time to spare for the reading.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where identity is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Certificates, keys, authorities, lists.
    pub trust: TrustFiles,
    /// The folder of contracts.
    pub partners: PathBuf,
    /// The folder of standing records; made if absent.
    pub standing: PathBuf,
}

/// Identity could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// TLS settings.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Contracts.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// Standing records.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// No thread to watch the files with.
    #[error("cannot start the thread that watches the files")]
    Thread(#[source] std::io::Error),
}

/// Trust, contracts and standing of one gateway.
pub struct Identity {
    trust: Arc<Trust>,
    book: Arc<StandingBook>,
    roster: Arc<Roster>,
    reading: Mutex<()>,
    reloads: ReloadCounters,
}

#[derive(Default)]
struct ReloadCounters {
    done: AtomicU64,
    failed: AtomicU64,
}

/// How often everything was read again since start, whoever asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// Nothing was wrong afterwards.
    pub done: u64,
    /// Something was: [`Identity::faults`].
    pub failed: u64,
}

/// Watches until it is dropped.
pub struct Watch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Identity {
    /// Reads everything.
    ///
    /// # Errors
    /// [`IdentityError`]: TLS files must be good at start; single bad contracts or records are [`Self::faults`].
    pub fn open(files: IdentityFiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, IdentityError> {
        Self::read(files, clock, StandingBook::open)
    }

    /// Reads everything and makes nothing, not even the folder of standing records: for checks beside a gateway.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn look(files: IdentityFiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, IdentityError> {
        Self::read(files, clock, StandingBook::look)
    }

    fn read(
        files: IdentityFiles,
        clock: Arc<dyn Clock>,
        open: fn(&Path) -> Result<StandingBook, StandingError>,
    ) -> Result<Arc<Self>, IdentityError> {
        let trust = Arc::new(Trust::open(files.trust, clock)?);
        let book = Arc::new(open(&files.standing)?);
        let roster = Arc::new(Roster::open(&files.partners, Arc::clone(&book), Arc::clone(&trust))?);
        Ok(Arc::new(Self {
            trust,
            book,
            roster,
            reading: Mutex::new(()),
            reloads: ReloadCounters::default(),
        }))
    }

    /// Returns the TLS settings.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Returns the contracts.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Has a standing record that all replicas share count beside the files, and returns it: to be told. `age_max` is the
    /// freshness bound.
    pub fn share_standing(&self, age_max: Duration, clock: Arc<dyn Clock>) -> Arc<SharedBook> {
        let shared = Arc::new(SharedBook::new(age_max, clock));
        self.roster.share(Arc::clone(&shared));
        shared
    }

    /// Returns the standing records of this replica.
    pub fn standing(&self) -> &Arc<StandingBook> {
        &self.book
    }

    /// Reads every file again, now; for SIGHUP and the operator's socket. What is bad keeps its last good state.
    pub fn reload_now(&self) {
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // The stricter news first: a suspension must not wait for a slow contract folder.
        self.book.reload();
        self.trust.reload();
        self.roster.reload();
        let counter = if self.faults().is_empty() { &self.reloads.done } else { &self.reloads.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the reloads so far: those of changed files, of SIGHUP and of the operator's socket.
    pub fn reloads(&self) -> ReloadCounts {
        ReloadCounts {
            done: self.reloads.done.load(Ordering::Relaxed),
            failed: self.reloads.failed.load(Ordering::Relaxed),
        }
    }

    /// Says what is wrong now; empty means healthy, anything else means degraded.
    pub fn faults(&self) -> Vec<String> {
        let shared = self.roster.shared().map(|shared| shared.faults()).unwrap_or_default();
        [self.trust.faults(), self.roster.faults(), self.book.faults(), shared].concat()
    }

    /// Watches the files in a thread of its own until the guard is dropped. Blocking reads belong on no core's loop.
    ///
    /// # Errors
    /// [`IdentityError::Thread`].
    pub fn watch(self: &Arc<Self>) -> Result<Watch, IdentityError> {
        let identity = Arc::clone(self);
        let (stop, stopped) = mpsc::channel();
        // Taken here, not in the thread: a change right after this call must be seen as one.
        let seen = identity.fingerprint();
        let thread = std::thread::Builder::new()
            .name("identity-watch".to_owned())
            .spawn(move || identity.keep_current(seen, &stopped))
            .map_err(IdentityError::Thread)?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }

    fn keep_current(&self, mut seen: Fingerprint, stopped: &mpsc::Receiver<()>) {
        let mut settling = true;
        while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let now = self.fingerprint();
            let changed = now != seen;
            // Once more after every change: a write within the clock tick of the last look would leave no trace.
            if changed || settling {
                self.reload_now();
            }
            settling = changed;
            seen = now;
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut marks = Fingerprint::new();
        self.trust.files().for_each(|file| mark(file, &mut marks));
        mark_folder(&self.roster.folder(), &mut marks);
        mark_folder(self.book.folder(), &mut marks);
        marks
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the file system says about each file; `None` for one that cannot be looked at.
type Fingerprint = BTreeMap<PathBuf, Option<[i128; 4]>>;

fn mark(file: &Path, marks: &mut Fingerprint) {
    let moment = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let facts = std::fs::metadata(file).ok().map(|facts| {
        let modified = moment(facts.mtime(), facts.mtime_nsec());
        let changed = moment(facts.ctime(), facts.ctime_nsec());
        [i128::from(facts.ino()), i128::from(facts.size()), modified, changed]
    });
    marks.insert(file.to_path_buf(), facts);
}

fn mark_folder(folder: &Path, marks: &mut Fingerprint) {
    // A folder that cannot be read leaves a mark too: that change is reported by the reload.
    let Ok(entries) = std::fs::read_dir(folder) else {
        marks.insert(folder.to_path_buf(), None);
        return;
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_toml(path))
        .for_each(|path| mark(&path, marks));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(folder: &Path) -> Fingerprint {
        let mut marks = Fingerprint::new();
        mark_folder(folder, &mut marks);
        marks
    }

    /// Every way an editor, a script or a mount changes a folder shows; the effect is tested with the acceptor.
    #[test]
    fn every_change_of_a_folder_leaves_a_mark() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("partners");
        let file = folder.join("a.toml");
        let mut last = marks(&folder);
        let mut must_differ = |what: &str| {
            let now = marks(&folder);
            assert_ne!(now, last, "{what}");
            last = now;
        };
        std::fs::create_dir(&folder).unwrap();
        must_differ("the folder appeared");
        std::fs::write(&file, "one").unwrap();
        must_differ("a file appeared");
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&file, "two").unwrap();
        must_differ("same size, other text");
        std::fs::write(folder.join(".a.toml.tmp"), "two").unwrap();
        std::fs::rename(folder.join(".a.toml.tmp"), &file).unwrap();
        must_differ("replaced by a rename");
        std::fs::rename(&file, folder.join("b.toml")).unwrap();
        must_differ("renamed");
        std::fs::remove_file(folder.join("b.toml")).unwrap();
        must_differ("removed");
        let before = marks(&folder);
        std::fs::write(folder.join(".hidden.toml"), "x").unwrap();
        assert_eq!(marks(&folder), before, "work in progress is nobody's business");
    }
}
