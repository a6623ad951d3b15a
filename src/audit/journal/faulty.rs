//! A folder in which any step can be made to fail.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::past_cache::OnDisk;
use super::stats::JournalStep;
use super::storage::{FolderStorage, SegmentFile, Storage};

/// What shall go wrong, and what has happened so far.
#[derive(Default)]
pub(super) struct Plan {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: Vec<JournalStep>,
    rules: Vec<Rule>,
    /// Most bytes one write takes.
    bytes_per_write: Option<usize>,
    /// Syncs begin, and stay, until this is lifted.
    hold_syncs: bool,
    /// What the disk has forgotten of the end of a file that is read back.
    forgotten: usize,
}

struct Rule {
    step: Option<JournalStep>,
    from: usize,
    times: usize,
    error: io::ErrorKind,
}

impl Plan {
    /// The next `times` steps of this kind fail.
    pub(super) fn fail_next(&self, step: JournalStep, times: usize, error: io::ErrorKind) {
        self.state.lock().unwrap().rules.push(Rule { step: Some(step), from: 0, times, error });
    }

    /// `times` steps fail, from the n-th on, whatever they are.
    pub(super) fn fail_from(&self, step: usize, times: usize, error: io::ErrorKind) {
        self.state.lock().unwrap().rules.push(Rule { step: None, from: step, times, error });
    }

    /// Every step from the n-th on fails, whatever it is: the machine is gone.
    pub(super) fn die_at(&self, step: usize) {
        let rule = Rule { step: None, from: step, times: usize::MAX, error: io::ErrorKind::Other };
        self.state.lock().unwrap().rules.push(rule);
    }

    /// Lets everything succeed again.
    pub(super) fn heal(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// Every write takes so many bytes at most.
    pub(super) fn write_short(&self, bytes: usize) {
        self.state.lock().unwrap().bytes_per_write = Some(bytes);
    }

    /// The disk has lost so many bytes at the end of what it said it had.
    pub(super) fn forget(&self, bytes: usize) {
        self.state.lock().unwrap().forgotten = bytes;
    }

    /// Holds syncs back, or lets them go.
    pub(super) fn hold_syncs(&self, hold: bool) {
        self.state.lock().unwrap().hold_syncs = hold;
    }

    /// Every step so far.
    pub(super) fn steps(&self) -> Vec<JournalStep> {
        self.state.lock().unwrap().steps.clone()
    }

    fn take(&self, step: JournalStep) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let number = state.steps.len();
        state.steps.push(step);
        let applies =
            |rule: &&mut Rule| rule.times > 0 && rule.from <= number && rule.step.is_none_or(|of| of == step);
        match state.rules.iter_mut().find(applies) {
            Some(rule) => {
                rule.times = rule.times.saturating_sub(usize::from(rule.times != usize::MAX));
                Err(rule.error.into())
            }
            None => Ok(()),
        }
    }

    fn wait_while_held(&self) {
        while self.state.lock().unwrap().hold_syncs {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// A real folder that follows a [`Plan`].
pub(super) struct FaultyStorage {
    real: FolderStorage,
    plan: Arc<Plan>,
}

impl FaultyStorage {
    pub(super) fn new(folder: &Path, plan: Arc<Plan>) -> Self {
        Self { real: FolderStorage::new(folder), plan }
    }

    fn wrap(&self, real: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(FaultyFile { real, plan: Arc::clone(&self.plan) })
    }
}

impl Storage for FaultyStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        self.real.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(self.wrap(self.real.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.plan.take(JournalStep::Create)?;
        Ok(self.wrap(self.real.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plan.take(JournalStep::Rename)?;
        self.real.rename(from, to)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.plan.take(JournalStep::SyncFolder)?;
        self.real.sync_folder()
    }
}

struct FaultyFile {
    real: Box<dyn SegmentFile>,
    plan: Arc<Plan>,
}

impl SegmentFile for FaultyFile {
    fn read_from_disk(&mut self) -> io::Result<OnDisk> {
        self.plan.take(JournalStep::Read)?;
        let mut read = self.real.read_from_disk()?;
        let kept = read.bytes.len() - self.plan.state.lock().unwrap().forgotten.min(read.bytes.len());
        read.bytes[kept..].fill(0);
        Ok(read)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if let Err(error) = self.plan.take(JournalStep::Write) {
            // A write that fails may have written some.
            let _ = self.real.write_at(&bytes[..bytes.len() / 2], offset);
            return Err(error);
        }
        let most = self.plan.state.lock().unwrap().bytes_per_write.unwrap_or(bytes.len());
        self.real.write_at(&bytes[..bytes.len().min(most)], offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.plan.wait_while_held();
        self.plan.take(JournalStep::Sync)?;
        self.real.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.plan.take(JournalStep::Truncate)?;
        self.real.truncate(length)
    }
}
