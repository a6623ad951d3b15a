//! The tree's thread: takes durable entries from the journal's files, hashes them, signs what has grown.
//!
//! It trusts of the files what the last checkpoint covers and the right edge confirms, and reads everything else from the
//! entries again. A root that does not continue the last checkpoint is never signed: then the thread stops, loudly, while the
//! journal goes on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tlog_tiles::tlog::record_hash;

use super::appender::Appender;
use super::stored::StoredLog;
use super::tiles::is_consistent;
use crate::audit::journal::{Extent, Journal, Place, ReadError};
use crate::audit::note::{CHECKPOINT, LogSigner, NoteFault, write_durably};
use crate::domain::time::Clock;
use crate::evidence::ports::SignedCheckpoint;

/// Entries hashed before the files are written: some megabytes of them.
const ENTRIES_PER_TURN: u64 = 16_384;
/// How long after a failure it tries again.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);
/// How long the tree may take to catch up when the process stops; what is left is done at the next start.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// How a tree is kept.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    /// The shortest time between two checkpoints. 500 ms: whoever waits for one waits for less than a second.
    pub checkpoint_every: Duration,
    /// How often the thread looks for new entries.
    pub look_every: Duration,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self { checkpoint_every: Duration::from_millis(500), look_every: Duration::from_millis(50) }
    }
}

/// Whether the tree keeps up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeHealth {
    /// It follows the journal.
    Following,
    /// It is being made again from the entries.
    Building {
        /// Entries done.
        done: u64,
        /// Entries there are.
        of: u64,
    },
    /// A step failed; it tries again every second.
    Failing(String),
    /// It does not continue what was signed, and signs nothing more. A person must look.
    Stopped(String),
}

/// What the tree tells operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeStats {
    /// Entries the newest checkpoint covers.
    pub signed: u64,
    /// Durable entries it does not cover.
    pub behind: u64,
    /// How long entries have been waiting for a checkpoint; zero when none is.
    pub waiting: Duration,
    /// Checkpoints signed since start.
    pub checkpoints: u64,
    /// Signing has stopped.
    pub is_stopped: bool,
}

/// What the thread and its owner share.
pub(super) struct Shared {
    pub(super) log: Arc<StoredLog>,
    pub(super) journal: Arc<Journal>,
    pub(super) closing: AtomicBool,
    state: Mutex<State>,
}

struct State {
    health: TreeHealth,
    checkpoints: u64,
    /// Since when there are entries without a checkpoint (time since boot).
    behind_since: Option<Duration>,
}

impl Shared {
    pub(super) fn new(log: Arc<StoredLog>, journal: Arc<Journal>) -> Self {
        let state = State { health: TreeHealth::Following, checkpoints: 0, behind_since: None };
        Self { log, journal, closing: AtomicBool::new(false), state: Mutex::new(state) }
    }

    pub(super) fn health(&self) -> TreeHealth {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).health.clone()
    }

    pub(super) fn stats(&self, now: Duration) -> TreeStats {
        let signed = self.log.checkpoint().map_or(0, |checkpoint| checkpoint.size);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        TreeStats {
            signed,
            behind: self.journal.durable().saturating_sub(signed),
            waiting: state.behind_since.map_or(Duration::ZERO, |since| now.saturating_sub(since)),
            checkpoints: state.checkpoints,
            is_stopped: matches!(state.health, TreeHealth::Stopped(_)),
        }
    }

    pub(super) fn stopped(&self, why: &str) {
        self.tell(TreeHealth::Stopped(why.to_owned()));
    }

    fn tell(&self, health: TreeHealth) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).health = health;
    }
}

/// A turn that did not end well.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// May pass: a full disk, an unreadable file.
    #[error("cannot write or read the log's tree")]
    Io(#[from] std::io::Error),
    #[error("cannot read the log's entries")]
    Entries(#[from] ReadError),
    #[error("cannot sign")]
    Note(#[from] NoteFault),
    /// Never passes.
    #[error("{0}")]
    Broken(&'static str),
}

impl From<tlog_tiles::tlog::Error> for Fault {
    fn from(error: tlog_tiles::tlog::Error) -> Self {
        Self::Io(std::io::Error::other(error))
    }
}

const NOT_CONTINUED: &str = "the entries do not continue the signed checkpoint: nothing more is signed; run `drivegate audit fsck`, \
     compare with a copy or a witness, and bring the damaged files back";

/// Everything the thread owns.
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) signer: LogSigner,
    /// The origin's folder.
    pub(super) folder: PathBuf,
    pub(super) options: TreeOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) growing: Option<Growing>,
}

/// The tree while it grows.
pub(super) struct Growing {
    files: Appender,
    /// Where the next entry lies, as far as known.
    place: Option<Place>,
    segments_begun: u64,
    signed_at: Duration,
    /// The files were held against the last checkpoint.
    is_confirmed: bool,
}

impl Follower {
    /// Follows until it is told to close.
    pub(super) fn run(mut self) {
        let mut said = None;
        let mut closing_since = None;
        loop {
            let closing = self.shared.closing.load(Ordering::Acquire);
            let pause = match self.turn(closing) {
                Ok(true) => Duration::ZERO,
                Ok(false) if closing => return,
                Ok(false) => {
                    said = None;
                    self.options.look_every
                }
                Err(Fault::Broken(why)) => {
                    tracing::error!(origin = %self.shared.log.origin(), why, "the evidence log's tree has stopped");
                    self.shared.stopped(why);
                    return;
                }
                Err(fault) => {
                    self.growing = None;
                    self.failed(&fault, &mut said);
                    AFTER_A_FAILURE
                }
            };
            if closing {
                let since = *closing_since.get_or_insert_with(|| self.clock.since_boot());
                if !pause.is_zero() || self.clock.since_boot().saturating_sub(since) > CATCH_UP_MAX {
                    tracing::warn!(
                        "the evidence log's tree did not catch up before the end; the next start goes on"
                    );
                    return;
                }
            }
            if !pause.is_zero() {
                std::thread::park_timeout(pause);
            }
        }
    }

    fn failed(&self, fault: &Fault, said: &mut Option<String>) {
        let source = std::error::Error::source(fault).map(ToString::to_string).unwrap_or_default();
        let why = format!("{fault}: {source}");
        if said.as_deref() != Some(&why) {
            tracing::error!(origin = %self.shared.log.origin(), why, "the evidence log's tree cannot go on; it tries again");
        }
        self.shared.tell(TreeHealth::Failing(why.clone()));
        *said = Some(why);
    }

    /// Takes a turn; `true` when there is more to do at once.
    fn turn(&mut self, closing: bool) -> Result<bool, Fault> {
        if self.growing.is_none() {
            self.growing = Some(self.resume()?);
        }
        let Some(growing) = &mut self.growing else { return Ok(false) };
        let extent = self.shared.journal.extent();
        let signed = self.shared.log.checkpoint();
        let signed_size = signed.as_ref().map_or(0, |checkpoint| checkpoint.size);
        // A tree that is made again stands still at the checkpoint, to be held against it.
        let size = growing.files.size();
        let end = if size < signed_size { extent.entries.min(signed_size) } else { extent.entries };
        let end = end.min(size.saturating_add(ENTRIES_PER_TURN));
        growing.follow(&self.shared.log, extent, end)?;
        let size = growing.files.size();
        if let Some(signed) = signed.filter(|signed| !growing.is_confirmed && signed.size == size) {
            if self.shared.log.tiles().root(size)? != signed.root {
                return Err(Fault::Broken(NOT_CONTINUED));
            }
            growing.is_confirmed = true;
        }
        let now = self.clock.since_boot();
        self.note(size, extent.entries, signed_size, now);
        let is_due = closing || now.saturating_sub(self.due_from()) >= self.options.checkpoint_every;
        let is_last = size == extent.entries;
        if size > signed_size && is_due && (is_last || !closing) {
            self.sign(size, now)?;
        }
        Ok(!is_last)
    }

    fn due_from(&self) -> Duration {
        self.growing.as_ref().map_or(Duration::ZERO, |growing| growing.signed_at)
    }

    fn note(&self, size: u64, durable: u64, signed: u64, now: Duration) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.health = if size < signed || durable - size > 8 * ENTRIES_PER_TURN {
            TreeHealth::Building { done: size, of: durable }
        } else {
            TreeHealth::Following
        };
        state.behind_since = (durable > signed).then(|| state.behind_since.unwrap_or(now));
    }

    /// Stands where the last checkpoint left the files; at the beginning when they do not confirm it.
    fn resume(&self) -> Result<Growing, Fault> {
        let folder = self.folder.join("tree");
        let signed = self.shared.log.checkpoint();
        let size = signed.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let mut files = Appender::resume(&folder, size)?;
        if let Some(signed) = signed
            && files.is_some()
            && !self.shared.log.tiles().root(size).is_ok_and(|root| root == signed.root)
        {
            files = None;
        }
        let files = match files {
            Some(files) => files,
            None => {
                let of = self.shared.journal.durable();
                tracing::warn!(
                    origin = %self.shared.log.origin(), entries = of,
                    "the files of the evidence log's tree are damaged or missing: they are made again from the entries"
                );
                Appender::resume(&folder, 0)?.ok_or(Fault::Broken("the tree's files cannot be begun"))?
            }
        };
        self.shared.log.hashed_up_to(files.size());
        let signed_at = self.clock.since_boot().saturating_sub(self.options.checkpoint_every);
        let is_confirmed = files.size() == size;
        Ok(Growing { files, place: None, segments_begun: u64::MAX, signed_at, is_confirmed })
    }

    /// Signs the tree as it is now, having proved that it continues the last checkpoint.
    fn sign(&mut self, size: u64, now: Duration) -> Result<(), Fault> {
        let Some(growing) = &mut self.growing else { return Ok(()) };
        growing.files.sync()?;
        let tiles = self.shared.log.tiles();
        let root = tiles.root(size)?;
        if let Some(old) = self.shared.log.checkpoint() {
            let proof = tiles.consistency(old.size, size)?;
            if !is_consistent(&proof, (old.size, old.root), (size, root)) {
                return Err(Fault::Broken(NOT_CONTINUED));
            }
        }
        let checkpoint: SignedCheckpoint = self.signer.sign(size, root)?;
        write_durably(&self.folder, CHECKPOINT, &checkpoint.note, 0o644)?;
        self.shared.log.publish(checkpoint);
        growing.signed_at = now;
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.checkpoints += 1;
        state.behind_since = (self.shared.journal.durable() > size).then_some(now);
        Ok(())
    }
}

impl Growing {
    /// Hashes the entries up to `end`.
    fn follow(&mut self, log: &StoredLog, extent: Extent, end: u64) -> Result<(), Fault> {
        let from = self.files.size();
        if from >= end {
            return Ok(());
        }
        if self.segments_begun != extent.segments_begun {
            log.entry_files().refresh()?;
            self.segments_begun = extent.segments_begun;
        }
        let mut walk = log.entry_files().walk(from, end, self.place.map(|place| (from, place)));
        while let Some((place, entry)) = walk.next_entry()? {
            self.files.push(record_hash(&entry.bytes).0, place)?;
        }
        self.place = walk.place();
        self.files.flush()?;
        log.hashed_up_to(self.files.size());
        Ok(())
    }
}
